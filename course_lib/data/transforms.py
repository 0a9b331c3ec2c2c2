"""From a picture to a normalized tensor, and back again for showing.

The numbers ``IMAGENET_MEAN`` and ``IMAGENET_STD`` are those with which
torchvision's published weights were trained. They were measured on a random part
of ImageNet's training pictures that nobody recorded. Torchvision's maintainers
remeasured them (pytorch/vision, issue 1439 and pull request 1965): the mean comes
back, and the std too, if it is taken *inside each picture* and then averaged. The
std over all pixels of all pictures is larger, because it also holds the
differences between pictures. :func:`channel_statistics` measures both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ChannelStatistics",
    "channel_statistics",
    "denormalize",
    "evaluation_transform",
    "training_transform",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _finish(mean: Sequence[float], std: Sequence[float]) -> list[v2.Transform]:
    """Picture -> float tensor in [0, 1] -> normalized; gray or RGB by ``mean``."""
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise ValueError(
            f"mean and std must both have 1 or 3 numbers, got {len(mean)} and "
            f"{len(std)}"
        )
    if any(not s > 0 for s in std):
        raise ValueError(f"std must be positive, got {tuple(std)}")
    color = v2.RGB() if len(mean) == 3 else v2.Grayscale(1)
    return [
        v2.ToImage(),  # uint8 [C, H, W]
        color,
        v2.ToDtype(torch.float32, scale=True),  # divides bytes by 255
        v2.Normalize(mean=list(mean), std=list(std)),
    ]


def _check_size(size: int) -> int:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    return size


def evaluation_transform(
    size: int = 224,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> v2.Compose:
    """The pipeline for validation, test and prediction: nothing is random.

    The shorter side is resized to ``size`` · 256 / 224, then the middle
    ``size`` × ``size`` pixels are cut out: 256 and 224 in the single-crop test of
    torchvision's weights (He et al. 2016, section 3.4, crop 224 as well).

    Args:
        size: side of the result in pixels.
        mean: per channel, for values in [0, 1]; one number makes gray tensors.
        std: per channel, positive.

    Returns:
        A transform from a PIL picture or a uint8 tensor [C, H, W] to a float
        tensor [len(mean), size, size].

    Raises:
        ValueError: names the argument and its value.
    """
    resize = round(_check_size(size) * 256 / 224)
    return v2.Compose(
        [
            v2.Resize(resize, antialias=True),
            v2.CenterCrop(size),
            *_finish(mean, std),
        ]
    )


def training_transform(
    size: int = 224,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    scale: tuple[float, float] = (0.5, 1.0),
    flips: bool = True,
    brightness: float = 0.2,
) -> v2.Compose:
    """The pipeline for training: a new random view of each picture each time.

    A rectangle of at least half the area is resized to ``size`` × ``size``. He
    et al. (2016, section 3.4) cut 224 px out of pictures whose shorter side was
    resized at random between 256 and 480; the rectangle follows Szegedy et al.
    (2015, section 6), with a larger least area than their 8 %, because a small
    piece of a cracked patch may hold no crack.

    Args:
        size: side of the result in pixels.
        mean: per channel, for values in [0, 1]; one number makes gray tensors.
        std: per channel, positive.
        scale: least and greatest share of the picture's area.
        flips: mirror left-right and up-down, each for half the pictures. Right
            for concrete, which has no up; wrong for digits.
        brightness: brightness and contrast change by up to this share.

    Returns:
        A transform from a PIL picture or a uint8 tensor [C, H, W] to a float
        tensor [len(mean), size, size]. Its random numbers are torch's.

    Raises:
        ValueError: names the argument and its value.
    """
    low, high = scale
    if not 0 < low <= high <= 1:
        raise ValueError(f"scale must satisfy 0 < low <= high <= 1, got {scale}")
    if not 0 <= brightness < 1:
        raise ValueError(f"brightness must lie in 0 ... 1, got {brightness}")
    steps = [v2.RandomResizedCrop(_check_size(size), scale=scale, antialias=True)]
    if flips:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if brightness:
        steps += [v2.ColorJitter(brightness=brightness, contrast=brightness)]
    return v2.Compose([*steps, *_finish(mean, std)])


def denormalize(
    x: Tensor,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Undo the normalization, so that a tensor can be shown as a picture.

    Args:
        x: floats [..., C, H, W] as a transform of this module returns them.
        mean: the numbers that it used.
        std: the numbers that it used.

    Returns:
        x · std + mean, clamped to [0, 1], of the same shape and device.

    Raises:
        ValueError: if the channels do not fit the numbers.
    """
    if x.ndim < 3 or x.shape[-3] != len(mean) or len(mean) != len(std):
        raise ValueError(
            f"x must have shape [..., {len(mean)}, H, W] for {len(mean)} means and "
            f"{len(std)} stds, got {list(x.shape)}"
        )
    shape = (len(mean), 1, 1)
    m = torch.tensor(mean, dtype=x.dtype, device=x.device).reshape(shape)
    s = torch.tensor(std, dtype=x.dtype, device=x.device).reshape(shape)
    return (x * s + m).clamp(0, 1)


class ChannelStatistics(NamedTuple):
    """What :func:`channel_statistics` measured, for values in [0, 1]."""

    mean: tuple[float, ...]  # over all pixels of all pictures
    std: tuple[float, ...]  # over all pixels of all pictures: use this one
    std_within: tuple[float, ...]  # inside each picture, averaged: ImageNet's way
    pictures: int


def channel_statistics(dataset: Iterable) -> ChannelStatistics:
    """Measure the channel means and standard deviations of a data set.

    One picture at a time is in memory. Sums of bytes are kept as integers, so
    the result is exact: it does not depend on the order and loses nothing on
    millions of pictures. Measure the training split only; the others must stay
    unseen.

    Args:
        dataset: pictures, or items whose first part is a picture: PIL, or arrays
            and tensors of uint8, [H, W], [H, W, C] as arrays and [C, H, W] as
            tensors. Sizes may differ. No random transform should be set.

    Returns:
        Means and standard deviations (dividing by n, not n - 1), each channel.

    Raises:
        ValueError: if the data set is empty or mixes gray and color.
        TypeError: if a picture is not made of bytes.
    """
    count = pictures = 0
    sums: list[int] = []
    squares: list[int] = []
    within: list[float] = []
    for item in dataset:
        channels = _channels(item[0] if isinstance(item, tuple | list) else item)
        if not sums:
            sums, squares = [0] * len(channels), [0] * len(channels)
            within = [0.0] * len(channels)
        if len(channels) != len(sums):
            raise ValueError(
                f"picture {pictures} has {len(channels)} channels, those before it "
                f"{len(sums)}; convert all to one kind"
            )
        n = channels.shape[1]
        for c, values in enumerate(channels):
            # A histogram is exact and faster than sums of wider integers.
            histogram = np.bincount(values, minlength=256).tolist()
            total = sum(v * k for v, k in enumerate(histogram))
            square = sum(v * v * k for v, k in enumerate(histogram))
            sums[c] += total
            squares[c] += square
            within[c] += math.sqrt(n * square - total**2) / n
        count += n
        pictures += 1
    if not pictures:
        raise ValueError("dataset is empty: there is nothing to measure")
    return ChannelStatistics(
        mean=tuple(s / count / 255 for s in sums),
        std=tuple(
            math.sqrt(count * q - s * s) / count / 255 for s, q in zip(sums, squares)
        ),
        std_within=tuple(w / pictures / 255 for w in within),
        pictures=pictures,
    )


def _channels(picture: object) -> np.ndarray:
    """The bytes of a picture as [C, pixels]."""
    if isinstance(picture, Image.Image):
        if picture.mode not in ("L", "RGB"):
            picture = picture.convert("RGB")
        array = np.asarray(picture)
    elif isinstance(picture, Tensor):
        array = picture.detach().cpu().numpy()
        if array.ndim == 3:
            array = array.transpose(1, 2, 0)
    else:
        array = np.asarray(picture)
    if array.dtype != np.uint8:
        raise TypeError(
            f"pictures must hold uint8 numbers, got {array.dtype}; measure before "
            "the transform that makes floats of them"
        )
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"no picture: an array of shape {list(array.shape)}")
    return array.reshape(-1, array.shape[2] if array.ndim == 3 else 1).T
