"""Mark a class with nbgrader (`make mark HANDINS=folder`).

    python tools/mark.py FOLDER [--out marks] [--seconds 300] [--memory 4] [--jobs 2]

FOLDER holds a folder for each learner with the notebooks handed in, or notebooks
named after their learners. Which exercises a notebook answers is told by its cells,
so it may have any name. Written are ``marks.csv`` (a line for each notebook),
``exercises.csv`` (a line for each exercise) and ``feedback/<learner>/<name>.html``.

nbgrader does the marking: it restores locked cells, runs the notebook and counts
points. This script runs it in a process for each notebook, with limits of time and
memory, and takes out a cell that ends the kernel or ignores them, so that such a cell
costs its own points and no others. It is no sandbox: a notebook can read files and
use the network like you. Run a class that you do not know in a container.
"""

import argparse
import contextlib
import csv
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import marking
import nbformat
import psutil
from handout import sources

# A process for each notebook; where it can be, a copy of one that has nbgrader
# loaded already.
METHODS = multiprocessing.get_all_start_methods()
PROCESSES = multiprocessing.get_context(
    "forkserver" if "forkserver" in METHODS else "spawn"
)
LOADED = ["marking", "handout", "nbgrader.apps", "nbgrader.api", "nbconvert.exporters"]
LOADED += [
    "IPython",
    "ipykernel.kernelapp",
    "psutil",
    "jinja2",
    "mistune",
    "pygments.lexers",
]

ATTEMPTS = 4  # runs of one notebook, each without one cell more


class HandIn(NamedTuple):
    learner: str
    path: Path


def find_handins(folder: Path) -> list[HandIn]:
    """Every notebook below a folder, with the name of its learner."""
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        parts = path.relative_to(folder).parts
        name = parts[0] if len(parts) > 1 else path.stem
        # nbgrader wants names that are file names on every system.
        found.append(HandIn(re.sub(r"[^\w.@-]+", "_", name).strip("."), path))
    return found


def recognize(
    notebook: nbformat.NotebookNode, releases: dict[str, nbformat.NotebookNode]
) -> str | None:
    """Which chapter's exercises a notebook answers, from its cells' ids."""
    votes = {
        name: sum(bool(marking.grade_id_of(cell, release)) for cell in notebook.cells)
        for name, release in releases.items()
    }
    best = max(votes, key=votes.get)
    return best if votes[best] else None


def mark_one(handin: HandIn, course: Path, options: argparse.Namespace) -> list[dict]:
    """Mark one notebook; always returns its exercises, with points and a note."""
    releases = marking.read_releases(course)
    try:
        notebook = nbformat.read(handin.path, as_version=4)
        name = recognize(notebook, releases)
    except Exception as error:
        return [dict(note=f"no notebook: {type(error).__name__}")]
    if name is None:
        return [dict(note="none of its cells is one of an exercise")]
    release = releases[name]
    marking.repair(notebook, release)
    notes, results = [], None
    with tempfile.TemporaryDirectory(prefix="mark-") as folder:
        own = Path(folder) / "course"
        shutil.copytree(course, own)
        for _ in range(ATTEMPTS):
            place = own / "submitted" / handin.learner / name
            place.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, place / f"{name}.ipynb")
            results, problem = run_worker(own, handin.learner, name, options)
            ended = results is not None
            index = marking.culprit(own, notebook, options.cell_seconds, ended)
            if index is None:
                notes += [problem] if problem else []
                break
            problem = problem or "an endless loop that cannot be interrupted"
            notes.append(f"{problem} in cell {index + 1}, which was taken out")
            marking.take_out(notebook.cells[index], problem)
        feedback = own / "feedback" / handin.learner / name / f"{name}.html"
        if feedback.is_file():
            target = options.out / "feedback" / handin.learner
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(feedback, target / feedback.name)
    points = results or {}
    return [
        dict(
            chapter=name,
            exercise=exercise.removeprefix(f"{name}-").removesuffix("-check"),
            points=points.get(exercise, 0.0),
            max_points=most,
            note="; ".join(notes),
        )
        for exercise, most in marking.exercises(release).items()
    ]


def run_worker(
    course: Path, learner: str, name: str, options: argparse.Namespace
) -> tuple[dict | None, str]:
    """Run nbgrader in a process of its own: points by exercise, or what went wrong."""
    result = course / "result.json"
    result.unlink(missing_ok=True)
    limits = (options.memory, options.cell_seconds)
    worker = PROCESSES.Process(
        target=marking.work, args=(course, learner, name, *limits)
    )
    worker.start()
    worker.join(options.seconds)
    problem = "the kernel ended or did not answer"
    if worker.is_alive():
        problem = f"not finished after {options.seconds:g} s"
        end(worker.pid)
        worker.join()
    if result.is_file():
        return json.loads(result.read_text()), ""
    return None, problem


def end(pid: int) -> None:
    """End a process and what it has started, its kernel say."""
    with contextlib.suppress(psutil.NoSuchProcess):
        worker = psutil.Process(pid)
        for process in [worker, *worker.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def write(path: Path, rows: list[dict], columns: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def mark(options: argparse.Namespace) -> list[dict]:
    """Mark all hand-ins and write the tables; returns a line for each notebook."""
    handins = find_handins(options.folder)
    if not handins:
        raise SystemExit(f"no notebooks below {options.folder}")
    options.out.mkdir(parents=True, exist_ok=True)
    if PROCESSES.get_start_method() == "forkserver":
        PROCESSES.set_forkserver_preload(LOADED)
    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        course = Path(folder)
        marking.prepare(course, dict(options.exercises or sources()))
        with ThreadPoolExecutor(options.jobs) as pool:
            marked = list(pool.map(lambda one: mark_one(one, course, options), handins))
    lines, details = [], []
    for handin, rows in zip(handins, marked):
        file = handin.path.relative_to(options.folder).as_posix()
        details += [
            dict(row, learner=handin.learner) for row in rows if "points" in row
        ]
        points = sum(row.get("points", 0) for row in rows)
        most = sum(row.get("max_points", 0) for row in rows)
        line = dict(learner=handin.learner, file=file, points=points, max_points=most)
        line |= dict(chapter=rows[0].get("chapter", ""), note=rows[0]["note"])
        lines.append(line)
        print(f"{handin.learner:20} {points:5g} of {most:3g}  {file}  {line['note']}")
    columns = ["learner", "chapter", "points", "max_points", "file", "note"]
    write(options.out / "marks.csv", lines, columns)
    columns = ["learner", "chapter", "exercise", "points", "max_points"]
    rows = [{key: row[key] for key in columns} for row in details]
    write(options.out / "exercises.csv", rows, columns)
    return lines


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the notebooks handed in")
    parser.add_argument("--out", type=Path, default=Path("marks"))
    parser.add_argument("--seconds", type=float, default=300, help="for a notebook")
    parser.add_argument("--cell-seconds", type=int, default=40, help="for a cell")
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
        parser.error(f"{options.folder} is no folder")
    return options


if __name__ == "__main__":
    mark(parse(sys.argv[1:]))
