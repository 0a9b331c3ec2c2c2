"""What the course's network makes of one photo, in a file small enough for a page.

The explorer follows the photo of the Mechanism chapter through the trained
ResNet-18, layer by layer. Of each layer the file holds the :data:`SHOWN` channels
that vary the most, as pictures of 64 levels, and for four places in the photo
everything that a value of them is computed from: the window that is read, the kernel
(int8, as the weights are shipped), and batch normalization's four numbers. What
PyTorch computes stands beside it, in ``truth``, to compare the sums with.

The numbers are packed as integers with a scale each, fine enough that no value that
the reader sees moves by as much as :data:`course_book.explorers.packed.TOLERANCE`.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from course_book.explorers.packed import BYTE, Pack, differences
from course_book.explorers.page import read_more
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from course_lib.ledger import ledger
from course_lib.resnet import BasicBlock
from course_lib.synthetic import SyntheticCracks
from course_lib.weights import course_resnet18

__all__ = ["FILE", "PLACES", "SHOWN", "UNITS", "follow", "renewed"]

FILE = "activations_data.js"
PHOTO = 5  # of the test part: the photo of the Mechanism chapter
SIZE = 224
SHOWN = 6  # channels of each layer
PLACES = {"crack": (46, 42), "cable": (106, 210), "wall": (80, 160), "corner": (0, 0)}
"""Pixels of the photo (row, column), whose values are followed."""
WHERE = ("on the crack", "on the cable", "on the bare wall", "in the corner")
ALT = (
    "A drawn photo of a wall: a jagged black crack runs down the left side and turns "
    "right, a light cable crosses from left to right."
)
UNITS = tuple(f"layer{stage}.{unit}" for stage in range(1, 5) for unit in range(2))
_FINE, _COARSE = 8191, 63  # levels on one side of 0: of values, of pictures


def decimals(values: Tensor, digits: int = 4) -> list[Any]:
    """Nested lists of rounded numbers."""
    return (values.double().numpy().round(digits) + 0.0).tolist()  # no -0.0


def normalization(bn: nn.BatchNorm2d, channels: list[int]) -> list[list[float]]:
    """γ, β, mean and variance of some channels."""
    four = (bn.weight, bn.bias, bn.running_mean, bn.running_var)
    rows = torch.stack([part[channels] for part in four], 1).tolist()
    return [[float(f"{value:.6g}") for value in row] for row in rows]


def kernels(
    pack: Pack, name: str, layer: nn.Module, channels: list[int]
) -> list[float]:
    """Pack some kernels as the int8 that the weights are shipped in; their scales."""
    weight = layer.weight.detach()[channels]
    scales = weight.abs().flatten(1).amax(1) / BYTE
    whole = (weight / scales.view(-1, *[1] * (weight.ndim - 1))).round()
    pack.integers(name, whole, BYTE, 1.0)
    return [float(f"{scale:.7g}") for scale in scales.tolist()]


def windows(x: Tensor, at: list[list[int]], layer: nn.Conv2d | nn.MaxPool2d) -> Tensor:
    """What a layer reads for the outputs at some places: [places, C, K, K]."""
    k, s, p = (
        value if isinstance(value, int) else value[0]
        for value in (layer.kernel_size, layer.stride, layer.padding)
    )
    padded = F.pad(x, (p, p, p, p))
    return torch.stack([padded[:, i * s : i * s + k, j * s : j * s + k] for i, j in at])


def varied(x: Tensor) -> list[int]:
    """The channels that vary the most over the places, most varied first."""
    return x.var(dim=(1, 2)).argsort(descending=True)[:SHOWN].tolist()


def spots(x: Tensor) -> list[list[int]]:
    """Row and column of :data:`PLACES` in maps [C, H, W]."""
    jump = SIZE // x.shape[-1]
    return [[row // jump, column // jump] for row, column in PLACES.values()]


def values(x: Tensor, channels: list[int]) -> list[Any]:
    """Four decimals of some channels at the places: [channels][places]."""
    rows, columns = zip(*spots(x))
    return decimals(x[channels][:, list(rows), list(columns)])


def stem(pack: Pack, net: nn.Module, photo: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """The stem's two steps, and the maps that leave it."""
    z = net.conv1(photo[None])
    out = torch.relu(net.bn1(z))[0]
    shown, at = varied(out), spots(out)
    pack.add("conv1/maps", out[shown], _COARSE)
    pack.add("conv1/patch", windows(photo, at, net.conv1), _FINE)
    conv = {
        "kind": "conv",
        "shape": list(out.shape),
        "at": at,
        "channels": shown,
        "scales": kernels(pack, "conv1/kernel", net.conv1, shown),
        "bn": normalization(net.bn1, shown),
        "truth": {
            "z": values(z[0], shown),
            "f": values(net.bn1(z)[0], shown),
            "out": values(out, shown),
        },
    }
    x = net.maxpool(out[None])[0]
    pack.add("maxpool/patch", windows(out[shown], spots(x), net.maxpool), _FINE)
    pool = {
        "kind": "pool",
        "shape": list(x.shape),
        "at": spots(x),
        "channels": shown,
        "truth": {"out": values(x, shown)},
    }
    return x, {"conv1": conv, "maxpool": pool}


def unit_step(
    pack: Pack, name: str, unit: BasicBlock, x: Tensor
) -> tuple[Tensor, dict[str, Any]]:
    """One unit: shortcut and F at the places, and what F is the sum of."""
    hidden = torch.relu(unit.bn1(unit.conv1(x[None])))
    z = unit.conv2(hidden)
    f = unit.bn2(z)[0]
    side = None if unit.downsample is None else unit.downsample[0](x[None])
    shortcut = x if side is None else unit.downsample[1](side)[0]
    out = torch.relu(shortcut + f)
    shown, at = varied(out), spots(out)
    pack.add(f"{name}/maps", torch.stack([shortcut[shown], f[shown]]), _COARSE)
    pack.add(f"{name}/patch", windows(hidden[0], at, unit.conv2), _FINE)
    step = {
        "kind": "unit",
        "shape": list(out.shape),
        "at": at,
        "channels": shown,
        "scales": kernels(pack, f"{name}/kernel", unit.conv2, shown),
        "bn": normalization(unit.bn2, shown),
        "truth": {
            "z": values(z[0], shown),
            "f": values(f, shown),
            "shortcut": values(shortcut, shown),
            "out": values(out, shown),
        },
    }
    if side is not None:
        conv, bn = unit.downsample
        pack.add(f"{name}/side_patch", windows(x, at, conv), _FINE)
        step["side_scales"] = kernels(pack, f"{name}/side_kernel", conv, shown)
        step["side_bn"] = normalization(bn, shown)
        step["truth"]["side_z"] = values(side[0], shown)
    return out, step


def words(name: str, step: dict[str, Any]) -> dict[str, Any]:
    """What is said about a step: its label on the way, heading and first sentence."""
    count, *sides = step["shape"]
    side = f"{sides[0]} × {sides[0]}" if sides else ""
    maps = f"{count} maps of {side}"
    kind = "special" if "side_bn" in step else "common"
    halves = "halves the maps and doubles their number" if kind == "special" else ""
    label, about = {
        "photo": (name, f"The photo: {count} channels of {side} pixels."),
        "conv": (name, f"{count} kernels of 7 × 7 look at the photo: {maps}."),
        "pool": ("pool", f"Max pooling keeps the largest of nine neighbors: {maps}."),
        "unit": (
            name,
            f"{name}, a {kind} unit, {halves or 'keeps the shape'}: {maps}.",
        ),
        "average": (
            "average",
            f"Average pooling makes one number of each of {count} maps.",
        ),
        "head": ("answer", "The last layer weighs the 512 averages for each class."),
    }[step["kind"]]
    heading = {
        "photo": ["Three channels"],
        "average": [f"{SHOWN} of {count} maps", "before they are averaged"],
        "head": ["Six probabilities"],
    }.get(
        step["kind"],
        [f"{SHOWN} of {count} maps", f"of {side}: those that vary the most"],
    )
    return {"label": label, "about": about, "heading": heading}


def jpeg(picture: Image.Image, side: int) -> str:
    """A picture as a data URI."""
    file = io.BytesIO()
    small = picture.resize((side, side), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


@torch.inference_mode()
def follow() -> dict[str, Any]:
    """The photo's way through the network, as the explorer's module reads it."""
    net = course_resnet18()
    image, label = SyntheticCracks("test", size=256)[PHOTO]
    prepare = Preprocessing.for_photos(SIZE)
    photo = prepare(image)
    pixels = (prepare.denormalize(photo) * 255).round().to(torch.uint8)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    book = {row.name: row for row in ledger(net, (1, 3, SIZE, SIZE)).rows}
    pack = Pack()
    first = {
        "kind": "photo",
        "shape": list(photo.shape),
        "at": [list(place) for place in PLACES.values()],
        "channels": [0, 1, 2],
        "pixels": [pixels[:, i, j].tolist() for i, j in PLACES.values()],
        "truth": {"out": values(photo, [0, 1, 2])},
    }
    x, steps = stem(pack, net, photo)
    steps = {"photo": first, **steps}
    for name in UNITS:
        x, steps[name] = unit_step(pack, name, net.get_submodule(name), x)
    shown = steps[name]["channels"]
    pack.add("avgpool/maps", x[shown], _FINE)
    mean = net.avgpool(x[None]).flatten()
    logits = net.fc(mean)
    steps["avgpool"] = {
        "kind": "average",
        "shape": [len(mean), 1, 1],
        "at": [[0, 0]] * len(PLACES),
        "channels": shown,
        "truth": {"out": [[value] for value in decimals(mean[shown])]},
    }
    pack.add("fc/x", mean, _FINE)
    steps["fc"] = {
        "kind": "head",
        "shape": list(logits.shape),
        "scales": kernels(pack, "fc/kernel", net.fc, list(range(len(logits)))),
        "bias": [float(f"{value:.6g}") for value in net.fc.bias.tolist()],
        "truth": {
            "out": decimals(logits),
            "probabilities": decimals(logits.softmax(0), 6),
        },
    }
    for name, step in steps.items():
        row = book.get(f"{name}.add") or book.get(name)
        step["field"] = row.field[0] if row else 1
        step |= words(name, step)
    return {
        "classes": list(CRACK_CLASSES),
        "label": label,
        "eps": net.bn1.eps,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "places": [[name, *pixel] for name, pixel in PLACES.items()],
        "where": list(WHERE),
        "alt": ALT,
        "photo": jpeg(picture, SIZE),
        "thumbnail": jpeg(picture, 96),
        "steps": steps,
        **pack.packed(),
    }


def renewed() -> dict[str, Any]:
    """The committed file if it is still right, else a new one."""
    new = follow()
    try:
        old = read_more(FILE)
        same = not differences(old, new)
    except (OSError, ValueError, KeyError):
        return new
    return old if same else new
