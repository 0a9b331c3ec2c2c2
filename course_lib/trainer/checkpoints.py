"""Files from which a training goes on, whatever happened to the process.

A new file is written under another name, forced to the disk and then renamed, so at
every moment a whole one is there. The last one and the one before are kept. Loading
takes numbers, texts, lists and dictionaries only: no file can run code.
"""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib import resnet

__all__ = ["CheckpointError", "Folder", "load", "model_from", "save"]

FORMAT = "course_lib checkpoint 1"
KEYS = ("arch", "classes", "config", "epoch", "history", "model", "preprocessing")
MORE_KEYS = ("best", "images", "optimizer", "random", "scaler", "scheduler", "step")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or is none, or is one of another training."""


def write(path: Path, fill: Any) -> None:
    """Replace a file at once: readers see the old one or the whole new one.

    Args:
        path: the file.
        fill: called with a file opened for bytes, writes the contents.

    Raises:
        OSError: if it could not be written; the old file is as it was.
    """
    scratch = path.with_name(path.name + ".tmp")
    try:
        with scratch.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where the system can (Windows cannot)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write one checkpoint, atomically.

    Raises:
        OSError: if it could not be written, for example to a full disk.
    """

    def fill(file: Any) -> None:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:  # how torch reports a failed write
            raise OSError(f"{path}: {error}") from error

    write(path, fill)


def load(path: str | os.PathLike, keys: tuple[str, ...] = KEYS) -> dict[str, Any]:
    """Read a checkpoint, all tensors on the CPU.

    Args:
        path: a ``*.pt`` file that the trainer wrote.
        keys: what it must hold.

    Returns:
        The dictionary: "model" (a ``state_dict`` with torchvision's names), "arch"
        (see :func:`model_from`), "classes", "preprocessing", "epoch", "history",
        "config" and, in ``last.pt``, what is needed to go on.

    Raises:
        CheckpointError: says what is wrong with the file.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch does not compare the checksums
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: the checksum of {damaged}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path} is truncated or no checkpoint (it is no whole zip archive)"
        ) from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than numbers and texts, which could run code when "
            "loaded; it is refused"
        ) from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this trainer (its format is not {FORMAT!r})"
        )
    if missing := [key for key in keys if key not in state]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}")
    return state


class Folder:
    """The checkpoints of one training: ``last.pt``, ``previous.pt``, ``best.pt``."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.last, self.previous = self.path / "last.pt", self.path / "previous.pt"
        self.best = self.path / "best.pt"

    def __bool__(self) -> bool:
        """Whether a training has left something to go on from."""
        return self.last.exists() or self.previous.exists()

    def save(self, state: Any) -> None:
        """Write ``last.pt``; what had that name becomes ``previous.pt``.

        At the end of an epoch ``history.csv`` is written before, and ``best.pt`` if
        that epoch was the best.

        Args:
            state: a ``course_lib.trainer.state.State``.

        Raises:
            OSError: if a file could not be written; each is then as it was.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if state.step == 0:
            text = state.history.text().encode()
            write(self.path / "history.csv", lambda file: file.write(text))
            if state.last_was_best:
                save(self.best, state.to_predict())
        fresh = self.path / "next.pt"
        save(fresh, state.to_go_on())
        # A kill between the two leaves previous.pt, which is as good as last.pt was.
        if self.last.exists():
            self.last.replace(self.previous)
        fresh.replace(self.last)
        _sync_folder(self.path)

    def load(self) -> dict[str, Any] | None:
        """The newest good checkpoint; None if there is none at all.

        A damaged one is put aside as ``damaged.pt`` with a warning.

        Raises:
            CheckpointError: if there are files, and none of them can be used.
        """
        troubles = []
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                state = load(path, KEYS + MORE_KEYS)
            except CheckpointError as error:
                troubles.append(str(error))
                continue
            if troubles:
                aside = self.path / "damaged.pt"
                self.last.replace(aside)
                warnings.warn(
                    f"{troubles[0]}. It is kept as {aside.name}; the training goes on "
                    f"from {path.name}",
                    stacklevel=2,
                )
            return state
        if troubles:
            raise CheckpointError(
                "there is no checkpoint to go on from: "
                + "; ".join(troubles)
                + ". Start anew in another folder"
            )
        return None


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
        CheckpointError: if it is none of ``course_lib.resnet``.
    """
    arch = dict(state["arch"] or {})
    blocks = {kind.__name__: kind for kind in (resnet.BasicBlock, resnet.Bottleneck)}
    blocks["PlainBlock"] = resnet.PlainBlock
    try:
        model = resnet.ResNet(blocks[arch.pop("block")], arch.pop("layers"), **arch)
        model.load_state_dict(state["model"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "the checkpoint's network is none of course_lib.resnet; build it yourself "
            'and give it the weights: model.load_state_dict(checkpoint["model"])'
        ) from error
    return model.eval()
