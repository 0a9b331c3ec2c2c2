"""Backward passes with their numbers: through a convolution and a max pooling.

Grids are drawn in inches with y growing downward, so that type has the same size
in every figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor
from torch.nn import functional as F

from course_book.figures import BLUE, GREEN, INK, MUTED, ORANGE, PINK, use_style
from course_lib.backprop import layers
from course_lib.dimensions import output_size

__all__ = ["draw_conv_backward", "draw_pooling_backward"]

CELL = 0.34  # side of a cell that holds a number of three characters
GAP, TOP, EDGE = 0.56, 0.36, 0.04
WINDOW_COLORS = (BLUE, ORANGE, GREEN, PINK)
TINT = "#d6e8f5"  # cells that hold what has come back


def draw_conv_backward(
    delta: Tensor,
    weight: Tensor,
    size: int,
    stride: int = 1,
    padding: int = 0,
    at: tuple[int, int] = (0, 0),
) -> Figure:
    """Draw ∂L/∂x as a convolution of the spread-out δ with the flipped kernel.

    From left to right: δ; δ with S − 1 zeros between its numbers and a ring of
    padding; ∂L/∂x. Below: the kernel, the same flipped, and the sum that makes one
    number of ∂L/∂x, which is outlined together with its window. Places that no
    window of the forward pass reads are hatched.

    Args:
        delta: ∂L/∂z of one channel, float tensor [M, M] of whole numbers.
        weight: kernel before it is flipped, float tensor [K, K] of whole numbers.
        size: N, rows and columns of the input.
        stride: S.
        padding: P, from 0 to K − 1.
        at: row and column of ∂L/∂x to outline.

    Raises:
        ValueError: if the sizes do not fit together, naming the argument.
    """
    kernel, rows = len(weight), len(delta)
    if weight.shape != (kernel, kernel) or delta.shape != (rows, rows):
        raise ValueError(
            "delta and weight must be square, got shapes "
            f"{list(delta.shape)} and {list(weight.shape)}"
        )
    if not 0 <= padding < kernel:
        raise ValueError(f"padding must be from 0 to {kernel - 1}, got {padding}")
    if output_size(size, kernel, stride, padding) != rows:
        raise ValueError(
            f"delta must have {output_size(size, kernel, stride, padding)} rows for "
            f"size={size}, kernel {kernel}, stride={stride}, padding={padding}, "
            f"got {rows}"
        )
    if not all(0 <= index < size for index in at):
        raise ValueError(f"at must lie from (0, 0) to {(size - 1, size - 1)}, got {at}")
    delta, weight = (t.detach().double().cpu() for t in (delta, weight))
    back, reached = (
        _input_gradient(d, w, size, stride, padding)
        for d, w in ((delta, weight), (delta * 0 + 1, weight * 0 + 1))
    )
    read = reached > 0

    ring = kernel - 1 - padding
    inner = (rows - 1) * stride + 1
    wide = size + kernel - 1  # ring, δ with zeros, what the floor dropped, ring
    below = 2 * TOP + wide * CELL
    axes = _inches(
        (rows + wide + size) * CELL + 2 * GAP + 2 * EDGE,
        below + kernel * CELL + EDGE,
    )

    _grid(axes, EDGE, TOP, "δ", delta, TINT)
    left = EDGE + rows * CELL + GAP
    _title(axes, left, TOP, "δ↑ and padding" if ring else "δ↑")
    spread = delta.new_zeros(wide, wide)
    places = range(ring, ring + inner, stride)
    for i in range(wide):
        for j in range(wide):
            u, v = i - ring, j - ring
            real = i in places and j in places
            if real:
                spread[i, j] = delta[u // stride, v // stride]
            padded = not (0 <= u < size - kernel + 1 + 2 * padding
                          and 0 <= v < size - kernel + 1 + 2 * padding)  # fmt: skip
            _cell(axes, left + j * CELL, TOP + i * CELL, spread[i, j],
                  TINT if real else "white", faint=not real, dashed=padded)  # fmt: skip
    _outline(axes, left + at[1] * CELL, TOP + at[0] * CELL, kernel, ORANGE)
    _arrow(axes, left - GAP, TOP + rows * CELL / 2)

    right = left + wide * CELL + GAP
    _title(axes, right, TOP, "∂L/∂x")
    for i in range(size):
        for j in range(size):
            _cell(axes, right + j * CELL, TOP + i * CELL, back[i, j], "white",
                  hatched=not read[i, j])  # fmt: skip
    _outline(axes, right + at[1] * CELL, TOP + at[0] * CELL, 1, ORANGE)
    _arrow(axes, right - GAP, TOP + size * CELL / 2)

    flipped = weight.flip(0, 1)
    _grid(axes, EDGE, below, "w", weight, "white")
    turned = EDGE + kernel * CELL + GAP
    _grid(axes, turned, below, "w, flipped" if kernel > 1 else "", flipped, "white")
    _outline(axes, turned, below, kernel, ORANGE)
    _arrow(axes, turned - GAP, below + kernel * CELL / 2)

    # The sum for the outlined number: only where the window meets a number of δ.
    terms = [
        (spread[at[0] + a, at[1] + b], flipped[a, b])
        for a in range(kernel)
        for b in range(kernel)
        if at[0] + a in places and at[1] + b in places
    ]
    products = " + ".join(
        f"{_signed(d, i)}·{_signed(w)}" for i, (d, w) in enumerate(terms)
    )
    values = " + ".join(_signed(d * w, i) for i, (d, w) in enumerate(terms))
    end = _signed(back[at])
    x, y = turned + kernel * CELL + 0.2, below + kernel * CELL / 2
    text = (
        f"{products}\n= {values} = {end}" if len(terms) > 1 else f"{products} = {end}"
    )
    axes.text(x, y, text, fontsize=11, color=ORANGE, va="center", linespacing=1.5)
    return axes.figure


def _signed(value: Tensor, place: int = 0) -> str:
    """A whole number; in brackets if it is negative and not the first of a sum."""
    text = f"{float(value):g}".replace("-", "−")
    return f"({text})" if value < 0 and place else text


def _input_gradient(
    delta: Tensor, weight: Tensor, size: int, stride: int, padding: int
) -> Tensor:
    """∂L/∂x [N, N] of a convolution with one channel."""
    x = delta.new_zeros(1, 1, size, size)
    _, saved = layers.conv2d_forward(
        x, weight[None, None], stride=stride, padding=padding
    )
    return layers.conv2d_backward(delta[None, None], saved)[0][0, 0]


def draw_pooling_backward(
    values: Tensor,
    delta: Tensor,
    windows: Sequence[tuple[int, int]] = ((0, 0), (0, 1), (1, 0), (1, 1)),
) -> Figure:
    """Draw how max pooling 3/2/1 hands each δ to the winner of its window.

    From left to right: the input with its ring, winners tinted and some windows
    outlined; δ, with the same outlines; ∂L/∂x.

    Args:
        values: input of one channel, float tensor [N, N] of whole numbers.
        delta: ∂L/∂y, float tensor [M, M] of whole numbers, M as 3/2/1 gives it.
        windows: rows and columns of the results to outline, at most four.

    Raises:
        ValueError: if the sizes do not fit together or there are too many windows.
    """
    size, rows = len(values), len(delta)
    expected = output_size(size, 3, 2, 1, kind="pool")
    if values.shape != (size, size) or delta.shape != (expected, expected):
        raise ValueError(
            f"values and delta must have shapes [N, N] and [M, M], M = {expected} for "
            f"N = {size}, got {list(values.shape)} and {list(delta.shape)}"
        )
    if len(windows) > len(WINDOW_COLORS) or any(
        not 0 <= index < rows for window in windows for index in window
    ):
        raise ValueError(
            f"windows must be up to {len(WINDOW_COLORS)} pairs from (0, 0) to "
            f"({rows - 1}, {rows - 1}), got {list(windows)}"
        )
    values, delta = (t.detach().double().cpu() for t in (values, delta))
    x = values[None, None]
    _, saved = layers.max_pool_forward(x, 3, stride=2, padding=1)
    back = layers.max_pool_backward(delta[None, None], saved)[0, 0]
    _, winner = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    won = set(winner.flatten().tolist())

    wide = size + 2
    axes = _inches(
        (wide + rows + size) * CELL + 2 * GAP + 2 * EDGE, TOP + wide * CELL + EDGE
    )
    _title(axes, EDGE, TOP, "x and its ring")
    for i in range(wide):
        for j in range(wide):
            inside = 0 < i <= size and 0 < j <= size
            value = values[i - 1, j - 1] if inside else None
            wins = inside and (i - 1) * size + j - 1 in won
            _cell(axes, EDGE + j * CELL, TOP + i * CELL, value,
                  TINT if wins else "white", dashed=not inside)  # fmt: skip
    middle, right = EDGE + wide * CELL + GAP, EDGE + (wide + rows) * CELL + 2 * GAP
    top = TOP + CELL
    _grid(axes, middle, top + CELL, "δ", delta, "white")
    _title(axes, right, top, "∂L/∂x")
    for i in range(size):
        for j in range(size):
            face = TINT if i * size + j in won else "white"
            _cell(axes, right + j * CELL, top + i * CELL, back[i, j], face)
    for (i, j), color in zip(windows, WINDOW_COLORS):
        place = EDGE + 2 * j * CELL, TOP + 2 * i * CELL
        inset = (0.015, 0.04)[(i + j) % 2]  # neighbors lie side by side
        _outline(axes, *place, 3, color, inset, lw=1.6)
        _outline(axes, middle + j * CELL, top + (i + 1) * CELL, 1, color, 0.03, lw=1.6)
    for start in (middle, right):
        _arrow(axes, start - GAP, top + size * CELL / 2)
    return axes.figure


def _inches(width: float, height: float) -> Axes:
    use_style()
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def _grid(
    axes: Axes, x: float, y: float, title: str, values: Tensor, face: str
) -> None:
    _title(axes, x, y, title)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            _cell(axes, x + j * CELL, y + i * CELL, value, face)


def _cell(
    axes: Axes,
    x: float,
    y: float,
    value: Tensor | float | None,
    face: str,
    faint: bool = False,
    dashed: bool = False,
    hatched: bool = False,
) -> None:
    """One square with a whole number; None is the ring of a max pooling."""
    axes.add_patch(
        Rectangle(
            (x, y),
            CELL,
            CELL,
            facecolor=face,
            edgecolor=MUTED if hatched else "#b6c0ca",
            lw=0.8,
            hatch="////" if hatched else None,
            ls=(0, (2, 2)) if dashed else "-",
            zorder=1,
        )
    )
    text = "−∞" if value is None else f"{float(value):g}".replace("-", "−")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if hatched else None
    axes.text(x + CELL / 2, y + CELL / 2, text, bbox=box, zorder=3,
              fontsize=8 if value is None else 10,
              color=MUTED if faint or value is None else INK,
              ha="center", va="center")  # fmt: skip


def _outline(
    axes: Axes,
    x: float,
    y: float,
    cells: int,
    color: str,
    inset: float = 0.0,
    lw: float = 2.2,
) -> None:
    side = cells * CELL - 2 * inset
    axes.add_patch(Rectangle((x + inset, y + inset), side, side, fill=False, lw=lw,
                             edgecolor=color, joinstyle="round", zorder=2))  # fmt: skip


def _title(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y - 0.16, text, fontsize=11.5, fontweight="bold", va="center")


def _arrow(axes: Axes, x: float, y: float) -> None:
    """An arrow across a gap that begins at x."""
    axes.add_patch(FancyArrowPatch((x + 0.1, y), (x + GAP - 0.1, y), color=INK, lw=1.5,
                                   arrowstyle="-|>", mutation_scale=11))  # fmt: skip
