"""What the explorers know of the networks: their JSON files, written from the models.

Each function returns what one explorer's module reads: ``title``, ``state`` (the
values to start with), ``limits`` (of each value: smallest and largest, or the list
``oneOf``),
``height`` (pixels that the book keeps free, on a wide page and on a phone).
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from course_lib.ledger import Row, fits, ledger
from course_lib.resnet import LAYERS, resnet, resnet18

__all__ = ["TABLES", "convolution", "network"]


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
            {"label": "E1: pooling 112 to 57", **start, **pool},
            {"label": "dilated: every 2nd row", **start, "stride": 1, "dilation": 2},
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
        for stem in STEMS:
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
        "height": [1250, 2305],
        "channels": modules["conv1"].in_channels,
        "workspace": inspect.signature(fits).parameters["workspace_bytes"].default,
        "buffers": buffers,
        "stems": stems,
        "nets": nets,
        "templates": templates,
    }


TABLES = {"convolution": convolution, "network": network}
