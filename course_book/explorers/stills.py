"""A picture and a few words for each explorer.

What print and readers without JavaScript see: SVG in the colors of the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from course_book.explorers.activations import UNITS
from course_book.explorers.packed import unpack
from course_book.explorers.page import read_more
from course_lib.dimensions import Layer, output_size, unread
from course_lib.dimensions.text import arithmetic
from course_lib.ledger import ledger
from course_lib.resnet import resnet

__all__ = [
    "STILLS",
    "activations",
    "batch_norm",
    "conv_backward",
    "convolution",
    "gradient_flow",
    "network",
]


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


def conv_backward(data: dict[str, Any]) -> str:
    """δ with its zeros under the flipped kernel, and the gradient that it makes."""
    s = data["state"]
    n, k, stride, padding = (s[key] for key in ("size", "kernel", "stride", "padding"))
    at, ring, cell, top = (s["row"], s["column"]), k - 1 - padding, 34, 24
    rows = output_size(n, k, stride, padding)
    delta = torch.tensor(data["delta"], dtype=torch.float32)[:rows, :rows]
    kernel = torch.arange(1.0, k * k + 1).view(k, k)
    dropped = (n + 2 * padding - k) % stride
    back = F.conv_transpose2d(
        delta[None, None], kernel[None, None], None, stride, padding, dropped
    )[0, 0]
    wide = n + k - 1
    parts = ['<text x="0" y="14">δ with zeros, under the flipped kernel</text>']
    terms = []
    for i in range(wide):
        for j in range(wide):
            a, b = i - at[0], j - at[1]  # row and column of the window
            window = 0 <= a < k and 0 <= b < k
            u, v = i - ring, j - ring
            inside = all(0 <= t <= (rows - 1) * stride for t in (u, v))
            real = inside and u % stride == v % stride == 0
            value = int(delta[u // stride, v // stride]) if real else 0
            fill = "var(--ex-tint)" if real else "none"
            stroke = "var(--ex-blue)" if window else "var(--ex-edge)"
            dash = "" if inside else ' stroke-dasharray="3 2"'
            parts.append(
                square(
                    j * cell + 1,
                    top + i * cell + 1,
                    cell - 3,
                    f'fill="{fill}" stroke="{stroke}"{dash}',
                )
            )
            text = minus(value)
            if window:
                weight = int(kernel[k - 1 - a, k - 1 - b])
                text += f"·{weight}"
                if real:
                    terms.append((value, weight))
            parts.append(written(j * cell + cell / 2, top + i * cell + 21, text))
    x = wide * cell + 40
    parts.append(f'<text x="{x}" y="14">∂L/∂x, {n} × {n}</text>')
    for i in range(n):
        for j in range(n):
            fill = "var(--ex-warm)" if (i, j) == at else "none"
            parts.append(
                square(
                    x + j * cell + 1,
                    top + i * cell + 1,
                    cell - 3,
                    f'fill="{fill}" stroke="var(--ex-edge)"',
                )
            )
            text = minus(int(back[i, j]))
            parts.append(written(x + j * cell + cell / 2, top + i * cell + 21, text))
    drawing = svg(
        x + n * cell,
        top + wide * cell,
        f"The gradient δ of {rows} × {rows} with zeros between its numbers, a window "
        f"of {k} × {k} over it, and the gradient of the input, {n} × {n}.",
        parts,
    )
    products = " + ".join(f"{minus(value)}·{weight}" for value, weight in terms)
    size = f"{k} × {k}".replace(" ", "\N{NO-BREAK SPACE}")
    return still(
        drawing,
        f"Backward through a convolution of {size} with stride {stride}: the "
        f"numbers of δ are written with zeros between them, and the flipped kernel "
        f"walks over them. The window makes the number in row {at[0]}, column "
        f"{at[1]} (from 0): {products} = {minus(int(back[at]))}.",
        "With JavaScript the kernel walks, and size, kernel, stride, padding and "
        "dilation can be changed.",
    )


def minus(number: int) -> str:
    """A whole number with a minus instead of a hyphen."""
    return f"{number}".replace("-", "−")


def written(x: float, y: float, text: str) -> str:
    """Words in the middle of a square."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle">{text}</text>'


def network(data: dict[str, Any]) -> str:
    """The parts of the network, what comes out of each, and its units."""
    state = data["state"]
    size = state["size"]
    with torch.device("meta"):
        model = resnet(state["depth"], num_classes=state["classes"])
    book = ledger(model, (1, 3, size, size))
    shapes = {row.name: row.output_shape[1:] for row in book.by_stage().rows}
    rows = {"photo": (3, size, size), "stem": shapes["maxpool"]}
    rows |= {name: shapes[name] for name, _ in data["nets"][state["depth"]][:-1]}
    parts = []
    for index, (name, shape) in enumerate(rows.items()):
        y = 64 * index + 8
        side = max(2, 48 * min(1, shape[1] * 2 / size))
        style = 'fill="var(--ex-tint)" stroke="var(--ex-blue)"'
        parts.append(square(4, y + (48 - side) / 2, side, style))
        bold = 'style="font-weight: 650"'
        parts.append(f'<text x="72" y="{y + 20}" {bold}>{name}</text>')
        text = " × ".join(map(str, shape))
        parts.append(f'<text x="72" y="{y + 38}">{text}</text>')
        for at, unit in enumerate(getattr(model, name, ()) if "layer" in name else ()):
            special = unit.downsample is not None
            color = "orange" if special else "blue"
            x = 190 + 44 * at
            parts.append(square(x, y + 8, 32, f'fill="var(--ex-{color})" rx="5"'))
            parts.append(
                f'<text x="{x + 16}" y="{y + 29}" text-anchor="middle" '
                f'style="fill: var(--ex-ground)">{"S" if special else "C"}</text>'
            )
    drawing = svg(
        300,
        64 * len(rows),
        f"The parts of ResNet-{state['depth']} with the shape that leaves each, and "
        "the units of the four stages: C, identity shortcut, S, projection.",
        parts,
    )
    return still(
        drawing,
        f"ResNet-{state['depth']} at {size} pixels and with {state['classes']:,} "
        f"classes has {book.parameters:,} parameters and needs {book.macs:,} "
        "multiply-accumulates (MACs) for a photo. C: a unit with the identity as its "
        "shortcut. S: a unit with a projection.",
        "With JavaScript, depth, photo and stem can be changed, and each unit opened.",
    )


def batch_norm(data: dict[str, Any]) -> str:
    """Three number lines: the values, normalized, scaled and shifted."""
    state = data["state"]
    z = torch.tensor(state["values"], dtype=torch.float64)
    mean, deviation = z.mean(), z.std(correction=0)
    normalized = (z - mean) / torch.sqrt(deviation**2 + data["eps"])
    output = state["gamma"] * normalized + state["beta"]
    low, high = data["limits"]["values"]
    lanes = {"z, the batch": z, "ẑ, normalized": normalized, "y = γ ẑ + β": output}
    parts = []
    for index, (name, values) in enumerate(lanes.items()):
        y = 80 * index + 40
        place = [(float(v) - low) * 34 + 20 for v in values]
        parts.append(f'<text x="4" y="{y - 16}">{name}</text>')
        parts.append(
            f'<path d="M20 {y}H{(high - low) * 34 + 20}" stroke="var(--ex-edge)"/>'
        )
        center = (float(values.mean()) - low) * 34 + 20
        parts.append(
            f'<path d="M{center:.1f} {y - 14}v28" stroke="var(--ex-orange)" '
            'stroke-width="2.5"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y}" r="7" fill="var(--ex-blue)"/>'
            for x in place
        ]
    drawing = svg(
        (high - low) * 34 + 40,
        240,
        f"{len(z)} values on a number line, the same values normalized around 0, and "
        "the output.",
        parts,
    )
    return still(
        drawing,
        f"{len(z)} values of one channel, with mean {mean:.2f} and deviation "
        f"{deviation:.2f} (orange: the mean). Batch normalization moves their mean to "
        "0 and their deviation to 1; then γ scales them and β shifts them.",
        "With JavaScript the values can be dragged, in train and in eval mode.",
    )


def gradient_flow(data: dict[str, Any]) -> str:
    """Two measured curves: the gradient on its way back."""
    s = data["state"]
    chosen = data["measured"][s["activation"]][s["norm"]][s["units"]]
    curves = dict(zip(("plain", "residual"), chosen[f"{s['scale']:g}"]))
    low = min(min(curve) for curve in curves.values())
    parts = []
    for kind, color in (("plain", "orange"), ("residual", "blue")):
        points = [
            (40 + 380 * i / s["units"], 40 + 170 * power / low)
            for i, power in enumerate(curves[kind])
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="var(--ex-{color})" '
            'stroke-width="2.5"/>'
        )
        x, y = points[0]
        parts.append(f'<text x="{x + 14:.0f}" y="{y - 10:.0f}">{kind}</text>')
    parts.append('<text x="420" y="236" text-anchor="end">output</text>')
    parts.append('<text x="40" y="236">first unit</text>')
    kinds = [f"{kind} 10^{curve[0]:.1f}" for kind, curve in curves.items()]
    drawing = svg(
        440,
        244,
        "Two curves, the length of the gradient at each unit on a scale of powers of "
        f"ten, from the output back to the first unit: {', '.join(kinds)}.",
        parts,
    )
    return still(
        drawing,
        f"A gradient of length 1 at the output, {s['units']} units before it, with "
        f"{s['activation']}, weights {s['scale']} times He initialization and no batch "
        f"normalization: {', '.join(kinds)}.",
        "With JavaScript, depth, weights, activation and batch normalization can be "
        "changed, and the scalar argument stands beside the measurement.",
    )


def level_paths(values: np.ndarray, x: float, y: float, side: float) -> list[str]:
    """A map [N, N] of non-negative numbers in four tones, as runs along its rows."""
    cell = side / len(values)
    levels = np.rint(4 * values / values.max()).astype(int)
    paths = []
    for level in range(1, 5):
        runs = []
        for row, line in enumerate(levels == level):
            edges = np.flatnonzero(np.diff(line.astype(int), prepend=0, append=0))
            for start, end in edges.reshape(-1, 2):
                runs.append(f"M{start} {row}h{end - start}v1h-{end - start}z")
        paths.append(
            f'<path transform="translate({x:g} {y:g}) scale({cell:g})" '
            f'd="{"".join(runs)}" fill="var(--ex-blue)" fill-opacity="{level / 4}"/>'
        )
    return paths


def activations(data: dict[str, Any]) -> str:
    """The photo, one map behind the stem and each stage, and the six probabilities."""
    more = read_more(data["file"])
    arrays = unpack(more)
    side, shown = 100, data["state"]["map"] - 1
    parts = [
        f'<image href="{more["thumbnail"]}" width="{side}" height="{side}"/>',
        f'<text x="0" y="{side + 16}">photo</text>',
    ]
    for index, name in enumerate(("conv1", *UNITS[1::2]), start=1):
        maps = arrays[f"{name}/maps"].astype(float)
        values = maps[0] + maps[1] if name in UNITS else maps
        values = values[shown].clip(0)
        blocks = max(1, len(values) // 28)
        n = len(values) // blocks
        values = values.reshape(n, blocks, n, blocks).max((1, 3))
        x, y = index % 3 * (side + 12), index // 3 * (side + 28)
        parts += level_paths(values, x, y, side)
        style = 'fill="none" stroke="var(--ex-edge)"'
        parts.append(square(x, y, side, style))
        parts.append(f'<text x="{x}" y="{y + side + 16}">{name}</text>')
    truth = more["steps"]["fc"]["truth"]["probabilities"]
    for index, (name, share) in enumerate(zip(more["classes"], truth)):
        y = 2 * (side + 28) + 20 + 20 * index
        parts.append(f'<text x="0" y="{y}">{name}</text>')
        parts.append(
            f'<rect x="150" y="{y - 11}" width="{120 * share:.1f}" height="12" '
            'fill="var(--ex-blue)"/>'
        )
        parts.append(f'<text x="278" y="{y}">{share:.1%}</text>')
    drawing = svg(
        3 * side + 24,
        2 * (side + 28) + 130,
        "A photo of a cracked wall, a map of what the network makes of it behind "
        "conv1 and behind each of the four stages, and the six probabilities.",
        parts,
    )
    best = max(range(len(truth)), key=truth.__getitem__)
    return still(
        drawing,
        "A drawn photo on its way through the trained network: one of the maps behind "
        "the first convolution and behind each stage, 112, 56, 28, 14 and 7 values "
        "wide, the darker the larger. The crack can be followed; the maps get "
        f"coarser. At the end stands the answer, {more['classes'][best]} with a "
        f"probability of {truth[best]:.1%}.",
        "With JavaScript, each layer can be opened, down to the products that add up "
        "to a value.",
    )


STILLS = {
    "activations": activations,
    "convolution": convolution,
    "conv_backward": conv_backward,
    "network": network,
    "batch_norm": batch_norm,
    "gradient_flow": gradient_flow,
}
