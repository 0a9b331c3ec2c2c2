"""Trained weights to start from, whoever made the file: fine-tuning."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import ResNet
from course_lib.weights import WeightsError, course_resnet18
from course_lib.weights.checkpoints import CheckpointError, check_archive, load
from course_lib.weights.imagenet import imagenet_weights

__all__ = ["Pretrained", "load_pretrained", "read_weights"]

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
        try:
            state, names = imagenet_weights(model)
        except RuntimeError as error:
            raise WeightsError(str(error)) from error
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
    kept, message = _fill(model, state, list(names), list(classes), weights)
    return Pretrained(normalization, kept, message)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A ``state_dict`` with torchvision's names from a file of any usual make.

    Reads ``torch.save`` and ``.safetensors``. The weights may lie inside
    ``{"state_dict": ...}`` and the like, and their names may have prefixes such as
    "module." or "_orig_mod.". Nothing in a file is run.

    Raises:
        CheckpointError: says what is wrong with the file.
    """
    if not path.is_file():  # to open a pipe would wait forever
        what = "it is no file" if path.exists() else "no such file"
        raise CheckpointError(f"{path} cannot be read: {what}")
    found = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
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


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"{path} needs the package safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except Exception as error:  # its own class is no public name
        raise CheckpointError(
            f"{path} is no whole safetensors file: {error}"
        ) from error


def _torch_file(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if any(name.endswith("/constants.pkl") for name in file.namelist()):
                    raise CheckpointError(
                        f"{path} is a TorchScript program; save model.state_dict()"
                    )
            # Others name more than our checkpoints do, but a bytearray of 10 GB is
            # no weight.
            check_archive(path, lambda name: "bytearray" not in name)
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # damaged files fail in many ways
        reason = str(error).partition("\n")[0][:200]
        if "weights_only" in str(error):
            reason = "it holds more than weights, which could run code when loaded"
        raise CheckpointError(
            f"{path} cannot be read ({reason}); save model.state_dict() with torch.save"
        ) from error


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
    if prefixes and prefixes[0]:
        prefix = prefixes[0]
        state = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
    return state


def _fill(
    model: ResNet,
    state: dict[str, Tensor],
    theirs: list[str],
    ours: list[str],
    name: str,
) -> tuple[bool, str]:
    mine, state = model.state_dict(), dict(state)
    for key in mine:  # files from before torch 0.4.1 count no batches
        if key.endswith(".num_batches_tracked"):
            state.setdefault(key, torch.tensor(0))
    rows = [theirs.index(name) for name in ours if name in theirs]
    kept = len(rows) == len(ours)
    for key in ("fc.weight", "fc.bias"):
        state[key] = state[key][rows] if kept else mine[key]
    for key in sorted(set(mine) | set(state)):
        a, b = (list(s[key].shape) if key in s else None for s in (state, mine))
        if a != b:
            raise ValueError(
                f"the weights {name} are of another network: {key} is "
                f"{a if a is not None else 'not there'} in them and "
                f"{b if b is not None else 'not there'} in this one; choose the "
                "--arch (and data) that they were trained with"
            )
        values = state[key].float()
        if not torch.isfinite(values).all() or (
            key.endswith("running_var") and (values < 0).any()
        ):
            raise ValueError(
                f"the weights {name} are broken: {key} is not finite, or a variance "
                "is negative"
            )
    model.load_state_dict(state)
    return kept, _message(kept, theirs, ours)


def _message(kept: bool, theirs: list[str], ours: list[str]) -> str:
    if kept and theirs == ours:
        return f"last layer kept: the weights know these {len(ours)} classes"
    if kept:
        return (
            f"last layer kept: its rows are matched by name to these {len(ours)} of "
            f"the {len(theirs)} classes that the weights know"
        )
    if not theirs:
        return "last layer drawn anew: the weights do not say which classes they know"
    unknown = [name for name in ours if name not in theirs]
    more = ", ..." if len(unknown) > 3 else ""
    return (
        "last layer drawn anew: the weights were not trained for "
        f"{', '.join(unknown[:3])}{more}"
    )
