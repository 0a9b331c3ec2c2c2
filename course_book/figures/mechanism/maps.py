"""Pictures of feature maps: rows of channels."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import MUTED, use_style

__all__ = ["feature_maps"]


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
    if not maps:
        raise ValueError("maps is empty: give at least one title and tensor")
    for title, values in maps.items():
        if values.ndim != 3 or values.numel() == 0:
            raise ValueError(
                f"maps[{title!r}] must have shape [C, H, W], got {list(values.shape)}"
            )
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
