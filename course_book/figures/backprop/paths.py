"""Backward passes as pictures: the paths through BN, the two ways of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from course_book.figures import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, use_style

__all__ = ["draw_bn_paths", "draw_branch_lengths", "draw_forgotten", "draw_kept"]


def draw_bn_paths() -> Figure:
    """Draw the ways from one value z to the loss through batch normalization.

    Arrows point forward; beside each stands its derivative, which the backward
    pass multiplies by. Blue is the direct path, orange the one through the mean,
    green the one through the variance.
    """
    use_style()
    figure = plt.figure(figsize=(6.3, 3.5), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 6.3), ylim=(3.5, 0))  # inches, y downward
    axes.axis("off")
    places = {
        r"$z_i$": (0.45, 1.75),
        r"$\mu$": (2.2, 0.55),
        r"$\sigma^2$": (2.2, 2.95),
        r"$\hat z_1$": (4.3, 0.55),
        r"$\hat z_i$": (4.3, 1.75),
        r"$\hat z_m$": (4.3, 2.95),
        r"$L$": (5.9, 1.75),
    }
    z, mu, var, *outputs, loss = places.values()
    _way(axes, z, outputs[1], BLUE, r"$1/s$", (-0.55, -0.17))
    _way(axes, z, mu, ORANGE, r"$1/m$", (-0.3, -0.16))
    _way(axes, z, var, GREEN, r"$2\,(z_i-\mu)/m$", (-0.62, 0.24))
    _way(axes, mu, var, MUTED, r"$0$", (-0.14, 0.42), dashed=True)
    for number, output in enumerate(outputs):
        first = number == 0, number == 2
        _way(axes, mu, output, ORANGE, r"$-1/s$" if first[0] else "", (0, -0.2))
        label = r"$-\hat z_m/(2s^2)$" if first[1] else ""
        _way(axes, var, output, GREEN, label, (0, 0.24))
        text = (r"$\gamma\,\delta_1$", r"$\gamma\,\delta_i$", r"$\gamma\,\delta_m$")
        shift = ((0.26, -0.12), (-0.02, -0.17), (0.28, 0.14))[number]
        _way(axes, output, loss, INK, text[number], shift)
    for name, (x, y) in places.items():
        axes.text(x, y, name, fontsize=15, ha="center", va="center", zorder=4,
                  bbox={"boxstyle": "circle,pad=0.28", "facecolor": "white",
                        "edgecolor": INK, "linewidth": 1.3})  # fmt: skip
    return figure


def draw_branch_lengths(lengths: Mapping[str, Sequence[float]]) -> Figure:
    """Bars: lengths of the gradients along the two ways of each unit.

    Args:
        lengths: for each unit's name the length along F, along the shortcut, and
            of their sum, all in one unit of measure.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(6.2, 3.2))
    kinds = (("along F", BLUE), ("along the shortcut", ORANGE), ("sum", FAINT))
    for column, (kind, color) in enumerate(kinds):
        heights = [values[column] for values in lengths.values()]
        places = [k + 0.27 * (column - 1) for k in range(len(lengths))]
        axes.bar(places, heights, width=0.25, color=color, label=kind,
                 edgecolor=MUTED if color == FAINT else color, lw=0.6)  # fmt: skip
    axes.set_xticks(range(len(lengths)), list(lengths))
    axes.set(xlabel="unit, from the input on", ylabel="length of the gradient")
    axes.grid(visible=False, axis="x")
    axes.legend()
    return figure


def draw_forgotten(errors: Mapping[str, float]) -> Figure:
    """Bars: relative error of ∂L/∂w of conv1, ResNet-18's 16 convolutions, and fc."""
    use_style()
    figure, axes = plt.subplots(figsize=(6.2, 3.0))
    axes.bar(range(len(errors)), [100 * error for error in errors.values()])
    stages = ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
    axes.set_xticks([0, 2.5, 6.5, 10.5, 14.5, 17], stages)
    axes.set(xlabel="layer, from the input on", ylabel="error of ∂L/∂w in %")
    axes.grid(visible=False, axis="x")
    return figure


def draw_kept(kept: Mapping[int, float]) -> Figure:
    """Dots: share of δ's length that BN passes on; the curve is √(1 − 2/m).

    Args:
        kept: the measured share, 0 to 1, by m, the number of values per channel.
    """
    use_style()
    figure, axes = plt.subplots()
    most = max(kept) - 2
    grid = [2 + most * (k / 500) ** 4 for k in range(501)]
    expected = [100 * (1 - 2 / m) ** 0.5 for m in grid]
    axes.plot(grid, expected, color=MUTED, lw=1.3)
    axes.plot(list(kept), [100 * v for v in kept.values()], "o", color=BLUE)
    axes.set(xscale="log", xticks=list(kept), xticklabels=list(kept), ylim=(-4, 104))
    axes.set(xlabel="values per channel, m", ylabel="length of δ kept in %")
    axes.minorticks_off()
    return figure


def _way(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    label: str,
    shift: tuple[float, float],
    dashed: bool = False,
) -> None:
    """An arrow between two circles, its label near its middle."""
    axes.add_patch(FancyArrowPatch(start, end, color=color, lw=1.8, shrinkA=17,
                                   shrinkB=17, arrowstyle="-|>", mutation_scale=12,
                                   ls="--" if dashed else "-", zorder=2))  # fmt: skip
    x, y = (start[0] + end[0]) / 2 + shift[0], (start[1] + end[1]) / 2 + shift[1]
    if label:
        axes.text(x, y, label, color=color, fontsize=12.5, ha="center", va="center",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
                  zorder=3)  # fmt: skip
