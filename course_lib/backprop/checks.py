"""Say what is wrong with the arguments before torch does so less clearly."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet, check_batch

__all__ = ["check_labels", "check_model"]

# Whoever overrides one of these computes something that the chains do not know.
KNOWN_FORWARDS = {kind.forward for kind in (ResNet, BasicBlock, Bottleneck, PlainBlock)}


def check_model(model: ResNet, images: Tensor) -> None:
    """Whether the backward pass by hand fits this model and these images.

    Raises:
        TypeError: if the model is none of the course's nets, or changes a forward.
        ValueError: names the argument, its value and the remedy.
    """
    if not isinstance(model, ResNet):
        raise TypeError(
            f"model must be a net of course_lib.resnet, got {_type(model)}; load its "
            "state_dict into one of resnet18() ... resnet152(), or unwrap it"
        )
    units = [
        (f"{stage}.{name}", unit)
        for stage in ("layer1", "layer2", "layer3", "layer4")
        for name, unit in getattr(model, stage).named_children()
    ]
    for name, module in [("model", model), *units]:
        if type(module).forward not in KNOWN_FORWARDS:
            raise TypeError(
                f"{name} is a {_type(module)} with a forward of its own; "
                "its backward by hand is not known"
            )
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor, got {_type(images)}")
    check_batch(model, images)


def check_labels(
    labels: Tensor,
    images: Tensor,
    classes: int,
    weight: Tensor | None,
    label_smoothing: float,
) -> None:
    """Whether labels and options suit a loss over ``classes`` classes.

    Raises:
        TypeError: if a tensor is none.
        ValueError: names the argument, its value and the remedy.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor, got {_type(labels)}")
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must be int64 [{len(images)}], one class per image, got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    if labels.device != images.device:
        raise ValueError(
            f"labels are on {labels.device}, and images on {images.device}; "
            "use labels.to(images.device)"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels must lie in 0 ... {classes - 1}, as the net has {classes} "
            f"outputs, got {low if low < 0 else high}"
        )
    if weight is not None:
        if not isinstance(weight, Tensor) or weight.shape != (classes,):
            shape = list(getattr(weight, "shape", ()))
            raise ValueError(
                f"weight must be a tensor [{classes}], one number per class, got "
                f"{_type(weight)} {shape}"
            )
        if (weight.dtype, weight.device) != (images.dtype, images.device):
            raise ValueError(
                f"weight is {weight.dtype} on {weight.device}, and images are "
                f"{images.dtype} on {images.device}; use weight.to(images)"
            )
        if not float(weight[labels].sum()) > 0:
            raise ValueError(
                "weight must be positive for at least one of the labels in the "
                f"batch, got {weight[labels].unique().tolist()}"
            )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in 0 ... 1, got {label_smoothing}")


def _type(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
