"""The network that the book looks inside: ResNet-18, trained on synthetic cracks.

The file holds every convolution and the head as int8 with one scale per output
channel, the rest as float32: about 10 MB instead of 45.
``python -m course_book.experiments.course_weights`` makes it again.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
import torch

from course_lib.data.classes import CRACK_CLASSES
from course_lib.resnet import ResNet, resnet18

__all__ = ["FILE", "SHA256", "WeightsError", "course_resnet18"]

FILE = Path(__file__).with_name("resnet18_cracks.npz")
SHA256 = "8b61247598116a84fcf4d0ce92cfaeec19fb29a285b6e970178c1d47e5945d1a"
SCALE = "/scale"  # "fc.weight" (int8) goes with "fc.weight/scale" (float32)


class WeightsError(RuntimeError):
    """Published weights are missing or are not those that were published."""


def course_resnet18(file: Path = FILE, sha256: str | None = SHA256) -> ResNet:
    """ResNet-18 with the course's weights, in eval mode, on the CPU.

    It tells the six classes ``course_lib.data.classes.CRACK_CLASSES`` apart, in that
    order, in pictures of 128 to 224 px, normalized with ``IMAGENET_MEAN`` and
    ``IMAGENET_STD`` of ``course_lib.data.preprocessing``. Of unseen synthetic pictures
    it gets 88 % right at 128 px and 83 % at 224 px (1,200 and 600 pictures; chance
    is 17 %); rounding to int8 changes both by less than 0.2 points.

    Args:
        file: another file of the same kind. Nothing in it can run.
        sha256: what the file must be; None takes any.

    Raises:
        WeightsError: if the file cannot be read or is not the published one.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"the course's weights cannot be read ({error}); install course_lib again, "
            "or make them: python -m course_book.experiments.course_weights"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != (sha256 or found):
        raise WeightsError(
            f"{file} is not the published file: its SHA-256 is {found}, expected "
            f"{sha256}; install course_lib again"
        )
    model = resnet18(num_classes=len(CRACK_CLASSES))
    model.load_state_dict(unpack(data))
    return model.eval()


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """The ``state_dict`` in a file, dequantized to float32."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = dict(file)
    for name in [name for name in arrays if name.endswith(SCALE)]:
        weight = name.removesuffix(SCALE)  # [O, ...], its scale [O]
        arrays[weight] = (arrays[weight].T * arrays.pop(name)).T
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
