"""Who imports whom in course_lib: one direction, no circle, nobody left over.

The modules are read, not run. CONTRIBUTING shows ``LAYERS`` as a drawing, and the
test at the end holds it to this one.
"""

import ast
import json
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "course_lib"

# From the bottom up. A part (a module or a folder of course_lib) imports parts of the
# lines above its own, never of its own line: then parts of a line stand side by side.
LAYERS = {
    "words, formulas, tables": "classes dimensions memory precision report results"
    " small_maps",
    "parts": "data ledger resnet scene training",
    "what they make": "backprop inspection synthetic weights",
    "drawings": "figures",
    "logs": "tensorboard",
    "the trainer": "trainer",
    "what uses it": "exercises experiments inference predict train",
    "interactive pictures": "explorers",
}
LEVEL = {part: k for k, line in enumerate(LAYERS.values()) for part in line.split()}

# Imports of course_lib inside a function: each waits for a reason.
LATE = {
    ("course_lib", "course_lib.figures"): "setup draws; the package loads no torch",
    ("course_lib.data.digit_sets", "course_lib.data.download"): "MNIST alone",
    ("course_lib.explorers", "course_lib.explorers.widgets"): "loads anywidget",
    ("course_lib.explorers.widgets", "course_lib.ledger"): "loads torch",
    ("course_lib.explorers.widgets", "course_lib.resnet"): "loads torch",
    ("course_lib.tensorboard", "course_lib.figures.judging"): "loads matplotlib",
    ("course_lib.trainer.log", "course_lib.tensorboard"): "only with a log folder",
}
# The package itself is loaded before any part of it, so its setup() may look up.
UPWARD = {("course_lib", "course_lib.figures")}

# What loads without torch, which takes seconds and is not everywhere.
WITHOUT_TORCH = """
    course_lib course_lib.classes course_lib.dimensions course_lib.dimensions.__main__
    course_lib.exercises course_lib.explorers course_lib.results course_lib.scene
""".split()  # noqa: SIM905

Imports = dict[str, list[tuple[str, bool]]]  # module: (imported name, in a function?)


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, package: str, known: set[str]) -> list[tuple[str, bool]]:
    """What a module imports and whether inside a function; not for type checkers."""
    found = []

    def visit(node: ast.AST, late: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                visit(other, late)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, late) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.append((name if name in known else base, late))
        if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
            found.extend((name, late) for name in names)
        late |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, late)

    visit(ast.parse(source), False)
    return found


def package_imports(root: Path) -> Imports:
    known = modules(root)
    return {
        name: imports(
            path.read_text(encoding="utf-8"),
            name if path.name == "__init__.py" else name.rpartition(".")[0],
            set(known),
        )
        for name, path in known.items()
    }


def circle(graph: Imports) -> list[str]:
    """The modules of one circle of imports, late ones included, or nothing."""
    inside = {
        name: {other for other, _ in wanted if other in graph and other != name}
        for name, wanted in graph.items()
    }
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def part(name: str) -> str | None:
    """``figures`` of ``course_lib.figures.maps``; None outside and at the top."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] or None if first == PACKAGE else None


def wrong_way(graph: Imports) -> list[str]:
    """Imports of a part on the same line or on a line below."""
    parts = {part(name) for name in graph} - {None}
    found = [f"{name} stands on no line" for name in sorted(parts - set(LEVEL))]
    for name, wanted in graph.items():
        for other, _ in wanted:
            mine, theirs = part(name), part(other)
            if theirs and mine != theirs and (name, other) not in UPWARD:
                allowed = LEVEL.get(theirs, -1) < LEVEL.get(mine, len(LEVEL))
                found += [] if allowed else [f"{name} imports {other}"]
    return found


def late(graph: Imports) -> Counter:
    return Counter(
        (name, other)
        for name, wanted in graph.items()
        for other, inside in wanted
        if inside and other in graph
    )


def loads(graph: Imports, name: str) -> set[str]:
    """Everything that importing a module loads, packages above it included."""
    seen, todo = set(), [name]
    while todo:
        name = todo.pop()
        words = name.split(".")
        for known in (".".join(words[:k]) for k in range(1, len(words) + 1)):
            if known not in seen:
                seen.add(known)
                todo += [other for other, inside in graph.get(known, []) if not inside]
    return seen


def uses_elsewhere(root: Path) -> set[str]:
    """Modules that a notebook, a benchmark, an extension or a tool imports."""
    known = set(modules(root))
    found = set()
    for folder in ("benchmarks", "_ext", "tools"):
        for path in sorted((root / folder).glob("*.py")):
            found |= {name for name, _ in imports(path.read_text(), folder, known)}
    for path in sorted((root / "chapters").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                plain = [
                    "pass".rjust(len(line) - len(line.lstrip()) + 4)
                    if line.lstrip().startswith(("%", "!"))
                    else line
                    for line in lines
                ]
                found |= {name for name, _ in imports("\n".join(plain), "", known)}
    return found


def left_over(root: Path) -> list[str]:
    """Modules that nobody imports and that are no command; a test does not count."""
    graph = package_imports(root)
    used = uses_elsewhere(root) | {
        other for name, wanted in graph.items() for other, _ in wanted if other != name
    }
    return [
        name
        for name, path in modules(root).items()
        if name not in used
        and path.name != "__init__.py"
        and 'if __name__ == "__main__":' not in path.read_text(encoding="utf-8")
    ]


@pytest.fixture(scope="module")
def graph() -> Imports:
    return package_imports(ROOT)


def test_no_module_imports_itself_in_a_circle(graph):
    assert circle(graph) == []


def test_parts_import_in_one_direction(graph):
    assert wrong_way(graph) == []


def test_every_part_of_the_drawing_exists(graph):
    assert set(LEVEL) == {part(name) for name in graph} - {None}


def test_late_imports_are_known(graph):
    assert dict(late(graph)) == dict.fromkeys(LATE, 1)


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_what_needs_no_torch_imports_none(graph, name):
    assert name in graph
    tops = {other.partition(".")[0] for other in loads(graph, name)}
    assert not {"torch", "torchvision"} & tops


def test_nothing_is_left_over():
    assert left_over(ROOT) == []


def test_contributing_shows_the_same_drawing():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    width = max(map(len, LAYERS)) + 2
    drawing = "\n".join(f"{words:{width}}{line}" for words, line in LAYERS.items())
    assert f"```text\n{drawing}\n```" in page, drawing


def write(root: Path, **sources: str) -> Path:
    for name, source in {"__init__": "", **sources}.items():
        path = root / PACKAGE / f"{name.replace('__at__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


def test_each_fault_is_found(tmp_path):
    """A small package with one fault of each kind."""
    root = write(
        tmp_path,
        classes="def late():\n    from course_lib import resnet\n",
        resnet="from course_lib.classes import late\nimport torch\n",
        results='import course_lib.resnet\nif __name__ == "__main__":\n    pass\n',
        scene__at__draws="from . import strokes",
        scene__at__strokes="from course_lib.scene.draws import x",
        scene__at____init__="",
        ledger="from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from course_lib.figures import BLUE\n",
        news="import_module('course_lib.ledger')",
    )
    found = package_imports(root)
    assert wrong_way(found) == [
        "news stands on no line",
        "course_lib.classes imports course_lib.resnet",
        "course_lib.results imports course_lib.resnet",
    ]
    assert len(set(circle(found))) == 2  # either of the two pairs
    assert late(found) == {("course_lib.classes", "course_lib.resnet"): 1}
    assert "torch" in loads(found, "course_lib.results")
    assert "torch" not in loads(found, "course_lib.classes")
    assert left_over(root) == ["course_lib.news"]
