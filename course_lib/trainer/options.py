"""The options of ``python -m course_lib.train``, and those of a run that goes on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["DEFAULTS", "FRESH_RATE", "TUNING_RATE", "parser", "settings"]

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ARCHITECTURES += ("plain18", "plain34")
DEFAULTS = {
    "data": "synthetic",
    "root": "data",
    "download": False,
    "skip_broken": False,
    "size": None,
    "cache": None,
    "arch": "resnet18",
    "weights": None,
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": None,
    "balance": False,
    "precision": "auto",
    "compile": False,
    "workers": 0,
    "seed": 0,
    "quiet": False,
}
FREE = ("root", "download", "cache", "workers", "quiet")  # may change on --resume
FRESH_RATE, TUNING_RATE = 2e-3, 3e-4


def parser(description: str) -> argparse.ArgumentParser:
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
        help="a data set of the course, or a folder of photos with one folder per "
        "class, which is split 70:15:15, patches of one photo together where the "
        "names tell (7001-115.jpg is of 7001); or with train, validation and test "
        "folders that hold the class folders (default: synthetic)",
    )
    add("--root", metavar="DIR", help="where sdnet2018 or mnist lies (default: data)")
    add("--download", action="store_true", help="fetch those if they are not there")
    add(
        "--skip-broken",
        action="store_true",
        help="leave out files that are no usable photos instead of stopping",
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
    add("--workers", type=int, help="processes that prepare batches (default: 0)")
    add("--seed", type=int, help="another seed is another training (default: 0)")
    add = result.add_argument_group("run").add_argument
    add("--out", metavar="RUN", help="folder of the run (default: runs/DATA-ARCH)")
    add(
        "--resume",
        action="store_true",
        help="go on with the run in RUN, with its settings; starts it if it is new",
    )
    add("--quiet", action="store_true", help="print nothing until the report")
    return result


def settings(given: dict[str, Any], out: Path, resume: bool) -> dict[str, Any]:
    """All options: those of the run that goes on, or the given and the defaults.

    Args:
        given: options that stood in the command.
        out: folder of the run, with its ``config.json`` if it exists.
        resume: whether to go on with it.

    Raises:
        ValueError: if an option contradicts the run that goes on.
    """
    stored = out / "config.json"
    if not resume or not stored.exists():
        return DEFAULTS | given
    try:
        before = DEFAULTS | json.loads(stored.read_text("utf-8"))["command"]
    except (ValueError, KeyError, TypeError) as error:
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
            f"--resume goes on with the settings of {out}: {'; '.join(changed)}. Leave "
            "them out, or start a new run in another folder"
        )
    return before | given
