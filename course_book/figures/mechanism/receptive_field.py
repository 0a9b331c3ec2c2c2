"""What one value sees: squares on a photo, gradients as heat, shifts as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from course_book.figures import (
    AMBER,
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PINK,
    use_style,
)

__all__ = ["draw_effective", "draw_lead", "draw_squares", "draw_ways"]

COLORS = (AMBER, GREEN, BLUE, PINK, ORANGE)


def draw_squares(photo: Tensor, squares: Mapping[str, tuple[int, int]]) -> Figure:
    """Receptive fields on a photo, each a square around one place.

    Args:
        photo: floats [3, H, W] from 0 to 1.
        squares: name → first pixel and side of the square, the same in both
            directions; pixels below 0 and from H on are padding.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(5.6, 5.2))
    size = photo.shape[-1]
    _show(axes, photo)
    axes.add_patch(
        Rectangle((-0.5, -0.5), size, size, fill=False, edgecolor=INK, lw=1.2)
    )
    for color, (name, (start, side)) in zip(COLORS, squares.items()):
        axes.add_patch(
            Rectangle((start - 0.5,) * 2, side, side, fill=False, edgecolor=color, lw=3)
        )
        label = f"{name}: {side}"
        box = {"facecolor": "white", "edgecolor": color, "pad": 2}
        axes.text(start + 2, start - 2, label, va="bottom", fontsize=10, bbox=box)
    first = min(start for start, _ in squares.values())
    last = max(start + side for start, side in squares.values())
    axes.set(xlim=(first - 8, last + 8), ylim=(last + 8, first - 8))
    return figure


def draw_effective(
    heat: Mapping[str, Mapping[str, Tensor]],
    fields: Mapping[str, tuple[int, int]],
    sides: Mapping[str, Mapping[str, int]],
) -> Figure:
    """How much each pixel counts for one value, one row per network.

    Brightness is the root of the share of the brightest pixel, so that small shares
    are still seen. Each picture has its own scale.

    Args:
        heat: network → layer → float tensor [H, W], not negative.
        fields: layer → first pixel and side of the theoretical field, dashed.
        sides: network → layer → side of the square with nine tenths of the heat,
            written below each picture.
    """
    use_style()
    columns = len(fields)
    figure, grid = plt.subplots(
        len(heat), columns, figsize=(6.4, 2.05 * len(heat) + 0.2), squeeze=False
    )
    for row, (network, maps) in zip(grid, heat.items()):
        row[0].set_ylabel(network, fontweight="bold")
        for axes, (layer, values) in zip(row, maps.items()):
            values = values.detach().float().cpu()
            axes.imshow(values.numpy(), cmap="magma", norm=PowerNorm(0.5, 0))
            start, side = fields[layer]
            axes.add_patch(
                Rectangle((start - 0.5,) * 2, side, side, fill=False, ls="--",
                          edgecolor="white", lw=1.2)
            )  # fmt: skip
            size = len(values)
            axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"90 %: {sides[network][layer]} px", color=INK)
            axes.grid(False)
    for axes, (layer, (_, side)) in zip(grid[0], fields.items()):
        axes.set_title(f"{layer}\n{side} px", fontsize=10.5)
    return figure


def draw_lead(lead: Sequence[float], period: int) -> Figure:
    """How a difference of two logits changes while the photo moves on.

    Args:
        lead: one value per shift, from 0 pixels on.
        period: pixels after which all strides fit again; marked.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(6.0, 3.0))
    axes.plot(range(len(lead)), lead, "o-", color=BLUE, ms=4)
    for place in range(0, len(lead), period):
        axes.axvline(place, color=MUTED, lw=1, ls=":")
    axes.set(xlabel="shift of the photo (pixels)", ylabel="lead of “cracked” (logits)")
    axes.set_xticks(range(0, len(lead), 4))
    return figure


def draw_ways(
    found: Mapping[str, Sequence[float]], labels: Mapping[str, str]
) -> Figure:
    """Shares in percent, a point per seed and a bar for their mean, one row a way."""
    use_style()
    figure, axes = plt.subplots(figsize=(6.0, 0.62 * len(found) + 0.9))
    for row, values in enumerate(found.values()):
        mean = sum(values) / len(values)
        axes.barh([row], [mean], 0.5, color=FAINT)
        axes.plot(values, [row] * len(values), "o", color=BLUE, ms=6, alpha=0.7)
        axes.text(max(*values, mean) + 0.12, row, f"mean {mean:.1f} %", va="center")
    axes.set_yticks(range(len(found)), [labels[way] for way in found])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(xlabel="answers that one pixel changes (%)", xlim=(0, None))
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return figure


def _show(axes: Axes, photo: Tensor) -> None:
    picture = photo.detach().float().cpu().permute(1, 2, 0).clamp(0, 1).numpy()
    axes.imshow(picture)
    axes.axis("off")
