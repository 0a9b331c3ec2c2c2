"""The figures of the degradation experiment, from its table or from live runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_book.figures import BLUE, INK, MUTED, ORANGE

__all__ = ["draw_curves", "draw_errors", "draw_gradients"]

Rows = Sequence[Mapping[str, object]]
COLORS = {"plain": ORANGE, "residual": BLUE}
MARKERS = {"plain": "o", "residual": "s"}
LINES = {20: (0, (3, 1.5)), 56: "-"}


def draw_errors(rows: Rows, columns: Mapping[str, str]) -> Figure:
    """Error against depth: a point for every seed, a line through the means.

    Args:
        rows: the last record of each run, with ``kind``, ``depth`` and the
            columns named next, in percent.
        columns: panel title by column, one panel each.
    """
    fig, axes = plt.subplots(1, len(columns), sharey=True, figsize=(6.4, 3.3))
    depths = sorted({row["depth"] for row in rows})
    for ax, (column, title) in zip(axes, columns.items(), strict=True):
        for shift, kind in ((-0.6, "plain"), (0.6, "residual")):
            chosen = [row for row in rows if row["kind"] == kind]
            means = [
                fmean(row[column] for row in chosen if row["depth"] == depth)
                for depth in depths
            ]
            ax.plot(depths, means, color=COLORS[kind], linewidth=1.4)
            ax.plot(
                [row["depth"] + shift for row in chosen],
                [row[column] for row in chosen],
                MARKERS[kind],
                color=COLORS[kind],
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                label=kind,
            )
        ax.axhline(90, color=MUTED, linewidth=1, linestyle=(0, (1, 1)))
        ax.set(title=title, xlabel="depth (layers)", xticks=depths)
    axes[0].set(ylabel="error (%)", ylim=(-4, 100))
    axes[0].annotate("guessing", (depths[0], 90), (0, 3), color=MUTED,
                     textcoords="offset points")  # fmt: skip
    axes[0].legend(loc="center left", title="one point per seed", alignment="left")
    return fig


def draw_curves(rows: Rows, live: Mapping[tuple[str, int], Rows]) -> Figure:
    """Training loss by epoch of 20 and 56 layers: seeds, their means, live runs.

    Args:
        rows: one record per epoch of every run, with ``kind``, ``depth``,
            ``seed``, ``epoch`` and ``train_loss``.
        live: records per epoch of the runs of this session, by kind and depth.
    """
    fig, ax = plt.subplots(figsize=(6.2, 3.6))
    for kind in COLORS:
        for depth, style in LINES.items():
            chosen = [r for r in rows if r["kind"] == kind and r["depth"] == depth]
            epochs = sorted({row["epoch"] for row in chosen})
            for seed in sorted({row["seed"] for row in chosen}):
                losses = [row["train_loss"] for row in chosen if row["seed"] == seed]
                ax.plot(epochs, losses, color=COLORS[kind], linewidth=0.6, alpha=0.5)
            means = [
                fmean(row["train_loss"] for row in chosen if row["epoch"] == epoch)
                for epoch in epochs
            ]
            label = f"{kind}, {depth} layers"
            ax.plot(epochs, means, color=COLORS[kind], linestyle=style, label=label)
    label = "live run"
    for records in live.values():
        losses = [record["train_loss"] for record in records]
        ax.plot(range(1, len(losses) + 1), losses, ".", color=INK, label=label)
        label = None
    ax.set(
        xlabel="epoch (16 steps each)",
        ylabel="training loss",
        yscale="log",
        xticks=epochs,
    )
    fig.legend(loc="outside upper left", ncols=3, columnspacing=1.2, handlelength=1.8)
    return fig


def draw_gradients(
    panels: Mapping[str, Mapping[tuple[str, int], Sequence[float]]],
    theory: Sequence[float],
) -> Figure:
    """Gradient norm of each 3x3 convolution, input side left, one panel per title.

    Args:
        panels: by title, then by kind and depth, the norms in order of depth.
        theory: predicted norms of the deepest net, drawn in the first panel.
    """
    fig, axes = plt.subplots(1, len(panels), sharey=True, figsize=(6.4, 3.6))
    for ax, (title, series) in zip(axes, panels.items(), strict=True):
        for (kind, depth), norms in series.items():
            ax.plot(
                range(1, len(norms) + 1),
                norms,
                color=COLORS[kind],
                linestyle=LINES[depth],
                label=f"{kind}, {depth} layers",
            )
        ax.set(title=title, xlabel="convolution, 1 = at the input", yscale="log")
        ax.set_xlim(0, None)
        ax.grid(color=MUTED, alpha=0.25)
    axes[0].set(ylabel="gradient norm of its weights")
    layers = range(1, len(theory) + 1)
    axes[0].plot(layers, theory, color=INK, linewidth=1, linestyle=(0, (1, 1)))
    axes[0].annotate("theory: times 1.211\nper layer", (18, theory[17]), (8, 4),
                     textcoords="offset points", fontsize=10)  # fmt: skip
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1.2)
    return fig
