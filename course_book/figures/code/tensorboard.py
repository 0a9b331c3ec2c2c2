"""Static figures of what TensorBoard shows: curves, and histograms over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_book.figures import BLUE, MUTED, use_style

__all__ = ["draw_curves", "draw_histograms"]

Curve = Sequence[tuple[int, float]]


def draw_curves(
    panels: Mapping[str, Mapping[str, Curve]], *, logarithmic: Sequence[str] = ()
) -> Figure:
    """Draw curves over epochs, a panel per quantity, with one common legend.

    Args:
        panels: quantity → name of the curve → (epoch, value) pairs. A name that
            ends in "train" is dashed, and shares the color of the run before it.
        logarithmic: quantities whose axis is logarithmic.

    Returns:
        The figure.
    """
    use_style()
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6.2, 2.9), squeeze=False, sharex=True
    )
    names: dict[str, str] = {}  # run → color
    drawn = {}
    for ax, (quantity, curves) in zip(axes[0], panels.items()):
        for name, curve in curves.items():
            run, _, split = name.rpartition(", ")
            color = names.setdefault(run, colors[len(names) % len(colors)])
            epochs, values = zip(*curve)
            style = "--" if split == "train" else "-"
            (drawn[name],) = ax.plot(epochs, values, style, color=color, marker="o",
                                     markersize=4)  # fmt: skip
        ax.set(title=quantity, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if quantity in logarithmic:
            ax.set_yscale("log")
    columns = 2 if len(drawn) > 2 else len(drawn)
    figure.legend(drawn.values(), drawn, loc="outside upper left", ncols=columns)
    return figure


def draw_histograms(
    runs: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], *, label: str
) -> Figure:
    """Draw one histogram per epoch above the other, as TensorBoard does.

    Args:
        runs: title → for each epoch (edges [n + 1], counts [n]).
        label: of the horizontal axis.

    Returns:
        The figure: a panel per run, the first epoch at the bottom, each histogram
        as high as the others.
    """
    use_style()
    figure, axes = plt.subplots(
        1, len(runs), figsize=(6.2, 2.9), squeeze=False, sharex=True, sharey=True
    )
    for ax, (title, epochs) in zip(axes[0], runs.items()):
        for number, (edges, counts) in reversed(list(enumerate(epochs, start=1))):
            height = np.asarray(counts) / np.diff(edges)
            height = 1.6 * height / height.max()
            ax.fill_between(edges, number, number + np.append(height, 0), step="post",
                            color=BLUE, alpha=0.25 + 0.5 * number / len(epochs),
                            linewidth=0)  # fmt: skip
            ax.axhline(number, color=MUTED, linewidth=0.5)
        ax.set(title=title, xlabel=label, yticks=range(1, len(epochs) + 1))
        ax.grid(visible=False, axis="y")
    axes[0, 0].set_ylabel("epoch")
    return figure
