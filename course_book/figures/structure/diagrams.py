"""Diagrams of residual units, drawn from the modules themselves.

A unit is drawn from what its ``forward`` does (:mod:`.units`) and
from the attributes of its modules: a diagram cannot say anything that the code does
not do. All drawing is in inches, so that type has the same size everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from torch import nn

from course_book.figures import AMBER, BLUE, GREEN, INK, MUTED, ORANGE, use_style
from course_book.figures.structure.units import Operation, UnitFlow, unit_flow

__all__ = ["draw_units"]

COLORS = {"conv": BLUE, "norm": AMBER, "relu": GREEN, "other": MUTED}
# Sizes in inches; y grows downward.
BOX = 1.5  # width of a box
ARROW = 0.42  # length of an arrow that carries a shape
SHORT = 0.2  # length of one that does not
HEIGHTS = {"conv": 0.50, "norm": 0.27, "relu": 0.27, "other": 0.27}
GAP = 0.035  # between boxes of one stack
RADIUS = 0.13  # of the plus sign
FORK = 0.15  # from the top of a unit to where its shortcut leaves
OVERHANG = 0.34  # of a shape's label beyond the boxes, to the left
TITLE = 0.36  # height of the line of titles
LINE = {"color": INK, "linewidth": 1.5, "solid_capstyle": "round"}


def draw_units(
    units: Mapping[str, nn.Module], shape: Sequence[int] | Sequence[Sequence[int]]
) -> Figure:
    """Draw units side by side: boxes with (K×K, S, P), shapes along the arrows.

    Boxes that touch are one operation (convolution, BN, ReLU). Two units fit a
    page's width.

    Args:
        units: title → unit, as for :func:`unit_flow`.
        shape: channels, height and width of the input; or one such shape per
            unit.

    Raises:
        ValueError: as :func:`unit_flow`; or if the number of shapes differs
            from the number of units.
    """
    use_style()
    shapes = list(shape)
    if not shapes or not isinstance(shapes[0], Sequence):
        shapes = [tuple(shape)] * len(units)
    if len(shapes) != len(units) or not units:
        raise ValueError(f"got {len(units)} units but {len(shapes)} input shapes")
    flows = [unit_flow(unit, size) for unit, size in zip(units.values(), shapes)]
    widths = [_width(flow) for flow in flows]
    between = 0.22
    figure = plt.figure(layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    left, ends = 0.0, []
    for title, flow, width in zip(units, flows, widths):
        axes.text(
            left + OVERHANG,
            TITLE / 2 - 0.03,
            title,
            fontsize=11.5,
            fontweight="bold",
            va="center",
        )
        ends.append(_draw(axes, flow, left, TITLE))
        left += width + between
    size = (left - between + 0.04, max(ends) + 0.05)
    figure.set_size_inches(size)
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    return figure


def _stacks(steps: Sequence[Operation]) -> list[list[Operation]]:
    """A convolution and what follows it, up to the next convolution."""
    stacks: list[list[Operation]] = []
    for step in steps:
        if step.kind == "conv" or not stacks:
            stacks.append([])
        stacks[-1].append(step)
    return stacks


def _stack_height(stack: Sequence[Operation]) -> float:
    return sum(HEIGHTS[step.kind] for step in stack) + GAP * (len(stack) - 1)


def _width(flow: UnitFlow) -> float:
    if flow.shortcut is None:
        return OVERHANG + BOX
    return OVERHANG + BOX + (0.24 + BOX if flow.shortcut else 0.72)


def _draw(axes: Axes, flow: UnitFlow, left: float, top: float) -> float:
    """Draw one unit and return its lower end."""
    center = left + OVERHANG + BOX / 2
    y, shape = top, flow.input_shape
    length = ARROW + FORK
    axes.text(center + 0.09, top + 0.04, "x", style="italic", va="center")
    for stack in _stacks(flow.main):
        _arrow(axes, center, y, y + length, shape)
        y = _boxes(axes, stack, center, y + length)
        shape, length = stack[-1].shape, ARROW
    _arrow(axes, center, y, y + ARROW, shape)
    y += ARROW
    if flow.shortcut is None:
        return y
    axes.text(center + 0.09, y - ARROW / 2, "F(x)", style="italic", va="center")
    y += RADIUS
    _shortcut(axes, flow.shortcut, center, top + FORK, y)
    axes.add_patch(
        Circle((center, y), RADIUS, facecolor="white", edgecolor=ORANGE, lw=2)
    )
    for dx, dy in ((0.07, 0), (0, 0.07)):
        axes.plot([center - dx, center + dx], [y - dy, y + dy], color=ORANGE, lw=2)
    y += RADIUS
    if flow.after:
        _arrow(axes, center, y, y + SHORT)
        y = _boxes(axes, flow.after, center, y + SHORT)
    _arrow(axes, center, y, y + ARROW, flow.output_shape)
    return y + ARROW


def _shortcut(
    axes: Axes, steps: Sequence[Operation], center: float, fork: float, meet: float
) -> None:
    """From the fork on the input's arrow, around the boxes, into the plus."""
    x = center + BOX + 0.24 if steps else center + BOX / 2 + 0.3
    end = center + RADIUS + 0.02
    axes.plot(center, fork, "o", color=INK, markersize=5)
    _head(axes, (end + 0.1, meet), (end, meet))
    middle = (fork + meet) / 2
    if not steps:
        path = ([center, x, x, end + 0.08], [fork, fork, meet, meet])
        axes.plot(*path, **LINE, zorder=1)
        axes.text(x + 0.06, middle, "identity", color=MUTED, rotation=270, va="center")
        return
    top = middle - _stack_height(steps) / 2
    axes.plot([center, x, x], [fork, fork, top - 0.26], **LINE, zorder=1)
    axes.text(x, top - 0.14, "downsample", color=MUTED, ha="center", va="center")
    bottom = _boxes(axes, steps, x, top)
    axes.plot([x, x, end + 0.08], [bottom, meet, meet], **LINE, zorder=1)
    axes.text(
        (end + x) / 2 + 0.06,
        meet - 0.13,
        _brackets(steps[-1].shape),
        color=MUTED,
        fontsize=10,
        ha="center",
        va="center",
    )


def _boxes(axes: Axes, stack: Sequence[Operation], center: float, top: float) -> float:
    """Draw a stack of boxes and return its lower end."""
    for step in stack:
        height = HEIGHTS[step.kind]
        pad = 0.05
        axes.add_patch(
            FancyBboxPatch(
                (center - BOX / 2 + pad, top + pad),
                BOX - 2 * pad,
                height - 2 * pad,
                boxstyle=f"round,pad={pad},rounding_size=0.06",
                facecolor=_tint(COLORS[step.kind]),
                edgecolor=COLORS[step.kind],
                linewidth=1.3,
                zorder=2,
            )
        )
        middle = top + height / 2
        if step.kind == "conv":
            name = "" if "." in step.name else f"{step.name}: "
            axes.text(
                center,
                middle - 0.1,
                step.text,
                fontweight="bold",
                ha="center",
                va="center",
            )
            axes.text(
                center,
                middle + 0.11,
                name + step.channels,
                fontsize=10,
                ha="center",
                va="center",
            )
        else:
            axes.text(center, middle, step.text, ha="center", va="center_baseline")
        top += height + GAP
    return top - GAP


def _arrow(
    axes: Axes,
    x: float,
    top: float,
    bottom: float,
    shape: Sequence[int] | None = None,
) -> None:
    axes.plot([x, x], [top, bottom - 0.06], **LINE, zorder=1)
    _head(axes, (x, bottom - 0.1), (x, bottom))
    if shape is not None:
        axes.text(
            x - 0.09,
            bottom - ARROW / 2 - 0.01,
            _brackets(shape),
            color=MUTED,
            fontsize=10,
            ha="right",
            va="center",
        )


def _brackets(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _head(axes: Axes, tail: tuple[float, float], tip: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=tip,
        xytext=tail,
        arrowprops={
            "arrowstyle": "-|>,head_length=0.32,head_width=0.16",
            "color": INK,
            "linewidth": 1.5,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _tint(color: str) -> tuple[float, ...]:
    """The color at 14 % on white."""
    rgb = to_rgb(color)
    return tuple(1 - 0.14 * (1 - part) for part in rgb)
