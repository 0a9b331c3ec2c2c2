"""The figures of the page that shows the long runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import BLUE, MUTED, ORANGE

__all__ = ["METHODS", "draw_decks"]

METHODS = {
    "baseline": ("no learning", MUTED, "s"),
    "fresh": ("fresh weights", ORANGE, "o"),
    "course": ("the course's weights", BLUE, "D"),
}


def draw_decks(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw ROC AUC with its interval, a panel per split, a group per part.

    Args:
        rows: of ``course_book.results.load("decks")``.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.4), sharey=True)
    titles = {"photo": "split by photo", "random": "split at random"}
    for ax, (split, title) in zip(axes, titles.items()):
        mine = [row for row in rows if row["split"] == split]
        parts = sorted({str(row["part"]) for row in mine})
        for row in mine:
            label, color, marker = METHODS[row["method"]]
            x = parts.index(str(row["part"]))
            x += 0.22 * (list(METHODS).index(row["method"]) - 1)
            ends = [[row["auc"] - row["auc_low"]], [row["auc_high"] - row["auc"]]]
            ax.errorbar(
                x,
                row["auc"],
                ends,
                color=color,
                marker=marker,
                markersize=6,
                linewidth=1.5,
                label=label if x < 0.5 else None,
            )
        ax.set_title(title)
        names = parts if split == "photo" else [f"part {k + 1}" for k in range(3)]
        ax.set_xticks(range(len(parts)), names)
        ax.set_xlim(-0.5, len(parts) - 0.5)
        ax.set_xlabel("tested photo" if split == "photo" else "tested third")
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("ROC AUC")
    axes[0].axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
    axes[1].axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
