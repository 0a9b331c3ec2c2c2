"""Networks and pictures that both sides of a comparison share."""

from __future__ import annotations

import functools

import torch
import torchvision
from torch import Tensor, nn

from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import ResNet
from course_lib.synthetic import SyntheticCracks
from course_lib.weights import course_resnet18

__all__ = ["pair", "pictures"]


def pair() -> tuple[ResNet, nn.Module]:
    """The course's trained ResNet-18, and torchvision's with the same weights."""
    ours = course_resnet18().eval()
    theirs = torchvision.models.resnet18(num_classes=ours.fc.out_features).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@functools.cache
def _bytes(count: int, size: int) -> tuple[Tensor, Tensor]:
    images, labels = SyntheticCracks("test", size, count).arrays()
    return torch.from_numpy(images), torch.from_numpy(labels)


def pictures(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Normalized pictures, float32 [count, 3, size, size], and labels [count]."""
    images, labels = _bytes(count, size)
    x = images.permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return ((x - mean) / std).contiguous(), labels.long()
