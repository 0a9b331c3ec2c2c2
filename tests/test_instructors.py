"""The timetables for instructors: minutes that the pages and exercises really take."""

import json
import re
from pathlib import Path

import pytest

CHAPTERS = Path(__file__).parent.parent / "chapters"
PAGE = (CHAPTERS / "reference" / "instructors.md").read_text(encoding="utf-8")
MINUTES = {1: 5, 2: 15, 3: 30}  # of a warm-up, a core exercise, a stretch


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def minutes(path):
    """130 words and 15 lines of code a minute, and five minutes to try things."""
    words = lines = 0
    for cell in cells(path):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            words += len(re.findall(r"[\w'’-]+", text))
        elif "remove-cell" not in cell["metadata"].get("tags", []):
            lines += sum(bool(line.strip()) for line in text.splitlines())
    return words / 130 + lines / 15 + 5


def times(chapter):
    """Minutes of a chapter's exercises, in their order."""
    found = [c["metadata"].get("nbgrader", {}) for c in cells(chapter)]
    return [MINUTES[data["points"]] for data in found if data.get("grade")]


def exercises(name):
    folder = {"backpropagation": "backprop"}.get(name, name)
    return times(CHAPTERS / folder / "exercises.ipynb")


PLANNED = set(re.findall(r"\{doc\}`[^`]*</chapters/([\w/]+)>` (\d+)", PAGE))


@pytest.mark.parametrize(("name", "planned"), sorted(PLANNED))
def test_a_notebook_takes_the_minutes_planned(name, planned):
    needed = minutes(CHAPTERS / f"{name}.ipynb")
    assert needed - 4 <= int(planned) <= needed + 8


def test_every_notebook_has_its_minutes_once():
    assert len({name for name, _ in PLANNED}) == len(PLANNED) > 15


def test_the_whole_course_takes_the_hours_named():
    """Chapter pages, notebooks and exercises, and their sum."""
    (line,) = [text for text in PAGE.splitlines() if text.startswith("Somebody who")]
    paths = [p for p in CHAPTERS.rglob("*.ipynb") if "checkpoint" not in str(p)]
    notebooks = sum(minutes(p) for p in paths if p.stem != "exercises") / 60
    tasks = [exercises(p.parent.name) for p in paths if p.stem == "exercises"]
    work = sum(map(sum, tasks)) / 60
    pages = 4 * 25 / 60
    found = f"{notebooks:.1f} {work:.1f} {pages + notebooks + work:.1f}"
    assert abs(notebooks - 15) < 1 and abs(work - 7.5) < 0.3 and pages < 2, found
    assert abs(pages + notebooks + work - 24) < 1, found
    for words in ("some 24 hours", "under 2 for", "15 for", "7 and a half for"):
        assert words in line


def test_exercises_take_the_minutes_planned():
    days = re.findall(r"\| (\w+) 1 to (\d), (\d+) \|", PAGE)
    assert len(days) == 4
    for name, last, planned in days:
        assert sum(exercises(name)[: int(last)]) == int(planned), name
    weeks = re.findall(r"exercises (\w+) (\d+) \|", PAGE)
    assert len(weeks) == 4
    for name, planned in weeks:
        assert sum(exercises(name)) == int(planned), name


def test_a_lecture_takes_90_minutes_and_a_day_3_hours():
    lecture, rest = PAGE.split("### One week")
    rows = re.findall(r"^\| (\d+) \| ", lecture.split("### One lecture")[1], re.M)
    assert sum(map(int, rows)) == 90
    for row in re.findall(r"^\| \d \|.*\|$", rest.split("### One month")[0], re.M):
        day = sum(map(int, re.findall(r"(?:`|,) (\d+)(?= \||, )", row)))
        assert 120 <= day <= 180, row
