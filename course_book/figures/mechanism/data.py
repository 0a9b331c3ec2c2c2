"""The figures of the data notebook, drawn from data sets and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from course_book.figures import BLUE, INK, MUTED, ORANGE

__all__ = ["draw_counts", "draw_pairs", "draw_rows", "draw_within"]


def draw_rows(
    rows: Mapping[str, Sequence[Image.Image | np.ndarray]], *, width: float = 6.2
) -> Figure:
    """Draw one row of equally large pictures per name, the name above it.

    Args:
        rows: pictures, PIL or arrays [H, W, 3]; each row as many.
        width: of the figure, in inches.

    Returns:
        The figure.
    """
    columns = max(len(row) for row in rows.values())
    cell = width / columns
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(width, len(rows) * (cell + 0.28)),
        squeeze=False,
    )
    for line, (name, pictures) in zip(axes, rows.items()):
        line[0].set_title(name, fontsize=10.5, fontweight="normal")
        for ax in line:
            ax.set_axis_off()
        for ax, picture in zip(line, pictures):
            ax.imshow(picture, vmin=0, vmax=255)
    return figure


def draw_counts(counts: Mapping[str, tuple[int, int]]) -> Figure:
    """Draw uncracked and cracked patches per surface as stacked bars.

    Args:
        counts: (uncracked, cracked) of each surface.

    Returns:
        The figure.
    """
    figure, ax = plt.subplots(figsize=(6.0, 2.5))
    for place, (uncracked, cracked) in enumerate(counts.values()):
        first = place == 0
        ax.barh(
            place,
            uncracked,
            color=BLUE,
            height=0.62,
            label="uncracked" if first else None,
        )
        ax.barh(
            place,
            cracked,
            left=uncracked,
            color=ORANGE,
            height=0.62,
            label="cracked, with its share" if first else None,
        )
        share = cracked / (cracked + uncracked)
        ax.text(
            uncracked + cracked + 300,
            place,
            f"{share:.1%}",
            va="center",
            color=INK,
        )
    ax.set_yticks(range(len(counts)), counts)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("number of patches")
    ax.set_xlim(0, 1.14 * max(map(sum, counts.values())))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def draw_pairs(
    pairs: Mapping[str, tuple[float, float]],
    *,
    names: tuple[str, str],
    label: str,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw two values per name as two points joined by a line.

    Args:
        pairs: the two values of each name.
        names: what the first and the second value are.
        label: of the horizontal axis.
        limits: of the horizontal axis.

    Returns:
        The figure.
    """
    figure, ax = plt.subplots(figsize=(6.0, 0.9 + 0.42 * len(pairs)))
    for place, (first, second) in enumerate(pairs.values()):
        ax.plot([first, second], [place, place], color=MUTED, linewidth=1.5, zorder=1)
    places = range(len(pairs))
    firsts, seconds = zip(*pairs.values())
    ax.scatter(firsts, places, color=ORANGE, s=60, label=names[0], zorder=2)
    ax.scatter(seconds, places, color=BLUE, s=60, marker="D", label=names[1], zorder=2)
    ax.set_yticks(places, pairs)
    ax.set_ylim(len(pairs) - 0.5, -0.5)
    ax.set_xlabel(label)
    ax.set_xlim(limits)
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def draw_within(images: np.ndarray) -> Figure:
    """Draw the gray levels of single pictures beside those of all of them.

    Args:
        images: uint8 [N, H, W, 3]; the first four are drawn singly.

    Returns:
        The figure.
    """
    figure, ax = plt.subplots(figsize=(6.0, 2.8))
    edges = np.linspace(0, 1, 65)
    gray = images.astype(np.float32).mean(axis=3) / 255
    for index in range(4):
        ax.hist(
            gray[index].ravel(),
            edges,
            density=True,
            histtype="step",
            color=BLUE,
            linewidth=1.2,
            label="one picture (four of them)" if index == 0 else None,
        )
    ax.hist(
        gray.ravel(),
        edges,
        density=True,
        histtype="step",
        color=ORANGE,
        linewidth=2.4,
        label=f"all {len(images)} pictures",
    )
    ax.set_xlabel("gray level, 0 is black and 1 is white")
    ax.set_ylabel("density")
    ax.set_xlim(0, 1)
    figure.legend(loc="outside upper left", ncols=2)
    return figure
