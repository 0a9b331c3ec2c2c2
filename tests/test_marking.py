"""A class of made-up hand-ins: each accident costs its own marks and no others."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="limits of memory need a POSIX system"
)
# Three exercises: function, solution, oracle, points.
TINY = {
    "double": ("return 2 * n", "lambda n: 2 * n", 1),
    "square": ("return n * n", "lambda n: n * n", 2),
    "negate": ("return -n", "lambda n: -n", 3),
}
NAMES = list(TINY)


def tiny():
    """An assignment of three exercises, written as the book writes its own."""

    def cell(source, grade_id, **kind):
        settings = {"grade": False, "locked": False, "solution": False, "task": False}
        settings |= {"grade_id": f"tiny-{grade_id}", "schema_version": 3} | kind
        metadata = {"nbgrader": settings}
        return new_code_cell(source, id=f"cell-of-{grade_id}", metadata=metadata)

    cells = [new_markdown_cell("# Tiny"), new_code_cell("import math")]
    cells.append(cell("from collections import Counter", "imports", locked=True))
    for name, (answer, oracle, points) in TINY.items():
        stub = f"def {name}(n):\n    ### BEGIN SOLUTION\n    {answer}\n"
        cells.append(cell(stub + "    ### END SOLUTION", name, solution=True))
        check = (
            "from course_book.exercises.runner import Learner, check, judge\n\n"
            '@check("as it should be", seconds=0.5)\n'
            "def verify(learner):\n"
            f"    judge(learner, [(1,), (5,)], {oracle}, [], 'think')\n\n\n"
            f"verify({name})"
        )
        graded = {"locked": True, "grade": True, "points": points}
        cells.append(cell(check, f"{name}-check", **graded))
    return new_notebook(cells=cells)


def place(notebook, name):
    ids = [c.metadata.get("nbgrader", {}).get("grade_id") for c in notebook.cells]
    return ids.index(f"tiny-{name}")


def solved(**changes):
    """A hand-in with right answers, but for the cells given here."""
    notebook = tiny()
    for name in NAMES:
        source = f"def {name}(n):\n    {TINY[name][0]}\n"
        notebook.cells[place(notebook, name)].source = changes.get(name, source)
    return notebook


def deleted():
    notebook = solved()
    for name in ("square-check", "square", "double-check"):
        del notebook.cells[place(notebook, name)]
    return notebook


def cheated():
    notebook = solved(double="def double(n):\n    return 0")
    cell = notebook.cells[place(notebook, "double-check")]
    cell.source = "print('Right: trust me')"
    cell.metadata["nbgrader"] |= {"points": 100, "locked": False}
    cell = notebook.cells[place(notebook, "negate-check")]
    cell.metadata["nbgrader"] |= {"grade": False, "solution": True}
    return notebook


def stripped():
    """An editor has dropped nbgrader's metadata."""
    notebook = solved(double="def double(n):\n    return 3")
    for cell in notebook.cells:
        cell.metadata.clear()
    return notebook


def with_first(source):
    notebook = solved()
    notebook.cells[1].source = source
    return notebook


SPIN = "def square(n):\n    while True:\n        pass"
STUBBORN = """
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
EXIT = "import os\n\n\ndef double(n):\n    os._exit(1)"
# What comes in, and the points for each of the three exercises.
CLASS = {
    "ada": (solved, (1, 2, 3)),
    "bea": (stripped, (0, 2, 3)),
    "cem": (lambda: solved(square=SPIN), (1, 0, 3)),
    "dan": (lambda: solved(double="bad = bytearray(1 << 36)"), (0, 2, 3)),
    "eva": (deleted, (1, 0, 3)),
    "fay": (cheated, (0, 2, 3)),
    "gus": (lambda: with_first("import no_such_module"), (1, 2, 3)),
    "hal": (lambda: solved(double=EXIT), (0, 2, 3)),
    "ivy": (lambda: solved(negate=STUBBORN), (1, 2, 0)),
    "jan": (lambda: "{ not a notebook", None),
}


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    source = folder / "tiny.ipynb"
    nbformat.write(tiny(), source)
    for name, (make, _) in CLASS.items():
        made = make()
        text = made if isinstance(made, str) else nbformat.writes(made)
        path = folder / "in" / name / f"my answers {name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    command = [sys.executable, str(ROOT / "tools" / "mark.py"), str(folder / "in")]
    command += ["--out", str(folder / "out"), "--exercises", f"tiny={source}"]
    command += ["--cell-seconds", "2", "--memory", "2", "--jobs", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_accident_costs_its_own_marks_only(marked):
    got = {}
    for row in table(marked / "exercises.csv"):
        got.setdefault(row["learner"], {})[row["exercise"]] = float(row["points"])
    wanted = {
        name: dict(zip(NAMES, points))
        for name, (_, points) in CLASS.items()
        if points is not None
    }
    assert got == wanted


def test_there_is_a_line_for_each_hand_in(marked):
    rows = {row["learner"]: row for row in table(marked / "marks.csv")}
    assert list(rows) == list(CLASS)
    for name, (_, points) in CLASS.items():
        assert float(rows[name]["points"]) == sum(points or [])
    assert rows["ada"]["max_points"] == "6.0" and rows["ada"]["note"] == ""
    assert "no notebook" in rows["jan"]["note"]
    assert "kernel ended" in rows["hal"]["note"]
    assert "taken out" in rows["ivy"]["note"]


def test_each_learner_gets_the_sentence_of_the_check(marked):
    pages = {path.parent.name: path for path in marked.glob("feedback/*/*.html")}
    assert set(pages) == set(CLASS) - {"jan"}
    assert "think" in pages["bea"].read_text()
    assert "not come to an end" in pages["cem"].read_text()
    assert "trust me" not in pages["fay"].read_text()
    assert json.dumps("taken out by the marking")[1:-1] in pages["hal"].read_text()
