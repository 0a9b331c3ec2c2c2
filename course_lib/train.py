r"""Train a residual net from a terminal.

    python -m course_lib.train --data synthetic --epochs 8 --out runs/first

draws 6,000 pictures of six classes of concrete, trains ResNet-18 on them and tells
after each epoch how well it does on pictures that it did not learn from. With your own
photos in one folder per class, photos/cracked and photos/uncracked:

    python -m course_lib.train --data photos --weights imagenet --out runs/mine

starts from weights trained on ImageNet with a new last layer, which needs far fewer
photos than a start from nothing. If it is interrupted, by Ctrl-C or by a crash,

    python -m course_lib.train --out runs/mine --resume

goes on where it stopped, with the same result as if nothing had happened. On a machine
with two GPUs, and likewise on many machines (see torchrun's help):

    torchrun --nproc-per-node 2 -m course_lib.train --data photos --out runs/mine

The folder RUN then holds best.pt (for course_lib.predict) and last.pt, previous.pt (to
go on), history.csv (one line per epoch), report.json (the test, once, with the best
weights), config.json (all settings), and logs for tensorboard --logdir RUN.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import course_lib
from course_lib import resnet
from course_lib.data.balance import class_weights
from course_lib.data.download import DownloadError
from course_lib.data.photos import PhotoError
from course_lib.data.sources import DIGITS, FOLDER_SIZE, SIZES, Source, source
from course_lib.trainer import (
    CheckpointError,
    PeerLostError,
    Trainer,
    TrainerConfig,
    TrainingInterrupted,
    distributed,
)
from course_lib.trainer.checkpoints import Folder, write
from course_lib.trainer.options import (
    DEFAULTS,
    FRESH_RATE,
    TUNING_RATE,
    parser,
    settings,
)
from course_lib.trainer.progress import someone_watches
from course_lib.weights import WeightsError
from course_lib.weights.pretrained import load_pretrained

__all__ = ["main"]


def _data(options: dict[str, Any]) -> Source:
    name, size = options["data"], options["size"]
    if size is None:
        size = SIZES.get(name, FOLDER_SIZE)
    if size < 8:
        raise ValueError(f"--size must be at least 8 pixels, got {size}")
    cache = options["cache"] or Path.home() / ".cache" / "course_lib"
    watched = not options["quiet"] and distributed.world().writes and someone_watches()
    return distributed.main_first(
        lambda: source(
            name,
            size=size,
            root=Path(options["root"]),
            cache=Path(cache),
            download=options["download"],
            skip_broken=options["skip_broken"],
            progress=watched,
        )
    )


def _trainer(
    options: dict[str, Any], data: Source, device: torch.device, out: Path
) -> Trainer:
    torch.manual_seed(options["seed"])
    stem = "small" if options["data"] in DIGITS else "imagenet"
    model = getattr(resnet, options["arch"])(
        num_classes=len(data.classes),
        in_channels=data.preprocessing.channels,
        stem=stem,
    )
    numbers = data.preprocessing.as_dict() | {"channels": data.preprocessing.channels}
    if options["weights"] is not None:
        start = load_pretrained(options["weights"], model, data.classes)
        numbers = numbers | start.normalization
        if distributed.world().writes:
            print(f"weights {options['weights']}: {start.message}")
    rate = options["learning_rate"]
    if rate is None:
        rate = FRESH_RATE if options["weights"] is None else TUNING_RATE
    weights = None
    if options["balance"]:
        weights = class_weights(data.parts[0].labels, len(data.classes))
    config = TrainerConfig(
        epochs=options["epochs"],
        batch_size=options["batch_size"],
        learning_rate=rate,
        class_weights=weights,
        precision=options["precision"],
        compile=options["compile"],
        seed=options["seed"],
        workers=options["workers"],
        progress=not options["quiet"],
        log_dir=out if find_spec("tensorboard") else None,
        checkpoint_dir=out,
    )
    return Trainer(
        model.to(device),
        config,
        classes=data.classes,
        augment=data.augment,
        preprocessing=numbers,
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write(path, lambda file: file.write(text.encode()))


def _run(given: dict[str, Any], device: torch.device) -> int:
    resume = given.pop("resume", False)
    named = given.pop("out", None)
    options = DEFAULTS | given
    data_name = Path(options["data"]).name or "data"
    out = Path(named or Path("runs") / f"{data_name}-{options['arch']}")
    me = distributed.world()
    if not resume and me.writes and Folder(out):
        raise ValueError(
            f"{out} holds a training already: add --resume to go on with it, or "
            "choose another --out"
        )
    options = settings(given, out, resume)
    data = _data(options)
    trainer = _trainer(options, data, device, out)

    def say(text: str) -> None:
        if me.writes and not options["quiet"]:
            print(text, flush=True)

    precision = str(trainer.amp or torch.float32).removeprefix("torch.")
    counts = [len(part) for part in data.parts]
    say(
        f"{options['arch']} on {device}, {precision}, {me.size} process(es); "
        f"{counts[0]:,} + {counts[1]:,} + {counts[2]:,} pictures of "
        f"{data.preprocessing.size} px, {len(data.classes)} classes"
    )
    say(f"{options['data']}: {data.note}")
    if me.writes:
        out.mkdir(parents=True, exist_ok=True)
        about = {
            "command": options,
            "trainer": trainer.config.as_dict(),
            "classes": list(data.classes),
            "preprocessing": trainer.preprocessing,
            "pictures": dict(zip(("train", "validation", "test"), counts)),
            "split": data.note,
            "device": str(device),
            "precision": precision,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "course_lib": course_lib.__version__,
            },
        }
        _write_json(out / "config.json", about)
    try:
        history = trainer.fit(data.parts[0], data.parts[1], resume=resume)
    except TrainingInterrupted as stop:
        if me.writes:
            print(f"{stop}.\n\n    {_command(out)}", file=sys.stderr)
        return 130
    report = trainer.evaluate(data.parts[2])
    if not me.writes:
        return 0
    best = history.best["epoch"]
    _write_json(out / "report.json", {"epoch": best} | report.as_dict())
    print(f"test, {report.n:,} pictures, weights of epoch {best}:\n{report.table()}")
    if not trainer.saved:
        print(f"error: the last checkpoint is not in {out}", file=sys.stderr)
        return 1
    say(f"python -m course_lib.predict {out / 'best.pt'} PHOTO ... asks this network")
    return 0


def _command(out: Path) -> str:
    return f"python -m course_lib.train --out {shlex.quote(str(out))} --resume"


def _warn(message: Warning | str, *_: Any) -> None:
    """Show a warning as a sentence, without the line of code that gave it."""
    if distributed.world().writes:
        print(f"warning: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code: 0; 1 if the training failed; 2 for a wrong call or data that
        cannot be used; 130 if it was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    given = vars(parser(__doc__).parse_args(arguments))
    if "WORLD_SIZE" in os.environ:
        # torchrun sends it to all when one has died, which they see for themselves.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with warnings.catch_warnings(), distributed.process_group() as device:
            warnings.showwarning = _warn
            return _run(given, device)
    except (FloatingPointError, PeerLostError, torch.OutOfMemoryError) as error:
        code, text = 1, str(error)
        if isinstance(error, torch.OutOfMemoryError):
            text = f"the GPU's memory is full: lower --batch-size or --size ({error})"
    except PhotoError as error:
        code, text = 2, f"{error}\n--skip-broken leaves such files out"
    except (CheckpointError, DownloadError, WeightsError, OSError, ValueError) as error:
        code, text = 2, str(error)
    except KeyboardInterrupt:
        code, text = 130, "interrupted"
    print(f"error: {text}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    code = main()
    if "WORLD_SIZE" in os.environ:
        # Threads of a lost connection must not hold up or break what is decided.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
