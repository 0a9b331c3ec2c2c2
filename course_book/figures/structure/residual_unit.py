"""What an addition does to a product of slopes: scalar chains and stacks of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, INK, ORANGE

__all__ = ["draw_chains", "draw_gradients"]

COLORS = {"plain": ORANGE, "residual": BLUE}


def draw_chains(products: Mapping[str, Tensor]) -> Figure:
    """Size of a derivative along chains of scalar pairs: median and middle 80 %.

    The axis ends at 1/1,000, where the plain chain leaves the picture.

    Args:
        products: "plain" and "residual" → [chains, pairs], the derivative after
            1, 2, ... pairs.
    """
    fig, ax = plt.subplots(figsize=(6.2, 3.1))
    for kind, values in products.items():
        points = torch.tensor([0.1, 0.5, 0.9], dtype=values.dtype)
        low, middle, high = values.abs().quantile(points, dim=0)
        steps = range(1, values.shape[1] + 1)
        ax.fill_between(steps, low, high, color=COLORS[kind], alpha=0.2, linewidth=0)
        ax.plot(steps, middle, color=COLORS[kind])
    ax.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (1, 1)))
    ends = {k: v[:, -1].abs().median() for k, v in products.items()}
    power = f"{ends['plain'].log10().round():.0f}".replace("-", "−")
    pairs = products["plain"].shape[1]
    ax.text(5.2, 2e-3, f"plain: leaves the picture,\n10 to the power {power} after "
            f"{pairs} pairs", color=ORANGE)  # fmt: skip
    ax.text(
        pairs,
        6,
        f"residual: median {ends['residual']:.1f} after {pairs} pairs",
        color=BLUE,
        ha="right",
    )
    ax.set(yscale="log", ylim=(1e-3, 20), xlabel="pairs of layers")
    ax.set(ylabel="size of the derivative", xlim=(1, pairs))
    return fig


def draw_gradients(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    units: Sequence[int],
    per_layer: float,
) -> Figure:
    """How much a gradient grows through a stack of units, one panel per title.

    Args:
        panels: title → "plain" and "residual" → growth, one number per depth.
        units: the depths.
        per_layer: growth by theory for each of the two layers of a plain unit,
            drawn in the last panel.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(6.4, 3.0))
    for ax, (title, series) in zip(axes, panels.items(), strict=True):
        for kind, growth in series.items():
            ax.plot(units, growth, "o-", color=COLORS[kind], markersize=4)
            rises = growth[-1] > growth[0]
            place = (
                {"ha": "left", "va": "top", "xytext": (4, -6)}
                if kind == "residual"
                else {"ha": "right" if rises else "left", "va": "bottom"}
                | {"xytext": (-6 if rises else 6, 2)}
            )
            ax.annotate(kind, (units[-2], growth[-2]), color=COLORS[kind],
                        textcoords="offset points", **place)  # fmt: skip
        ax.set(yscale="log", xlabel="units", title=title)
    theory = [per_layer ** (2 * n) for n in units]
    axes[-1].plot(units, theory, color=INK, linewidth=1, linestyle=(0, (1, 1)))
    axes[0].set_ylabel("growth of the gradient")
    return fig
