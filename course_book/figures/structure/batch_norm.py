"""A batch of feature maps, with the values that share one mean."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from course_book.figures import INK, MUTED, ORANGE

__all__ = ["draw_batch"]


def draw_batch(photos: int, channels: int, size: int) -> None:
    """Each photo as a stack of maps; one channel is marked in all of them.

    Args:
        photos: in the batch.
        channels: of each photo; five are drawn.
        size: height and width of a map.
    """
    _, ax = plt.subplots(figsize=(6.4, 2.9))
    step, marked, drawn = 0.16, 2, 5
    for photo in range(photos):
        left = 1.75 * photo
        for k in reversed(range(drawn)):
            x, y = left + step * k, step * k
            color = ORANGE if k == marked else "white"
            ax.add_patch(Rectangle((x, y), 1, 1, facecolor=color, edgecolor=INK))
        ax.text(left + 0.5, -0.12, f"photo {photo + 1}", ha="center", va="top")
    ax.text(-0.08, 0.5, f"{size} rows", rotation=90, ha="right", va="center",
            color=MUTED)  # fmt: skip
    ax.text(0.5, 1 + step * drawn, f"{channels} channels", ha="center", color=MUTED)
    values = f"{photos} · {size} · {size} = {photos * size * size:,}"
    ax.text(0.875 * photos - 0.2, -0.52, f"one channel: {values} values, one mean, "
            "one deviation", ha="center", va="top", color=ORANGE)  # fmt: skip
    ax.set(xlim=(-0.35, 1.75 * photos), ylim=(-0.85, 2.05), aspect="equal")
    ax.axis("off")
