"""torchvision's weights of the five ResNets, trained on ImageNet."""

from __future__ import annotations

import pickle

import torch
from torch import Tensor

from course_lib.resnet import LAYERS, ResNet
from course_lib.weights import WeightsError
from course_lib.weights.checkpoints import describe

__all__ = ["imagenet_weights", "load_imagenet_weights"]


def load_imagenet_weights(model: ResNet) -> ResNet:
    """Fill a residual net with torchvision's published ImageNet weights, in place.

    torchvision downloads the file once (47 MB for ResNet-18), keeps it in torch's
    hub folder and checks its hash. A head with other than 1000 classes keeps its
    own fresh weights: that is where fine-tuning starts. Returns the same model.

    Args:
        model: a net of one of the five depths with the ImageNet stem and three
            input channels.

    Raises:
        ValueError: if no published weights fit the model.
        WeightsError: if the file can be neither found nor fetched; the message
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
        ValueError, WeightsError: as :func:`load_imagenet_weights`.
    """
    import torchvision

    found, entry = describe(model) or {}, {"in_channels": 3, "stem": "imagenet"}
    for depth, layers in LAYERS.items():
        block = "BasicBlock" if depth < 50 else "Bottleneck"
        published = {"block": block, "layers": list(layers)} | entry
        if published.items() <= found.items():
            break
    else:
        raise ValueError(
            f"no published weights fit {found or type(model).__name__}; use resnet18 "
            '... resnet152 with stem="imagenet" and in_channels=3'
        )
    weights = getattr(torchvision.models, f"ResNet{depth}_Weights").IMAGENET1K_V1
    try:
        state = weights.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"torchvision's weights {weights} could not be loaded ({error}). Fetch "
            f"{weights.url} in a browser, put the file into "
            f"{torch.hub.get_dir()}/checkpoints in place of any damaged one there, "
            "and call this again; or continue with the untrained model"
        ) from error
    return state, weights.meta["categories"]
