"""Ask a trained network about photos, from a terminal.

    python -m course_lib.predict course wall.jpg bridge.png
    python -m course_lib.predict runs/cracks/best.pt photos/*.jpg --cam heat

CHECKPOINT is a file that the trainer wrote (it knows its own classes, size and
normalization) or the word "course": the network that comes with the package, which
tells six classes of cracks. Photos may have any size, orientation and color mode.
With --cam DIR a picture of each photo is saved that shows which places spoke for the
answer (Grad-CAM).

The exit code is 0 if every photo was answered, 1 if some could not be opened, and 2
if nothing could start: a bad checkpoint, no place for the pictures, a wrong call.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.photos import PhotoError, open_photo
from course_lib.data.prediction import predict
from course_lib.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    denormalize,
    evaluation_transform,
)
from course_lib.looking import grad_cam, overlay
from course_lib.trainer.checkpoints import CheckpointError, load, model_from
from course_lib.weights import WeightsError, course_resnet18

__all__ = ["Predictor", "load_predictor", "main"]


class Predictor(NamedTuple):
    """A network and all that it needs to answer."""

    model: nn.Module  # in eval mode
    classes: tuple[str, ...]
    size: int  # pixels per side
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, photo: Any) -> dict[str, float]:
        """Class name to probability, see ``course_lib.data.prediction.predict``."""
        return predict(
            self.model, photo, classes=self.classes, transform=self.transform
        )

    def transform(self, picture: Any) -> Tensor:
        """From a PIL picture to the network's input, float [C, size, size]."""
        to_tensor = evaluation_transform(self.size, mean=self.mean, std=self.std)
        return to_tensor(picture)


def load_predictor(checkpoint: str | os.PathLike) -> Predictor:
    """The network of a checkpoint, on the GPU if there is one.

    Nothing in a file can run: it is loaded with ``weights_only=True``.

    Args:
        checkpoint: ``"course"``, a ``*.pt`` file, or a folder that holds
            ``best.pt``.

    Raises:
        CheckpointError: says what is wrong with the file.
        WeightsError: if the package's own weights are damaged.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if checkpoint == "course":
        model = course_resnet18().to(device)
        return Predictor(model, CRACK_CLASSES, 224, IMAGENET_MEAN, IMAGENET_STD)
    path = Path(checkpoint)
    if path.is_dir():
        path = path / "best.pt"
    state = load(path)
    model = model_from(state)
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise CheckpointError(f"{path}: its weights hold NaN or infinity")
    numbers = state["preprocessing"]
    try:
        mean, std = (tuple(map(float, numbers[name])) for name in ("mean", "std"))
        classes = tuple(map(str, state["classes"]))
        answer = Predictor(model.to(device), classes, int(numbers["size"]), mean, std)
        evaluation_transform(answer.size, mean=mean, std=std)  # checks the numbers
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{path}: its "preprocessing" must hold size, mean and std, so that '
            f"photos are prepared as in training; it holds {numbers!r} ({error})"
        ) from error
    outputs, channels = model.fc.out_features, model.conv1.in_channels
    if (len(classes), len(mean)) != (outputs, channels):
        raise CheckpointError(
            f"{path}: {len(classes)} classes and {len(mean)} channel means do not fit "
            f"a network with {outputs} outputs and {channels} input channels"
        )
    return answer


def save_cam(predictor: Predictor, picture: Any, label: int, path: Path) -> None:
    """Save a photo, as the network saw it, with the heat of a class over it."""
    x = predictor.transform(picture)
    heat = grad_cam(predictor.model, x[None], label)[0]
    shown = denormalize(x, mean=predictor.mean, std=predictor.std)
    overlay(shown, heat).resize((448, 448)).save(path)


def _free_name(folder: Path, photo: Path, taken: set[Path]) -> Path:
    """``DIR/wall_cam.png``; photos of one name in several folders are numbered."""
    path, number = folder / f"{photo.stem}_cam.png", 2
    while path in taken:
        path, number = folder / f"{photo.stem}_cam_{number}.png", number + 1
    taken.add(path)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help='a *.pt file of the trainer, its folder, or "course"',
    )
    parser.add_argument("photos", metavar="PHOTO", nargs="+", help="picture files")
    parser.add_argument(
        "--cam", metavar="DIR", type=Path, help="save Grad-CAM pictures there"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code: 0, 1 or 2, see above.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        predictor = load_predictor(options.checkpoint)
        if options.cam is not None:
            options.cam.mkdir(parents=True, exist_ok=True)
    except (CheckpointError, WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed, taken = 0, set()
    for photo in map(Path, options.photos):
        try:
            picture = open_photo(photo)
        except PhotoError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed += 1
            continue
        answer = predictor(picture)
        print(photo)
        for name in sorted(answer, key=answer.get, reverse=True):
            print(f"  {100 * answer[name]:5.1f} %  {name}")
        if options.cam is not None:
            path = _free_name(options.cam, photo, taken)
            best = max(answer, key=answer.get)
            try:
                save_cam(predictor, picture, predictor.classes.index(best), path)
            except OSError as error:
                print(f"error: {path} cannot be written: {error}", file=sys.stderr)
                return 2
            print(f"  {best}: {path}")
        sys.stdout.flush()
    if failed:
        count = len(options.photos)
        print(f"{failed} of {count} photos could not be opened", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
