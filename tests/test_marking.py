"""A class of made-up hand-ins: each accident costs its own marks and no others."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parent.parent


def load(name):
    """A script of tools/, which are no package."""
    path = ROOT / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_, kernel, marking = load("handout"), load("mark_kernel"), load("marking")
feedback, tool = load("feedback"), load("mark")

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
            '@check("as it should be")\n'
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


def with_first(source, **changes):
    notebook = solved(**changes)
    notebook.cells[1].source = source
    return notebook


# They sleep, so that the tests beside them have the processor.
SPIN = "import time\n\n\ndef square(n):\n    while True:\n        time.sleep(0.01)"
STUBBORN = """
import time

while True:
    try:
        while True:
            time.sleep(0.01)
    except BaseException:
        pass
"""
EXIT = "import os\n\n\ndef double(n):\n    os._exit(1)"
POLITE = "def square(n):\n    exit()"
# Takes all memory, keeps it, and hides that from its check.
HOARD = """
kept = []


def double(n):
    try:
        while True:
            kept.append(bytearray(1 << 24))
    except MemoryError:
        return 0
"""
# The kernel ends a while after the right answer came.
LATER = """
import os
import threading


def double(n):
    threading.Timer(0.3, os._exit, [1]).start()
    return 2 * n
"""
# Writes what it would like to get, and ends the process that started it.
FORGER = """
import json
import os
import signal
from pathlib import Path


def double(n):
    marks = json.dumps({f"tiny-{name}-check": 1e9 for name in ("double", "square")})
    for folder in (Path.cwd(), *Path.cwd().parents[:3]):
        try:
            (folder / "result.json").write_text(marks)
        except OSError:
            pass
    parent = os.getppid()
    for number in range(64):
        try:
            with open(f"/proc/{parent}/fd/{number}", "w") as file:
                file.write(marks)
        except OSError:
            pass
    os.kill(parent, signal.SIGKILL)
"""
# What other programs log or print to the terminal is no error.
LOUD = """
import logging
import os
import sys
import warnings

logging.warning("right all the same")
warnings.warn("deprecated")


def double(n):
    logging.warning("careful")
    os.write(2, b"written by C")
    print("noise", file=sys.stderr)
    return 2 * n
"""
SCRIPT = "<script>document.title = 'owned'</script>"
ACTIVE = f"""
from IPython.display import HTML, SVG, Javascript, Markdown, display


class Rich:
    def _repr_mimebundle_(self, **kwargs):
        text = {SCRIPT!r}
        kinds = ("text/html", "image/svg+xml", "text/markdown", "text/latex",
                 "application/javascript", "application/vnd.owned")
        return {{kind: text for kind in kinds}} | {{"image/png": '" onerror="owned'}}


display(HTML({SCRIPT!r}), Javascript("document.title = 'owned'"), Rich())
display(SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='owned()'/>"))
display(HTML("<iframe srcdoc='owned'></iframe><img src=x onerror=owned()>"))
display(HTML("<a href='javascript:owned()'>owned</a><meta http-equiv=refresh>"))
print({SCRIPT!r})
raise ValueError({SCRIPT!r})
"""


def active(**changes):
    notebook = with_first(ACTIVE, **changes)
    notebook.cells[0].source = f"{SCRIPT} [a](javascript:owned()) ![](x.png)"
    notebook.metadata.title = SCRIPT
    return notebook


def odd():
    """Of a foreign kernel, behind a byte-order mark, cells twice and without outputs.

    Of two cells with one id the last one counts.
    """
    raw = json.loads(nbformat.writes(solved()))
    raw["metadata"] = {"kernelspec": {"name": "conda-env-dl-py", "language": "R"}}
    raw["cells"] = json.loads(nbformat.writes(tiny()))["cells"] + raw["cells"]
    for cell in raw["cells"]:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return "\ufeff" + json.dumps(raw)


# What comes in, and the points for each of the three exercises. Several accidents in
# one hand-in save kernels, which take seconds to start.
CLASS = {
    "ada": (solved, (1, 2, 3)),
    "bea": (stripped, (0, 2, 3)),
    "cem": (lambda: solved(square=SPIN, negate=STUBBORN), (1, 0, 0)),
    "dan": (lambda: solved(double=HOARD, square="bad = bytearray(1 << 36)"), (0, 0, 3)),
    "eva": (deleted, (1, 0, 3)),
    "fay": (cheated, (0, 2, 3)),
    "hal": (lambda: solved(double=EXIT, square=POLITE), (0, 0, 3)),
    "jan": (lambda: "{ not a notebook", None),
    "kim": (odd, (1, 2, 3)),
    "ned": (lambda: solved(double=LATER), (1, 2, 3)),
    "ola": (lambda: solved(double=FORGER), (0, 2, 3)),
    "quy": (lambda: active(double=LOUD), (1, 2, 3)),
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
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "tools" / "mark.py"), str(folder / "in")]
    command += ["--out", str(folder / "out"), "--exercises", f"tiny={source}"]
    command += ["--cell-seconds", "4", "--memory", "2", "--jobs", "2"]
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
    assert "ended the process that runs it" in rows["ola"]["note"]
    assert "taken out" in rows["cem"]["note"]


def test_each_learner_gets_the_sentence_of_the_check(marked):
    pages = {path.parent.name: path for path in marked.glob("feedback/*/*.html")}
    assert set(pages) == set(CLASS) - {"jan"}
    assert "think" in pages["bea"].read_text()
    assert "a loop whose condition never becomes false" in pages["cem"].read_text()
    assert "trust me" not in pages["fay"].read_text()
    assert "taken out by the marking" in pages["hal"].read_text()


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


INERT = {"html", "head", "meta", "title", "style", "body", "h1", "p", "b", "table"}
INERT |= {"tr", "th", "td", "section", "pre", "img"}


def test_nothing_of_a_hand_in_runs_on_its_feedback_page(marked):
    text = (marked / "feedback" / "quy" / "tiny.html").read_text()
    assert "owned" in text, "its cells are shown"
    tags = Tags(text).found
    assert {tag for tag, _ in tags} <= INERT
    assert tags[2] == ("meta", {"charset": "utf-8"})
    policy = tags[3][1]["content"]
    assert tags[3][1]["http-equiv"] == "Content-Security-Policy"
    assert policy.startswith("default-src 'none'") and "script" not in policy
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "href" not in attributes
        if tag == "img":
            assert attributes["src"].startswith("data:image/")


BROKEN = {
    "empty": (b"", "empty"),
    "no JSON": (b"{", "JSONDecodeError"),
    "a list": (b"[1, 2]", "something else"),
    "deep": (b"[" * 100_000, "RecursionError"),
    "no text": (b"\xff\xfe\xfa", "UnicodeDecodeError"),
    "no cells": (b"{}", "none of its cells"),
    "cells of another kind": (b'{"cells": {"a": 1}}', "none of its cells"),
    "odd cells": (b'{"cells": [1, null, {}, {"metadata": 3, "id": []}]}', "none of"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_notebook_is_a_note(name, tmp_path):
    data, word = BROKEN[name]
    path = tmp_path / "answers.ipynb"
    path.write_bytes(data)
    with pytest.raises(marking.Unreadable, match=word):
        marking.mark(path, [assignment(tmp_path)], kernel.Limits())


def assignment(folder):
    path = folder / "tiny-source.ipynb"
    nbformat.write(tiny(), path)
    return marking.assignment("tiny", path, tool.learners_version(path))


def test_links_pipes_and_huge_files_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "answers.ipynb"
    path.write_text(nbformat.writes(solved()))
    (tmp_path / "link.ipynb").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.ipynb")
    with pytest.raises(marking.Unreadable, match="a link"):
        marking.read_cells(tmp_path / "link.ipynb")
    with pytest.raises(marking.Unreadable, match="no ordinary file"):
        marking.read_cells(tmp_path / "pipe.ipynb")
    monkeypatch.setattr(marking, "LARGEST", 10)
    with pytest.raises(marking.Unreadable, match="MB"):
        marking.read_cells(path)


def test_old_and_wide_files_are_read(tmp_path):
    path = tmp_path / "old.ipynb"
    cell = {"cell_type": "code", "input": ["1\n", "2"]}
    old = {"nbformat": 3, "worksheets": [{"cells": [cell]}]}
    for text in (json.dumps(old), "\ufeff" + json.dumps(old)):
        for encoding in ("utf-8", "utf-16"):
            path.write_bytes(text.removeprefix("\ufeff").encode(encoding))
            (found,) = marking.read_cells(path)
            assert marking.text_of(found) == "1\n2"
    assert marking.text_of({"source": "a\ud800b"}) == "a?b"  # could not be sent


def test_every_learner_gets_a_row_and_clutter_none(tmp_path, capsys):
    for name in (
        "ada/a.ipynb",
        "ada/.ipynb_checkpoints/a.ipynb",
        "ada/inner/B.IPYNB",
        "ada/__MACOSX/._a.ipynb",
        "bea/answers.zip",
        "=cmd|x/a.ipynb",
        "cem.ipynb",
        "readme.txt",
        ".hidden/a.ipynb",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "dan").symlink_to(tmp_path / "ada")
    found = [
        (one.learner, one.path.relative_to(tmp_path).as_posix())
        for one in tool.find_handins(tmp_path)
    ]
    assert found == [
        ("=cmd_x".replace("=", "_"), "=cmd|x/a.ipynb"),
        ("ada", "ada/a.ipynb"),
        ("ada", "ada/inner/B.IPYNB"),
        ("bea", "bea"),
        ("cem", "cem.ipynb"),
        ("dan", "dan"),
    ]
    assert "readme.txt" in capsys.readouterr().out
    path = tmp_path / "table.csv"
    tool.write(path, [{"file": "=1+1", "note": "\udcff"}], ["file", "note"])
    assert table(path) == [{"file": "'=1+1", "note": "\\udcff"}]


def plan(tmp_path, dies, **changes):
    """Mark without kernels: ``dies(sources)`` is the cell that breaks a run off."""
    path = tmp_path / "answers.ipynb"
    path.write_text(nbformat.writes(solved(**changes)))
    runs = []

    def run(sources, limits):
        report = kernel.Report()
        runs.append(list(sources))
        names = {}
        for number, source in sources.items():
            report.broke_in = number
            if dies(number, sources):
                report.problem = "the kernel ended"
                return report
            report.outputs[number] = []
            try:
                exec(source, names)
                report.ok[number] = True
            except AssertionError:
                report.ok[number] = False
        report.broke_in = None
        return report

    return marking.mark(path, [assignment(tmp_path)], kernel.Limits(), run), runs


def test_an_innocent_cell_that_is_blamed_keeps_its_points(tmp_path, capsys):
    """Something begun before ends the kernel at any later time."""
    for unlucky in range(1, 9):

        def dies(number, sources, unlucky=unlucky):
            return number == unlucky and len(sources) > 4

        marks, runs = plan(tmp_path, dies)
        assert sum(marks.points.values()) == 6, unlucky
        assert len(runs) <= marking.RUNS + 3


def test_a_guilty_cell_costs_its_own_exercise(tmp_path, capsys):
    for guilty, points in ((3, 5), (4, 5), (5, 4), (6, 4), (7, 3), (8, 3)):
        marks, _ = plan(tmp_path, lambda number, _, guilty=guilty: number == guilty)
        assert sum(marks.points.values()) == points


def test_an_unanswered_exercise_is_not_run_again(tmp_path, capsys):
    stub = "def square(n):\n    # Your code here, in place of the dots.\n    ..."
    marks, runs = plan(tmp_path, lambda *_: False, square=stub)
    assert marks.points == {
        "tiny-double-check": 1,
        "tiny-square-check": 0,
        "tiny-negate-check": 3,
    }
    assert len(runs) == 1


def test_no_report_gives_more_than_an_exercise_has(tmp_path):
    marks, _ = plan(tmp_path, lambda *_: False)
    marks.earned |= {"tiny-double-check", "no such check", "tiny-double"}
    assert sum(marks.points.values()) <= 6
    assert set(marks.points) == set(marks.assignment.points)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_socket_of_a_worker_cannot_be_opened(monkeypatch):
    """By its child, the kernel, which would like to write reports of its own."""
    source = (
        "import os\nfound = []\nfor n in os.listdir(f'/proc/{os.getppid()}/fd'):\n"
        "    if 'socket' in os.readlink(f'/proc/{os.getppid()}/fd/{n}'):\n"
        "        open(f'/proc/{os.getppid()}/fd/{n}', 'wb')"
    )
    monkeypatch.syspath_prepend(ROOT / "tools")
    report = kernel.run_cells({0: source}, kernel.Limits())
    assert report.ok == {0: False} and report.problem == ""
    assert "Error" in report.outputs[0][0]["text"]
