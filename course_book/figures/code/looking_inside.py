"""Pictures of a look inside: filter sheets, and how much heat lies where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from course_book.figures import BLUE, INK, MUTED, ORANGE, use_style

__all__ = ["draw_ratios", "draw_sheets", "draw_strips", "filters_picture"]


def draw_sheets(sheets: Mapping[str, Image.Image], *, width: float = 6.2) -> Figure:
    """Draw wide pictures under each other, the title of each above it.

    Args:
        sheets: title → picture.
        width: of the figure, in inches.

    Returns:
        The figure.
    """
    use_style()
    heights = [width * sheet.height / sheet.width for sheet in sheets.values()]
    figure, axes = plt.subplots(
        len(sheets),
        1,
        figsize=(width, sum(heights) + 0.32 * len(sheets)),
        height_ratios=heights,
        squeeze=False,
    )
    for ax, (title, sheet) in zip(axes.flat, sheets.items()):
        ax.imshow(sheet)
        ax.set_title(title)
        ax.set_axis_off()
    return figure


def draw_strips(
    rows: Mapping[str, Sequence[Image.Image]], *, width: float = 6.2
) -> Figure:
    """Draw rows of square pictures without gaps to spare, a title above each row.

    Args:
        rows: title → pictures; each row as many.
        width: of the figure, in inches.

    Returns:
        The figure.
    """
    use_style()
    gap, title = 0.06, 0.3  # inches
    columns = max(map(len, rows.values()))
    side = (width - gap * (columns - 1)) / columns
    height = len(rows) * (side + title)
    figure = plt.figure(figsize=(width, height), layout="none")
    for number, (name, pictures) in enumerate(rows.items()):
        top = height - number * (side + title)
        figure.text(0, (top - 0.17) / height, name, fontweight="bold", va="center")
        for column, picture in enumerate(pictures):
            left, bottom = column * (side + gap), top - title - side
            box = (left / width, bottom / height, side / width, side / height)
            ax = figure.add_axes(box)
            ax.imshow(picture)
            ax.set_axis_off()
    return figure


def draw_ratios(
    ratios: Mapping[str, Sequence[float]], marks: Mapping[str, float], *, label: str
) -> Figure:
    """Draw one row of points per name on a logarithmic axis, and a mark on each.

    Args:
        ratios: name → positive numbers, one per picture; those out of the axis are
            drawn at its end.
        marks: the number for all pictures together, of each name.
        label: of the axis.

    Returns:
        The figure; a line stands at 1.
    """
    use_style()
    least, most = 0.1, 12.0
    figure, ax = plt.subplots(figsize=(6.2, 0.85 + 0.42 * len(ratios)))
    ax.axvline(1, color=MUTED, linewidth=1.5, zorder=1)
    rng = np.random.default_rng(0)
    for place, (name, values) in enumerate(ratios.items()):
        values = np.asarray(values, dtype=float)
        shown = np.clip(values, least, most)
        heights = place + rng.uniform(-0.18, 0.18, len(values))
        ax.scatter(shown, heights, s=16, color=BLUE, alpha=0.45, linewidths=0, zorder=2)
        ax.scatter(marks[name], place, s=90, marker="D", color=ORANGE, zorder=3)
    ax.set_xscale("log")
    ax.set_xlim(least * 0.9, most * 1.1)
    ax.set_ylim(len(ratios) - 0.5, -0.5)
    ax.set_yticks(range(len(ratios)), ratios)
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ticks = (0.1, 0.3, 1, 3, 10)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(label)
    return figure


def filters_picture(weight: Tensor, *, columns: int = 16, zoom: int = 6) -> Image.Image:
    """Draw the kernels of a first convolution as small color pictures.

    Mid-gray is 0. Each kernel has its own scale: its largest magnitude becomes
    black or white (or the full color).

    Args:
        weight: float [K, 3, h, w] or [K, 1, h, w], ``model.conv1.weight``.
        columns: kernels per row.
        zoom: pixels per weight.

    Returns:
        A PIL image in mode "RGB" with white lines between the kernels.
    """
    w = weight.detach().float().cpu()
    most = w.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    tiles = (0.5 + 0.5 * w / most).expand(-1, 3, -1, -1)
    tiles = tiles.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    tiles = F.pad(tiles, (0, 2, 0, 2), value=1.0)  # the lines
    count, _, h, width = tiles.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    tiles = torch.cat([tiles, torch.ones(rows * columns - count, 3, h, width)])
    sheet = tiles.reshape(rows, columns, 3, h, width).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * h, columns * width, 3)[:-2, :-2]
    return Image.fromarray((sheet * 255).round().to(torch.uint8).numpy())
