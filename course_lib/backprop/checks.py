"""Say what is wrong with the arguments before torch does so less clearly."""

import re

import torch
from torch import Tensor

from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet, check_batch

__all__ = ["check_labels", "check_model"]

# Whoever overrides one of these computes something that the chains do not know.
KNOWN_FORWARDS = {kind.forward for kind in (ResNet, BasicBlock, Bottleneck, PlainBlock)}


def check_model(model: ResNet, images: Tensor) -> None:
    """Refuse a model or images that the backward pass by hand does not fit."""
    if not isinstance(model, ResNet):
        raise TypeError(
            f"model must be a net of course_lib.resnet, got {_type(model)}; load its "
            "state_dict into one of resnet18() ... resnet152(), or unwrap it"
        )
    for name, module in model.named_modules():
        whole_or_unit = re.fullmatch(r"(layer\d\.\d+)?", name)
        if whole_or_unit and type(module).forward not in KNOWN_FORWARDS:
            raise TypeError(
                f"{name or 'model'} is a {_type(module)} with a forward of its own; "
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
    """Refuse labels and options that do not suit a loss over ``classes`` classes."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor, got {_type(labels)}")
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must be int64 [{len(images)}], one class per image, got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    for wrong in labels[(labels < 0) | (labels >= classes)][:1].tolist():
        raise ValueError(
            f"labels must lie in 0 ... {classes - 1}, as the net has {classes} "
            f"outputs, got {wrong}"
        )
    if weight is not None:
        if weight.dtype != images.dtype or weight.shape != (classes,):
            raise ValueError(
                f"weight must be {images.dtype} [{classes}], as the images and one "
                f"number per class, got {weight.dtype} {list(weight.shape)}"
            )
        if not weight[labels].sum() > 0:
            raise ValueError(
                "weight must be positive for at least one of the labels in the batch, "
                f"got {weight[labels].unique().tolist()}"
            )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in 0 ... 1, got {label_smoothing}")


def _type(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
