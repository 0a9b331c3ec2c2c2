"""Speeds: the roofline of a machine, and shares of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_book.figures import AMBER, BLUE, GREEN, MUTED, ORANGE, PINK

__all__ = ["draw_roofline", "draw_shares"]

_COLORS = (BLUE, ORANGE, GREEN, PINK, AMBER)


def draw_roofline(
    points: Mapping[str, Sequence[tuple[float, float]]],
    peak: float,
    bandwidth: float,
) -> Figure:
    """Draw speed against arithmetic intensity, under the roof of the machine.

    The roof's three numbers stand beside it.

    Args:
        points: kind of layer → (operations per byte, operations per second) of each
            layer.
        peak: operations per second.
        bandwidth: bytes per second.

    Returns:
        The figure, 6.2 inches wide.
    """
    figure, ax = plt.subplots(figsize=(6.2, 4.0))
    every = [x for places in points.values() for x, _ in places]
    x = np.geomspace(min(every) / 2, max(*every, 4 * peak / bandwidth), 200)
    roof = np.minimum(peak, bandwidth * x) / 1e9
    ax.plot(x, roof, color=MUTED, lw=1.6)
    ridge = peak / bandwidth
    ax.plot([ridge, ridge], [roof.min(), peak / 1e9], color=MUTED, lw=1, ls=":")
    notes = [
        (1, bandwidth / 1e9, f"{bandwidth / 1e9:.0f} · 10⁹ bytes/s", (-7, 1), "right"),
        (x[-1], peak / 1e9, f"{peak / 1e9:.0f} · 10⁹/s", (0, 5), "right"),
        (ridge, roof.min(), f"ridge {ridge:.0f}", (5, 0), "left"),
    ]
    for at, height, text, offset, side in notes:
        ax.annotate(
            text,
            (at, height),
            xytext=offset,
            textcoords="offset points",
            ha=side,
            color=MUTED,
            fontsize=10,
        )
    for (kind, places), color, marker in zip(points.items(), _COLORS, "os^Dv"):
        xs, ys = zip(*places)
        speeds = np.array(ys) / 1e9
        ax.plot(xs, speeds, ls="", marker=marker, ms=6, color=color, label=kind)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("arithmetic intensity, operations per byte")
    ax.set_ylabel("speed, 10⁹ operations per second")
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure


def draw_shares(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw what each kind of layer takes of several things, as bars.

    Args:
        shares: of what ("time", "operations") → kind of layer → share, 0 to 1.

    Returns:
        The figure, 6.2 inches wide.
    """
    figure, ax = plt.subplots(figsize=(6.2, 2.8))
    height = 0.8 / len(shares)
    for k, ((what, parts), color) in enumerate(zip(shares.items(), _COLORS)):
        values = [100 * part for part in parts.values()]
        bars = ax.barh(
            np.arange(len(parts)) + k * height, values, height, color=color, label=what
        )
        texts = [f"{value:.{1 if value >= 1 else 2}f} %" for value in values]
        ax.bar_label(bars, texts, padding=3, size=10)
    kinds = list(next(iter(shares.values())))
    ax.set_yticks(np.arange(len(kinds)) + 0.4 - height / 2, kinds)
    ax.invert_yaxis()
    ax.set_xlim(0, 118)
    ax.set_xlabel("share [%]")
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure
