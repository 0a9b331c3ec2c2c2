"""The figure of the skip zoo: how each kind of shortcut learns, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import AMBER, BLUE, GREEN, INK, ORANGE, PINK, SKY

__all__ = ["draw_zoo"]

COLORS = (ORANGE, BLUE, SKY, GREEN, PINK, AMBER)


def draw_zoo(rows: Sequence[Mapping[str, object]], kinds: Sequence[str]) -> Figure:
    """Left the training loss by epoch (mean of the seeds), right the test errors.

    Args:
        rows: one record per epoch of every run, with ``kind``, ``seed``, ``epoch``,
            ``train_loss`` and, in the last epoch, ``test_error`` in percent.
        kinds: at most six, in the order from top to bottom.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(6.4, 3.6), width_ratios=(1, 1.05)
    )
    last = max(row["epoch"] for row in rows)
    for place, (kind, color) in enumerate(zip(kinds, COLORS)):
        chosen = [row for row in rows if row["kind"] == kind]
        epochs = sorted({row["epoch"] for row in chosen})
        means = [
            fmean(row["train_loss"] for row in chosen if row["epoch"] == epoch)
            for epoch in epochs
        ]
        left.plot(epochs, means, color=color, label=kind)
        ends = [row["test_error"] for row in chosen if row["epoch"] == last]
        right.plot(
            ends,
            [place] * len(ends),
            "o",
            color=color,
            markersize=8,
            markeredgecolor="white",
        )
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    left.set_xticks(range(2, last + 1, 2))
    right.set_yticks(range(len(kinds)), kinds)
    right.set_ylim(len(kinds) - 0.5, -0.5)
    right.set(xlabel="test error in %, one dot per seed", xscale="log")
    right.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    right.minorticks_off()
    right.tick_params(axis="y", labelcolor=INK)
    return figure
