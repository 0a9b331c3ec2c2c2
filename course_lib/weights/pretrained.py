"""Trained weights to start from, whoever made the file: fine-tuning."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import LAYERS, ResNet
from course_lib.weights import WeightsError, course_resnet18
from course_lib.weights.checkpoints import (
    CheckpointError,
    broken_tensor,
    describe,
    load,
    read,
)

# Where programs put a state_dict, and what wraps a network and its names.
INSIDE = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
WRAPPERS = {"module", "_orig_mod"}  # DataParallel, DDP, averaged models; compile


class Pretrained(NamedTuple):
    """What a network got from trained weights."""

    normalization: dict[str, list[float]]  # mean and std of its inputs; {}: unknown
    head_kept: bool
    message: str  # says whether the last layer was kept or drawn anew, and why


def load_pretrained(weights: str, model: ResNet, classes: Sequence[str]) -> Pretrained:
    """Fill a network with trained weights, in place.

    If the weights were trained for all of ``classes``, by name and in any order, the
    last layer is kept: its rows are put into the order of ``classes``, and rows of
    other classes are left out. Otherwise it stays as it is, freshly drawn: some
    trained rows among fresh ones would win every comparison at first.

    Args:
        weights: "imagenet" (torchvision's), "course", or a file: a checkpoint of the
            trainer, or what :func:`read_weights` reads.
        model: the network.
        classes: what it shall tell apart.

    Raises:
        ValueError: if the weights do not fit the network.
        CheckpointError: if the file cannot be read, or holds no weights.
        WeightsError: if the weights are not here and cannot be fetched.
    """
    normalization = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    if weights == "imagenet":
        state, names = imagenet_weights(model)
    elif weights == "course":
        state, names = course_resnet18().state_dict(), CRACK_CLASSES
    else:
        path = Path(weights)
        if not path.exists():
            raise CheckpointError(
                f'{weights}: no such file; weights are "imagenet", "course" or a file'
            )
        try:
            saved = load(path)
        except CheckpointError:
            state, names, normalization = read_weights(path), (), {}
        else:
            state, names = saved["model"], saved["classes"]
            stored = saved["preprocessing"] or {}
            normalization = {k: stored[k] for k in ("mean", "std") if k in stored}
    rows, message = _head(list(names), list(classes))
    _fill(model, state, rows, weights)
    return Pretrained(normalization, rows is not None, message)


def load_imagenet_weights(model: ResNet) -> ResNet:
    """Fill a residual net with torchvision's published weights, in place; returns it.

    A head of other than 1000 classes stays as it is: that is where fine-tuning starts.
    Raises as :func:`imagenet_weights`.
    """
    state, names = imagenet_weights(model)
    whole = model.fc.out_features == len(names)
    _fill(model, state, list(range(len(names))) if whole else None, "imagenet")
    return model


def imagenet_weights(model: ResNet) -> tuple[dict[str, Tensor], list[str]]:
    """The published ``state_dict`` that fits a model, and the names of 1000 classes.

    torchvision downloads the file once (47 MB for ResNet-18), keeps it in torch's
    hub folder and checks its hash. The model has one of the five depths, the ImageNet
    stem and three input channels.

    Raises:
        ValueError: if no published weights fit the model.
        WeightsError: if the file can be neither found nor fetched; the message
            says what to do.
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


def read_weights(path: Path) -> dict[str, Tensor]:
    """A ``state_dict`` with torchvision's names from a file of any usual make.

    Reads ``torch.save`` and ``.safetensors``. The weights may lie inside
    ``{"state_dict": ...}`` and the like, and their names may have prefixes such as
    "module." or "_orig_mod.". Nothing in a file is run.

    Raises:
        CheckpointError: says what is wrong with the file.
    """
    found = read(path, foreign=True)
    what = type(found).__name__
    for _ in range(4):
        if _is_state_dict(found):
            return _torchvision_names(path, found)
        if not isinstance(found, Mapping):
            break
        what = f"a dictionary with {', '.join(map(repr, [*found][:8])) or 'nothing'}"
        inner = [found[k] for k in INSIDE if isinstance(found.get(k), Mapping)]
        found = next(iter(inner or filter(_is_state_dict, found.values())), None)
    raise CheckpointError(
        f"{path} holds no weights of a network, but {what}; save model.state_dict()"
    )


def _is_state_dict(found: Any) -> bool:
    return isinstance(found, Mapping) and any(
        isinstance(name, str) and isinstance(value, Tensor) and name.endswith(".weight")
        for name, value in found.items()
    )


def _torchvision_names(path: Path, found: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names without those of wrappers around the network or around parts of it."""
    state = {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): value
        for name, value in found.items()
        if isinstance(value, Tensor) and name != "n_averaged"  # of AveragedModel
    }
    stem, deeper = "conv1.weight", "layer1.0.conv1.weight"
    prefixes = [name.removesuffix(stem) for name in state if name.endswith(stem)]
    prefixes = [prefix for prefix in prefixes if prefix + deeper in state]
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{path} holds {len(prefixes)} networks, named "
            f"{', '.join(map(repr, prefixes))}; save the state_dict of one of them"
        )
    prefix = prefixes[0] if prefixes else ""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _head(theirs: list[str], ours: list[str]) -> tuple[list[int] | None, str]:
    """Their rows that make our last layer, None if it is drawn anew, and why."""
    if not theirs:
        why = "the weights do not say which classes they know"
        return None, f"last layer drawn anew: {why}"
    if unknown := [name for name in ours if name not in theirs]:
        why = f"the weights were not trained for {', '.join(unknown[:3])}"
        return None, f"last layer drawn anew: {why}{', ...' if unknown[3:] else ''}"
    why = f"the weights know these {len(ours)} classes"
    if theirs != ours:
        why = (
            f"its rows are matched by name to these {len(ours)} of the {len(theirs)} "
            "classes that the weights know"
        )
    return [theirs.index(name) for name in ours], f"last layer kept: {why}"


def _fill(
    model: ResNet, state: dict[str, Tensor], rows: list[int] | None, weights: str
) -> None:
    mine = model.state_dict()  # files from before torch 0.4.1 count no batches
    counts = {k: torch.tensor(0) for k in mine if k.endswith(".num_batches_tracked")}
    state = counts | state
    for key in ("fc.weight", "fc.bias"):
        state[key] = mine[key] if rows is None else state[key][rows]
    theirs, ours = ({k: list(v.shape) for k, v in s.items()} for s in (state, mine))
    for key in sorted(theirs | ours):
        a, b = theirs.get(key, "not there"), ours.get(key, "not there")
        if a != b:
            raise ValueError(
                f"the weights {weights} are of another network: {key} is {a} in them "
                f"and {b} in this one; choose the --arch (and data) that they were "
                "trained with"
            )
    if broken := broken_tensor(state):
        raise ValueError(f"the weights {weights} are broken: {broken}")
    model.load_state_dict(state)
