"""Pictures of what a training needs: memory, and time on several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import AMBER, BLUE, GREEN, ORANGE, SKY

__all__ = ["draw_memory", "draw_speedup"]


def draw_memory(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw stacked bars, one per way of training.

    Args:
        rows: name of the way → part → megabytes; the same parts in each.

    Returns:
        The figure, 6.2 inches wide.
    """
    figure, ax = plt.subplots(figsize=(6.2, 0.9 + 0.5 * len(rows)))
    names = list(rows)
    left = [0.0] * len(names)
    colors = (BLUE, SKY, GREEN, ORANGE, AMBER)
    for part, color in zip(next(iter(rows.values())), colors):
        widths = [rows[name][part] for name in names]
        ax.barh(names, widths, left=left, color=color, label=part, height=0.6)
        left = [a + b for a, b in zip(left, widths)]
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("memory, MB")
    figure.legend(loc="outside upper center", ncols=2, fontsize=10)
    return figure


def draw_speedup(
    processes: Sequence[int], curves: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw how many times faster P processes are, beside the best possible.

    Args:
        processes: the numbers P.
        curves: name → speedup for each P.

    Returns:
        The figure, 6.0 inches wide.
    """
    figure, ax = plt.subplots(figsize=(6.0, 3.3))
    ax.plot(processes, processes, color="#59636e", lw=1.2, ls="--", label="P times")
    for (name, values), marker in zip(curves.items(), "os^D"):
        ax.plot(processes, values, marker=marker, label=name)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel("processes P, each on a GPU of its own")
    ax.set_ylabel("times as fast as one")
    ax.legend(fontsize=10)
    return figure
