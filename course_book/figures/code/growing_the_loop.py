"""The figures of the notebook that grows the training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import BLUE, GREEN, INK, MUTED, ORANGE

__all__ = ["draw_errors", "draw_resumed"]


def draw_errors(runs: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Validation error in percent by epoch: one panel per kind of run, a line per seed.

    Args:
        runs: shares of wrong answers per epoch, one list per seed, by name.
    """
    figure, axes = plt.subplots(1, len(runs), figsize=(6.4, 3.0), sharey=True)
    for ax, (name, seeds), color in zip(axes, runs.items(), (GREEN, ORANGE, BLUE)):
        for errors in seeds:
            percent = [100 * error for error in errors]
            ax.plot(range(1, len(errors) + 1), percent, color=color, linewidth=1.2)
        ax.set_title(name, loc="left", fontsize=10)
        ax.set(xlabel="epoch", ylim=(0, 20), xlim=(1, None), xticks=[1, 5, 10])
    axes[0].set_ylabel("validation error in %")
    return figure


def draw_resumed(curves: Mapping[str, Sequence[float]], at: int) -> Figure:
    """Training loss by step, smoothed, of trainings that were interrupted.

    Args:
        curves: the loss of every step by name; the first one is drawn wide, so that
            a curve which equals it can be seen on top of it.
        at: the last step before the interruption.
    """
    figure, ax = plt.subplots(figsize=(6.0, 3.0))
    looks = [(MUTED, 5.0), (BLUE, 1.4), (ORANGE, 1.4)]
    for (name, losses), (color, width) in zip(curves.items(), looks):
        smooth, drawn = losses[0], []
        for loss in losses:
            smooth += 0.25 * (loss - smooth)
            drawn.append(smooth)
        ax.plot(range(1, len(drawn) + 1), drawn, color=color, lw=width, label=name)
    ax.axvline(at, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, 1.6), xlim=(1, None))
    figure.legend(loc="outside upper left", ncols=3)
    return figure
