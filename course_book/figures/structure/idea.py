"""Why a shortcut lets a network grow deep: the whole idea on one slide."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from torch import Tensor

from course_book.figures import BLUE, INK, MUTED, ORANGE, use_style

__all__ = ["draw_idea"]

WIDTH, HEIGHT = 6.4, 4.0  # inches
PANEL = 1.6  # width of one reason
BOX = 0.42


def draw_idea(
    shares: Sequence[float],
    lines: tuple[Tensor, Tensor],
    lesion: tuple[int, int],
    slices: tuple[Tensor, Tensor],
) -> Figure:
    """A plain and a residual network, and the four reasons, each from a measurement.

    Args:
        shares: which part of each sum comes from the branch, unit by unit.
        lines: gradients [n] along a line of inputs, of a plain net and a residual one.
        lesion: how many units can be removed from a residual net, of how many.
        slices: losses [n] along a direction, of a plain net and a residual one.
    """
    use_style()
    figure = plt.figure(figsize=(WIDTH, HEIGHT), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    ax.axis("off")
    _plain(ax, 0.1)
    _residual(ax, 3.35)
    ax.plot([0.1, WIDTH - 0.1], [1.98, 1.98], color=MUTED, linewidth=0.8)
    titles = ("small start", "agreement", "short paths", "smooth loss")
    for k, title in enumerate(titles):
        left = k * PANEL + 0.1
        ax.text(left, 2.2, f"{k + 1}  {title}", fontweight="bold", va="center")
    panels = [
        figure.add_axes(((k * PANEL + 0.12) / WIDTH, 0.55 / HEIGHT, 1.33 / WIDTH,
                         1.15 / HEIGHT))
        for k in range(4)
    ]  # fmt: skip
    for panel in panels:
        panel.axis("off")
    panels[0].bar(range(len(shares)), shares, color=BLUE, width=0.8)
    panels[0].set(ylim=(0, 1))
    for row, (gradient, color) in enumerate(zip(lines, (ORANGE, BLUE))):
        scaled = gradient / gradient.abs().max() - 2.6 * row
        panels[1].plot(scaled, color=color, linewidth=1)
    _paths(panels[2])
    for losses, color in zip(slices, (ORANGE, BLUE)):
        panels[3].plot(losses, color=color)
    words = (
        f"the last branch is\n{100 * shares[-1]:.0f} % of its sum",
        "between gradients\nof similar inputs",
        f"{lesion[0]} of {lesion[1]} units\ncan be taken out",
        "a valley instead\nof a plateau",
    )
    for k, text in enumerate(words):
        ax.text(k * PANEL + 0.1, HEIGHT - 0.5, text, va="top",
                linespacing=1.15)  # fmt: skip
    return figure


def _box(ax: Axes, x: float, y: float, text: str, color: str) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x - BOX / 2 + 0.04, y - 0.11),
            BOX - 0.08,
            0.22,
            boxstyle="round,pad=0.04",
            facecolor="white",
            edgecolor=color,
            linewidth=1.5,
            zorder=2,
        )
    )
    ax.text(x, y, text, color=color, ha="center", va="center_baseline", zorder=3)


def _plain(ax: Axes, left: float) -> None:
    ax.text(left, 0.2, "Plain: a product", color=ORANGE, fontsize=11.5,
            fontweight="bold", va="center")  # fmt: skip
    ax.plot([left + 0.18, left + 2.85], [0.75, 0.75], color=INK, linewidth=1.6)
    ax.text(left, 0.75, "$x$", va="center")
    for k in range(4):
        _box(ax, left + 0.6 + 0.62 * k, 0.75, f"$H_{k + 1}$", ORANGE)
    ax.text(left, 1.47, "$x_4 = H_4(H_3(H_2(H_1(x))))$", va="center")
    ax.text(left, 1.76, "each layer writes everything anew", va="center")


def _residual(ax: Axes, left: float) -> None:
    ax.text(left, 0.2, "Residual: a sum", color=BLUE, fontsize=11.5,
            fontweight="bold", va="center")  # fmt: skip
    ax.plot([left + 0.18, left + 3.0], [0.6, 0.6], color=INK, linewidth=2.4)
    ax.text(left, 0.6, "$x$", va="center")
    for k in range(4):
        x = left + 0.56 + 0.66 * k
        ax.plot([x - 0.25, x - 0.25, x + 0.29, x + 0.29], [0.6, 1.06, 1.06, 0.6],
                color=INK, linewidth=1.2, zorder=1)  # fmt: skip
        _box(ax, x, 1.06, f"$F_{k + 1}$", BLUE)
        ax.add_patch(Circle((x + 0.29, 0.6), 0.09, facecolor="white",
                            edgecolor=BLUE, linewidth=1.5, zorder=2))  # fmt: skip
        ax.text(x + 0.29, 0.6, "+", color=BLUE, ha="center", va="center_baseline",
                zorder=3)  # fmt: skip
    ax.text(left, 1.47, "$x_4 = x + F_1 + F_2 + F_3 + F_4$", va="center")
    ax.text(left, 1.76, "each unit adds a change, or nothing", va="center")


def _paths(ax: Axes) -> None:
    """Every path through four units, those with few branches darker."""
    for mask in range(16):
        through = [mask >> k & 1 for k in range(4)]
        ys = [0.0, *(up for up in through for _ in range(2)), 0.0]
        xs = [-0.5, *(k + side for k in range(4) for side in (-0.2, 0.2)), 3.5]
        short = sum(through) < 2
        ax.plot(xs, ys, color=BLUE if short else MUTED, alpha=0.9 if short else 0.25,
                linewidth=1.6 if short else 1)  # fmt: skip
    ax.set(ylim=(-0.6, 1.4))
