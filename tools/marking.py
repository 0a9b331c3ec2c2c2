"""What tools/mark.py does with one notebook: read it, run it, give it points.

A hand-in is data of an unknown origin: of its file only the texts of its cells are
used, and which exercise each belongs to. Locked cells, points, the kernel and the
order of the checks come from the course.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mark_kernel import Limits, Report, run_cells

LARGEST = 50_000_000  # bytes of a hand-in
RUNS = 3  # of a whole notebook, each without one cell more


class Unreadable(ValueError):
    """A hand-in that cannot be marked; the message is the note in its row."""


@dataclass
class Cell:
    """A cell of an exercise notebook, or one that a learner has added."""

    kind: str  # code, markdown or raw
    source: str
    grade_id: str | None = None  # None: the learner's own
    exercise: str | None = None  # the check that it belongs to
    locked: bool = False
    points: float | None = None  # of a check
    cell_id: str | None = None


@dataclass
class Assignment:
    """The exercises of one notebook, as the course has them."""

    name: str
    cells: list[Cell]  # those that nbgrader knows, in their order

    @property
    def points(self) -> dict[str, float]:
        """The points of each exercise, by the grade_id of its check."""
        return {c.grade_id: c.points for c in self.cells if c.points is not None}


@dataclass
class Marks:
    """What a notebook got, and all that its feedback page shows."""

    assignment: Assignment
    cells: list[Cell]
    earned: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    outputs: dict[int, list[dict]] = field(default_factory=dict)

    @property
    def points(self) -> dict[str, float]:
        """Points of each exercise: all of them or none, never more than its own."""
        known = self.assignment.points
        return {name: known[name] if name in self.earned else 0.0 for name in known}


def assignment(name: str, source: Path, release: dict) -> Assignment:
    """The exercises of a notebook: checks as the course has them, stubs as released.

    Args:
        name: every ``grade_id`` of it begins with it.
        source: the notebook with solutions and, where there are, hidden tests.
        release: the notebook that learners got, as nbformat gives it.
    """
    written = {
        settings(cell).get("grade_id"): text_of(cell)
        for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]
    }
    cells, waiting = [], []
    for cell in release["cells"]:
        kept = settings(cell)
        if not kept:
            continue
        own = Cell(cell["cell_type"], text_of(cell), kept["grade_id"])
        own.locked = bool(kept.get("locked")) or bool(kept.get("grade"))
        own.cell_id = cell.get("id")
        if own.locked:
            own.source = written[own.grade_id]
        if kept.get("solution"):
            waiting.append(own)
        if kept.get("grade"):
            own.points = float(kept["points"])
            for each in (*waiting, own):
                each.exercise = own.grade_id
            waiting = []
        cells.append(own)
    return Assignment(name, cells)


def settings(cell: object) -> dict:
    """What nbgrader has noted in a cell as it stands in a file, or {}."""
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def text_of(cell: dict) -> str:
    """The text of a cell, which a file may hold as lines."""
    source = cell.get("source", cell.get("input", ""))  # "input" before nbformat 4
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    # No pair of surrogates by itself: it could not be written or sent.
    text = source if isinstance(source, str) else ""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_cells(path: Path) -> list[dict]:
    """The cells of a file that may hold anything.

    Raises:
        Unreadable: says why there are none.
    """
    if path.is_symlink():
        raise Unreadable("a link to another place, which is not followed")
    if not path.is_file():
        raise Unreadable("no ordinary file")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise Unreadable(f"no notebook: {size / 1e6:,.0f} MB")
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    if not data.strip():
        raise Unreadable("no notebook: the file is empty")
    # Editors may begin a file with a byte-order mark.
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        content = json.loads(data.decode("utf-16" if wide else "utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no notebook: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise Unreadable("no notebook: JSON, but of something else")
    sheets = content.get("worksheets")  # before nbformat 4
    parts = sheets if isinstance(sheets, list) else [content]
    lists = [part.get("cells") for part in parts if isinstance(part, dict)]
    found = [cell for part in lists if isinstance(part, list) for cell in part]
    return [cell for cell in found if isinstance(cell, dict)]


def recognize(cells: list[dict], known: list[Assignment]) -> Assignment | None:
    """Which exercises a notebook answers, told by its cells."""
    votes = [sum(grade_id_of(c, one) is not None for c in cells) for one in known]
    best = max(votes, default=0)
    return known[votes.index(best)] if best else None


def grade_id_of(cell: dict, known: Assignment) -> str | None:
    """The cell of the course that a cell is: by nbgrader's metadata, or by its id."""
    own, cell_id = settings(cell).get("grade_id"), cell.get("id")
    for one in known.cells:
        if own == one.grade_id or (cell_id and cell_id == one.cell_id):
            return one.grade_id
    return None


def restore(cells: list[dict], known: Assignment) -> list[Cell]:
    """The hand-in as it is run: the learner's texts, the course's locked cells.

    A cell that is missing comes back after the one that precedes it in the course; of
    copies the last one counts.
    """
    found, places = [], {}
    for cell in cells:
        kind = cell.get("cell_type")
        kind = kind if kind in ("markdown", "raw") else "code"
        places[grade_id_of(cell, known)] = len(found)
        found.append(Cell(kind, text_of(cell)))
    places.pop(None, None)
    for one in known.cells:
        if one.grade_id in places:
            index = places[one.grade_id]
            source = one.source if one.locked else found[index].source
            found[index] = Cell(**{**vars(one), "source": source})
    before = -1
    for one in known.cells:
        index = next(
            (i for i, cell in enumerate(found) if cell.grade_id == one.grade_id), None
        )
        if index is None:
            index = before + 1
            found.insert(index, Cell(**vars(one)))
        before = index
    return found


def mark(
    path: Path,
    known: list[Assignment],
    limits: Limits,
    run: Callable[[dict[int, str], Limits], Report] = run_cells,
) -> Marks:
    """Run a hand-in and say which exercises are right.

    First the whole notebook, as a learner would; if a cell breaks the run off, again
    without it. Then each exercise that has no points yet is run alone, in a kernel of
    its own, so that an accident costs its own exercise and no other.

    Raises:
        Unreadable: if the file holds no exercises of the course.
        NoKernel: if no kernel starts on this machine.
    """
    cells = read_cells(path)
    chosen = recognize(cells, known)
    if chosen is None:
        raise Unreadable("none of its cells is one of an exercise")
    marks = Marks(chosen, restore(cells, chosen))
    code = [i for i, cell in enumerate(marks.cells) if cell.kind == "code"]
    taken = run_whole(marks, code, limits, run)
    stubs = {c.grade_id: c.source for c in chosen.cells if not c.locked}
    for check in chosen.points:
        own = [i for i in code if marks.cells[i].exercise == check]
        answers = [marks.cells[i] for i in own if not marks.cells[i].locked]
        unanswered = all(c.source == stubs[c.grade_id] for c in answers)
        if check in marks.earned or (answers and unanswered):
            continue
        shared = [i for i in code if is_shared(marks.cells[i])]
        if run_alone(marks, check, sorted([*shared, *own]), limits, run):
            continue
        if set(own) & taken:  # it may need what the learner has written elsewhere
            others = [
                i for i in code if marks.cells[i].points is None and i not in taken
            ]
            run_alone(marks, check, sorted({*others, *own}), limits, run)
    return marks


def is_shared(cell: Cell) -> bool:
    """Whether a cell is the course's own and for all exercises, imports say."""
    return cell.locked and cell.exercise is None


def run_whole(marks: Marks, code: list[int], limits: Limits, run: Callable) -> set[int]:
    """Run the notebook; returns the cells that did not come to an end in it."""
    taken: set[int] = set()
    for _ in range(RUNS):
        report = run({i: marks.cells[i].source for i in code if i not in taken}, limits)
        note_report(marks, report)
        where = report.broke_in
        if where is None or is_shared(marks.cells[where]):
            break
        marks.notes.append(f"cell {where + 1} was taken out: {report.problem}")
        # A check breaks off because of the answer that it tries.
        exercise = marks.cells[where].exercise
        family = {i for i in code if exercise and marks.cells[i].exercise == exercise}
        for index in family | {where}:
            reason = f"taken out by the marking: {report.problem}"
            marks.outputs[index] = [{"name": "error", "text": reason}]
        taken |= family | {where}
    return taken | {i for i in code if i not in report.ok}


def run_alone(
    marks: Marks, check: str, chosen: list[int], limits: Limits, run: Callable
) -> bool:
    """Run one exercise in a kernel of its own; whether it is right."""
    report = run({i: marks.cells[i].source for i in chosen}, limits)
    if not any(right(marks, i) == check and report.ok.get(i) for i in chosen):
        for index, outputs in report.outputs.items():
            marks.outputs.setdefault(index, outputs)
        return False
    note_report(marks, report)
    marks.notes.append(f"{check} is right when it is run alone")
    return True


def right(marks: Marks, index: int) -> str | None:
    """The exercise that a cell decides, if it is a check."""
    cell = marks.cells[index]
    return cell.grade_id if cell.points is not None else None


def note_report(marks: Marks, report: Report) -> None:
    """Keep the outputs, and the exercises whose checks raised nothing."""
    for index, outputs in report.outputs.items():
        check = right(marks, index)
        if check not in marks.earned:
            marks.outputs[index] = outputs
        if check and report.ok.get(index):
            marks.earned.add(check)


def slug(marks: Marks, check: str) -> str:
    """The short name of an exercise."""
    name = marks.assignment.name
    return re.sub(rf"^{re.escape(name)}-|-check$", "", check)
