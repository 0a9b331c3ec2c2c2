"""Pictures of feature maps: rows of channels, and maps at one scale."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import MUTED, use_style

__all__ = ["feature_maps", "maps_to_scale"]


def _check(maps: Mapping[str, Tensor], dims: int, shape: str) -> None:
    if not maps:
        raise ValueError("maps is empty: give at least one title and tensor")
    for title, values in maps.items():
        if values.ndim != dims or values.numel() == 0:
            raise ValueError(
                f"maps[{title!r}] must have shape {shape}, got {list(values.shape)}"
            )


def feature_maps(
    maps: Mapping[str, Tensor], columns: int = 5, cmap: str = "magma"
) -> Figure:
    """Draw the first channels of several tensors, one row per tensor.

    Every map has its own brightness scale, from its smallest to its largest
    value, and all are drawn equally large whatever their size in pixels.

    Args:
        maps: title → float tensor [C, H, W] on any device.
        columns: channels per row, at least 1; a tensor with fewer fills less.
        cmap: name of a matplotlib color map.

    Raises:
        ValueError: names the argument, its value and what to give instead.
    """
    _check(maps, 3, "[C, H, W]")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    use_style()
    gap, title_height, width = 0.05, 0.34, 6.2  # inches
    side = (width - gap * (columns - 1)) / columns
    row_height = side + title_height
    height = row_height * len(maps)
    figure = plt.figure(figsize=(width, height), layout="none")
    for row, (title, values) in enumerate(maps.items()):
        top = height - row * row_height
        y = (top - 0.2) / height
        figure.text(0, y, title, fontweight="bold", va="center")
        figure.text(1, y, str(list(values.shape)), color=MUTED, ha="right", va="center")
        for column, channel in enumerate(values[:columns].detach().float().cpu()):
            left = column * (side + gap)
            box = (
                left / width,
                (top - row_height) / height,
                side / width,
                side / height,
            )
            axes = figure.add_axes(box)
            axes.imshow(channel.numpy(), cmap=cmap)
            axes.axis("off")
    return figure


def maps_to_scale(maps: Mapping[str, Tensor], cmap: str = "magma") -> Figure:
    """Draw one map per place of the network, all at the same scale.

    A pixel of a map of 7 is as large as a pixel of a map of 224: what shrinks
    on the way through the network is seen to shrink.

    Args:
        maps: title → float tensor [H, W] on any device, drawn from left to
            right. The first is drawn in gray: it is the photograph.
        cmap: name of a matplotlib color map for the others.

    Raises:
        ValueError: names the argument, its value and what to give instead.
    """
    _check(maps, 2, "[H, W]")
    use_style()
    narrowest, gap, label, width = 0.64, 0.1, 0.46, 6.2  # inches
    sizes = [tuple(values.shape) for values in maps.values()]
    scale = _scale([w for _, w in sizes], narrowest, width - gap * (len(sizes) - 1))
    tallest = max(h for h, _ in sizes) * scale
    height = tallest + label
    figure = plt.figure(figsize=(width, height), layout="none")
    left = 0.0
    for index, (title, values) in enumerate(maps.items()):
        h, w = (size * scale for size in values.shape)
        room = max(w, narrowest)
        axes = figure.add_axes(
            (
                (left + (room - w) / 2) / width,
                (label + (tallest - h) / 2) / height,
                w / width,
                h / height,
            )
        )
        image = values.detach().float().cpu().numpy()
        axes.imshow(image, cmap="gray" if index == 0 else cmap)
        axes.axis("off")
        x = (left + room / 2) / width
        figure.text(
            x, 0.32 / height, title, fontweight="bold", ha="center", va="center"
        )
        text = f"{values.shape[0]} × {values.shape[1]}"
        figure.text(x, 0.12 / height, text, color=MUTED, ha="center", va="center")
        left += room + gap
    return figure


def _scale(pixels: list[int], narrowest: float, room: float) -> float:
    """Inches per pixel with which all maps, or at least their labels, fit."""
    wide = sorted(pixels, reverse=True)
    for count in range(len(wide), 0, -1):
        scale = (room - narrowest * (len(wide) - count)) / sum(wide[:count])
        if scale * wide[count - 1] >= narrowest:
            return scale
    return room / sum(wide)
