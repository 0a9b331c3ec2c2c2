"""torchvision's weights of the five ResNets, trained on ImageNet."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import Tensor

from course_lib.resnet import LAYERS, BasicBlock, Bottleneck, ResNet

__all__ = ["imagenet_weights", "load_imagenet_weights"]


def load_imagenet_weights(model: ResNet) -> ResNet:
    """Fill a residual net with torchvision's published ImageNet weights, in place.

    torchvision downloads the file once (47 MB for ResNet-18), keeps it in torch's
    hub folder and checks its hash. A head with other than 1000 classes keeps its
    own fresh weights: that is where fine-tuning starts.

    Args:
        model: a net of one of the five depths with the ImageNet stem and three
            input channels.

    Returns:
        The same model.

    Raises:
        ValueError: if no published weights fit the model.
        RuntimeError: if the file can be neither found nor fetched; the message
            says what to do.
    """
    state, _ = imagenet_weights(model)
    if model.fc.out_features != 1000:
        state["fc.weight"], state["fc.bias"] = model.fc.weight, model.fc.bias
    model.load_state_dict(state)
    return model


def imagenet_weights(model: ResNet) -> tuple[dict[str, Tensor], list[str]]:
    """The published ``state_dict`` that fits a model, and the names of 1000 classes.

    Raises:
        ValueError, RuntimeError: as :func:`load_imagenet_weights`.
    """
    import torchvision

    weights: Any = _published(model, torchvision)
    try:
        state = weights.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise RuntimeError(
            f"torchvision's weights {weights} could not be loaded ({error}). Fetch "
            f"{weights.url} in a browser, put the file into "
            f"{torch.hub.get_dir()}/checkpoints in place of any damaged one there, "
            "and call this again; or continue with the untrained model"
        ) from error
    return state, weights.meta["categories"]


def _published(model: ResNet, torchvision: Any) -> Any:
    block = type(model.layer1[0])
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    layers = tuple(len(stage) for stage in stages)
    for depth, counts in LAYERS.items():
        fits = counts == layers and block is (BasicBlock if depth < 50 else Bottleneck)
        if fits and model.conv1.weight.shape == (64, 3, 7, 7):
            return getattr(torchvision.models, f"ResNet{depth}_Weights").IMAGENET1K_V1
    raise ValueError(
        f"no published weights fit a {block.__name__} net with layers {list(layers)} "
        f"and a first convolution of shape {list(model.conv1.weight.shape)}; use "
        'resnet18 ... resnet152 with stem="imagenet" and in_channels=3'
    )
