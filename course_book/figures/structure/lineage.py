"""A timeline of residual units, each drawn as what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from course_book.figures import AMBER, BLUE, GREEN, INK, MUTED, ORANGE, use_style

__all__ = ["STEPS", "Step", "draw_timeline"]

COLORS = {"start": MUTED, "unit": BLUE, "training": ORANGE}
WIDTH = 5.55  # inches: narrow, so that a phone shrinks it little
ROW = 0.6  # inches of an entry
TEXT = 0.86  # where its words begin
UNIT = 4.12  # where its drawing begins
DROP = 0.27  # from the shortcut down to the branch


@dataclass(frozen=True)
class Step:
    """One entry: what came, what it was about, and the drawing that shows it."""

    year: int
    name: str
    about: Literal["start", "unit", "training"]
    change: str
    unit: str  # a key of ``_UNITS``


STEPS = (
    Step(2010, "Glorot", "start", "weights that keep a tanh layer's variance",
         "layer"),
    Step(2015, "He", "start", "the same for ReLU: twice the variance", "layer"),
    Step(2015, "Highway", "unit", "a learned gate mixes branch and input", "gate"),
    Step(2015, "ResNet", "unit", "the gate is gone: x + F(x)", "resnet"),
    Step(2016, "Pre-activation", "unit", "BN and ReLU move into the branch", "pre"),
    Step(2016, "ResNeXt", "unit", "the 3 × 3 works in 32 separate groups", "groups"),
    Step(2017, "Transformer", "unit", "x + F(x) for words; the norm moves inside",
         "norm"),
    Step(2017, "Squeeze-and-excitation", "unit",
         "one factor per channel multiplies F(x)", "scale"),
    Step(2018, "ResNet-D", "unit", "the projection averages before it skips", "pool"),
    Step(2021, "RepVGG", "unit", "three branches, fused after training", "fuse"),
    Step(2021, "ResNet-RS, ResNet strikes back", "training",
         "old units, new training recipes", "same"),
    Step(2022, "ConvNeXt", "unit", "a Transformer's block of convolutions", "wide"),
)  # fmt: skip


def draw_timeline(steps: Sequence[Step] = STEPS) -> Figure:
    """The steps one below the other, with the unit that each of them made.

    In the drawings the shortcut is the straight line and the branch hangs below it.
    """
    use_style()
    height = ROW * len(steps) + 0.1
    figure = plt.figure(figsize=(WIDTH, height), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(height, 0))
    ax.axis("off")
    ys = [0.05 + ROW * (k + 0.5) for k in range(len(steps))]
    ax.plot([0.66, 0.66], [ys[0], ys[-1]], color=MUTED, linewidth=1.5)
    for k, (step, y) in enumerate(zip(steps, ys)):
        color = COLORS[step.about]
        if k == 0 or step.year != steps[k - 1].year:
            ax.text(0.47, y, str(step.year), ha="right", va="center", color=MUTED)
        ax.plot(0.66, y, "o", color=color, markersize=9)
        ax.text(TEXT, y - 0.11, step.name, color=color, fontsize=11.5,
                fontweight="bold", va="center")  # fmt: skip
        ax.text(TEXT, y + 0.12, step.change, va="center")
        _UNITS[step.unit](ax, y - 0.13)
    return figure


def _line(ax: Axes, xs: Sequence[float], ys: Sequence[float], color: str) -> None:
    ax.plot([UNIT + x for x in xs], ys, color=color, linewidth=1.6, zorder=1)


def _box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    text: str = "",
    color: str = BLUE,
    height: float = 0.2,
) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (UNIT + x + 0.03, y - height / 2 + 0.03),
            width - 0.06,
            height - 0.06,
            boxstyle="round,pad=0.03",
            facecolor="white",
            edgecolor=color,
            linewidth=1.4,
            zorder=2,
        )
    )
    ax.text(UNIT + x + width / 2, y, text, color=color, fontsize=10, ha="center",
            va="center_baseline", zorder=3)  # fmt: skip


def _sign(ax: Axes, x: float, y: float, sign: str, color: str = ORANGE) -> None:
    ax.add_patch(
        Circle((UNIT + x, y), 0.085, facecolor="white", edgecolor=color, lw=1.5,
               zorder=2)
    )  # fmt: skip
    ax.text(UNIT + x, y, sign, color=color, fontsize=10, ha="center",
            va="center_baseline", zorder=3)  # fmt: skip


def _relu(ax: Axes, x: float, y: float) -> None:
    ax.plot(UNIT + x, y, "o", color=GREEN, markersize=7, zorder=2)


def _stream(ax: Axes, y: float, color: str = INK) -> None:
    """The shortcut, and a branch below it that ends in an addition."""
    _line(ax, (0, 1.38), (y, y), color)
    _line(ax, (0.1, 0.1, 1.1, 1.1), (y, y + DROP, y + DROP, y), color)
    _sign(ax, 1.1, y, "+", ORANGE if color == INK else color)


def _layer(ax: Axes, y: float) -> None:
    _line(ax, (0, 1.38), (y + DROP / 2, y + DROP / 2), INK)
    _box(ax, 0.35, y + DROP / 2, 0.6, "W")
    _relu(ax, 1.15, y + DROP / 2)


def _gate(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _box(ax, 0.2, y + DROP, 0.36, "F")
    _sign(ax, 0.83, y + DROP, "T")
    _box(ax, 0.42, y, 0.5, "1 − T", ORANGE)


def _resnet(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _box(ax, 0.28, y + DROP, 0.64, "F")
    _relu(ax, 1.28, y)


def _pre(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _relu(ax, 0.27, y + DROP)
    _box(ax, 0.42, y + DROP, 0.5, "F")


def _groups(ax: Axes, y: float) -> None:
    _stream(ax, y)
    for k in (-1, 0, 1):
        _box(ax, 0.28, y + DROP + 0.1 * k, 0.64, height=0.075)
    _relu(ax, 1.28, y)


def _norm(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _box(ax, 0.18, y + DROP, 0.47, "norm", AMBER)
    _box(ax, 0.7, y + DROP, 0.3, "F")


def _scale(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _box(ax, 0.22, y + DROP, 0.4, "F")
    _sign(ax, 0.83, y + DROP, "×", AMBER)
    _relu(ax, 1.28, y)


def _pool(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _box(ax, 0.2, y, 0.37, "avg", AMBER)
    _box(ax, 0.6, y, 0.37, "1×1")
    _box(ax, 0.28, y + DROP, 0.64, "F")
    _relu(ax, 1.28, y)


def _fuse(ax: Axes, y: float) -> None:
    middle = y + DROP / 2
    _line(ax, (0, 1.38), (middle, middle), INK)
    _line(ax, (0.05, 0.05, 0.48, 0.48, 0.05), (y, y + DROP, y + DROP, y, y), INK)
    for k, text in enumerate(("3×3", "1×1")):
        _box(ax, 0.1, y + k * DROP, 0.33, text)
    ax.text(UNIT + 0.63, middle - 0.02, "→", ha="center", va="center_baseline",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    _box(ax, 0.82, middle, 0.36, "3×3")
    _relu(ax, 1.28, middle)


def _same(ax: Axes, y: float) -> None:
    _stream(ax, y, MUTED)
    _box(ax, 0.28, y + DROP, 0.64, "F", MUTED)
    ax.plot(UNIT + 1.28, y, "o", color=MUTED, markersize=7, zorder=2)


def _wide(ax: Axes, y: float) -> None:
    _stream(ax, y)
    _box(ax, 0.14, y + DROP, 0.32, "7×7")
    _box(ax, 0.48, y + DROP, 0.3, "n.", AMBER)
    _box(ax, 0.8, y + DROP, 0.24, "F")


_UNITS = {
    "layer": _layer,
    "gate": _gate,
    "resnet": _resnet,
    "pre": _pre,
    "groups": _groups,
    "norm": _norm,
    "scale": _scale,
    "pool": _pool,
    "fuse": _fuse,
    "same": _same,
    "wide": _wide,
}
