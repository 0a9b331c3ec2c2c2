"""Each exercise: its solution passes, its stub and typical mistakes get a hint."""

import importlib
import importlib.util
import json
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch
from exercise_mistakes import MISTAKES

from course_book.exercises import NotYet
from course_book.exercises.mechanism import DRAWN
from course_book.exercises.runner import Learner, check, judge
from course_lib.resnet import BasicBlock, Bottleneck, ResNet

ROOT = Path(__file__).parent.parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


handout = load(ROOT / "tools" / "handout.py")


class Chapter:
    """The exercises of one chapter: imports, solutions, stubs and checks."""

    def __init__(self, name, path):
        self.name = name
        self.cells = {}
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if "nbgrader" in cell["metadata"]:
                key = cell["metadata"]["nbgrader"]["grade_id"]
                self.cells[key.removeprefix(f"{name}-")] = cell
        self.slugs = [
            key
            for key, cell in self.cells.items()
            if cell["metadata"]["nbgrader"]["solution"]
        ]
        self.stubs = {}
        for cell in handout.learners_version(path).cells:
            if "nbgrader" in cell["metadata"]:
                key = cell["metadata"]["nbgrader"]["grade_id"]
                self.stubs[key.removeprefix(f"{name}-")] = cell
        self.names = {"__name__": "__main__"}
        exec(self.source("imports"), self.names)

    def source(self, slug):
        return "".join(self.cells[slug]["source"])

    def answer(self, slug, source):
        """What the check of an exercise says about a stub cell's text."""
        names = dict(self.names)
        exec(compile(source, f"<{slug}>", "exec"), names)
        try:
            exec(self.source(f"{slug}-check"), names)
        except NotYet as fault:
            return str(fault)
        return "Right"

    def function(self, slug):
        """The check itself."""
        name = re.search(r"import (\w+)", self.source(f"{slug}-check"))[1]
        module = importlib.import_module(f"course_book.exercises.{self.name}")
        return getattr(module, name)


CHAPTERS = {name: Chapter(name, path) for name, path in handout.sources().items()}
EXERCISES = [(name, slug) for name, book in CHAPTERS.items() for slug in book.slugs]
IDS = ["-".join(pair) for pair in EXERCISES]
each_exercise = pytest.mark.parametrize(("name", "slug"), EXERCISES, ids=IDS)


def edited(source, old, new):
    """A solution with a mistake; "*" stands for the whole region."""
    if old == "*":
        region = r"^([ \t]*)### BEGIN SOLUTION\n.*?### END SOLUTION"
        return re.sub(
            region, lambda m: m[1] + new, source, flags=re.DOTALL | re.MULTILINE
        )
    assert old in source, f"no {old!r} in the solution"
    return source.replace(old, new)


def fits(hint, sentence):
    return any(part in sentence for part in hint.split("|"))


def test_the_four_chapters_have_exercises_of_each_level():
    assert list(CHAPTERS) == ["backprop", "code", "mechanism", "structure"]
    for book in CHAPTERS.values():
        assert 6 <= len(book.slugs) <= 13
        points = {
            book.cells[f"{slug}-check"]["metadata"]["nbgrader"]["points"]
            for slug in book.slugs
        }
        assert points == {1, 2, 3}, "warm-up, core, stretch"
        for slug in book.slugs:
            assert book.cells[slug]["metadata"]["label"] == f"ex-{slug}"
            locked = book.cells[f"{slug}-check"]["metadata"]["nbgrader"]
            assert locked["locked"] and locked["grade"] and not locked["solution"]


@each_exercise
def test_the_solution_passes(name, slug, capsys):
    book = CHAPTERS[name]
    assert book.answer(slug, book.source(slug)) == "Right"
    printed = capsys.readouterr().out
    assert printed.startswith("Right: ") and printed.count("\n") == 1


@each_exercise
def test_the_stub_fails_with_a_helpful_sentence(name, slug):
    book = CHAPTERS[name]
    stub = book.stubs[slug].source
    assert "SOLUTION" not in stub
    assert len(stub) < len(book.source(slug))
    sentence = book.answer(slug, stub)
    assert sentence[-1] in ".?" and "\n" not in sentence
    repaired = slug.startswith("repaired")
    assert ("; " in sentence) if repaired else ("where the dots stand" in sentence)


@each_exercise
def test_typical_mistakes_get_the_hint_meant_for_them(name, slug):
    book, mistakes = CHAPTERS[name], MISTAKES[name][slug]
    assert len(mistakes) >= 3
    said = set()
    for old, new, hint in mistakes:
        sentence = book.answer(slug, edited(book.source(slug), old, new))
        assert sentence != "Right", f"{new!r} passes"
        assert hint == "*" or fits(hint, sentence), f"{new!r}: {sentence}"
        assert sentence[-1] in ".?" and "\n" not in sentence
        said.add(sentence)
    assert len(said) >= 3, "the mistakes cannot be told apart"


class Broken:
    """An object that fails at everything one may do with it."""

    def __repr__(self):
        raise ValueError("no repr")

    __str__ = __len__ = __eq__ = __float__ = __iter__ = __repr__
    __hash__ = None


def boom(*arguments):
    return 1 / 0


class Unbuilt(torch.nn.Module):
    def __init__(self, *arguments):
        super().__init__()


WEIRD = {
    "None": None,
    "dots": ...,
    "a number": 3,
    "a string": "42",
    "a broken object": Broken(),
    "a class": Broken,
    "no arguments": lambda: 1,
    "raises": boom,
    "exits": lambda *a: sys.exit(3),
    "a generator": lambda *a: (yield 1),
    "returns None": lambda *a: None,
    "returns a string": lambda *a: "x" * 10_000,
    "returns nan": lambda *a: float("nan"),
    "returns a huge integer": lambda *a: 10**5000,
    "returns a broken object": lambda *a: Broken(),
    "returns broken objects": lambda *a: [Broken(), Broken()],
    "returns itself": lambda *a: WEIRD["returns itself"],
    "returns an empty list": lambda *a: [],
    "returns an empty tensor": lambda *a: torch.empty(0),
    "returns no data": lambda *a: torch.empty(2, 3, device="meta"),
    "returns complex numbers": lambda *a: torch.zeros(2, dtype=torch.complex64),
    "returns a sparse tensor": lambda *a: torch.eye(3).to_sparse(),
    "returns its argument": lambda *a: a[0],
    "returns an array of objects": lambda *a: __import__("numpy").array([None, "a"]),
    "returns an empty module": lambda *a: Unbuilt(),
    "returns a dict": lambda *a: {"model": 1, "optimizer": Broken()},
    "returns two dicts": lambda *a: [{"params": 3}, {"weight_decay": "x"}],
    "changes its argument": lambda *a: [getattr(x, "zero_", int)() for x in a],
    "never returns": Unbuilt,
}


@each_exercise
def test_a_check_survives_any_answer(name, slug):
    function = CHAPTERS[name].function(slug)
    for answer in WEIRD.values():
        with pytest.raises(NotYet) as caught:
            function(answer)
        sentence = str(caught.value)
        assert sentence[-1] in ".?" and "\n" not in sentence and len(sentence) < 700
        assert "course_lib" not in sentence


def test_the_sentence_shows_the_learners_line(tmp_path):
    file = tmp_path / "cell.py"
    file.write_text("def rows(n, k, s, p, d):\n    half = n / 2\n    return half / 0\n")
    answer = load(file).rows
    with pytest.raises(NotYet) as caught:
        CHAPTERS["mechanism"].function("rows")(answer)
    assert "ZeroDivisionError" in str(caught.value)
    assert "`return half / 0`" in str(caught.value)
    assert caught.value._render_traceback_() == [f"Not yet: {caught.value}"]


def test_a_check_leaves_the_session_as_it_was(capsys):
    def careless(n, k, s, p, d):
        torch.manual_seed(n)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        warnings.warn("careless", stacklevel=1)
        print("a warning", file=sys.stderr)
        return (n + 2 * p - d * (k - 1) - 1) // s + 1

    state = torch.get_rng_state()
    CHAPTERS["mechanism"].function("rows")(careless)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), state)
    assert capsys.readouterr().err == "", "nbgrader counts stderr as a wrong answer"


def test_an_interrupted_check_says_what_to_look_for():
    def interrupted(n):  # what Jupyter's stop button, or the marking, raises
        raise KeyboardInterrupt

    @check("never")
    def endless(learner):
        learner(1)

    with pytest.raises(NotYet, match="a loop whose condition never becomes false"):
        endless(interrupted)


def test_the_pencils_table_holds_the_drawn_layers():
    page = (ROOT / "chapters" / "mechanism" / "exercises.ipynb").read_text("utf-8")
    sources = ["".join(cell["source"]) for cell in json.loads(page)["cells"]]
    (table,) = [text for text in sources if "tab-exercise-layers" in text]
    rows = re.findall(r"^\|((?: \d+ \|){6})$", table, re.M)
    numbers = [tuple(map(int, re.findall(r"\d+", row))) for row in rows]
    assert numbers == [(k, *layer) for k, layer in enumerate(DRAWN, 1)]
    assert len(numbers) == 20


def test_the_instructors_page_counts_the_points():
    page = (ROOT / "chapters" / "reference" / "instructors.md").read_text("utf-8")
    rows = re.findall(
        r"^\| \{doc\}`.*</chapters/(\w+)/index>` .* (\d+) \|$", page, re.M
    )
    points = {
        name: sum(
            cell["metadata"]["nbgrader"].get("points", 0)
            for cell in book.cells.values()
        )
        for name, book in CHAPTERS.items()
    }
    assert {name: int(total) for name, total in rows} == points


def test_the_hint_is_that_of_the_mistake_that_fits_all_cases():
    mistakes = [(lambda n: 2 * n, "double"), (lambda n: n * n, "square")]

    def said(answer):
        with pytest.raises(NotYet) as caught:
            judge(Learner(answer), [(2,), (3,)], lambda n: n + 1, mistakes, "other")
        return str(caught.value)

    assert "double" in said(lambda n: n + n)
    assert "square" in said(lambda n: n**2)  # the same as the other one for n = 2
    assert "other" in said(lambda n: 0)


@pytest.mark.parametrize(("depth", "units"), [(18, (2, 2, 2, 2)), (26, (1, 2, 3, 2))])
def test_the_count_of_layers_is_that_of_real_networks(depth, units):
    for block, convolutions in ((BasicBlock, 2), (Bottleneck, 3)):
        with torch.device("meta"):
            model = ResNet(block, units)
        layers = [
            name
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
            and "downsample" not in name
        ]
        assert len(layers) == 2 + convolutions * sum(units)
        function = CHAPTERS["structure"].function("layers")
        function(lambda u, c: 2 + c * sum(u))


def test_the_book_shows_the_learners_stub():
    ext = load(ROOT / "_ext" / "exercises.py")
    for book in CHAPTERS.values():
        for slug in book.slugs:
            assert ext.stub_of(book.source(slug)) == book.stubs[slug].source
            whole = ext.solved(book.source(slug))
            assert "SOLUTION" not in whole
            assert book.answer(slug, whole) == "Right"


def test_the_page_for_instructors_names_the_points():
    page = (ROOT / "chapters" / "reference" / "instructors.md").read_text()
    for name, book in CHAPTERS.items():
        points = sum(
            book.cells[f"{slug}-check"]["metadata"]["nbgrader"]["points"]
            for slug in book.slugs
        )
        assert re.search(rf"</chapters/{name}/index>` \|.*\| {points} \|\n", page)


def test_binder_installs_what_the_project_names():
    def names(file):
        text = (ROOT / file).read_text().splitlines()
        lines = [re.split("[ <>=]", line)[0] for line in text]
        return {line for line in lines if line and line[0] not in "#-"}

    binder = names(".binder/requirements.txt")
    assert binder <= names("requirements.txt")
    project = (ROOT / "pyproject.toml").read_text()
    needs = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.M)[1]
    assert set(re.findall(r'"([\w-]+)>=', needs)) <= binder


def test_the_handout_holds_no_solution(tmp_path):
    handout.main(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{name}_exercises.ipynb" for name in sorted(CHAPTERS)]
    for path in tmp_path.iterdir():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            text = "".join(cell["source"])
            assert "SOLUTION" not in text
            assert "book-only" not in cell["metadata"].get("tags", [])
            assert not cell.get("outputs")
            kind = cell["metadata"].get("nbgrader", {})
            assert not kind.get("locked") or cell["metadata"]["editable"] is False
        book = CHAPTERS[path.stem.removesuffix("_exercises")]
        assert len(cells) == 3 + 3 * len(book.slugs)
    ignored = (ROOT / ".gitignore").read_text().split()
    assert "/handout/" in ignored
