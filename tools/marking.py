"""What tools/mark.py does with one notebook, and the process that runs nbgrader."""

import copy
import json
import os
import sys
import time
from itertools import pairwise as pairs
from pathlib import Path

import nbformat

LIMIT = "mark_index"  # metadata: a cell's place in the notebook handed in


def load_api(course: Path, **settings: object) -> object:
    """Give nbgrader's API for a course folder, with this project's configuration."""
    from handout import load_config
    from nbgrader.apps import NbGraderAPI

    # nbgrader calls alembic by its name, which this environment has.
    os.environ["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    config = load_config()
    config.CourseDirectory.root = str(course)
    for key, value in settings.items():
        setattr(config.Execute, key, value)
    return NbGraderAPI(config=config)


def prepare(course: Path, notebooks: dict[str, Path]) -> None:
    """Make a course: a release of each notebook, and a gradebook that knows them."""
    api = load_api(course)
    for name, path in notebooks.items():
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [
            cell
            for cell in notebook.cells
            if "book-only" not in cell.metadata.get("tags", [])
        ]
        source = course / "source" / name
        source.mkdir(parents=True)
        nbformat.write(notebook, source / f"{name}.ipynb")
        made = api.generate_assignment(name, force=True, create=True)
        if not made["success"]:
            raise RuntimeError(f"{made.get('log')}\n{made.get('error')}")


def read_releases(course: Path) -> dict[str, nbformat.NotebookNode]:
    """The notebooks that learners got, by the name of their chapter."""
    paths = sorted((course / "release").glob("*/*.ipynb"))
    return {path.stem: nbformat.read(path, as_version=4) for path in paths}


def settings_of(cell: nbformat.NotebookNode) -> dict:
    return cell.metadata.get("nbgrader") or {}


def grade_id_of(
    cell: nbformat.NotebookNode, release: nbformat.NotebookNode
) -> str | None:
    """The exercise that a cell belongs to.

    Some editors drop nbgrader's metadata; then the cell's own id tells.
    """
    ids = {
        settings_of(c)["grade_id"]: c.get("id") for c in release.cells if settings_of(c)
    }
    own = settings_of(cell).get("grade_id")
    if own in ids:
        return own
    names = {cell_id: grade_id for grade_id, cell_id in ids.items() if cell_id}
    return names.get(cell.get("id"))


def exercises(release: nbformat.NotebookNode) -> dict[str, float]:
    """The graded cells of a release and their points."""
    found = {}
    for cell in release.cells:
        if settings_of(cell).get("grade"):
            found[settings_of(cell)["grade_id"]] = float(settings_of(cell)["points"])
    return found


def repair(notebook: nbformat.NotebookNode, release: nbformat.NotebookNode) -> None:
    """Undo, in place, what learners did to the cells that nbgrader counts on.

    Metadata are those of the release; a cell that is missing comes back behind the
    one that stands before it in the release; of copies the last one counts. Locked
    cells get their text back from nbgrader itself.
    """
    wanted = {settings_of(c)["grade_id"]: c for c in release.cells if settings_of(c)}
    places = {}
    for index, cell in enumerate(notebook.cells):
        own = grade_id_of(cell, release)
        if own in wanted:
            places[own] = index
        cell.metadata.pop("nbgrader", None)
    for grade_id, index in places.items():
        cell = notebook.cells[index]
        cell.metadata["nbgrader"] = copy.deepcopy(wanted[grade_id].metadata.nbgrader)
        if cell.cell_type != wanted[grade_id].cell_type:
            notebook.cells[index] = copy.deepcopy(wanted[grade_id])
            notebook.cells[index].source = cell.source
    before = None
    for grade_id, cell in wanted.items():
        if grade_id not in places:
            names = [settings_of(c).get("grade_id") for c in notebook.cells]
            place = names.index(before) + 1 if before else 0
            notebook.cells.insert(place, copy.deepcopy(cell))
        before = grade_id
    for index, cell in enumerate(notebook.cells):
        cell.metadata[LIMIT] = index
        cell.id = f"cell-{index}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5


def culprit(
    course: Path, notebook: nbformat.NotebookNode, cell_seconds: float, ended: bool
) -> int | None:
    """Which cell stopped a run: the first one that ignored its limit, or the last.

    A cell that ignores its limit keeps the kernel busy, so that the next one reaches
    its limit as well. A check that died has run the cell of its exercise: that one is
    named.
    """
    log = course / "cells.log"
    lines = (
        [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    )
    starts = [(int(index), float(when)) for index, when in lines]
    if not starts:
        return None
    slow = [then - begin >= cell_seconds for (_, begin), (_, then) in pairs(starts)]
    stuck = [place for place, both in enumerate(pairs(slow)) if all(both)]
    if ended and not stuck:
        return None
    starts = [start for start in starts if start[0] >= 0] if not stuck else starts
    found = starts[stuck[0] if stuck else -1][0]
    while settings_of(notebook.cells[found]).get("locked") and found > 0:
        found -= 1
    cell = notebook.cells[found]
    taken = cell.metadata.get("taken_out") or settings_of(cell).get("locked")
    return None if taken else found


def take_out(cell: nbformat.NotebookNode, problem: str) -> None:
    """Put an error in the place of a cell that stopped the marking."""
    cell.cell_type = "code"
    cell.source = f'raise RuntimeError("taken out by the marking: {problem}")'
    cell.metadata["taken_out"] = True


def limit_memory(gigabytes: float) -> None:
    """Limit what this process and its kernel may each allocate (Linux)."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    size = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def work(course: Path, learner: str, name: str, memory: float, seconds: int) -> None:
    """Autograde one notebook and write ``result.json`` and its feedback.

    Runs in a process of its own, which says everything into ``worker.log``.
    """
    from nbgrader.api import Gradebook

    with (course / "worker.log").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    limit_memory(memory)
    log = course / "cells.log"
    log.write_text("")

    def started(cell: nbformat.NotebookNode, cell_index: int) -> None:
        with log.open("a") as file:
            index = cell.metadata.get(LIMIT, cell_index)
            file.write(f"{index} {time.monotonic()}\n")

    api = load_api(course, timeout=seconds, on_cell_execute=started)
    done = api.autograde(name, learner, force=True, create=True)
    with log.open("a") as file:
        file.write(f"-1 {time.monotonic()}\n")
    if not done["success"]:
        print(done.get("error"), done.get("log"))
        return
    with Gradebook(api.coursedir.db_url) as gradebook:
        submission = gradebook.find_submission(name, learner)
        (notebook,) = submission.notebooks
        points = {grade.name: float(grade.score) for grade in notebook.grades}
    made = api.generate_feedback(name, learner, force=True)
    if not made["success"]:
        print(made.get("error"), made.get("log"))
    (course / "result.json").write_text(json.dumps(points))
