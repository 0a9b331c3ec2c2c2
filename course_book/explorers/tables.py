"""What the explorers know of the networks: their JSON files, written from the models.

Each function returns what one explorer's module reads: ``title``, ``state`` (the
values to start with), ``limits`` (of each value: smallest and largest, or the list
``oneOf``; a third number says that it need not be whole),
``height`` (pixels that the book keeps free, on a wide page and on a phone).
"""

from __future__ import annotations

import inspect
import random
from typing import Any

import torch
from torch import nn

from course_book.experiments.gradient_flow import ACTIVATIONS, DEPTHS, SCALES, slope
from course_book.explorers.activations import FILE, PLACES, SHOWN, UNITS
from course_book.results import load
from course_lib.data.classes import CRACK_CLASSES
from course_lib.ledger import Row, fits, ledger
from course_lib.resnet import LAYERS, resnet, resnet18

__all__ = [
    "TABLES",
    "activations",
    "batch_norm",
    "conv_backward",
    "convolution",
    "gradient_flow",
    "network",
]


def strided_layers(size: int = 224) -> list[dict[str, Any]]:
    """Every operation of ResNet-18 with a stride, with the size that it receives."""
    with torch.device("meta"):
        model = resnet18()
    modules = dict(model.named_modules())
    found = []
    for row in ledger(model, (1, 3, size, size)).rows:
        layer = modules.get(row.name)
        if getattr(layer, "stride", 1) in (1, (1, 1)):
            continue
        kernel, stride, padding, dilation = (
            value if isinstance(value, int) else value[0]
            for value in (
                layer.kernel_size,
                layer.stride,
                layer.padding,
                layer.dilation,
            )
        )
        found.append(
            {
                "label": f"{row.name}: {row.input_shape[2]} px, K {kernel}, S {stride}",
                "size": row.input_shape[2],
                "kernel": kernel,
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "kind": "pool" if layer is model.maxpool else "conv",
                "ceil_mode": False,
            }
        )
    return found


def convolution() -> dict[str, Any]:
    """Convolution arithmetic: limits of the fields and the examples."""
    start = {"size": 8, "kernel": 3, "stride": 2, "padding": 1, "dilation": 1}
    start |= {"kind": "conv", "ceil_mode": False}
    pool = {"size": 112, "kernel": 2, "kind": "pool"}
    return {
        "title": "Explorer: a window moves over a grid",
        "state": start | {"row": -1, "column": -1},
        "limits": {
            "size": [1, 256],
            "kernel": [1, 11],
            "stride": [1, 8],
            "padding": [0, 8],
            "dilation": [1, 6],
            "kind": {"oneOf": ["conv", "pool"]},
            "row": [-1, 300],
            "column": [-1, 300],
        },
        "height": [930, 1290],
        "presets": [
            {"label": "a small example", **start},
            *strided_layers(),
            {"label": "pooling with K = 2: 112 to 57", **start, **pool},
            {"label": "dilated: every 2nd row", **start, "stride": 1, "dilation": 2},
        ],
    }


def conv_backward() -> dict[str, Any]:
    """A convolution backward: whole numbers for δ and x, limits and examples."""
    limits = {
        "view": {"oneOf": ["input", "weights"]},
        "size": [1, 7],
        "kernel": [1, 3],
        "stride": [1, 4],
        "padding": [0, 3],
        "dilation": [1, 2],
    }
    size, kernel, padding = (limits[key][1] for key in ("size", "kernel", "padding"))
    largest = size + 2 * padding  # rows of δ, for a 1 x 1 kernel with stride 1
    draw = random.Random(0)
    delta = [[draw.randint(-3, 3) for _ in range(largest)] for _ in range(largest)]
    for line, first in zip(delta, ([1, 2, 0], [-1, 3, 1], [2, 0, -2])):
        line[:3] = first  # those of the notebook's example
    x = [[draw.randint(-3, 3) for _ in range(size)] for _ in range(size)]
    start = {"view": "input", "size": 5, "kernel": 3, "stride": 2}
    start |= {"padding": 1, "dilation": 1, "row": 1, "column": 3}
    far = {"row": 5, "column": 5}
    return {
        "title": "Explorer: a convolution, backward",
        "state": start | {"term": 1},
        "limits": limits
        | {
            "row": [0, max(size, kernel) - 1],
            "column": [0, max(size, kernel) - 1],
            "term": [1, largest**2],
        },
        "height": [952, 1275],
        "delta": delta,
        "x": x,
        "presets": [
            {"label": "3 × 3, stride 2", **start},
            {
                "label": "1 × 1, stride 2: holes",
                **start,
                "size": 6,
                "kernel": 1,
                "padding": 0,
            },
            {"label": "3 × 3, stride 1", **start, "stride": 1},
            {"label": "a last row left over", **start, "size": 6, "padding": 0, **far},
            {
                "label": "stride 3, kernel 2",
                **start,
                "size": 7,
                "kernel": 2,
                "stride": 3,
            },
            {"label": "dilation 2", **start, "stride": 1, "padding": 2, "dilation": 2},
            {"label": "weights of 3 × 3, stride 2", **start, "view": "weights"},
        ],
    }


STEMS = ("imagenet", "small")
KINDS = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.ReLU: "relu",
    nn.MaxPool2d: "pool",
    nn.Identity: "same",
    nn.AdaptiveAvgPool2d: "avg",
    nn.Linear: "fc",
    type(None): "",
}


def layer_line(row: Row, layer: nn.Module | None, name: str) -> list[Any]:
    """A layer without sizes: name, kind, C out, K, S, P, weights, MACs per place."""
    kind = KINDS[type(layer)] or {"add": "add", "flatten": "flat"}[row.kind]
    settings = [1, 1, 0]
    if kind in ("conv", "pool"):
        triple = (layer.kernel_size, layer.stride, layer.padding)
        settings = [value if isinstance(value, int) else value[0] for value in triple]
    weights = 0 if kind == "fc" else row.parameters  # those of fc depend on the classes
    places = 1 if kind == "fc" else row.output_shape[-1] * row.output_shape[-2]
    per_place = row.macs // places if kind == "conv" else 0
    return [name, kind, row.output_shape[1], *settings, weights, per_place]


def network() -> dict[str, Any]:
    """Five depths: each unit once as a template, and which units each stage has."""
    templates: list[list[Any]] = []
    stems: dict[str, int] = {}
    nets: dict[int, list[Any]] = {}
    buffers: dict[int, int] = {}
    for depth in LAYERS:
        for stem in STEMS if depth == min(LAYERS) else STEMS[:1]:
            with torch.device("meta"):
                model = resnet(depth, stem=stem)
            modules = dict(model.named_modules())
            book = ledger(model, (1, 3, 224, 224))
            buffers[depth] = book.buffer_bytes
            units: dict[str, list[Any]] = {}
            for row in book.rows:
                path = row.name.split(".")
                head = row.name in ("avgpool", "flatten", "fc")
                unit = ".".join(path[:2]) if len(path) > 1 else "head"[: 4 * head]
                local = ".".join(path[2:]) or row.name
                line = layer_line(row, modules.get(row.name), local)
                units.setdefault(unit or "stem", []).append(line)
            parts: dict[str, list[int]] = {}
            for unit, lines in units.items():
                if lines not in templates:
                    templates.append(lines)
                found = templates.index(lines)
                parts.setdefault(unit.split(".")[0], []).append(found)
            (stems[stem],) = parts.pop("stem")
            nets[depth] = [[part, found] for part, found in parts.items()]
    most = [max(counts) for counts in zip(*LAYERS.values())]
    names = [f"layer{i}.{j}" for i, n in enumerate(most, start=1) for j in range(n)]
    return {
        "title": "Explorer: walk through a network",
        "state": {
            "depth": 18,
            "size": 224,
            "stem": "imagenet",
            "classes": 1000,
            "batch": 32,
            "memory": 8,
            "unit": "layer2.0",
        },
        "limits": {
            "depth": {"oneOf": list(LAYERS)},
            "size": [32, 512],
            "stem": {"oneOf": list(STEMS)},
            "classes": {"oneOf": [6, 1000]},
            "batch": [1, 256],
            "memory": {"oneOf": [4, 8, 16, 24]},
            "unit": {"oneOf": ["stem", *names, "head"]},
        },
        "height": [1250, 2262],
        "channels": modules["conv1"].in_channels,
        "workspace": inspect.signature(fits).parameters["workspace_bytes"].default,
        "buffers": buffers,
        "stems": stems,
        "nets": nets,
        "templates": templates,
    }


def batch_norm() -> dict[str, Any]:
    """Drawn batches of one channel, and the constants of PyTorch's layer."""
    layer = nn.BatchNorm2d(1)
    draw = random.Random(0)
    mean, deviation, most, batches = 2.5, 1.5, 8, 64
    noise = [[round(draw.gauss(0, 1), 2) for _ in range(most)] for _ in range(batches)]
    first = [round(mean + deviation * value, 2) for value in noise[0]]
    return {
        "title": "Explorer: normalize a batch",
        "state": {
            "values": first,
            "gamma": 1.0,
            "beta": 0.0,
            "mode": "train",
            "running_mean": 0.0,
            "running_var": 1.0,
            "seen": 0,
        },
        "limits": {
            "values": [-6, 6],
            "gamma": [-3.0, 3.0, 0.1],
            "beta": [-3.0, 3.0, 0.1],
            "mode": {"oneOf": ["train", "eval"]},
            "running_mean": [-6.0, 6.0, 0.0],
            "running_var": [0.0, 150.0, 0.0],
            "seen": [0, 1000],
        },
        "height": [757, 1018],
        "eps": layer.eps,
        "momentum": layer.momentum,
        "source": {"mean": mean, "deviation": deviation},
        "most": most,
        "noise": noise,
    }


def gradient_flow() -> dict[str, Any]:
    """The measured gradients, and the weights of the scalar chains."""
    measured: dict[str, Any] = {name: [{}, {}] for name in ACTIVATIONS}
    for row in load("gradient_flow"):
        depth = measured[row["activation"]][row["norm"]].setdefault(row["units"], {})
        powers = [round(float(power), 1) + 0.0 for power in row["powers"].split()]
        depth.setdefault(f"{row['scale']:g}", []).append(powers)
    draw = random.Random(0)
    chains = [
        [round(draw.gauss(0, 1), 2) for _ in range(2 * max(DEPTHS))] for _ in range(41)
    ]
    return {
        "title": "Explorer: how much of the gradient arrives",
        "state": {
            "units": 16,
            "scale": 0.5,
            "activation": "ReLU",
            "norm": False,
            "shortcut": "both",
        },
        "limits": {
            "units": {"oneOf": list(DEPTHS)},
            "scale": {"oneOf": list(SCALES)},
            "activation": {"oneOf": list(ACTIVATIONS)},
            "shortcut": {"oneOf": ["both", "off", "on"]},
        },
        "height": [540, 985],
        "slopes": {name: round(slope(name), 6) for name in ACTIVATIONS},
        "weights": chains,
        "measured": measured,
    }


def activations() -> dict[str, Any]:
    """One photo's way; what is found on it stands in a file of its own."""
    return {
        "title": "Explorer: one photo, layer by layer",
        "state": {
            "step": "conv1",
            "map": 2,
            "place": "crack",
            "branch": "F",
            "part": 1,
            "answer": CRACK_CLASSES[5],
        },
        "limits": {
            "step": {"oneOf": ["photo", "conv1", "maxpool", *UNITS, "avgpool", "fc"]},
            "map": [1, SHOWN],
            "place": {"oneOf": list(PLACES)},
            "branch": {"oneOf": ["F", "shortcut"]},
            "part": [1, 5],
            "answer": {"oneOf": list(CRACK_CLASSES)},
        },
        "height": [1178, 1768],
        "file": FILE,
    }


TABLES = {
    "activations": activations,
    "convolution": convolution,
    "conv_backward": conv_backward,
    "network": network,
    "batch_norm": batch_norm,
    "gradient_flow": gradient_flow,
}
