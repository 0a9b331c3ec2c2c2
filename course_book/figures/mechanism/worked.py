"""Worked numbers: small tensors drawn as grids, with their values written in.

All drawing is in inches with y growing downward, so that type has the same size
in every figure. Colors are light tints on white: dark numbers stay readable.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from course_book.figures import BLUE, GREEN, INK, MUTED, ORANGE, PINK, use_style

__all__ = ["draw_max_pooling", "draw_products"]

CELL = 0.47  # side of a cell that holds a number of four characters
WINDOW_COLORS = (BLUE, ORANGE, GREEN, PINK)
SIGNED = LinearSegmentedColormap.from_list("signed", [ORANGE, "white", BLUE])


def draw_max_pooling(
    values: Tensor,
    windows: Sequence[tuple[int, int]] = ((0, 0), (0, 1), (2, 1)),
    kernel: int = 3,
    stride: int = 2,
    padding: int = 1,
) -> Figure:
    """Draw the upper left corner of a map, some pooling windows, and the result.

    Args:
        values: float tensor [H, W] on any device; its first rows and columns
            are drawn, as many as three windows in each direction read.
        windows: rows and columns of the results to outline, at most four, each
            from (0, 0) to (2, 2).
        kernel: K, side of a window.
        stride: S, step between windows.
        padding: P, ring of padding around the map.

    Raises:
        ValueError: if the map is too small or a window outside 0 ... 2.
    """
    count = 3  # results in each direction
    side = (count - 1) * stride + kernel  # rows that they read, padding included
    rows = side - padding
    if values.ndim != 2 or min(values.shape) < rows:
        raise ValueError(
            f"values must have shape [H, W] of at least [{rows}, {rows}], got "
            f"{list(values.shape)}"
        )
    if len(windows) > len(WINDOW_COLORS) or any(
        not 0 <= index < count for window in windows for index in window
    ):
        raise ValueError(
            f"windows must be up to {len(WINDOW_COLORS)} pairs from (0, 0) to "
            f"({count - 1}, {count - 1}), got {list(windows)}"
        )
    use_style()
    corner = values[:rows, :rows].detach().float().cpu()
    result = F.max_pool2d(corner[None, None], kernel, stride, padding)[0, 0]
    result = result[:count, :count]
    top, gap = 0.42, 0.75
    axes = _inches(side * CELL + gap + count * CELL + 0.06, top + side * CELL + 0.06)

    high = float(corner.abs().max()) or 1.0
    for i in range(side):
        for j in range(side):
            inside = i >= padding and j >= padding
            value = corner[i - padding, j - padding] if inside else None
            _cell(axes, 0.03 + j * CELL, top + i * CELL, value, high)
    right, middle = 0.03 + side * CELL + gap, top + (side - count) / 2 * CELL
    for i in range(count):
        for j in range(count):
            _cell(axes, right + j * CELL, middle + i * CELL, result[i, j], high)

    for (i, j), color in zip(windows, WINDOW_COLORS):
        inset = 0.03 + 0.015 * WINDOW_COLORS.index(color)
        _outline(axes, 0.03 + j * stride * CELL, top + i * stride * CELL,
                 kernel * CELL, color, inset)  # fmt: skip
        _outline(axes, right + j * CELL, middle + i * CELL, CELL, color, 0.03)
    start = 0.03 + side * CELL
    _arrow(axes, (start + 0.12, top + side * CELL / 2), (right - 0.1, None))
    axes.text(start + gap / 2, top + side * CELL / 2 - 0.18, "max", ha="center")
    _title(axes, 0.03, "map with its padding")
    _title(axes, right, "pooled", y=middle - 0.2)
    return axes.figure


def draw_products(patch: Tensor, kernel: Tensor, names: Sequence[str]) -> Figure:
    """Draw a window, the kernel and their products, one row per input channel.

    The numbers of one convolution output: the sum of all squares of the last
    column is the value. Blue is positive, orange negative; windows and products
    share one color scale each, over all rows.

    Args:
        patch: what the window reads, float tensor [C, K, K].
        kernel: weights of one output channel, float tensor [C, K, K].
        names: one name per channel.

    Raises:
        ValueError: if the shapes differ or names are missing.
    """
    if patch.ndim != 3 or patch.shape != kernel.shape or len(names) != len(patch):
        raise ValueError(
            "patch and kernel must have one shape [C, K, K] and names C entries, "
            f"got {list(patch.shape)}, {list(kernel.shape)} and {len(names)} names"
        )
    use_style()
    patch, kernel = (t.detach().float().cpu() for t in (patch, kernel))
    parts = {"window": patch, "kernel": kernel, "product": patch * kernel}
    side, gap, label, sums, top = 1.3, 0.34, 0.62, 1.0, 0.36
    below = 0.32
    height = top + len(names) * (side + 0.14) + below
    axes = _inches(label + 3 * side + 2 * gap + sums, height)
    for column, (title, values) in enumerate(parts.items()):
        left = label + column * (side + gap)
        _title(axes, left, title)
        high = float(values.abs().max()) or 1.0
        for row, square in enumerate(values):
            y = top + row * (side + 0.14)
            cell = side / len(square)
            for i, line in enumerate(square):
                for j, value in enumerate(line):
                    _cell(axes, left + j * cell, y + i * cell, value, high, cell,
                          write=False)  # fmt: skip
            sign = {0: "×", 1: "=", 2: ""}[column]
            axes.text(left + side + gap / 2, y + side / 2, sign, fontsize=14,
                      ha="center", va="center")  # fmt: skip
    end = label + 3 * side + 2 * gap
    _title(axes, end + 0.14, "sum")
    for row, name in enumerate(names):
        y = top + row * (side + 0.14) + side / 2
        axes.text(0, y, name, fontweight="bold", va="center")
        total = float(parts["product"][row].sum())
        axes.text(end + sums - 0.1, y, _signed(total), ha="right", va="center")
    y = height - below / 2
    axes.plot([end + 0.14, end + sums - 0.06], [height - below] * 2, color=INK, lw=1)
    total = float(parts["product"].sum())
    axes.text(end + sums - 0.1, y, _signed(total), fontweight="bold", ha="right",
              va="center")  # fmt: skip
    return axes.figure


def _inches(width: float, height: float) -> Axes:
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def _cell(
    axes: Axes,
    x: float,
    y: float,
    value: Tensor | None,
    high: float,
    side: float = CELL,
    write: bool = True,
) -> None:
    """One square; None is padding of a max pooling, which never wins."""
    face, line = "white", {"edgecolor": "#d1d9e0", "linewidth": 0.8}
    if value is not None:
        # A third of the color range with numbers on it, more without.
        strength = 0.28 if write else 0.5
        face = SIGNED(0.5 + strength * float(value) / high)
    else:
        line["linestyle"] = (0, (2, 2))
    axes.add_patch(Rectangle((x, y), side, side, facecolor=face, **line, zorder=1))
    if write:
        text = "−∞" if value is None else f"{float(value):.2f}".replace("-", "−")
        color = MUTED if value is None else INK
        axes.text(x + side / 2, y + side / 2, text, color=color, fontsize=10,
                  ha="center", va="center", zorder=3)  # fmt: skip


def _outline(
    axes: Axes, x: float, y: float, side: float, color: str, inset: float
) -> None:
    axes.add_patch(
        Rectangle(
            (x + inset, y + inset),
            side - 2 * inset,
            side - 2 * inset,
            facecolor=(*to_rgb(color), 0.04),
            edgecolor=color,
            linewidth=2.2,
            joinstyle="round",
            zorder=2,
        )
    )


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float | None]
) -> None:
    axes.annotate(
        "",
        xy=(end[0], start[1]),
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.5},
    )


def _title(axes: Axes, x: float, text: str, y: float = 0.2) -> None:
    axes.text(x, y, text, fontsize=11.5, fontweight="bold", va="center")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
