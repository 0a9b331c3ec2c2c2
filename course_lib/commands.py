"""What can be typed: the options of the train command, and text for any console."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["any_console", "quoted", "say", "train_parser", "train_settings"]

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ARCHITECTURES += ("plain18", "plain34")
OPTIONS: dict[str, tuple[type, Any]] = {  # name: type and default
    "data": (str, None),
    "root": (str, "data"),
    "download": (bool, False),
    "skip_broken": (bool, False),
    "no_test": (bool, False),
    "size": (int, None),
    "cache": (str, None),
    "augment": (str, None),
    "arch": (str, "resnet18"),
    "weights": (str, None),
    "epochs": (int, 10),
    "batch_size": (int, 64),
    "learning_rate": (float, None),
    "balance": (bool, False),
    "precision": (str, "auto"),
    "compile": (bool, False),
    "device": (str, "auto"),
    "workers": (int, 0),
    "seed": (int, 0),
    "quiet": (bool, False),
}
# These may change on --resume.
FREE = ("root", "download", "cache", "device", "workers", "quiet")
FRESH_RATE, TUNING_RATE = 2e-3, 3e-4
# A folder of photos is only mirrored: who knows what is up in them?
AUGMENT = {"synthetic": "photo", "sdnet2018": "photo", "digits": "digits"}
AUGMENT["mnist"] = "digits"
VIEWS = {
    "none": "pictures as they are, in windows shifted by a few pixels",
    "flip": "mirrored left to right, and lit differently",
    "photo": "turned by 90 degrees, mirrored, and lit differently",
    "digits": "turned, shifted and stretched a little",
}


def any_console() -> None:
    """Let names that the terminal cannot show be printed as backslash escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def quoted(path: Path) -> str:
    """A path as an argument for the shell of this system."""
    if os.name != "nt":
        return shlex.quote(str(path))
    plain = all(c.isalnum() or c in r"\/:._-" for c in str(path))
    return str(path) if plain else f'"{path}"'  # no name on Windows holds a quote


def say(text: str, *, error: bool = False) -> None:
    """Print a line; one that nobody reads any more (``| head``) ends nothing."""
    with suppress(OSError):
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


def train_parser(description: str) -> argparse.ArgumentParser:
    """The parser; options that were not given are not in its result.

    So ``--resume`` can tell what was asked for from what is a default.
    """
    result = argparse.ArgumentParser(
        prog="python -m course_lib.train",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = result.add_argument_group("data").add_argument
    add(
        "--data",
        metavar="synthetic|sdnet2018|digits|mnist|DIR",
        help="needed by a new run: a data set of the course, or a folder of photos "
        "with one folder per class, which is split 70:15:15, patches of one photo "
        "together where the names tell (7001-115.jpg is of 7001); or with train, "
        "validation and test folders that hold the class folders; what is missing of "
        "the last two is taken from train",
    )
    add("--root", metavar="DIR", help="where sdnet2018 or mnist is (default: data)")
    add("--download", action="store_true", help="fetch those if they are not there")
    add(
        "--skip-broken",
        action="store_true",
        help="leave out files that are no usable photos instead of stopping",
    )
    add(
        "--no-test",
        action="store_true",
        help="set no photos aside for a test at the end",
    )
    add(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of the pictures that the network sees (default: 64 for synthetic, "
        "16 for digits, 28 for mnist, else 224)",
    )
    add(
        "--cache",
        metavar="DIR",
        help="photos are decoded once and kept here (default: ~/.cache/course_lib)",
    )
    add(
        "--augment",
        choices=list(VIEWS),
        help="how training pictures are varied: "
        + "; ".join(f"{name}, {views}" for name, views in VIEWS.items())
        + ". Choose none where mirroring changes the class (left and right), and "
        "never photo where turning does: horizontal and vertical cracks look alike "
        "then (default: flip for your own photos, photo for synthetic and sdnet2018, "
        "digits for digits and mnist)",
    )
    add = result.add_argument_group("network").add_argument
    add("--arch", choices=ARCHITECTURES, help="default: resnet18")
    add(
        "--weights",
        metavar="imagenet|course|FILE",
        help="start from trained weights: torchvision's (needs the network once), the "
        "course's crack network, or a *.pt file; the last layer is new unless the "
        "classes are the same (default: random weights)",
    )
    add = result.add_argument_group("training").add_argument
    add("--epochs", type=int, help="passes over the training data (default: 10)")
    add(
        "--batch-size",
        type=int,
        help="pictures per step, of all processes together (default: 64)",
    )
    add(
        "--learning-rate",
        type=float,
        help=f"the highest one (default: {FRESH_RATE}; with --weights {TUNING_RATE})",
    )
    add(
        "--balance",
        action="store_true",
        help="let each class count the same in the loss, however rare it is",
    )
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="auto takes bf16 where the hardware has it, else fp32 (default: auto)",
    )
    add("--compile", action="store_true", help="compile the network first")
    add(
        "--device",
        help="cuda, mps (Apple's GPU) or cpu (default: auto, the first of them that "
        "works)",
    )
    add("--workers", type=int, help="processes that prepare batches (default: 0)")
    add("--seed", type=int, help="another seed is another training (default: 0)")
    add = result.add_argument_group("run").add_argument
    add("--out", metavar="RUN", help="folder of the run (default: runs/DATA-ARCH)")
    add(
        "--resume",
        action="store_true",
        help="continue the run in RUN, with its settings",
    )
    add("--quiet", action="store_true", help="print nothing until the report")
    return result


def train_settings(given: dict[str, Any], out: Path, resume: bool) -> dict[str, Any]:
    """All options: those of the run that resumes, or the given and the defaults.

    Raises:
        ValueError: if they are damaged, or an option contradicts them.
    """
    defaults = {name: default for name, (_, default) in OPTIONS.items()}
    if not resume:
        augment = AUGMENT.get(given["data"], "flip")
        return defaults | {"augment": augment} | given
    stored = out / "config.json"
    try:
        command = json.loads(stored.read_text("utf-8"))["command"]
        before = defaults | command
        wrong = [
            f"{name}={value!r}"
            for name, value in command.items()
            if type(value) is not OPTIONS[name][0] and value is not OPTIONS[name][1]
        ]
        if wrong or before["data"] is None:
            raise ValueError(f"not possible: {', '.join(wrong) or 'no data'}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{stored} is damaged ({error}); start in another folder"
        ) from None
    changed = [
        f"--{name.replace('_', '-')} was {before[name]!r} and is {value!r}"
        for name, value in given.items()
        if name not in FREE and before[name] != value
    ]
    if changed:
        raise ValueError(
            f"--resume continues with the settings of {out}: {'; '.join(changed)}. "
            "Leave them out, or start a new run in another folder"
        )
    return before | given
