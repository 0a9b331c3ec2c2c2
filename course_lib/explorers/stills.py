"""A picture and a few words for each explorer.

What print and readers without JavaScript see: SVG in the colors of the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from course_lib.dimension_table import arithmetic
from course_lib.dimensions import Layer, output_size, unread

__all__ = ["STILLS", "convolution"]


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A drawing with a name for screen readers."""
    return (
        f'<svg role="img" aria-label="{escape(title)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def square(x: float, y: float, side: float, style: str) -> str:
    """A square with a style of its own."""
    return f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" {style}/>'


def still(drawing: str, *paragraphs: str) -> str:
    """The drawing with its words."""
    words = "\n".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    return f'<div class="explorer-still">\n{drawing}\n{words}\n</div>\n'


def convolution(data: dict[str, Any]) -> str:
    """The padded grid, the last window and the output."""
    s = data["state"]
    layer = Layer(s["kind"], s["kernel"], s["stride"], s["padding"], s["dilation"])
    n, k, p = s["size"], s["kernel"], s["padding"]
    out = output_size(n, *layer[1:5])
    left = unread(n, *layer[1:5])
    cell, top = 24, 24
    last = (out - 1) * s["stride"]
    parts = [f'<text x="0" y="14">input {n} × {n} with padding {p}</text>']
    for row in range(n + 2 * p):
        for column in range(n + 2 * p):
            padded = not (p <= row < n + p and p <= column < n + p)
            idle = max(row, column) >= last + k
            window = last <= row < last + k and last <= column < last + k
            fill = "none" if padded else "var(--ex-tint)"
            fill = "var(--ex-blue)" if window else "var(--ex-warm)" if idle else fill
            stroke = "var(--ex-orange)" if idle else "var(--ex-edge)"
            dash = ' stroke-dasharray="3 2"' if padded else ""
            style = f'fill="{fill}" stroke="{stroke}"{dash}'
            parts.append(
                square(column * cell + 1, top + row * cell + 1, cell - 2, style)
            )
    x = (n + 2 * p) * cell + 60
    parts.append(f'<text x="{x}" y="14">output {out} × {out}</text>')
    for row in range(out):
        for column in range(out):
            corner = row == column == out - 1
            fill = "var(--ex-blue)" if corner else "var(--ex-tint)"
            style = f'fill="{fill}" stroke="var(--ex-edge)"'
            parts.append(
                square(x + column * cell + 1, top + row * cell + 1, cell - 2, style)
            )
    drawing = svg(
        x + max(out * cell, 90),
        top + (n + 2 * p) * cell,
        f"A grid of {n} × {n} with padding {p}, its last window of {k} × {k}, and the "
        f"output of {out} × {out}.",
        parts,
    )
    return still(
        drawing,
        f"A window of {k} × {k} moves in steps of {s['stride']}: {arithmetic(n, layer)}"
        f". Blue: the last window and the value that it makes. Orange: what no window "
        f"reads, here {left.padding} row and column of padding.",
        "With JavaScript, size, kernel, stride, padding and dilation can be changed.",
    )


STILLS = {"convolution": convolution}
