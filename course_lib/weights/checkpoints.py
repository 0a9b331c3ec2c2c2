"""Read files of weights, whoever made them, and build the trainer's networks again.

Loading takes numbers, texts, lists and dictionaries only: no file can run code, and
none takes much more memory than its own size.
"""

import os
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet

FORMAT = "course_lib checkpoint 1"
KEYS = ("arch", "classes", "config", "epoch", "history", "model", "preprocessing")
# Beyond numbers, texts, lists and dictionaries a checkpoint names only these. torch's
# own list is longer: a bytearray of 10 GB takes twenty bytes of a file.
_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}
_NAMES |= {f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16")}
_NAMES |= {f"torch {kind}Storage" for kind in ("Long", "Int", "Short", "Byte", "Bool")}
_BLOCKS = {block.__name__: block for block in (BasicBlock, Bottleneck, PlainBlock)}


class CheckpointError(RuntimeError):
    """A file of weights cannot be read, or is none, or is one of another training."""


def load(path: str | os.PathLike, keys: tuple[str, ...] = KEYS) -> dict[str, Any]:
    """Read a checkpoint of the trainer, all tensors on the CPU.

    Returns:
        A dictionary that holds ``keys``, by default "model" (a ``state_dict`` with
        torchvision's names), "arch" (see :func:`model_from`), "classes",
        "preprocessing" (see ``course_lib.data.preprocessing``), "epoch", "history"
        and "config"; in ``last.pt`` also what is needed to resume.

    Raises:
        CheckpointError: says what is wrong with the file.
    """
    state = read(Path(path))
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this trainer (its format is not {FORMAT!r})"
        )
    if missing := [key for key in keys if key not in state]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}")
    return state


def read(path: Path, foreign: bool = False) -> Any:
    """What ``torch.save`` or safetensors put into a file, all tensors on the CPU.

    A ``foreign`` file may have torch's old format and name more than our own do.

    Raises:
        CheckpointError: says what is wrong with the file.
    """
    if not path.is_file():  # to open a pipe would wait forever
        what = "no regular file" if path.exists() else "no such file"
        raise CheckpointError(f"{path}: {what}")
    head = b""
    try:
        with path.open("rb") as file:
            head = file.read(9)
        # Safetensors begin with the length of a JSON header, whatever their ending.
        if path.suffix == ".safetensors" or head[8:] == b"{":
            from safetensors.torch import load_file

            return load_file(path)
        if not foreign or zipfile.is_zipfile(path):
            _check_archive(path, foreign)
        elif head[:1] == b"\x80":
            with path.open("rb") as file:
                for _ in range(4):  # torch's old format: four pickles, then bytes
                    _check_pickle(path, file, foreign)
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # damaged files fail in many ways
        reason = str(error).partition("\n")[0][:200]
        other = head and head[:1] not in (b"P", b"\x80")  # a web page, say
        if isinstance(error, ImportError):
            reason = "it needs another package: pip install safetensors"
        elif other or isinstance(error, zipfile.BadZipFile | EOFError):
            reason = "it is truncated or no file of weights"
        elif "weights_only" in str(error):
            reason = (
                "it holds more than weights, which could run code when loaded; save "
                "model.state_dict()"
            )
        raise CheckpointError(f"{path} cannot be read: {reason}") from error


def _check_archive(path: Path, foreign: bool) -> None:
    """Refuse what ``torch.load`` would take: damaged bytes, bombs, other functions."""
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        if any(part.filename.endswith("/constants.pkl") for part in parts):
            raise CheckpointError(f"{path} is TorchScript; save model.state_dict()")
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or sum(part.file_size for part in parts) > path.stat().st_size:
            raise CheckpointError(f"{path} is refused: torch compresses no file")
        damaged = file.testzip()  # torch does not compare the checksums
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: checksum mismatch in {damaged}")
        for part in parts:
            if part.filename.endswith("data.pkl"):
                _check_pickle(path, file.read(part), foreign)


def _check_pickle(path: Path, pickle: bytes | BinaryIO, foreign: bool) -> None:
    """Refuse a pickle that names what it should not; a file is read to its end."""
    for operation, name, _ in pickletools.genops(pickle):
        known = "bytearray" not in str(name) if foreign else name in _NAMES
        if "GLOBAL" in operation.name and not known:
            raise CheckpointError(
                f"{path} is refused: it names {name}, and holds more than numbers and "
                "texts, which could run code when loaded"
            )


def describe(model: nn.Module) -> dict[str, Any] | None:
    """What :func:`model_from` needs to build a model again; None for foreign ones."""
    if type(model) is not ResNet:
        return None
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    return {
        "block": type(model.layer1[0]).__name__,
        "layers": [len(stage) for stage in stages],
        "num_classes": model.fc.out_features,
        "in_channels": model.conv1.in_channels,
        "stem": "small" if isinstance(model.maxpool, nn.Identity) else "imagenet",
    }


def model_from(state: dict[str, Any]) -> ResNet:
    """The network in what :func:`load` gave, in eval mode, on the CPU.

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
            model = ResNet(block, layers, **arch)
        copies = {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in weights.items()
        }
        model.load_state_dict(copies, assign=True)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "the checkpoint's network is none of course_lib.resnet; build it yourself "
            'and give it the weights: model.load_state_dict(checkpoint["model"])'
        ) from error
    if broken := broken_tensor(weights):
        raise CheckpointError(f"the checkpoint's {broken}")
    return model.float().eval()


def broken_tensor(state: Mapping[str, Tensor]) -> str | None:
    """Which tensor of a ``state_dict`` no network can calculate with, if any."""
    for name, value in state.items():
        if not value.isfinite().all() or ("running_var" in name and (value < 0).any()):
            return f"{name} holds NaN, infinity or a negative variance"
    return None
