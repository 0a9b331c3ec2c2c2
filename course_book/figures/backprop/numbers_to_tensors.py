"""A row of operations on tensors, with the values and the gradients between them.

All drawing is in inches with y growing downward, so that type has the same size in
every figure.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from course_book.figures import BLUE, INK, ORANGE, use_style
from course_lib.backprop.autograd import Value, undo_broadcast

__all__ = ["draw_tensor_graph", "matrix"]

RADIUS, STEP, LINE = 0.19, 0.94, 0.165
LEFT, TOP = 0.22, 0.14
ARROW = {"color": INK, "linewidth": 1.4}


def draw_tensor_graph(values: Mapping[str, Value]) -> Figure:
    """Values above the arrows, what comes back along each of them below.

    Every operation after the first uses the one before it. Its other parent comes from
    above, or, if it was drawn already, from the left along a line below the row; then
    the figure ends with the sum of what comes back to it.

    Args:
        values: by name, each after its parents, the loss last, after backward.
    """
    use_style()
    names = {id(value): name for name, value in values.items()}
    row_of = [value for value in values.values() if value.parents]
    lines = max(len(matrix(value.data).splitlines()) for value in values.values())
    height = lines * LINE
    row = TOP + 2.4 * height + 0.62
    low = row + 2 * height + 0.3
    axes = _inches(LEFT + STEP * len(row_of) + 0.54, low + 1.6 * height)

    drawn: set[int] = set()
    shares: dict[int, list[Tensor]] = {}
    for k, value in enumerate(row_of, 1):
        x, before = LEFT + k * STEP, row_of[k - 2] if k > 1 else None
        for parent, share in value.parents:
            back = undo_broadcast(share(value.grad), parent.data.shape)
            shares.setdefault(id(parent), []).append(back)
            name = names[id(parent)]
            if parent is before or (before is None and not drawn):
                _edge(
                    axes,
                    x - STEP + (RADIUS if before else 0),
                    x - RADIUS,
                    row,
                    name,
                    parent.data,
                    back,
                )
            elif id(parent) in drawn:
                _below(axes, x, row, low, parent.data, back)
            else:
                _from_above(axes, x, row, name, parent.data, back)
            drawn.add(id(parent))
        axes.add_patch(Circle((x, row), RADIUS, facecolor="white", edgecolor=INK))
        axes.text(x, row, value.op, ha="center", va="center", fontsize=9.5)
    loss = row_of[-1]
    _edge(axes, x + RADIUS, x + 0.5, row, names[id(loss)], loss.data, loss.grad)
    for value in values.values():
        if len(shares.get(id(value), [])) > 1:
            _sum(axes, names[id(value)], shares[id(value)], value.grad, low + height)
    return axes.figure


def matrix(tensor: Tensor) -> str:
    """A number, a row, or rows below each other, in columns, with true minus signs."""
    rows = tensor.reshape(-1, tensor.shape[-1] if tensor.ndim else 1).tolist()
    cells = [[f"{value + 0.0:g}".replace("-", "−") for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = (" ".join(map(str.rjust, row, widths)) for row in cells)
    return "\n".join(lines)


def _edge(
    axes: Axes,
    left: float,
    right: float,
    y: float,
    name: str,
    data: Tensor,
    back: Tensor,
) -> None:
    _arrow(axes, (left, y), (right, y))
    middle = (left + right) / 2 - 0.02
    _type(axes, middle, y - 0.07, matrix(data), BLUE, va="bottom")
    above = y - 0.1 - LINE * len(matrix(data).splitlines())
    _name(axes, middle, above, name)
    _type(axes, middle, y + 0.07, matrix(back), ORANGE, va="top")


def _from_above(
    axes: Axes, x: float, row: float, name: str, data: Tensor, back: Tensor
) -> None:
    _name(axes, x, TOP + 0.06, name)
    _type(axes, x, TOP + 0.08, matrix(data), BLUE, va="top")
    start = TOP + 0.14 + LINE * len(matrix(data).splitlines())
    _arrow(axes, (x, start), (x, row - RADIUS))
    _type(axes, x + 0.06, start + 0.04, matrix(back), ORANGE, va="top", ha="left")


def _below(
    axes: Axes, x: float, row: float, low: float, data: Tensor, back: Tensor
) -> None:
    """A second use of the value at the left end: around the row, below it."""
    axes.plot([LEFT, LEFT, x, x], [row, low, low, row + RADIUS + 0.1], **ARROW)
    axes.plot(LEFT, row, "o", color=INK, markersize=5)
    _arrow(axes, (x, low), (x, row + RADIUS))
    middle = (LEFT + x) / 2
    _type(axes, middle - 0.1, low - 0.05, matrix(data), BLUE, va="bottom", ha="right")
    _type(axes, middle + 0.1, low - 0.05, matrix(back), ORANGE, va="bottom", ha="left")


def _sum(axes: Axes, name: str, shares: list[Tensor], total: Tensor, y: float) -> None:
    words = axes.text(LEFT, y, f"gradient of {name}:", color=ORANGE, va="center")
    x = LEFT + words.get_window_extent().width / axes.figure.dpi + 0.15
    signs = ["", *["+"] * (len(shares) - 1), "="]
    for sign, tensor in zip(signs, [*shares, total]):
        for text in (sign, matrix(tensor)) if sign else (matrix(tensor),):
            drawn = _type(axes, x, y, text, ORANGE, va="center", ha="left")
            x += drawn.get_window_extent().width / axes.figure.dpi + 0.15


def _type(axes: Axes, x: float, y: float, text: str, color: str, **place: str):  # noqa: ANN202
    place = {"ha": "center", "family": "DejaVu Sans Mono", **place}
    return axes.text(x, y, text, color=color, fontsize=10, linespacing=1.1, **place)


def _name(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, ha="center", va="bottom", fontsize=11, style="italic")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **ARROW}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _inches(width: float, height: float) -> Axes:
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes
