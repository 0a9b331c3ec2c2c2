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

from course_book.figures import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PINK,
    use_style,
)

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


def draw_products(window: Tensor, kernel: Tensor, names: Sequence[str]) -> Figure:
    """Draw a window and a kernel as numbers, and the sum of products of each row.

    One block per input channel; the number at the lower right is the sum of all
    products. Blue is positive, orange negative; the strongest tint belongs to the
    largest magnitude of each column.

    Args:
        window: what the kernel reads, int tensor [C, K, K].
        kernel: weights of one output channel, int tensor [C, K, K].
        names: one name per channel.

    Raises:
        ValueError: if the shapes differ, names are missing or numbers are not whole.
    """
    if window.ndim != 3 or window.shape != kernel.shape or len(names) != len(window):
        raise ValueError(
            "window and kernel must have one shape [C, K, K] and names C entries, "
            f"got {list(window.shape)}, {list(kernel.shape)} and {len(names)} names"
        )
    if window.is_floating_point() or kernel.is_floating_point():
        raise ValueError(
            f"numbers must be whole, got {window.dtype} and {kernel.dtype}: "
            "multiply and round them"
        )
    use_style()
    window, kernel = (t.detach().cpu().long() for t in (window, kernel))
    side, high, gap, sums, head = 0.392, 0.25, 0.12, 0.72, 0.3
    block = head + window.shape[1] * high + 0.1
    right = window.shape[2] * side + gap
    end = 2 * right - gap + sums
    height = len(names) * block + 0.42
    axes = _inches(end + 0.02, height)
    for number, name in enumerate(names):
        top = number * block + head
        _title(axes, 0.02, f"{name}: window", top - 0.14)
        _title(axes, right, "kernel", top - 0.14)
        axes.text(end, top - 0.14, "sum", ha="right", va="center", fontsize=11.5,
                  fontweight="bold")  # fmt: skip
        for left, values in ((0.01, window), (right, kernel)):
            most = int(values.abs().max()) or 1
            for i, line in enumerate(values[number].tolist()):
                for j, value in enumerate(line):
                    _whole(axes, left + j * side, top + i * high, (side, high),
                           value, most)  # fmt: skip
        for i, total in enumerate((window * kernel)[number].sum(1).tolist()):
            axes.text(end, top + (i + 0.5) * high, _grouped(total), ha="right",
                      va="center", fontsize=10)  # fmt: skip
    axes.plot([end - sums + 0.12, end], [height - 0.4] * 2, color=INK, lw=1)
    axes.text(end, height - 0.2, _grouped(int((window * kernel).sum())), ha="right",
              va="center", fontweight="bold", fontsize=11)  # fmt: skip
    return axes.figure


def _inches(width: float, height: float) -> Axes:
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def _cell(axes: Axes, x: float, y: float, value: Tensor | None, high: float) -> None:
    """One square; None is padding of a max pooling, which never wins."""
    face, line = "white", {"edgecolor": FAINT, "linewidth": 0.8}
    if value is not None:  # a third of the color range, for dark numbers on it
        face = SIGNED(0.5 + 0.28 * float(value) / high)
    else:
        line["linestyle"] = (0, (2, 2))
    axes.add_patch(Rectangle((x, y), CELL, CELL, facecolor=face, **line, zorder=1))
    text = "−∞" if value is None else f"{float(value):.2f}".replace("-", "−")
    color = MUTED if value is None else INK
    axes.text(x + CELL / 2, y + CELL / 2, text, color=color, fontsize=10,
              ha="center", va="center", zorder=3)  # fmt: skip


def _whole(
    axes: Axes, x: float, y: float, size: tuple[float, float], value: int, most: int
) -> None:
    face = SIGNED(0.5 + 0.28 * value / most)
    axes.add_patch(Rectangle((x, y), *size, facecolor=face, edgecolor=FAINT, lw=0.6))
    text = str(value).replace("-", "−")
    axes.text(x + size[0] / 2, y + size[1] / 2, text, fontsize=10, ha="center",
              va="center")  # fmt: skip


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


def _grouped(value: int) -> str:
    return f"{value:,}".replace("-", "−")
