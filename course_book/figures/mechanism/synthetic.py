"""The figures of the notebook about synthetic cracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_book.figures import BLUE, INK, MUTED, ORANGE

__all__ = ["draw_auc", "draw_tiles"]


def draw_tiles(
    tiles: Mapping[str, np.ndarray], columns: int, *, width: float = 6.2
) -> Figure:
    """Draw pictures in a grid, each under its own name.

    Args:
        tiles: pictures [H, W, 3] by name, uint8, or floats of about 0 ... 1.
        columns: pictures per row.
        width: of the figure, in inches.

    Returns:
        The figure.
    """
    lines = -(-len(tiles) // columns)
    cell = width / columns
    figure, axes = plt.subplots(
        lines, columns, figsize=(width, lines * (cell + 0.25)), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, picture) in zip(axes.flat, tiles.items()):
        shown = picture if picture.dtype == np.uint8 else np.clip(picture, 0, 1)
        ax.imshow(shown)
        ax.set_title(name, fontsize=10, fontweight="normal")
    return figure


def draw_auc(rows: Sequence[Mapping[str, object]]) -> Figure:
    """Draw the network's and the baseline's ROC AUC with their intervals.

    Args:
        rows: rows of ``results.load("synthetic_to_real")``; those of single seeds
            become dots beside the mean.

    Returns:
        The figure.
    """
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure, ax = plt.subplots(figsize=(6.0, 0.55 * len(names) + 1.2))
    for row in rows:
        place = len(names) - 1 - names.index(row["set"])
        if row["seed"] != "mean":
            ax.plot(row["auc"], place + 0.15, ".", color=BLUE, alpha=0.45, ms=7)
            continue
        for key, shift, color, label in (
            ("auc", 0.15, BLUE, "ResNet-18, mean of three seeds (dots)"),
            ("baseline", -0.15, ORANGE, "one number, no learning"),
        ):
            span = [row[f"{key}_low"], row[f"{key}_high"]]
            ax.plot(span, [place + shift] * 2, color=color, lw=2.5, alpha=0.55)
            first = place == len(names) - 1
            ax.plot(
                row[key],
                place + shift,
                "o" if key == "auc" else "s",
                color=color,
                ms=8,
                label=label if first else None,
            )
        ink = INK if row["role"] == "held out" else MUTED
        ax.text(1.015, place, row["role"], va="center", color=ink, clip_on=False)
    ax.axvline(0.5, color=MUTED, lw=1, ls=":")
    ax.set_yticks(range(len(names)), names[::-1])
    ax.grid(axis="y", visible=False)
    ax.set(xlim=(0.48, 1.01), xlabel="ROC AUC on real photos (0.5 = guessing)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=1)
    return figure
