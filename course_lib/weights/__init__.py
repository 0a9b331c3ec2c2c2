"""The network that the book looks inside: ResNet-18, trained on synthetic cracks.

The file holds every convolution and the head as int8 with one scale per output
channel, the rest as float32: about 10 MB instead of 45. Loading checks its SHA-256
and unpacks plain arrays only; nothing in the file can run.

``python -m course_book.experiments.course_weights`` makes it again.
"""

from __future__ import annotations

import hashlib
import io
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from course_lib.data.classes import CRACK_CLASSES
from course_lib.resnet import ResNet, resnet18

__all__ = ["SHA256", "WeightsError", "course_resnet18", "load_course_weights", "pack"]

FILE = "resnet18_cracks.npz"
SHA256 = "8b61247598116a84fcf4d0ce92cfaeec19fb29a285b6e970178c1d47e5945d1a"
_SCALE = "/scale"  # "fc.weight" (int8) goes with "fc.weight/scale" (float32)


class WeightsError(RuntimeError):
    """The weights file is missing or is not the one that was published."""


def pack(state: dict[str, torch.Tensor]) -> bytes:
    """A ``state_dict`` as the bytes of an ``.npz`` file, weights rounded to int8.

    Each weight with two or more dimensions is divided by a scale per output
    channel, so that the largest becomes ±127, and rounded to the nearest integer
    (symmetric, per channel: Jacob et al. 2018, section 2.1, with zero point 0).
    """
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().numpy()
        if value.ndim < 2:
            arrays[name] = value
            continue
        largest = np.abs(value).reshape(len(value), -1).max(1)
        scale = np.maximum(largest, 1e-12).astype(np.float32) / np.float32(127)
        shape = (-1,) + (1,) * (value.ndim - 1)
        arrays[name] = np.rint(value / scale.reshape(shape)).astype(np.int8)
        arrays[name + _SCALE] = scale
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """The ``state_dict`` that :func:`pack` packed, dequantized to float32."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        state = {}
        for name in arrays.files:
            if name.endswith(_SCALE):
                continue
            value = arrays[name]
            if value.dtype == np.int8:
                scale = arrays[name + _SCALE]
                value = value * scale.reshape((-1,) + (1,) * (value.ndim - 1))
            state[name] = torch.from_numpy(value)
    return state


def load_course_weights(
    model: ResNet, path: str | os.PathLike | None = None, *, check: bool = True
) -> ResNet:
    """Fill a ResNet-18 with the course's weights, in place.

    Args:
        model: ``resnet18(num_classes=6)``, ImageNet stem, on any device. Its mode
            stays as it is: call ``eval()`` before you look inside.
        path: another file of the same kind; the package's own unless given.
        check: compare the file's SHA-256 with the published one.

    Returns:
        The same model.

    Raises:
        WeightsError: if the file cannot be read or is not the published one.
        ValueError: if the model has another shape.
    """
    entry = files(__name__) / FILE if path is None else Path(path)
    try:
        data = entry.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"the course's weights {FILE} cannot be read ({error}); install "
            "course_lib again, or make them: "
            "python -m course_book.experiments.course_weights"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if check and found != SHA256:
        raise WeightsError(
            f"{entry} is not the published file: its SHA-256 is {found}, expected "
            f"{SHA256}; install course_lib again"
        )
    state = unpack(data)
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    if shapes != {name: tuple(t.shape) for name, t in state.items()}:
        raise ValueError(
            "the course's weights fit resnet18(num_classes=6) with the ImageNet stem "
            f"and three input channels, not this {type(model).__name__}"
        )
    model.load_state_dict(state)
    return model


def course_resnet18() -> ResNet:
    """ResNet-18 with the course's weights, in eval mode, on the CPU.

    It tells the six classes ``course_lib.data.classes.CRACK_CLASSES`` apart, in that
    order, in pictures of 128 to 224 px, normalized with ``IMAGENET_MEAN`` and
    ``IMAGENET_STD`` of ``course_lib.data.preprocessing``. Of unseen synthetic pictures
    it gets 88 % right at 128 px and 83 % at 224 px (1,200 and 600 pictures; chance
    is 17 %); rounding to int8 changes both by less than 0.2 points.
    """
    return load_course_weights(resnet18(num_classes=len(CRACK_CLASSES))).eval()
