"""Figures of the size arithmetic and of the ledger, drawn from their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_book.figures import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, SKY
from course_lib.dimensions import Layer, output_size
from course_lib.ledger.table import MIB, Ledger


def draw_far_edges(layers: Mapping[str, tuple[int, Layer]], show: int = 10) -> Figure:
    """The last rows of padded inputs, and the last windows that read them.

    Args:
        layers: for each title the input size N and the layer; int settings.
        show: how many rows to draw, padding included; more where a window needs them.
    """
    fig, axes = plt.subplots(len(layers), figsize=(6.0, 1.25 * len(layers) + 0.5))
    for ax, (title, (size, layer)) in zip(np.atleast_1d(axes), layers.items()):
        _far_edge(ax, size, layer, show)
        ax.set_title(title, pad=3)
    return fig


def _far_edge(ax: Axes, size: int, layer: Layer, show: int) -> None:
    _, k, s, p, d, _ = layer
    last = output_size(size, k, s, p, d, kind=layer.kind) - 1
    windows = [
        [o * s - p + i * d for i in range(k)] for o in range(max(0, last - 2), last + 1)
    ]
    left = min(size + p - show, windows[0][0])
    read = {o * s - p + i * d for o in range(last + 1) for i in range(k)}
    for row in range(left, size + p):
        padded, seen = row >= size, row in read
        face = "white" if padded else SKY
        ax.add_patch(
            Rectangle(
                (row, 0),
                0.94,
                0.8,
                facecolor=face if seen or padded else ORANGE,
                edgecolor=MUTED if seen else ORANGE,
                linestyle="--" if padded else "-",
                linewidth=1.4 if padded else 0.8,
                hatch=None if seen else "////",
                alpha=1 if padded or not seen else 0.55,
            )
        )
        empty = "−∞" if layer.kind == "pool" else "0"
        text = empty if padded else str(row)
        box = (
            {"facecolor": "white", "edgecolor": "none", "pad": 1} if not seen else None
        )
        ax.text(row + 0.47, 0.4, text, ha="center", va="center", bbox=box, fontsize=10)
    for level, rows in enumerate(windows[::-1]):
        y, color = -0.28 - 0.3 * level, (BLUE, GREEN, MUTED)[level]
        ax.plot([rows[0] + 0.2, rows[-1] + 0.74], [y, y], color=color, lw=4)
    ax.set(xlim=(left - 0.2, size + p + 0.2), ylim=(-1.1, 0.95))
    ax.axis("off")


def draw_shares(ledger: Ledger) -> Figure:
    """Where parameters, MACs and kept bytes lie: one bar for each part of a net."""
    rows = [row for row in ledger.by_stage().rows if row.kind != "flatten"]
    stem = [row for row in rows if not row.name.startswith("layer")][:4]
    parts = {"stem": stem}
    parts |= {row.name: [row] for row in rows if row.name.startswith("layer")}
    parts["fc"] = [row for row in rows if row.name in ("avgpool", "fc")]
    totals = {
        "parameters": ledger.parameters,
        "MACs": ledger.macs,
        "kept_bytes": ledger.kept_bytes,
    }
    heads = (
        f"parameters\n{totals['parameters'] / 1e6:.1f} million",
        f"MACs\n{totals['MACs'] / 1e9:.2f} billion",
        f"kept memory\n{totals['kept_bytes'] / MIB:.1f} MiB",
    )
    fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.9), sharey=True)
    for ax, key, head, color in zip(axes, totals, heads, (BLUE, ORANGE, GREEN)):
        share = [
            100 * sum(getattr(row, key.lower()) for row in part) / totals[key]
            for part in parts.values()
        ]
        ax.barh(list(parts), share, color=color)
        for y, value in enumerate(share):
            ax.text(value + 2, y, f"{value:.0f} %", va="center")
        ax.set_title(head, fontsize=10.5)
        ax.set(xlim=(0, 105), xticks=(0, 50, 100), xlabel="share (%)")
        ax.grid(visible=False, axis="y")
    axes[0].invert_yaxis()
    return fig


def draw_fields(
    names: Sequence[str], sizes: Sequence[int], marks: Mapping[str, int]
) -> Figure:
    """Receptive fields layer by layer, on a logarithmic axis, beside known widths.

    Args:
        names: of the layers, in order; the part before the first dot groups them,
            and names without a dot are the stem.
        sizes: receptive field of each in pixels.
        marks: label and width in pixels of each line to draw for comparison.
    """
    fig, ax = plt.subplots(figsize=(6.2, 3.4))
    groups = [name.split(".")[0] if "." in name else "stem" for name in names]
    ax.step(range(len(names)), sizes, where="mid", color=BLUE)
    ax.plot(range(len(names)), sizes, "o", color=BLUE, ms=4)
    for label, width in marks.items():
        ax.axhline(width, color=ORANGE, lw=1.2, ls="--")
        ax.annotate(label, (-0.5, width), (0, 5), textcoords="offset points", color=INK)
    starts = [i for i, g in enumerate(groups) if i == 0 or g != groups[i - 1]]
    for start in starts[1:]:
        ax.axvline(start - 0.5, color=FAINT, lw=1, zorder=0)
    ax.set(yscale="log", yticks=(2, 5, 10, 20, 50, 100, 200, 500))
    ax.set_yticklabels(["2", "5", "10", "20", "50", "100", "200", "500"])
    ax.minorticks_off()
    ax.set_xticks(starts, [groups[i] for i in starts], ha="left")
    ax.set(xlabel="layer, from the input on", ylabel="receptive field (pixels)")
    ax.set(xlim=(-0.7, len(names) - 0.3), ylim=(1.6, 900))
    ax.grid(visible=False, axis="x")
    return fig
