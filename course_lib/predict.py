"""Ask a trained network about photos, from a terminal.

    python -m course_lib.predict course wall.jpg bridge.png
    python -m course_lib.predict runs/cracks photos --cam heat

CHECKPOINT is a run of the trainer, or one of its *.pt files (it knows its classes
and how photos are prepared), or the word "course": the network that comes with the
package, which tells six classes of cracks. Photos may have any size, orientation and
color mode; a folder stands for all photos below it, and a pattern such as
'photos/*.jpg' for those that match it. With --cam DIR a picture of each photo is
saved that shows which places spoke for the answer (Grad-CAM).

The network sees the middle of a photo, reduced to its own size. A warning says so
where more than the usual quarter, or more than half of the detail, is left out.

The exit code is 0 if every photo was answered, 1 if some were not, and 2 if nothing
could start.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

# Torch, NumPy and Pillow are imported where they are used: --help is there at once.
from course_lib.commands import any_console
from course_lib.data.classes import CRACK_CLASSES

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

    from course_lib.data.photos import PhotoLike
    from course_lib.data.preprocessing import Preprocessing


class Answer(NamedTuple):
    """What a network says about one photo."""

    probabilities: dict[str, float]  # of each class, in order; they add up to 1
    notes: list[str]  # what the answer does not cover, in sentences
    image: Image.Image  # the photo, upright, "RGB"


class Predictor(NamedTuple):
    """A network and all that it needs to answer."""

    model: nn.Module  # gives logits [1, len(classes)]
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def ask(self, photo: PhotoLike, **options: int) -> Answer:
        """Answer one photo; arguments as for ``course_lib.data.photos.read_photo``.

        The model runs in evaluation mode and is left in the mode it was in.

        Raises:
            PhotoError: if the photo cannot be opened, or is one pixel high or wide.
            ValueError: if the model gives not one finite logit per class.
        """
        import torch

        from course_lib.data.photos import PhotoError, read_photo
        from course_lib.resnet import ResNet, check_batch
        from course_lib.training import evaluate

        prepare = self.preprocessing
        image, size, notes = read_photo(photo, at_least=prepare.resize, **options)
        if min(size) < 2:
            raise PhotoError(f"{photo}: {size[0]} × {size[1]} pixels show nothing")
        batch = prepare(image)[None].to(next(self.model.parameters()).dtype)
        if isinstance(self.model, ResNet):
            check_batch(self.model, batch)
        # evaluate wants a label; only the loss, which nobody reads here, depends on it.
        loader = [(batch, torch.tensor([0]))]
        logits = evaluate(self.model, loader)["logits"]
        if logits.shape != (1, len(self.classes)):
            shape = f"shape {list(logits.shape)} for one photo"
            names = f"{len(self.classes)} names; give those of its outputs"
            raise ValueError(f"the model returns {shape}, and classes has {names}")
        if not logits.isfinite().all():
            raise ValueError("the network's answer is NaN or infinite: its weights are")
        values = logits[0].softmax(dim=0).tolist()
        probabilities = dict(zip(self.classes, values))
        return Answer(probabilities, notes + prepare.unseen(*size), image)


def load_predictor(checkpoint: str | os.PathLike, device: str = "auto") -> Predictor:
    """The network of a checkpoint, on a device of ``course_lib.training.pick_device``.

    ``checkpoint`` is "course", a ``*.pt`` file, or a folder that holds ``best.pt``;
    nothing in it can run.

    Raises:
        CheckpointError: says what is wrong with the file.
        WeightsError: if the package's own weights are damaged.
        ValueError: if the device is not there.
    """
    from course_lib.data.preprocessing import Preprocessing
    from course_lib.training import pick_device

    place = pick_device(device)
    if checkpoint == "course":
        from course_lib.weights import course_resnet18

        model = course_resnet18().to(place)
        return Predictor(model, CRACK_CLASSES, Preprocessing.for_photos())
    from course_lib.weights.checkpoints import CheckpointError, load, model_from

    path = Path(checkpoint)
    path = path / "best.pt" if path.is_dir() else path
    state = load(path)
    model = model_from(state)
    try:
        prepare = Preprocessing.from_dict(state["preprocessing"])
        classes = tuple(map(str, state["classes"]))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    outputs, channels = model.fc.out_features, model.conv1.in_channels
    if (len(classes), prepare.channels) != (outputs, channels):
        raise CheckpointError(
            f"{path}: {len(classes)} classes and {prepare.channels} channel means do "
            f"not fit a network with {outputs} outputs and {channels} input channels"
        )
    return Predictor(model.to(place), classes, prepare)


def _photos(given: Iterable[str]) -> Iterator[tuple[Path, str | None]]:
    """The files of all files, folders and patterns, and why one cannot be a photo."""
    from course_lib.data.folders import find_photos, is_clutter

    for name in given:
        if os.path.isdir(name):  # noqa: PTH112 - never raises, unlike Path.is_dir
            found = list(find_photos(Path(name)))
            yield from found or [(Path(name), "no image files found")]
        elif glob.has_magic(name) and not os.path.lexists(name):
            names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
            names = [n for n in names if not is_clutter(n)]
            yield from _photos(names) if names else [(Path(name), "no such file")]
        else:
            yield Path(name), None


def save_cam(predictor: Predictor, image: Image.Image, label: int, path: Path) -> None:
    """Save a photo, as the network saw it, with the heat of a class over it."""
    from course_lib.looking import grad_cam, overlay

    x = predictor.preprocessing(image)
    heat = grad_cam(predictor.model, x[None], label)[0]
    shown = predictor.preprocessing.denormalize(x)
    overlay(shown, heat).resize((448, 448)).save(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help='a run, its *.pt file, or "course"')
    add("photos", metavar="PHOTO", nargs="+", help="files, folders or patterns")
    add("--cam", metavar="DIR", type=Path, help="save Grad-CAM pictures there")
    device = '"cuda", "mps" (Apple) or "cpu"; by default the first that is there'
    add("--device", default="auto", help=device)
    pixels = "refuse larger photos, unpacked they fill memory (default: 178,956,970)"
    add("--max-pixels", metavar="N", type=int, help=pixels)
    return parser


def _answer_all(predictor: Predictor, options: argparse.Namespace) -> int:
    """Print the answers; the exit code."""
    from course_lib.data.folders import NO_IMAGE, printable

    def fail(reason: object) -> None:
        nonlocal failed
        failed += 1
        print(f"error: {printable(reason)}", file=sys.stderr, flush=True)

    limit = {"max_pixels": options.max_pixels} if options.max_pixels else {}
    failed, asked, others, stems = 0, 0, [], Counter()
    for photo, reason in dict(_photos(options.photos)).items():
        if reason == NO_IMAGE:
            others.append(photo)
            continue
        asked, name = asked + 1, printable(photo)
        if reason is not None:
            fail(f"{name}: {reason}")
            continue
        try:
            values, notes, image = predictor.ask(photo, **limit)
        except (RuntimeError, ValueError) as error:  # the first: a GPU's memory
            fail(error)
            continue
        print(name)
        best, *_ = ranked = sorted(values, key=values.get, reverse=True)
        for label in ranked:
            print(f"  {100 * values[label]:5.1f} %  {label}", flush=True)
        for note in notes:
            print(f"warning: {name}: {note}", file=sys.stderr, flush=True)
        if options.cam is not None:
            stems[photo.stem] += 1  # photos of one name in several folders
            number = f"_{stems[photo.stem]}" if stems[photo.stem] > 1 else ""
            path = options.cam / f"{photo.stem}_cam{number}.png"
            try:
                save_cam(predictor, image, predictor.classes.index(best), path)
            except OSError as error:
                fail(f"{path} cannot be written: {error.strerror or error}")
            else:
                print(f"  {best}: {printable(path)}", flush=True)
    if others:
        kinds = f"{len(others)}, such as {printable(others[0])}"
        print(f"left out because they are no images: {kinds}", file=sys.stderr)
    if failed:
        print(f"{failed} of {asked} photos failed, see above", file=sys.stderr)
    return int(failed > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, see above."""
    any_console()
    given = sys.argv[1:] if arguments is None else arguments
    # A shell's *.jpg may hand over a file named -1.jpg, which is not an option.
    given = [f"./{a}" if a[:1] == "-" and Path(a).is_file() else a for a in given]
    options = _parser().parse_args(given)

    try:
        predictor = load_predictor(options.checkpoint, options.device)
        device = next(predictor.model.parameters()).device
        if device.type != "cpu":
            print(f"on the device {device}", file=sys.stderr)
        if options.cam is not None:
            options.cam.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return _answer_all(predictor, options)
    except OSError as error:  # what was printed could not be written
        # Python writes the rest when it ends; now that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # a reader such as head has enough
            return 0
        print(f"error: the answers cannot be written: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
