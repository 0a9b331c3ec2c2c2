"""Figures of residual gradients: products, singular values, neighbors' gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, GREEN, INK, MUTED, ORANGE, PINK, use_style

__all__ = [
    "draw_correlations",
    "draw_directions",
    "draw_identity",
    "draw_neighbors",
    "draw_over_depth",
    "draw_products",
    "draw_spectra",
]

COLORS = {
    "plain": ORANGE,
    "residual": BLUE,
    "plain + BN": PINK,
    "residual + BN": GREEN,
}
LINES = {"plain": "-", "residual": "-", "plain + BN": (0, (4, 1.5)),
         "residual + BN": (0, (4, 1.5))}  # fmt: skip
SPECTRA = (
    {"color": GREEN, "linestyle": (0, (4, 1.5))},
    {"color": BLUE, "linestyle": "-"},
    {"color": ORANGE, "linestyle": (0, (1, 1))},
)


def draw_products(
    panels: Mapping[str, Mapping[str, Tensor]],
    *,
    xlabel: str,
    ylabel: str,
    powers: Sequence[int],
) -> Figure:
    """Quantiles of some sizes over the depth, one panel per title.

    Args:
        panels: by title, then ``"plain"`` or ``"residual"``: positive numbers
            [sizes, depth]. The line is their median, the band their middle 80 %.
        xlabel: of every panel.
        ylabel: of the common logarithmic axis.
        powers: of ten, where it has its ticks.
    """
    use_style()
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(6.4, 3.0)
    )
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for kind, sizes in curves.items():
            low, mid, high = (sizes.log().quantile(q, dim=0) for q in (0.1, 0.5, 0.9))
            depth = range(1, sizes.shape[1] + 1)
            ax.fill_between(depth, low.exp(), high.exp(), color=COLORS[kind],
                            alpha=0.2, lw=0)  # fmt: skip
            ax.plot(depth, mid.exp(), color=COLORS[kind], label=kind)
        ax.axhline(1, color=INK, linewidth=0.8)
        ax.set(title=title, xlabel=xlabel, yscale="log")
    axes[0][0].set(ylabel=ylabel, yticks=[10.0**power for power in powers])
    axes[0][0].minorticks_off()
    if len(next(iter(panels.values()))) > 1:
        axes[0][0].legend(loc="lower left")
    return fig


def draw_directions(
    back: Mapping[str, Sequence[Tensor]], depths: Sequence[int]
) -> Figure:
    """What becomes of a circle of gradients, each panel scaled to its longest.

    Args:
        back: by kind, ``"plain"`` or ``"residual"``: after 0, 1, 2, … layers the
            gradients [2, n], one per column.
        depths: which of these to draw, one panel each.
    """
    use_style()
    fig, axes = plt.subplots(
        len(back), len(depths), squeeze=False, figsize=(6.4, 1.75 * len(back))
    )
    for line, (kind, steps) in zip(axes, back.items(), strict=True):
        for ax, layers in zip(line, depths, strict=True):
            gradients = (steps[layers] / steps[layers].norm(dim=0).max()).cpu()
            ax.fill(*gradients, color=COLORS[kind], alpha=0.15, lw=0)
            ax.plot(*gradients, color=COLORS[kind])
            ax.plot(0, 0, "+", color=INK, markersize=5)
            ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
            ax.set(xticks=(), yticks=())
        line[0].set_ylabel(kind)
    for ax, layers in zip(axes[0], depths, strict=True):
        ax.set_title(f"{layers} layer{'s' * (layers != 1)}")
    return fig


def draw_spectra(
    rows: Mapping[str, Mapping[str, Mapping[str, Tensor]]], floor: float = 1e-3
) -> Figure:
    """Singular values in order of size, a grid of panels.

    Args:
        rows: by the title of a row, then of a column, then the name of a curve:
            singular values [n]. Those below ``floor`` are not drawn.
        floor: lower end of the logarithmic axis.
    """
    use_style()
    columns = next(iter(rows.values()))
    fig, axes = plt.subplots(
        len(rows), len(columns), sharex=True, sharey=True, squeeze=False,
        figsize=(6.4, 1.2 + 2.1 * len(rows)),
    )  # fmt: skip
    for line, (row, panels) in zip(axes, rows.items(), strict=True):
        for ax, (column, curves) in zip(line, panels.items(), strict=True):
            for (name, values), style in zip(curves.items(), SPECTRA):
                ordered = values.sort().values.cpu()
                share = [100 * (k + 0.5) / len(ordered) for k in range(len(ordered))]
                drawn = ordered.where(ordered > floor, float("nan"))
                ax.plot(share, drawn, label=name, **style)
            ax.axhline(1, color=INK, linewidth=0.8, zorder=1)
            ax.set(title=f"{column}, {row}", yscale="log", ylim=(floor, 10))
        line[0].set(ylabel="singular value")
    for ax in axes[-1]:
        ax.set(xlabel="share of the directions (%)", xlim=(0, 100))
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper left", ncols=len(labels),
               columnspacing=1.2, handlelength=1.8)  # fmt: skip
    return fig


def draw_over_depth(
    panels: Mapping[str, Mapping[str, Sequence[float]]], *, ylabel: str
) -> Figure:
    """One number before each unit and after the last, one panel per title.

    Args:
        panels: by title, then by the name of a curve (the first drawn solid, the
            second dashed), the numbers in order of depth.
        ylabel: of the common logarithmic axis.
    """
    use_style()
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(6.4, 3.1)
    )
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for (name, numbers), (color, style) in zip(
            curves.items(), ((BLUE, "-"), (GREEN, (0, (4, 1.5))))
        ):
            ax.plot(range(len(numbers)), numbers, color=color, linestyle=style,
                    label=name)  # fmt: skip
        ax.set(title=title, xlabel="after unit (0 = at the input)", yscale="log")
    axes[0][0].set(ylabel=ylabel)
    axes[0][0].legend()
    return fig


def draw_identity(
    panels: Mapping[str, Mapping[str, Sequence[float]]], constant: float
) -> Figure:
    """Training error of stacks that are to be the identity, one panel per title.

    Args:
        panels: by title, then ``"plain"`` or ``"residual"``, one error per step.
        constant: error of the best constant output, drawn as a line.
    """
    use_style()
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(6.4, 3.1)
    )
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for kind, errors in curves.items():
            ax.plot(errors, color=COLORS[kind], label=kind)
        ax.axhline(constant, color=MUTED, linestyle=(0, (1, 1)), linewidth=1.6,
                   label="best constant")  # fmt: skip
        ax.set(title=title, xlabel="step", yscale="log")
    axes[0][0].set(ylabel="squared error / squared size")
    axes[0][0].legend(loc="lower left")
    return fig


def draw_neighbors(
    inputs: Tensor, panels: Mapping[str, Tensor], colors: Sequence[str]
) -> Figure:
    """Gradient along a line of inputs, each panel scaled to its own largest.

    Args:
        inputs: [n].
        panels: gradients [n] by title, at most four.
        colors: one name of ``COLORS`` per panel.
    """
    use_style()
    fig, axes = plt.subplots(
        2, 2, sharex=True, sharey=True, squeeze=False, figsize=(6.4, 4.0)
    )
    for ax, (title, gradients), name in zip(
        axes.flat, panels.items(), colors, strict=True
    ):
        scaled = gradients / gradients.abs().max()
        ax.plot(inputs.cpu(), scaled.cpu(), color=COLORS[name], linewidth=1.1)
        ax.set(title=title, ylim=(-1.1, 1.1), yticks=(-1, 0, 1))
    for ax in axes[-1]:
        ax.set(xlabel="input")
    for ax in axes[:, 0]:
        ax.set(ylabel="gradient (scaled)")
    return fig


def draw_correlations(
    by_lag: Mapping[str, Sequence[float]],
    by_depth: Mapping[str, Mapping[int, float]],
    predicted: Mapping[str, Mapping[int, float]],
) -> Figure:
    """Left autocorrelation by lag, right correlation of unrelated inputs by depth.

    Args:
        by_lag: by kind of tower, the autocorrelation at lag 0, 1, 2, …
        by_depth: by kind, the mean cosine by number of layers.
        predicted: the same for the kinds that have a prediction.
    """
    use_style()
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.5))
    for kind, values in by_lag.items():
        left.plot(values, color=COLORS[kind], linestyle=LINES[kind], label=kind)
    left.set(title="Neighbors, 50 layers", xlabel="distance (steps of the line)")
    left.set(ylabel="correlation of gradients")
    for kind, points in predicted.items():
        right.plot(*zip(*points.items()), color=COLORS[kind], linewidth=1.2)
    for (kind, points), marker in zip(by_depth.items(), "sD^o"):
        right.plot(*zip(*points.items()), marker, color=COLORS[kind], markersize=6)
    right.set(title="Unrelated inputs", xlabel="layers", xscale="log")
    depths = list(next(iter(by_depth.values())))
    right.set(xticks=depths, xticklabels=[str(depth) for depth in depths])
    right.minorticks_off()
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper left", ncols=len(labels),
               columnspacing=1.0, handlelength=1.6)  # fmt: skip
    return fig
