"""The figures of the debugging clinic: faults that raise no error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, MUTED, ORANGE

__all__ = ["dead_channels", "draw_activations", "draw_silent"]


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


def draw_activations(runs: Mapping[str, Sequence[Tensor]], reach: float) -> Figure:
    """What reaches a ReLU, step by step, and how many of its channels are dead.

    One panel per run: a column per step is the histogram of all values, cut off at
    ``reach``. The last panel has the share of channels without a positive value.

    Args:
        runs: by name, a tensor [B, C, H, W] for each step; two runs.
        reach: values from ``-reach`` to ``reach`` are drawn.
    """
    figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.9))
    for (name, steps), ax, color in zip(runs.items(), axes, (BLUE, ORANGE)):
        counts = [torch.histc(v.float().cpu(), 40, -reach, reach) for v in steps]
        shares = (torch.stack(counts, 1) / steps[0].numel()).sqrt().numpy()
        box = (0.5, len(steps) + 0.5, -reach, reach)
        ax.imshow(shares, origin="lower", aspect="auto", cmap="Greys", extent=box)
        ax.axhline(0, color=color, linewidth=1.2)
        ax.set_title(name, loc="left", fontsize=10)
        ax.set(xlabel="step", ylabel="before the ReLU" if ax is axes[0] else "")
        ax.grid(visible=False)
        dead = [100 * dead_channels(v) for v in steps]
        axes[2].plot(range(1, len(steps) + 1), dead, color=color, label=name)
    axes[2].set_title("dead channels, %", loc="left", fontsize=10)
    axes[2].set(xlabel="step", ylim=(-2, 50))
    axes[2].legend(fontsize=9)
    return figure


def dead_channels(values: Tensor) -> float:
    """Share of the channels of [B, C, H, W] that a ReLU sets to 0 everywhere."""
    return (values.amax((0, 2, 3)) <= 0).float().mean().item()
