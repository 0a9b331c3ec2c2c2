"""Around the commands: what can be typed, what is stored, text for any console."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ARCHITECTURES += ("plain18", "plain34")
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


def train_parser(description: str | None = None) -> argparse.ArgumentParser:
    """What can be typed after ``python -m course_lib.train``."""
    result = argparse.ArgumentParser(
        prog="python -m course_lib.train",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, switch = result.add_argument_group("data").add_argument, "store_true"
    text = (
        "needed by a new run: a data set of the course; a folder of photos with one "
        "folder per class, split 70:15:15, patches (7001-115.jpg is of 7001) together; "
        "or with such folders below train, validation and test, of which the last two "
        "are taken from train if they are missing"
    )
    add("--data", metavar="synthetic|sdnet2018|digits|mnist|DIR", help=text)
    text = "where sdnet2018 or mnist is (default: data)"
    add("--root", default="data", metavar="DIR", help=text)
    add("--download", action=switch, help="fetch sdnet2018 or mnist if missing")
    add("--skip-broken", action=switch, help="leave out files that are no photos")
    add("--no-test", action=switch, help="set no photos aside for a test at the end")
    add("--size", type=int, help="side of what the network sees (default: the data's)")
    text = "decoded photos (default: ~/.cache/course_lib)"
    add("--cache", metavar="DIR", help=text)
    text = (
        f"how training pictures are varied: {'; '.join(map(', '.join, VIEWS.items()))}"
        ". Choose none where mirroring changes the class (left and right), and never "
        "photo where turning does: horizontal and vertical cracks look alike then "
        "(default: flip for your own photos, photo for synthetic and sdnet2018, digits "
        "for digits and mnist)"
    )
    add("--augment", choices=tuple(VIEWS), help=text)

    add = result.add_argument_group("network").add_argument
    text = "the network (default: resnet18)"
    add("--arch", default="resnet18", choices=ARCHITECTURES, help=text)
    text = (
        "start from trained weights: torchvision's (needs the network once), the "
        "course's crack network, or a *.pt file; the last layer is new unless the "
        "classes are the same (default: random weights)"
    )
    add("--weights", metavar="imagenet|course|FILE", help=text)

    add = result.add_argument_group("training").add_argument
    text = "passes over the training data (default: 10)"
    add("--epochs", type=int, default=10, help=text)
    text = "pictures per step, of all processes together (default: 64)"
    add("--batch-size", type=int, default=64, help=text)
    text = f"default: {FRESH}; {TUNING} with --weights"
    add("--learning-rate", type=float, help=text)
    text = "let rare classes count as much as common ones"
    add("--balance", action=switch, help=text)
    text, kinds = "default: bf16 if it is native", ("auto", "fp32", "bf16", "fp16")
    add("--precision", default="auto", choices=kinds, help=text)
    add("--compile", action=switch, help="compile the network first")
    text = "cuda, mps (Apple's GPU) or cpu (default: the first that is there)"
    add("--device", default="auto", help=text)
    text = "processes that prepare batches (default: 0)"
    add("--workers", type=int, default=0, help=text)
    text = "another seed is another training (default: 0)"
    add("--seed", type=int, default=0, help=text)

    add = result.add_argument_group("run").add_argument
    text = "folder of the run (default: runs/DATA-ARCH)"
    add("--out", metavar="RUN", help=text)
    text = "continue the run in RUN, with its settings"
    add("--resume", action=switch, help=text)
    add("--quiet", action=switch, help="print nothing until the report")
    return result


def given_options(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> dict[str, Any]:
    """The options that were typed, so that ``--resume`` can tell them from defaults."""
    blank = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([])), ...))
    typed = vars(parser.parse_args(arguments, blank))
    return {name: value for name, value in typed.items() if value is not ...}


def train_settings(given: dict[str, Any], out: Path, resume: bool) -> dict[str, Any]:
    """All options: those of the run that resumes, or the given and the defaults.

    Raises:
        ValueError: if they are damaged, or an option contradicts them.
    """
    defaults = vars(train_parser().parse_args([]))
    del defaults["out"], defaults["resume"]
    if not resume:
        augment = AUGMENT.get(given["data"], "flip")
        return defaults | {"augment": augment} | given
    stored, numbers = out / "config.json", {"size": int, "learning_rate": float}
    try:
        command = json.loads(stored.read_text("utf-8"))["command"]
        for name, value in command.items():
            usual = defaults[name]
            kind = numbers.get(name, str) if usual is None else type(usual)
            if type(value) is not kind and value is not usual:
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
