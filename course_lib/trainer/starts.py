"""Trained weights to start from: fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import ResNet, load_imagenet_weights
from course_lib.trainer.checkpoints import CheckpointError, load
from course_lib.weights import WeightsError, course_resnet18

__all__ = ["start_from"]

HEAD = ("fc.weight", "fc.bias")


def start_from(weights: str, model: ResNet, classes: Sequence[str]) -> dict[str, Any]:
    """Fill a network with trained weights, in place.

    The last layer stays as it is, freshly drawn, unless the weights were trained for
    the very same classes.

    Args:
        weights: "imagenet" (torchvision's), "course", or a file: a checkpoint of the
            trainer or a plain ``state_dict`` with torchvision's names.
        model: the network.
        classes: what it shall tell apart.

    Returns:
        The ``mean`` and ``std`` of the inputs that the weights are used to; for a
        plain ``state_dict`` nothing.

    Raises:
        ValueError: if the weights do not fit the network.
        CheckpointError: if the file cannot be read.
        WeightsError: if the weights are not here and cannot be fetched.
    """
    imagenet = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    if weights == "imagenet":
        head = [model.fc.weight.detach().clone(), model.fc.bias.detach().clone()]
        try:
            load_imagenet_weights(model)
        except RuntimeError as error:
            raise WeightsError(str(error)) from error
        with torch.no_grad():  # a thousand classes of one's own are not ImageNet's
            model.fc.weight.copy_(head[0])
            model.fc.bias.copy_(head[1])
        return imagenet
    if weights == "course":
        _fill(model, course_resnet18().state_dict(), CRACK_CLASSES, classes, weights)
        return imagenet
    path = Path(weights)
    try:
        saved = load(path)
    except CheckpointError:
        _fill(model, _plain(path), (), classes, weights)
        return {}
    _fill(model, saved["model"], saved["classes"], classes, weights)
    numbers = saved["preprocessing"] or {}
    return {name: numbers[name] for name in ("mean", "std") if name in numbers}


def _plain(path: Path) -> dict[str, Tensor]:
    """A file with a ``state_dict`` and nothing else.

    Raises:
        CheckpointError: what kept it from being read as a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if all(isinstance(value, Tensor) for value in state.values()) and state:
            return state
    except Exception:  # damaged files fail in many ways; load says it in words
        pass
    load(path)
    raise CheckpointError(f"{path} holds no weights")


def _fill(
    model: ResNet,
    state: dict[str, Tensor],
    theirs: Sequence[str],
    ours: Sequence[str],
    name: str,
) -> None:
    mine = model.state_dict()
    state = dict(state)
    if list(theirs) != list(ours):
        state |= {key: mine[key] for key in HEAD}
    for key in sorted(set(mine) | set(state)):
        a, b = (list(s[key].shape) if key in s else None for s in (state, mine))
        if a != b:
            raise ValueError(
                f"the weights {name} are of another network: {key} is "
                f"{a or 'not there'} in them and {b or 'not there'} in this one; "
                "choose the --arch (and data) that they were trained with"
            )
    model.load_state_dict(state)
