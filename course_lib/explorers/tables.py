"""What the explorers know of the networks: their JSON files, written from the models.

Each function returns what one explorer's module reads: ``title``, ``state`` (the
values to start with), ``limits`` (of each value: smallest and largest, or a list),
``height`` (pixels that the book keeps free, on a wide page and on a phone).
"""

from __future__ import annotations

from typing import Any

import torch

from course_lib.ledger import ledger
from course_lib.resnet import resnet18

__all__ = ["TABLES", "convolution"]


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
            "kind": ["conv", "pool"],
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


TABLES = {"convolution": convolution}
