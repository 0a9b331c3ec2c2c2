"""Figures of the notebook "Why it works": four reasons, one figure each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, INK, MUTED, ORANGE

__all__ = [
    "draw_landscapes",
    "draw_lesions",
    "draw_lines",
    "draw_paths",
    "draw_shares",
    "draw_slices",
]

Rows = Sequence[Mapping[str, object]]
COLORS = {"plain": ORANGE, "residual": BLUE}


def draw_shares(
    variance: Mapping[str, Sequence[float]],
    shares: Sequence[float],
    rule: Sequence[float],
) -> Figure:
    """Left, variance after each unit without and with BN; right, the branch's share.

    Args:
        variance: by the label of a curve, one number per unit.
        shares: of the branch in the variance of x + F(x), with BN, one per unit.
        rule: the same share as predicted.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1))
    for (label, values), color in zip(variance.items(), (ORANGE, BLUE), strict=True):
        units = range(1, len(values) + 1)
        left.plot(units, values, ".-", color=color)
        left.annotate(
            label, (units[-1], values[-1]), (-42 if color is ORANGE else -4, -16),
            ha="right", color=color, textcoords="offset points",
        )  # fmt: skip
    left.set(title="Variance of the maps", xlabel="unit", yscale="log")
    units = range(1, len(shares) + 1)
    right.plot(units, [100 * share for share in rule], color=MUTED, linewidth=1.2)
    right.plot(units, [100 * share for share in shares], "o", color=BLUE, markersize=4)
    right.annotate("measured", (units[4], 100 * shares[4]), (14, 14), color=BLUE,
                   textcoords="offset points")  # fmt: skip
    right.text(0.6, 3, "1 / (unit + 1)", color=MUTED)
    right.set(title="The branch's part, with BN", xlabel="unit", ylabel="%")
    right.set_ylim(0, None)
    return fig


def draw_lines(inputs: Tensor, panels: Mapping[str, Tensor]) -> Figure:
    """Gradient along a line of inputs, each panel scaled to its own largest value.

    Args:
        inputs: [n].
        panels: gradients [n] by title; a title that begins with "plain" is orange.
    """
    fig, axes = plt.subplots(len(panels), 1, sharex=True, sharey=True, figsize=(6, 4.4))
    for ax, (title, gradients) in zip(axes, panels.items(), strict=True):
        color = COLORS[title.split(",")[0]]
        scaled = gradients / gradients.abs().max()
        ax.plot(inputs, scaled, color=color, linewidth=1.1)
        ax.set(title=title, ylim=(-1.15, 1.15), yticks=(-1, 0, 1))
    axes[1].set(ylabel="gradient (scaled)")
    axes[-1].set(xlabel="input")
    return fig


def draw_paths(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Share of the paths, or of the gradient, by the number of branches on a path.

    Args:
        curves: by label, shares that add up to 1, for 0, 1, 2, … branches.
    """
    fig, ax = plt.subplots(figsize=(6.0, 3.1))
    for (label, shares), color in zip(curves.items(), (MUTED, BLUE), strict=True):
        percent = [100 * share for share in shares]
        ax.bar(range(len(percent)), percent, color=color, alpha=0.75, width=0.9)
        top = max(range(len(percent)), key=percent.__getitem__)
        ax.annotate(label, (top, percent[top]), (0, 5), ha="center", color=color,
                    textcoords="offset points")  # fmt: skip
    ax.set(xlabel="branches on the path", ylabel="%")
    ax.margins(y=0.15)
    return fig


def draw_lesions(rows: Rows, panels: Mapping[str, tuple[str, int]]) -> Figure:
    """Test error of trained nets with one unit taken out, unit by unit.

    Args:
        rows: of ``why_lesion``; unit -1 is the whole net.
        panels: kind and depth of a net, by title.
    """
    fig, axes = plt.subplots(1, len(panels), sharey=True, figsize=(6.4, 3.3))
    for ax, (title, (kind, depth)) in zip(axes, panels.items(), strict=True):
        mine = [row for row in rows if (row["kind"], row["depth"]) == (kind, depth)]
        whole = fmean(row["test_error"] for row in mine if row["unit"] == -1)
        ax.axhline(whole, color=MUTED, linewidth=1, linestyle=(0, (3, 1.5)))
        for special, marker in ((0, "o"), (1, "D")):
            chosen = [r for r in mine if r["unit"] >= 0 and r["special"] == special]
            ax.plot(
                [row["unit"] + 1 for row in chosen],
                [row["test_error"] for row in chosen],
                marker,
                color=INK if special else COLORS[kind],
                markersize=4.5,
                alpha=0.75,
                markeredgewidth=0,
                label="special: only the projection is left" if special else None,
            )
        ax.set(title=title, xlabel="unit taken out", ylim=(-2, 100))
    axes[0].set(ylabel="test error (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center")
    return fig


def draw_landscapes(slices: Mapping[str, Tensor], at: Tensor) -> Figure:
    """Contours of the loss in a plane through trained weights, with one scale.

    Args:
        slices: losses [n, n] by title, for steps along two directions.
        at: [n], the steps.
    """
    low = min(losses.min().item() for losses in slices.values())
    norm = LogNorm(low, 20, clip=True)
    levels = [0.01, 0.1, 0.5, 1, 2.3, 5]  # 2.3 is guessing
    fig, axes = plt.subplots(1, len(slices), sharey=True, figsize=(6.4, 3.5))
    for ax, (title, losses) in zip(axes, slices.items(), strict=True):
        image = ax.pcolormesh(
            at, at, losses.T, norm=norm, cmap="viridis", shading="gouraud"
        )
        lines = ax.contour(at, at, losses.T, levels, colors="white", linewidths=0.9)
        ax.clabel(lines, fontsize=9, fmt="%g")
        ax.plot(0, 0, "+", color="white", markersize=9)
        ax.set(title=title, xlabel="direction 1", aspect="equal")
        ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        ax.grid(False)
    axes[0].set(ylabel="direction 2")
    fig.colorbar(image, ax=axes, shrink=0.75, label="training loss")
    return fig


def draw_slices(slices: Mapping[str, Tensor], at: Tensor) -> Figure:
    """The loss along one direction, all nets in one panel.

    Args:
        slices: losses [n] by a title such as "plain, 56 layers".
        at: [n], the steps along the direction.
    """
    fig, ax = plt.subplots(figsize=(6.0, 3.2))
    for title, losses in slices.items():
        style = (0, (3, 1.5)) if "20" in title else "-"
        color = COLORS[title.split(",")[0]]
        ax.plot(at, losses, color=color, linestyle=style, label=title)
    ax.axhline(2.303, color=MUTED, linewidth=1, linestyle=(0, (1, 1)))
    ax.annotate("guessing", (0, 2.303), (0, 4), color=MUTED, ha="center",
                textcoords="offset points")  # fmt: skip
    ax.set(xlabel="step (1 = as long as the weights)", ylabel="training loss")
    ax.set_yscale("log")
    fig.legend(loc="outside upper left", ncols=len(slices), columnspacing=1.2)
    return fig
