"""The figure of the debugging clinic: two faults that raise no error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import BLUE, MUTED, ORANGE

__all__ = ["draw_silent"]


def draw_silent(
    losses: Mapping[str, Sequence[float]],
    floor: float,
    accuracies: Mapping[str, Sequence[float]],
    batches: Sequence[str],
) -> Figure:
    """Left the loss on one repeated batch, right the accuracy by kind of batch.

    Args:
        losses: by name, the loss after each step; the healthy loop first.
        floor: the least value that the faulty loss can have.
        accuracies: by name, one share of right answers per entry of ``batches``;
            the healthy evaluation first.
        batches: how the same test images were put into batches.

    Raises:
        ValueError: if a series of accuracies has another length than ``batches``.
    """
    for name, series in accuracies.items():
        if len(series) != len(batches):
            raise ValueError(
                f"accuracies[{name!r}] has {len(series)} numbers for "
                f"{len(batches)} kinds of batch"
            )
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.5))
    for (name, series), color in zip(losses.items(), (BLUE, ORANGE)):
        left.plot(range(1, len(series) + 1), series, color=color, label=name)
    left.axhline(floor, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)))
    left.text(
        len(series), floor - 0.05, f"{floor:.2f}", color=MUTED, ha="right", va="top"
    )
    left.set(title="One batch, again and again", xlabel="step", ylabel="loss")
    left.set_ylim(-0.08, None)

    looks = ((BLUE, "o", -0.09), (ORANGE, "D", 0.09))
    for (name, series), (color, marker, shift) in zip(accuracies.items(), looks):
        places = [place + shift for place in range(len(batches))]
        percent = [100 * value for value in series]
        right.plot(places, percent, marker, color=color, markersize=7, label=name)
    right.set_xticks(range(len(batches)), batches)
    right.set(title="The same test images", xlabel="how they are batched")
    right.set(ylabel="accuracy in %", ylim=(0, 104), xlim=(-0.5, len(batches) - 0.5))
    for ax in (left, right):
        ax.legend()
    return figure
