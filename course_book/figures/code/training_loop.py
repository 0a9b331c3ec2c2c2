"""The figures of the training-loop notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import BLUE, GREEN, INK, MUTED, ORANGE

__all__ = ["draw_history", "draw_rate_finder", "draw_schedule"]


def draw_rate_finder(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], top: float
) -> Figure:
    """Training loss while the learning rate grows, one curve per optimizer.

    Args:
        curves: learning rates and smoothed losses by name, at most three.
        top: upper end of the loss axis; what diverges leaves the picture.
    """
    figure, ax = plt.subplots(figsize=(6.0, 3.2))
    for (name, (rates, losses)), color in zip(curves.items(), (BLUE, ORANGE, GREEN)):
        ax.plot(rates, losses, color=color, label=name)
    ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(0, top))
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def draw_schedule(rates: Sequence[float], rising: int) -> Figure:
    """The learning rate of every step: linear warm-up, then half a cosine.

    Args:
        rates: one number per step.
        rising: steps of the warm-up.
    """
    figure, ax = plt.subplots(figsize=(6.0, 2.5))
    steps = range(1, len(rates) + 1)
    ax.plot(steps[: rising + 1], rates[: rising + 1], color=ORANGE, label="warm-up")
    ax.plot(steps[rising:], rates[rising:], color=BLUE, label="cosine")
    ax.set(xlabel="step", ylabel="learning rate", xlim=(0, None), ylim=(0, None))
    ax.legend()
    return figure


def draw_history(rows: Sequence[Mapping[str, float]], best: int) -> Figure:
    """Losses and errors of training and validation by epoch; a mark at the best.

    Args:
        rows: one record per epoch, as ``History.rows``.
        best: the epoch whose weights were kept.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.1))
    epochs = [row["epoch"] for row in rows]
    for part, color in (("train", BLUE), ("validation", ORANGE)):
        name = "training" if part == "train" else part
        losses = [row[f"{part}_loss"] for row in rows]
        errors = [100 * (1 - row[f"{part}_accuracy"]) for row in rows]
        axes[0].plot(epochs, losses, color=color, label=name)
        axes[1].plot(epochs, errors, color=color)
    axes[0].set(ylabel="loss", yscale="log")
    axes[1].set(ylabel="error in %", ylim=(0, None))
    for ax in axes:
        ax.axvline(best, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)))
        ax.set(xlabel="epoch")
    axes[1].text(
        best - 0.2,
        0.95,
        "kept",
        color=INK,
        ha="right",
        va="top",
        transform=axes[1].get_xaxis_transform(),
    )
    figure.legend(loc="outside upper left", ncols=2)
    return figure
