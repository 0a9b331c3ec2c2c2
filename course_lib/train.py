r"""Train a residual net from a terminal.

    python -m course_lib.train --data synthetic --epochs 8 --out runs/first

draws 6,000 pictures of six classes of concrete, trains ResNet-18 on them and tells
after each epoch how well it does on pictures that it did not learn from. With your own
photos in one folder per class, photos/cracked and photos/uncracked:

    python -m course_lib.train --data photos --weights imagenet --out runs/mine

starts from weights trained on ImageNet with a new last layer, which needs far fewer
photos than a start from nothing. If it is interrupted, by Ctrl-C or by a crash,

    python -m course_lib.train --out runs/mine --resume

continues where it stopped, with the same result as if nothing had happened. On a
machine with two GPUs, and likewise on many machines (see torchrun's help):

    torchrun --nproc-per-node 2 -m course_lib.train --data photos --out runs/mine

RUN then holds best.pt (for course_lib.predict), last.pt and previous.pt (to resume),
history.csv (one line per epoch), report.json (the test, with the best weights),
config.json (all settings), split.json (which photo is in which part, with its
checksum), and logs for tensorboard --logdir RUN.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib import commands
from course_lib.commands import quoted, say, write_json

# torch takes seconds to load, so everything that needs it waits for good arguments.
if TYPE_CHECKING:
    import torch

    from course_lib.data.sources import Source
    from course_lib.trainer import Trainer

PATIENCE = timedelta(hours=6)  # of the others while one process prepares the data


def _data(options: dict[str, Any]) -> Source:
    """Read the data; process 0 before the others, because it fills a cache."""
    import torch.distributed as dist

    from course_lib.data import sources
    from course_lib.trainer import distributed

    if options["size"] is not None and options["size"] < 8:
        raise ValueError(f"--size must be at least 8 pixels, got {options['size']}")
    world = distributed.world()
    names = ("size", "download", "skip_broken", "no_test")
    read = partial(
        sources.source,
        options["data"],
        root=Path(options["root"]),
        cache=options["cache"] and Path(options["cache"]),
        progress=world.writes and sys.stderr.isatty() and not options["quiet"],
        **{name: options[name] for name in names},
    )
    if world.size == 1:
        return read()
    patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    for turn in (True, False):
        if world.writes is turn:
            data = read()
        with distributed.peers():
            dist.barrier(patient)
    return data


def _trainer(
    options: dict[str, Any], data: Source, device: torch.device, out: Path
) -> Trainer:
    import numpy as np
    import torch

    from course_lib import resnet
    from course_lib.data.augment import AUGMENTATIONS
    from course_lib.data.sources import DIGITS
    from course_lib.trainer import Trainer, TrainerConfig, distributed
    from course_lib.weights.pretrained import load_pretrained

    torch.manual_seed(options["seed"])
    preprocessing, rate = data.preprocessing, commands.FRESH
    model = getattr(resnet, options["arch"])(
        num_classes=len(data.classes),
        in_channels=preprocessing.channels,
        stem="small" if options["data"] in DIGITS else "imagenet",
    )
    if options["weights"] is not None:
        start = load_pretrained(options["weights"], model, data.classes)
        numbers = asdict(preprocessing) | start.normalization
        preprocessing, rate = preprocessing.from_dict(numbers), commands.TUNING
        if distributed.world().writes:
            say(f"weights {options['weights']}: {start.message}")
    weights = None
    if options["balance"]:  # a class without pictures has no weight to set
        counts = np.bincount(data.parts[0].labels, minlength=len(data.classes))
        weights = counts.sum() / ((counts > 0).sum() * counts.clip(1))
    given, precision = options["learning_rate"], options["precision"]
    tiny = preprocessing.size <= 16 and options["data"] not in DIGITS
    if tiny and device.type == "cpu" and precision in ("auto", "bf16"):
        # layer4 sees one pixel. On a CPU torch's bf16 gradient of a 3×3 convolution
        # with stride 2 over one pixel holds memory never written (oneDNN, torch 2.12).
        if precision == "bf16":
            raise ValueError("--precision bf16 needs --size 17 at least on a CPU")
        precision = "fp32"
    same = ("epochs", "batch_size", "compile", "seed", "workers")
    config = TrainerConfig(
        **{name: options[name] for name in same},
        precision=precision,
        learning_rate=rate if given is None else given,
        class_weights=weights,
        progress=not options["quiet"],
        log_dir=out if find_spec("tensorboard") else None,
        checkpoint_dir=out,
    )
    return Trainer(
        model.to(device),
        config,
        classes=data.classes,
        augment=AUGMENTATIONS[options["augment"]],
        preprocessing=preprocessing,
    )


def _run(given: dict[str, Any]) -> int:
    from course_lib.trainer import distributed
    from course_lib.trainer.checkpoints import Folder

    resume, out = given.pop("resume", False), given.pop("out", None)
    if not resume and "data" not in given:
        raise ValueError(
            "a new run needs --data: a folder of photos, or synthetic, sdnet2018, "
            "digits or mnist; to continue a run, give its folder: --out RUN --resume"
        )
    if out is None:
        if "data" not in given:
            raise ValueError("--resume needs the folder of the run: --out RUN")
        name = Path(given["data"]).name or "data"
        out = Path("runs") / f"{name}-{given.get('arch', 'resnet18')}"
    out, config = Path(out), Path(out) / "config.json"
    if resume and not config.is_file():
        raise ValueError(f"{out} holds no run to resume; start one with --data")
    options = commands.train_settings(given, out, resume)
    with distributed.process_group(options["device"]) as device:
        writes = distributed.world().writes
        with Folder(out).lock() if writes else nullcontext():
            if writes and not resume:
                if config.exists() or Folder(out).exists():
                    raise ValueError(
                        f"{out} holds a run already: add --resume to continue it, or "
                        "choose another --out"
                    )
                # Before the data are read, which can take hours and be interrupted.
                write_json(config, {"command": options})
            try:
                return _train(options, out, device, resume)
            except Exception:
                if writes and not resume and not Folder(out).exists():
                    config.unlink(missing_ok=True)  # nothing to resume, try again
                    (out / "split.json").unlink(missing_ok=True)
                raise


def _train(
    options: dict[str, Any], out: Path, device: torch.device, resume: bool
) -> int:
    import torch

    import course_lib
    from course_lib.trainer import TrainingInterrupted, distributed

    world = distributed.world()
    data = _data(options)
    trainer = _trainer(options, data, device, out)
    precision = str(trainer.amp or torch.float32).removeprefix("torch.")
    counts = [len(part) for part in data.parts]
    loud = world.writes and not options["quiet"]
    if loud:
        say(
            f"{options['arch']} on {device}, {precision}, {world.size} process(es); "
            f"{counts[0]:,} + {counts[1]:,} + {counts[2]:,} pictures of "
            f"{data.preprocessing.size} px, {len(data.classes)} classes"
        )
        say(f"{options['data']}: {data.note}")
        say(f"training pictures: {commands.VIEWS[options['augment']]} (see --augment)")
    if world.writes:
        commands.check_split(out, data.files)
        metadata = {
            "command": options,
            "trainer": asdict(trainer.config),
            "classes": list(data.classes),
            "preprocessing": asdict(trainer.preprocessing),
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
        write_json(out / "config.json", metadata)
    try:
        history = trainer.fit(data.parts[0], data.parts[1], resume=resume)
    except TrainingInterrupted as stop:
        if world.writes:
            say(f"{stop}. To resume:\n\n    {_resume_line(out)}", error=True)
        return 130
    report = trainer.evaluate(data.parts[2]) if counts[2] else None
    if not world.writes:
        return 0
    best = history.best()["epoch"]
    if report is not None:
        write_json(out / "report.json", {"epoch": best} | report.as_dict())
        say(f"test, {report.n:,} pictures, weights of epoch {best}:\n{report.table()}")
    if not trainer.saved:
        say(f"error: the last checkpoint is not in {out}", error=True)
        return 1
    if loud:
        best = quoted(out / "best.pt")
        say(f"python -m course_lib.predict {best} PHOTO ... asks this network")
    return 0


def _resume_line(out: Path) -> str:
    """What to type; quoted for this system's shell."""
    start = "python"
    if count := os.environ.get("LOCAL_WORLD_SIZE"):
        start = f"torchrun --nproc-per-node {count}"
    return f"{start} -m course_lib.train --out {quoted(out)} --resume"


def _warn(message: Warning | str, *_: Any) -> None:
    """Show a warning as a sentence, without the line of code that gave it."""
    if os.environ.get("RANK", "0") == "0":
        say(f"warning: {message}", error=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code: 0; 1 if the training failed; 2 for a wrong call or data that
        cannot be used; 130 if it was interrupted.
    """
    commands.any_console()
    given = commands.given_options(commands.train_parser(__doc__), arguments)
    import torch

    from course_lib.data.photos import PhotoError
    from course_lib.trainer import CheckpointError, PeerLostError
    from course_lib.weights import WeightsError

    if "WORLD_SIZE" in os.environ:
        # torchrun sends it to all when one has died, which they see for themselves.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    out = given.get("out")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _run(given)
    except (FloatingPointError, PeerLostError, torch.OutOfMemoryError) as error:
        code, text = 1, str(error)
        if isinstance(error, torch.OutOfMemoryError):
            text = f"the GPU's memory is full: lower --batch-size or --size ({error})"
    except PhotoError as error:
        code, text = 2, f"{error}\n--skip-broken leaves such files out"
    except (CheckpointError, WeightsError, OSError, ValueError) as error:
        code, text = 2, str(error)
    except KeyboardInterrupt:
        code, text = 130, "interrupted"
        if out and (Path(out) / "config.json").exists():
            text += f". To resume:\n\n    {_resume_line(Path(out))}"
    say(f"error: {text}", error=True)
    return code


if __name__ == "__main__":
    code = main()
    if "WORLD_SIZE" in os.environ:
        # Threads of a lost connection must not hold up or break what is decided.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
