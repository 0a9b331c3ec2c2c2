"""Mark a class (`make mark HANDINS=folder`).

    python tools/mark.py FOLDER [--out marks] [--seconds 300] [--memory 4] [--jobs 2]

FOLDER holds a folder for each learner with the notebooks handed in, or notebooks
named after their learners. Which exercises a notebook answers is told by its cells,
so it may have any name. Written are ``marks.csv`` (a line for each notebook),
``exercises.csv`` (a line for each exercise) and ``feedback/<learner>/<name>.html``.

nbgrader writes the exercises that learners get (tools/handout.py). It does not mark
them, because it runs a notebook in one kernel, which can write its gradebook. Here
the marking keeps its own record of what ran, each notebook has processes of its own
with limits of time and memory, and whatever one hand-in does is a note in its own row.
It is no sandbox: a notebook can read files and use the network like you. Run a class
that you do not know in a container.
"""

import argparse
import csv
import re
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import feedback
import marking
from handout import learners_version, sources
from mark_kernel import PRELOADED, PROCESSES, Limits, NoKernel, hide_memory

from course_lib.data.folders import is_clutter


class HandIn(NamedTuple):
    learner: str
    path: Path


def find_handins(folder: Path) -> list[HandIn]:
    """Every notebook below a folder, with the name of its learner.

    A learner without one stands there with the folder itself, and a link to a folder,
    which is not followed, as if it were a notebook.
    """
    found, without = [], []
    for path in sorted(folder.iterdir()):
        if is_clutter(path):
            continue
        notebooks = find_notebooks(path)
        found += [HandIn(learner_name(path, folder), each) for each in notebooks]
        if not notebooks and path.is_dir():
            found.append(HandIn(learner_name(path, folder), path))
        elif not notebooks:
            without.append(path.name)
    if without:
        print(f"no notebooks, left out: {', '.join(without)}")
    return found


def find_notebooks(path: Path) -> list[Path]:
    """The notebooks that a path is or holds; links to folders are not followed."""
    if path.is_dir() and not path.is_symlink():
        inner = [p for p in sorted(path.iterdir()) if not is_clutter(p)]
        return [found for each in inner for found in find_notebooks(each)]
    link = path.is_symlink() and path.is_dir()
    return [path] if link or path.suffix.lower() == ".ipynb" else []


def learner_name(path: Path, folder: Path) -> str:
    """The learner's name, as a name of files on every system."""
    name = path.stem if path.suffix.lower() == ".ipynb" else path.name
    return re.sub(r"[^\w.@-]+", "_", name).strip(".")[:100] or "_"


class Marking:
    """The marking of one class: its exercises, its limits, its tables."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.limits = Limits(options.cell_seconds, options.seconds, options.memory)
        notebooks = dict(options.exercises or sources())
        self.known = [
            marking.assignment(name, path, learners_version(path))
            for name, path in notebooks.items()
        ]
        self.lines: dict[int, dict] = {}
        self.details: dict[int, list[dict]] = {}
        self.pages: set[Path] = set()
        self.lock = Lock()

    def mark(self, number: int, handin: HandIn) -> None:
        """Mark one notebook; whatever happens is a note in its row."""
        file = handin.path.relative_to(self.options.folder).as_posix()
        line = {"learner": handin.learner, "file": file, "points": 0, "max_points": 0}
        details = []
        try:
            if handin.path.is_dir() and not handin.path.is_symlink():
                raise marking.Unreadable("no notebook in this folder")
            marks = marking.mark(handin.path, self.known, self.limits)
            name, most = marks.assignment.name, marks.assignment.points
            for check, points in marks.points.items():
                own = {"exercise": marking.slug(marks, check), "points": points}
                own |= {"learner": handin.learner, "chapter": name}
                details.append(own | {"max_points": most[check]})
            line |= {"chapter": name, "note": "; ".join(marks.notes)}
            line |= {"points": sum(marks.points.values())}
            line |= {"max_points": sum(most.values())}
            page = feedback.page(marks, handin.learner)
            self.write_feedback(handin.learner, name, page)
        except marking.Unreadable as problem:
            line["note"] = str(problem)
        except NoKernel as problem:
            line["note"] = f"not marked, run this again: {problem}"
        except Exception as error:  # a fault of this program; the others go on
            traceback.print_exc()
            line["note"] = f"not marked, please report: {type(error).__name__}: {error}"
        with self.lock:  # the tables hold what is done, should this be interrupted
            self.lines[number], self.details[number] = line, details
            self.write_tables()
            points = f"{line['points']:5g} of {line['max_points']:3g}"
            print(f"{handin.learner:20} {points}  {file}  {line['note']}", flush=True)

    def write_feedback(self, learner: str, name: str, text: str) -> None:
        """Write a page beside those of the same learner."""
        folder = self.options.out / "feedback" / learner
        folder.mkdir(parents=True, exist_ok=True)
        with self.lock:
            path, count = folder / f"{name}.html", 1
            while path in self.pages:
                count += 1
                path = folder / f"{name}-{count}.html"
            self.pages.add(path)
        path.write_text(text, encoding="utf-8", errors="replace")

    def write_tables(self) -> None:
        """Write both tables."""
        out, numbers = self.options.out, sorted(self.lines)
        lines = [self.lines[number] for number in numbers]
        columns = ["learner", "chapter", "points", "max_points", "file", "note"]
        write(out / "marks.csv", lines, columns)
        rows = [row for number in numbers for row in self.details[number]]
        columns = ["learner", "chapter", "exercise", "points", "max_points"]
        write(out / "exercises.csv", rows, columns)


def write(path: Path, rows: list[dict], columns: list[str]) -> None:
    """Write a table that a spreadsheet opens without computing anything in it."""
    with path.open(
        "w", newline="", encoding="utf-8", errors="backslashreplace"
    ) as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: inert(row.get(key, "")) for key in columns})


def inert(value: object) -> object:
    """A text that would be a formula gets an apostrophe in front."""
    formula = isinstance(value, str) and value.startswith(tuple("=+-@\t\r"))
    return f"'{value}" if formula else value


def mark(options: argparse.Namespace) -> list[dict]:
    """Mark all hand-ins and write the tables; returns a line for each notebook."""
    handins = find_handins(options.folder)
    if not handins:
        raise SystemExit(f"no notebooks below {options.folder}")
    options.out.mkdir(parents=True, exist_ok=True)
    if PROCESSES.get_start_method() == "forkserver":
        PROCESSES.set_forkserver_preload(PRELOADED)
    hide_memory()
    work = Marking(options)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work.mark, range(len(handins)), handins))
    return [work.lines[number] for number in sorted(work.lines)]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the notebooks handed in")
    parser.add_argument("--out", type=Path, default=Path("marks"))
    parser.add_argument("--seconds", type=float, default=300, help="for a notebook")
    parser.add_argument("--cell-seconds", type=float, default=40, help="for a cell")
    parser.add_argument("--memory", type=float, default=4, help="GB for a process")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    parser.add_argument(
        "--exercises",
        action="append",
        metavar="NAME=NOTEBOOK",
        type=lambda text: (text.partition("=")[0], Path(text.partition("=")[2])),
        help="mark other exercises than the book's; grade_ids begin with NAME-",
    )
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    return options


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # names may be in any encoding
    mark(parse(sys.argv[1:]))
