"""Read a checkpoint of the trainer, whoever made the file, and build its network.

Loading takes numbers, texts, lists and dictionaries only: no file can run code, and
none takes much more memory than its own size.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib import resnet

__all__ = ["FORMAT", "CheckpointError", "describe", "load", "model_from"]

FORMAT = "course_lib checkpoint 1"
KEYS = ("arch", "classes", "config", "epoch", "history", "model", "preprocessing")
# Beyond numbers, texts, lists and dictionaries a checkpoint names only these. torch's
# own list is longer: a bytearray of 10 GB takes twenty bytes of a file.
_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}
_NAMES |= {f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16")}
_NAMES |= {f"torch {kind}Storage" for kind in ("Long", "Int", "Short", "Byte", "Bool")}
_BLOCKS = {
    block.__name__: block
    for block in (resnet.BasicBlock, resnet.Bottleneck, resnet.PlainBlock)
}


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or is none, or is one of another training."""


def load(path: str | os.PathLike, keys: tuple[str, ...] = KEYS) -> dict[str, Any]:
    """Read a checkpoint, all tensors on the CPU.

    Args:
        path: a ``*.pt`` file that the trainer wrote.
        keys: what it must hold.

    Returns:
        The dictionary: "model" (a ``state_dict`` with torchvision's names), "arch"
        (see :func:`model_from`), "classes", "preprocessing" (see
        ``course_lib.data.preprocessing``), "epoch", "history", "config" and, in
        ``last.pt``, what is needed to resume.

    Raises:
        CheckpointError: says what is wrong with the file.
    """
    path = Path(path)
    if not path.is_file():  # to open a pipe would wait forever
        what = "no regular file" if path.exists() else "no such file"
        raise CheckpointError(f"{path}: {what}")
    try:
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path} is truncated or no checkpoint (it is no whole zip archive)"
        ) from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than numbers and texts, which could run code when "
            "loaded; it is refused"
        ) from error
    except Exception as error:  # damaged files fail in many ways
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this trainer (its format is not {FORMAT!r})"
        )
    if missing := [key for key in keys if key not in state]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}")
    return state


def check_archive(
    path: Path, known: Callable[[str], bool] = _NAMES.__contains__
) -> None:
    """Refuse what ``torch.load`` would take: damaged bytes, bombs, other functions.

    Args:
        path: the file.
        known: whether a file may name this, such as "collections OrderedDict".

    Raises:
        CheckpointError: if the archive is damaged, or grows when it is read.
        pickle.UnpicklingError: if it names what no file of weights needs.
        zipfile.BadZipFile: if it is no zip archive.
    """
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or sum(part.file_size for part in parts) > path.stat().st_size:
            raise CheckpointError(f"{path} is refused: torch compresses no file")
        damaged = file.testzip()  # torch does not compare the checksums
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: checksum mismatch in {damaged}")
        for part in parts:
            if part.filename.endswith("data.pkl"):
                for operation, name, _ in pickletools.genops(file.read(part)):
                    if "GLOBAL" in operation.name and not known(name):
                        raise pickle.UnpicklingError(f"it names {name}")


def describe(model: nn.Module) -> dict[str, Any] | None:
    """What :func:`model_from` needs to build a model again; None for foreign ones."""
    if type(model) is not resnet.ResNet:
        return None
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    return {
        "block": type(model.layer1[0]).__name__,
        "layers": [len(stage) for stage in stages],
        "num_classes": model.fc.out_features,
        "in_channels": model.conv1.in_channels,
        "stem": "small" if isinstance(model.maxpool, nn.Identity) else "imagenet",
    }


def model_from(state: dict[str, Any]) -> resnet.ResNet:
    """The network of a checkpoint, with its weights, in eval mode, on the CPU.

    Args:
        state: what :func:`load` gave.

    Raises:
        CheckpointError: if it is none of ``course_lib.resnet``, or its weights hold
            NaN, infinity or a negative variance.
    """
    try:
        arch, weights = dict(state["arch"]), state["model"]
        block, layers = _BLOCKS[arch.pop("block")], list(arch.pop("layers"))
        if sum(layers) > len(weights):
            raise ValueError(f"{sum(layers)} units have {len(weights)} tensors")
        memories = [v.untyped_storage() for v in weights.values()]
        stored = {memory.data_ptr(): memory.nbytes() for memory in memories}
        if sum(v.nbytes for v in weights.values()) > sum(stored.values()):
            raise ValueError("its weights share their memory")  # and would grow
        with torch.device("meta"):  # takes no memory, however large it claims to be
            claimed = resnet.ResNet(block, layers, **arch).state_dict()
        for name, value in claimed.items():
            if weights[name].shape != value.shape:
                raise ValueError(f"{name} is {list(weights[name].shape)}")
        model = resnet.ResNet(block, layers, **arch)
        model.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "the checkpoint's network is none of course_lib.resnet; build it yourself "
            'and give it the weights: model.load_state_dict(checkpoint["model"])'
        ) from error
    for name, value in model.state_dict().items():
        if not value.isfinite().all() or ("running_var" in name and (value < 0).any()):
            raise CheckpointError(
                f"the checkpoint's {name} holds NaN, infinity or a negative variance"
            )
    return model.eval()
