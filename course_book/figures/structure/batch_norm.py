"""Batch normalization: what shares a mean, the running mean, and signs at the ReLU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from course_book.figures import BLUE, INK, MUTED, ORANGE

__all__ = ["draw_batch", "draw_running", "draw_signs", "idle"]


def draw_batch(photos: int, channels: int, size: int) -> Figure:
    """Each photo as a box of maps, of which five are drawn; one channel is marked.

    Args:
        photos: in the batch.
        channels: of each photo.
        size: height and width of a map.
    """
    fig, ax = plt.subplots(figsize=(6.4, 2.75), layout="none")
    fig.subplots_adjust(0, 0, 1, 1)
    step, marked, drawn, pitch = 0.16, 2, 5, 1.85
    for photo in range(photos):
        left, deep = pitch * photo, step * (drawn - 1)
        for x, y in ((0, 1), (1, 1), (1, 0)):  # the edges of the box
            ends = [left + x, left + x + deep], [y, y + deep]
            ax.plot(*ends, color=MUTED, linewidth=0.8, zorder=0)
        for k in reversed(range(drawn)):
            corner = left + step * k, step * k
            color = ORANGE if k == marked else "white"
            ax.add_patch(Rectangle(corner, 1, 1, facecolor=color, edgecolor=INK))
        ax.text(left + 0.5, -0.1, f"photo {photo + 1}", ha="center", va="top")
    ax.text(0.5, 0.5, f"{size} × {size}", ha="center", va="center", color=MUTED)
    ax.text(-0.08, 1.5, f"{channels}\nchannels", ha="center", va="center", color=MUTED)
    values = f"{photos} · {size} · {size} = {photos * size * size:,}"
    middle = (pitch * (photos - 1) + 1 + step * (drawn - 1)) / 2
    ax.text(middle, -0.46, f"one channel: {values} values,\none mean, one deviation",
            ha="center", va="top", color=ORANGE)  # fmt: skip
    ax.set(xlim=(-0.52, pitch * photos), ylim=(-1.0, 1.75), aspect="equal")
    ax.axis("off")
    return fig


def draw_running(batches: Sequence[float], running: Sequence[float]) -> Figure:
    """One channel: the mean of each batch as a dot, the running mean as a line.

    Args:
        batches: means of the batches 1, 2, ...
        running: the running mean before the first batch and after each.
    """
    fig, ax = plt.subplots(figsize=(6.2, 2.9))
    ax.plot(range(1, len(batches) + 1), batches, "o", color=BLUE, markersize=4)
    ax.plot(running, color=ORANGE)
    place = {"textcoords": "offset points", "xytext": (6, 4)}
    half = len(running) // 12
    ax.annotate("running mean", (half, running[half]), color=ORANGE, **place)
    ax.text(len(batches), max(batches), "mean of each batch", color=BLUE,
            ha="right", va="bottom")  # fmt: skip
    ax.set(xlabel="batches seen", ylabel="mean of the channel")
    return fig


def idle(z: Tensor) -> Tensor:
    """Channels in which the ReLU keeps, or erases, at least 99 % of the values.

    Args:
        z: what reaches the ReLU, [B, C, H, W].

    Returns:
        True or False for each channel, [C].
    """
    positive = (z > 0).sum((0, 2, 3))
    count = z[:, 0].numel()
    return (100 * positive <= count) | (100 * positive >= 99 * count)


def draw_signs(panels: Mapping[str, Tensor]) -> Figure:
    """Where the values of each channel lie: the middle 98 %, and zero as a line.

    Idle channels (:func:`idle`) are orange; the channels are sorted by their median.

    Args:
        panels: title → what reaches the ReLU, [B, C, H, W], one panel each.
    """
    fig, axes = plt.subplots(1, len(panels), sharey=True, figsize=(6.4, 3.2))
    for ax, (title, z) in zip(axes, panels.items(), strict=True):
        values = (z / z.std()).detach().float().cpu().transpose(0, 1).flatten(1)
        low, middle, high = (values.quantile(q, 1) for q in (0.01, 0.5, 0.99))
        order = middle.argsort()
        colors = [ORANGE if flag else BLUE for flag in idle(z)[order].tolist()]
        ax.vlines(range(len(order)), low[order], high[order], colors, linewidth=1.4)
        ax.axhline(0, color=INK, linewidth=1)
        ax.set(title=title, xlabel="channel, sorted")
    axes[0].set(ylabel="values before the ReLU")
    count = int(idle(next(iter(panels.values()))).sum())
    axes[0].text(0.03, 0.95, f"orange: {count} idle", color=ORANGE,
                 transform=axes[0].transAxes, va="top")  # fmt: skip
    axes[0].text(0.98, 0.04, "the ReLU erases\nwhat is below 0", color=INK,
                 transform=axes[0].transAxes, ha="right")  # fmt: skip
    return fig
