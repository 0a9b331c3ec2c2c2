"""Error against cost of the five depths."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import BLUE, INK, ORANGE

__all__ = ["draw_error"]

Points = Mapping[str, tuple[float, float]]


def draw_error(residual: Points, plain: Points, other: Points) -> Figure:
    """Error against multiply-accumulates, with every network named at its point.

    Args:
        residual: billions of MACs for one image, and error in percent, by name.
        plain: the same without shortcuts.
        other: single networks to compare with.
    """
    fig, ax = plt.subplots(figsize=(6.2, 3.9))
    for points, color, marker in (
        (plain, ORANGE, "o"),
        (residual, BLUE, "s"),
        (other, INK, "D"),
    ):
        line = "-" if len(points) > 1 else ""
        ax.plot(*zip(*points.values()), marker, linestyle=line, color=color,
                linewidth=1.4, markersize=7)  # fmt: skip
        for k, (name, place) in enumerate(points.items()):
            side = (9, 4, "left") if points is residual else (0, 7, "center")
            if points is residual and k == 0:
                side = (11, -15, "left")  # above it is the plain net's line
            ax.annotate(name, place, side[:2], textcoords="offset points",
                        ha=side[2], color=color)  # fmt: skip
    ax.set(
        xlabel="billion MACs for one image of 224 pixels",
        ylabel="ImageNet top-1 error (%)",
        xlim=(0, 18.5),
        ylim=(20, 30),
    )
    return fig
