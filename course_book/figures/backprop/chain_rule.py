"""Figures of backpropagation: a graph with its numbers, and gradients over depth.

All drawing of the graph is in inches with y growing downward, so that type has
the same size in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from course_book.figures import BLUE, GREEN, INK, ORANGE, use_style

__all__ = ["GraphNode", "draw_five_layers", "draw_graph", "draw_layers"]

RADIUS = 0.2  # of an operation
STEP = 0.98  # from one operation to the next
LINE = 0.17  # height of a line of type
ARROW = {"color": INK, "linewidth": 1.4}
STYLES = (  # of curves side by side, distinguishable without color
    {"color": GREEN, "linestyle": (0, (4, 1.5))},
    {"color": BLUE, "linestyle": "-"},
    {"color": ORANGE, "linestyle": (0, (1, 1))},
)


class GraphNode(Protocol):
    """One number of a computation: an input, or the result of an operation."""

    name: str  # of the number
    sign: str  # of the operation, "" for an input
    value: float
    gradient: float  # of the last number by this one
    parents: Sequence[GraphNode]  # the numbers it was computed from
    slopes: Sequence[float]  # its derivative by each parent


def draw_graph(nodes: Sequence[GraphNode]) -> Figure:
    """Draw a computation with its values above the edges and gradients below.

    The operations stand in a row. The first input of the first one comes from
    the left, every other input from above; an input that is used again runs
    below the row, and its gradient is written as the sum of what comes back.

    Args:
        nodes: each after its parents, inputs and operations mixed; every
            operation after the first has the one before it among its parents.
            The last one is the result, whose gradient is 1.

    Raises:
        ValueError: if the operations do not form such a row.
    """
    operations = [node for node in nodes if node.parents]
    _check(nodes, operations)
    use_style()
    left, row, below = 0.4, 1.32, 1.28
    centers = {id(n): left + 1.0 + k * STEP for k, n in enumerate(operations)}
    end = left + 1.0 + (len(operations) - 1) * STEP
    again = any(len(_uses(n, operations)) > 1 for n in nodes if not n.parents)
    axes = _inches(end + 0.95, row + (below if again else 0.6))

    placed: set[int] = set()
    for before, node in pairwise([None, *operations]):
        x = centers[id(node)]
        for parent, slope in zip(node.parents, node.slopes):
            flow = slope * node.gradient
            if parent is before:
                start = centers[id(parent)] + RADIUS
                _edge(axes, (start, row), (x - RADIUS, row), parent, flow)
            elif id(parent) in placed:
                _detour(axes, parent, node, left, x, row, flow)
            elif before is None and not placed:
                axes.text(left - 0.16, row, parent.name, **_math(), ha="right")
                axes.plot([left - 0.08, left + 0.2], [row, row], **ARROW)
                _edge(axes, (left + 0.12, row), (x - RADIUS, row), parent, flow)
                placed.add(id(parent))
            else:
                _from_above(axes, parent, x, row, flow)
                placed.add(id(parent))
        axes.add_patch(
            Circle((x, row), RADIUS, facecolor="white", edgecolor=INK, lw=1.4)
        )
        axes.text(x, row, node.sign, ha="center", va="center", fontsize=11)
    last = operations[-1]
    _edge(axes, (end + RADIUS, row), (end + 0.85, row), last, last.gradient)
    for node in nodes:
        _sum(axes, node, operations, left, row)
    return axes.figure


def _check(nodes: Sequence[GraphNode], operations: Sequence[GraphNode]) -> None:
    if not operations or nodes[-1] is not operations[-1]:
        raise ValueError("nodes must end with an operation, the result")
    for before, node in pairwise(operations):
        if not any(parent is before for parent in node.parents):
            raise ValueError(
                f"{node.name} must be computed from {before.name}, the operation "
                "before it: only a row of operations can be drawn"
            )
        others = [p for p in node.parents if p is not before]
        if len(others) > 1 or any(p.parents for p in others):
            raise ValueError(
                f"{node.name} may have one input besides {before.name}, got "
                f"{[p.name for p in others]}"
            )
    if len(operations[0].parents) > 2:
        raise ValueError(f"{operations[0].name} may have at most two inputs")


def _uses(node: GraphNode, operations: Sequence[GraphNode]) -> list[float]:
    """What comes back to a number from each operation that uses it."""
    return [
        slope * user.gradient
        for user in operations
        for parent, slope in zip(user.parents, user.slopes)
        if parent is node
    ]


def _edge(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    source: GraphNode,
    flow: float,
) -> None:
    """A level arrow: name and value of its source above, gradient below."""
    _arrow(axes, start, end)
    middle, y = (start[0] + end[0]) / 2 - 0.03, start[1]
    if source.parents:
        axes.text(middle, y - 0.13 - LINE, source.name, **_math(), ha="center")
    axes.text(middle, y - 0.12, number(source.value), **_type(BLUE), ha="center")
    axes.text(middle, y + 0.14, number(flow), **_type(ORANGE), ha="center")


def _from_above(
    axes: Axes, source: GraphNode, x: float, row: float, flow: float
) -> None:
    axes.text(x, 0.12, source.name, **_math(), ha="center")
    axes.text(x, 0.12 + LINE + 0.02, number(source.value), **_type(BLUE), ha="center")
    _arrow(axes, (x, 0.42), (x, row - RADIUS))
    axes.text(x + 0.06, 0.62, number(flow), **_type(ORANGE), ha="left")


def _detour(
    axes: Axes,
    source: GraphNode,
    node: GraphNode,
    left: float,
    x: float,
    row: float,
    flow: float,
) -> None:
    """The second use of an input: around the operations between, below them."""
    low = row + 0.62
    axes.plot([left + 0.04, left + 0.04, x, x], [row, low, low, row + RADIUS + 0.1],
              **ARROW, solid_joinstyle="round")  # fmt: skip
    axes.plot(left + 0.04, row, "o", color=INK, markersize=5)
    _arrow(axes, (x, low), (x, row + RADIUS))
    middle = (left + x) / 2
    axes.text(middle, low - 0.12, number(source.value), **_type(BLUE), ha="center")
    axes.text(middle, low + 0.14, number(flow), **_type(ORANGE), ha="center")


def _sum(
    axes: Axes,
    node: GraphNode,
    operations: Sequence[GraphNode],
    left: float,
    row: float,
) -> None:
    """Below the figure, the gradient of an input that is used more than once."""
    flows = _uses(node, operations)
    if node.parents or len(flows) < 2:
        return
    terms = " + ".join(f"({number(f)})" if f < 0 else number(f) for f in flows)
    text = f"gradient of {node.name}:  {terms} = {number(node.gradient)}"
    axes.text(left, row + 1.06, text, **_type(ORANGE), ha="left")


def number(value: float) -> str:
    """A number as the figures write it: three decimals, a true minus sign."""
    return f"{value:.3f}".replace("-", "−")


def _type(color: str) -> dict[str, object]:
    return {"color": color, "fontsize": 10, "va": "center"}


def _math() -> dict[str, object]:
    return {"color": INK, "fontsize": 11, "va": "center", "style": "italic"}


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **ARROW},
    )


def _inches(width: float, height: float) -> Axes:
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def draw_layers(
    panels: Mapping[str, Mapping[str, Sequence[float]]], *, ylabel: str
) -> Figure:
    """One size per layer, layer 1 at the left, one panel per title.

    Args:
        panels: by title, then by the name of a curve, one size per layer.
        ylabel: of the common logarithmic axis.
    """
    use_style()
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(6.4, 3.5)
    )
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for (name, sizes), style in zip(curves.items(), STYLES):
            ax.plot(range(1, len(sizes) + 1), sizes, label=name, **style)
        ax.set(title=title, xlabel="layer, 1 = at the input", yscale="log")
        ax.legend(handlelength=1.6, labelspacing=0.3)
    axes[0][0].set(ylabel=ylabel)
    return fig


def draw_five_layers(
    chains: Mapping[str, Sequence[float]],
    slope: tuple[Sequence[float], Sequence[float]],
) -> Figure:
    """Left the size of δ per layer of some chains, right one chain's slope.

    Args:
        chains: one size per layer, layer 1 first, by the chain's name.
        slope: inputs of the first of these chains, and the derivative of its
            output at each.
    """
    use_style()
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), width_ratios=(1.15, 1))
    for (name, sizes), style in zip(chains.items(), STYLES):
        layers = range(1, len(sizes) + 1)
        left.plot(layers, sizes, marker="o", markersize=4, label=name, **style)
    left.set(xlabel="layer, 1 = at the input", ylabel="size of δ", yscale="log")
    left.set(title="Five sigmoids", xticks=layers)
    left.legend(loc="center left", handlelength=1.6, labelspacing=0.3)
    right.plot(*slope, color=GREEN)
    right.set(title=next(iter(chains)), xlabel="input $a_0$")
    right.set(ylabel=r"slope $\partial a_5 / \partial a_0$", ylim=(0, None))
    return fig
