"""The figures of the preprocessing notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_book.figures import BLUE, MUTED, ORANGE

__all__ = ["draw_inputs", "draw_lost", "draw_resized"]


def draw_resized(
    pictures: Mapping[str, np.ndarray], *, limits: tuple[float, float]
) -> Figure:
    """Gray pictures side by side, each pixel visible, on one common gray scale.

    Args:
        pictures: arrays [H, W] by title.
        limits: the values that are drawn black and white.
    """
    figure, axes = plt.subplots(1, len(pictures), figsize=(6.2, 2.6), squeeze=False)
    for ax, (title, picture) in zip(axes[0], pictures.items()):
        ax.imshow(picture, cmap="gray", vmin=limits[0], vmax=limits[1])
        ax.set_title(title, fontsize=10.5, fontweight="normal")
        ax.set_axis_off()
    return figure


def draw_inputs(results: Mapping[str, tuple[float, float]], chance: float) -> Figure:
    """Accuracy and mean confidence of one network, by what its input went through.

    Args:
        results: (accuracy, mean of the largest probability) by name, in 0 to 1.
        chance: accuracy of guessing.
    """
    figure, ax = plt.subplots(figsize=(6.2, 0.95 + 0.36 * len(results)))
    for place, (accuracy, confidence) in enumerate(results.values()):
        ends = [100 * accuracy, 100 * confidence]
        ax.plot(ends, [place, place], color=MUTED, linewidth=1.4, zorder=1)
    places = range(len(results))
    values = np.array(list(results.values())) * 100
    dots = {"color": BLUE, "s": 60, "zorder": 3, "label": "right answers"}
    ax.scatter(values[:, 0], places, **dots)
    dots = {"color": ORANGE, "s": 60, "zorder": 2, "label": "mean confidence"}
    ax.scatter(values[:, 1], places, marker="D", **dots)
    ax.axvline(100 * chance, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)))
    ax.text(100 * chance + 1, -0.62, "guessing", color=MUTED, va="center")
    ax.set_yticks(places, results)
    ax.set_ylim(len(results) - 0.5, -1)
    ax.set(xlabel="%", xlim=(0, 101))
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def draw_lost(scales: Sequence[float], lost: Sequence[float]) -> Figure:
    """Share of random views without the crack against the least area of a view.

    Args:
        scales: least area of a view, as a share of the picture's.
        lost: share of views that show nothing of the crack.
    """
    figure, ax = plt.subplots(figsize=(6.0, 2.8))
    ax.plot([100 * s for s in scales], [100 * v for v in lost], "o-", color=BLUE)
    ax.set(
        xlabel="least area of a view, in % of the picture",
        ylabel="views without\nthe crack, in %",
        xlim=(0, 102),
        ylim=(0, None),
    )
    return figure
