"""Figures of the head: two heads on small data, and a softmax too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, INK, MUTED, ORANGE, use_style

__all__ = ["draw_gradients", "draw_heads", "draw_learning"]


def draw_heads(errors: Mapping[tuple[str, str], Sequence[float]]) -> Figure:
    """Test errors of ten classes, a bar for the mean and a dot per seed.

    Args:
        errors: (where the digit is, head) → test error in percent of each seed.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(6.0, 0.5 * len(errors) + 0.9))
    for row, ((_, head), values) in enumerate(errors.items()):
        color = ORANGE if head == "all positions" else BLUE
        mean = sum(values) / len(values)
        axes.barh([row], [mean], 0.6, color=color)
        axes.plot(values, [row] * len(values), "o", color=INK, ms=5, alpha=0.7)
        axes.text(max(values) + 2.5, row, f"{mean:.0f} %", va="center")
    names = [f"{where},\n{head}" for where, head in errors]
    axes.set_yticks(range(len(names)), names)
    axes.axvline(90, color=MUTED, lw=1.2, ls="--", ymin=0.3)
    axes.text(89, -0.35, "guessing", color=MUTED, ha="right", va="center")
    axes.set(xlim=(0, 108), xlabel="test error in %")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return figure


def draw_gradients(lead: Tensor, right: Tensor, twice: Tensor) -> Figure:
    """Norm of the gradient at the logits against the lead of the true class.

    Args:
        lead: differences of two logits, [N].
        right: norms from logits, [N].
        twice: norms with a softmax before the loss, [N].
    """
    use_style()
    figure, axes = plt.subplots()
    axes.semilogy(lead, right, color=BLUE)
    axes.semilogy(lead, twice, color=ORANGE)
    axes.text(-9.8, 1.6, "from logits", color=BLUE, va="bottom")
    axes.text(-1.2, 0.022, "softmax before the loss", color=ORANGE, va="bottom")
    axes.set(xlabel="lead of the true class, in logits", xticks=range(-10, 11, 5))
    axes.set(ylabel="norm of the gradient", ylim=(0.0018, 4))
    axes.text(-10, 0.0022, "certain and wrong", color=MUTED)
    axes.text(10, 0.0022, "certain and right", color=MUTED, ha="right")
    return figure


def draw_learning(
    curves: Mapping[tuple[str, bool], Sequence[Sequence[float]]],
) -> Figure:
    """Held-out accuracy over steps; one panel per start, one line per seed.

    Args:
        curves: (start, softmax before the loss?) → accuracies every ten steps.
    """
    use_style()
    starts = list(dict.fromkeys(start for start, _ in curves))
    figure, panels = plt.subplots(1, len(starts), figsize=(6.4, 3.0), sharey=True)
    for axes, start in zip(panels, starts):
        for double, color in ((False, BLUE), (True, ORANGE)):
            for run in curves[start, double]:
                steps = range(10, 10 * len(run) + 1, 10)
                axes.plot(steps, [100 * v for v in run], color=color, lw=1.3)
        axes.set(title=start, xlabel="step")
    panels[0].set(ylabel="held-out accuracy in %", ylim=(0, 101))
    handles = [plt.Line2D([], [], color=color) for color in (BLUE, ORANGE)]
    panels[0].legend(handles, ["logits", "softmax first"], loc="lower right")
    return figure
