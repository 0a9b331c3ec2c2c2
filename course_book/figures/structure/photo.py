"""Maps of a photograph on its way through a network: as boxes, and a few channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from course_book.figures import INK, MUTED, use_style

__all__ = ["draw_boxes", "draw_maps"]

WIDTH = 6.3  # inches
FRONT = 1.45  # side of the front face of a map of 224
DEPTH = 0.88  # length of a box of 512 channels, drawn toward the upper right
SLOPE = (0.72, 0.5)


def draw_boxes(
    maps: Mapping[str, Tensor], steps: Sequence[str], cmap: str = "magma"
) -> Figure:
    """Each tensor as a box, rows x columns x channels, with one map on its front.

    The side of a front is in proportion to the square root of the map's, so that a
    map of 7 can still be seen beside one of 224; the length of a box is in proportion
    to its channels. The map on the front is the channel with the largest deviation.

    Args:
        maps: name → [C, H, W], or [C], drawn in two lines. The first is the
            photograph, in gray.
        steps: what leads from one box to the next, one word or two for each arrow.
        cmap: of the maps.

    Raises:
        ValueError: if a tensor has another number of dimensions, or the number of
            steps is not one less than the number of boxes.
    """
    boxes = {n: m[:, None, None] if m.ndim == 1 else m for n, m in maps.items()}
    for name, box in boxes.items():
        if box.ndim != 3:
            raise ValueError(f"{name!r} must be [C, H, W], got {list(box.shape)}")
    if len(steps) != len(boxes) - 1:
        raise ValueError(f"{len(boxes)} boxes need {len(boxes) - 1} steps between them")
    names = list(boxes)
    half = len(names) // 2
    rows = [{n: boxes[n] for n in part} for part in (names[:half], names[half:])]
    use_style()
    halves = [max(_front(maps) for maps in row.values()) / 2 for row in rows]
    above = [
        max(_front(maps) / 2 + SLOPE[1] * _depth(maps) for maps in row.values())
        for row in rows
    ]
    heights = [up + down + 0.5 for up, down in zip(above, halves, strict=True)]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    words = iter(["", *steps])
    top = sum(heights)
    for line, row in enumerate(rows):
        *front, last = row.values()
        spare = WIDTH - 0.06 - sum(map(_width, front))
        spare -= max(_width(last), 0.09 * len(_size(last)))
        gap = spare / (len(row) - (line == 0))  # every box but the first has an arrow
        left, middle = 0.03 + gap * (line > 0), top - above[line] - 0.03
        for name, maps in row.items():
            word = next(words)
            if word:
                _arrow(axes, left - gap, left, middle, word)
            _box(
                axes, left, middle, maps, "gray" if name == next(iter(boxes)) else cmap
            )
            below = middle - _front(maps) / 2 - 0.15
            axes.text(left, below, name, weight="bold", va="center")
            axes.text(left, below - 0.19, _size(maps), color=MUTED, va="center")
            left += _width(maps) + gap
        top -= heights[line]
    axes.set(xlim=(0, WIDTH), ylim=(0, sum(heights)))
    return figure


def draw_maps(
    columns: Mapping[str, Tensor], count: int = 3, cmap: str = "magma"
) -> Figure:
    """The first channels of each tensor, one column per tensor, all equally large.

    Every map has its own brightness scale, from its smallest to its largest value.

    Args:
        columns: title → [C, H, W].
        count: of channels.
        cmap: of the maps.
    """
    use_style()
    gap, head = 0.07, 0.42  # inches
    side = (WIDTH - gap * (len(columns) - 1)) / len(columns)
    height = head + count * (side + gap)
    figure = plt.figure(figsize=(WIDTH, height), layout="none")
    for column, (title, maps) in enumerate(columns.items()):
        left = column * (side + gap)
        size = " × ".join(str(n) for n in maps.shape[1:])
        figure.text(left / WIDTH, 1 - 0.1 / height, title, weight="bold", va="center")
        figure.text(left / WIDTH, 1 - 0.29 / height, size, color=MUTED, va="center")
        for row, channel in enumerate(maps[:count].detach().float().cpu()):
            bottom = height - head - row * (side + gap) - side
            box = (left / WIDTH, bottom / height, side / WIDTH, side / height)
            axes = figure.add_axes(box)
            axes.imshow(channel.numpy(), cmap=cmap)
            axes.axis("off")
    return figure


def _size(maps: Tensor) -> str:
    return " × ".join(str(n) for n in (*maps.shape[1:], maps.shape[0]))


def _front(maps: Tensor) -> float:
    return FRONT * (maps.shape[-1] / 224) ** 0.5


def _depth(maps: Tensor) -> float:
    return DEPTH * maps.shape[0] / 512


def _width(maps: Tensor) -> float:
    return _front(maps) + SLOPE[0] * _depth(maps)


def _box(axes: Axes, left: float, middle: float, maps: Tensor, cmap: str) -> None:
    side, depth = _front(maps), _depth(maps)
    dx, dy = SLOPE[0] * depth, SLOPE[1] * depth
    right, bottom, top = left + side, middle - side / 2, middle + side / 2
    above = [(left, top), (left + dx, top + dy), (right + dx, top + dy), (right, top)]
    beside = [(right, bottom), (right + dx, bottom + dy), (right + dx, top + dy)]
    for corners, color in ((above, "#dfe5ec"), ([*beside, (right, top)], "#c3ccd6")):
        axes.add_patch(Polygon(corners, facecolor=color, edgecolor=INK, linewidth=0.8))
    image = maps[maps.flatten(1).std(1, correction=0).argmax()]
    axes.imshow(
        image.detach().float().cpu().numpy(),
        cmap=cmap,
        extent=(left, right, bottom, top),
        aspect="auto",
        zorder=2,
    )
    face = [(left, bottom), (right, bottom), (right, top), (left, top)]
    for (x0, y0), (x1, y1) in pairwise([*face, face[0]]):
        axes.plot([x0, x1], [y0, y1], color=INK, linewidth=0.8, zorder=3)


def _arrow(axes: Axes, start: float, end: float, y: float, word: str) -> None:
    style = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (end - 0.05, y), (start + 0.05, y), arrowprops=style)
    axes.text((start + end) / 2, y + 0.07, word, color=MUTED, ha="center", va="bottom")
