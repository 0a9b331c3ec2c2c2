"""Around the commands: what can be typed, what is stored, text for any console."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "any_console",
    "check_split",
    "quoted",
    "say",
    "train_parser",
    "train_settings",
    "write_json",
]

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ARCHITECTURES += ("plain18", "plain34")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
FRESH, TUNING = 2e-3, 3e-4
VIEWS = {
    "none": "pictures as they are, in windows shifted by a few pixels",
    "flip": "mirrored left to right, and lit differently",
    "photo": "turned by 90 degrees, mirrored, and lit differently",
    "digits": "turned, shifted and stretched a little",
}
# A folder of photos is only mirrored: who knows what is up in them?
AUGMENT = {"synthetic": "photo", "sdnet2018": "photo", "digits": "digits"}
AUGMENT["mnist"] = "digits"


class Option(NamedTuple):
    """One option of the train command; its name is that of its key in OPTIONS."""

    kind: type
    default: Any
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None


DATA = {
    "data": Option(
        str,
        None,
        "needed by a new run: a data set of the course, or a folder of photos with one "
        "folder per class, which is split 70:15:15, patches of one photo together "
        "where the names tell (7001-115.jpg is of 7001); or with train, validation "
        "and test folders that hold the class folders; what is missing of the last "
        "two is taken from train",
        "synthetic|sdnet2018|digits|mnist|DIR",
    ),
    "root": Option(str, "data", "where sdnet2018 or mnist is", "DIR"),
    "download": Option(bool, False, "fetch those if they are not there"),
    "skip_broken": Option(bool, False, "leave out files that are no usable photos"),
    "no_test": Option(bool, False, "set no photos aside for a test at the end"),
    "size": Option(int, None, "side of what the network sees (default: the data's)"),
    "cache": Option(str, None, "decoded photos (default: ~/.cache/course_lib)", "DIR"),
    "augment": Option(
        str,
        None,
        "how training pictures are varied: "
        + "; ".join(f"{name}, {views}" for name, views in VIEWS.items())
        + ". Choose none where mirroring changes the class (left and right), and never "
        "photo where turning does: horizontal and vertical cracks look alike then "
        "(default: flip for your own photos, photo for synthetic and sdnet2018, digits "
        "for digits and mnist)",
        choices=tuple(VIEWS),
    ),
}
NETWORK = {
    "arch": Option(str, "resnet18", "the network", choices=ARCHITECTURES),
    "weights": Option(
        str,
        None,
        "start from trained weights: torchvision's (needs the network once), the "
        "course's crack network, or a *.pt file; the last layer is new unless the "
        "classes are the same (default: random weights)",
        "imagenet|course|FILE",
    ),
}
TRAINING = {
    "epochs": Option(int, 10, "passes over the training data"),
    "batch_size": Option(int, 64, "pictures per step, of all processes together"),
    "learning_rate": Option(float, None, f"default: {FRESH}; {TUNING} with --weights"),
    "balance": Option(bool, False, "let rare classes count as much as common ones"),
    "precision": Option(str, "auto", "auto: bf16 if it is native", choices=PRECISIONS),
    "compile": Option(bool, False, "compile the network first"),
    "device": Option(str, "auto", "cuda, mps (Apple's GPU) or cpu; auto: the first"),
    "workers": Option(int, 0, "processes that prepare batches"),
    "seed": Option(int, 0, "another seed is another training"),
}
QUIET = {"quiet": Option(bool, False, "print nothing until the report")}
OPTIONS = DATA | NETWORK | TRAINING | QUIET
# These may change on --resume.
FREE = ("root", "download", "cache", "device", "workers", "quiet")


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
    groups = {"data": DATA, "network": NETWORK, "training": TRAINING}
    for title, options in groups.items():
        _add(result.add_argument_group(title), options)
    run = result.add_argument_group("run")
    about = "folder of the run (default: runs/DATA-ARCH)"
    run.add_argument("--out", metavar="RUN", help=about)
    about = "continue the run in RUN, with its settings"
    run.add_argument("--resume", action="store_true", help=about)
    _add(run, QUIET)
    return result


def _add(group: Any, options: dict[str, Option]) -> None:
    for name, (kind, default, text, metavar, choices) in options.items():
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            group.add_argument(flag, action="store_true", help=text)
            continue
        if default is not None:
            text += f" (default: {default})"
        more = {"type": kind, "metavar": metavar, "choices": choices}
        group.add_argument(flag, help=text, **more)


def train_settings(given: dict[str, Any], out: Path, resume: bool) -> dict[str, Any]:
    """All options: those of the run that resumes, or the given and the defaults.

    Raises:
        ValueError: if they are damaged, or an option contradicts them.
    """
    defaults = {name: option.default for name, option in OPTIONS.items()}
    if not resume:
        augment = AUGMENT.get(given["data"], "flip")
        return defaults | {"augment": augment} | given
    stored = out / "config.json"
    try:
        command = json.loads(stored.read_text("utf-8"))["command"]
        for name, value in command.items():
            if type(value) is not OPTIONS[name].kind and value is not defaults[name]:
                raise ValueError(f"{name} is {value!r}")
        if command.get("data") is None:
            raise ValueError("no data")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{stored} is damaged ({error}); start in another folder"
        ) from None
    before = defaults | command
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


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a file at once by ``content``."""
    from course_lib.trainer.checkpoints import write

    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    data = text.encode(errors="backslashreplace")  # of a path that is not UTF-8
    write(path, lambda file: file.write(data))


def check_split(out: Path, files: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Store which photo is in which part; on ``--resume`` compare with that.

    Args:
        out: folder of the run.
        files: of each part, name and checksum of each photo; empty if not of a folder.

    Raises:
        ValueError: lists what has changed.
    """
    parts = zip(("train", "validation", "test"), files)
    now = {name: [part, known] for part, held in parts for name, known in held}
    stored = out / "split.json"
    if not stored.exists():
        if now:
            write_json(stored, now)
        return
    try:
        changes = list(_changes(json.loads(stored.read_text("utf-8")), now))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{stored} is damaged ({error})") from None
    if changes:
        raise ValueError(
            f"the photos are not those that {out} began with ({len(changes)}): "
            f"{', '.join(changes[:20])}{' ...' if len(changes) > 20 else ''}. Put them "
            "back, or start a new run in another folder"
        )


def _changes(before: dict[str, list], now: dict[str, list]) -> Iterator[str]:
    """What differs between two splits: name -> [part, checksum]."""
    for name in sorted(before.keys() | now.keys()):
        (was, known), (part, found) = before.get(name, "??"), now.get(name, "??")
        if part == "?" or was == "?":
            yield f"{name} is {'gone' if part == '?' else 'new'}"
        elif known != found:
            yield f"{name} has changed"
        elif was != part:
            yield f"{name} was in {was} and is in {part}"
