"""The lock files: exact, without CUDA packages, the book's a subset without torch."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


def lines(name):
    text = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in text if line and not line.startswith(("#", "-r "))]


def requirements(name):
    return {r.name.lower(): r for r in map(Requirement, lines(name))}


def test_every_version_is_exact():
    for line in lines("requirements.lock"):
        assert re.match(r"^[a-z0-9.-]+==[^*]+$", line.split(" ;")[0]), line


def test_the_lock_satisfies_every_range():
    locked = requirements("requirements.lock")
    for name in ("requirements.txt", "requirements-book.txt"):
        for wanted in requirements(name).values():
            (version,) = (s.version for s in locked[wanted.name.lower()].specifier)
            assert wanted.specifier.contains(version), f"{wanted} but {version}"


def test_no_cuda_package_is_locked():
    names = " ".join(requirements("requirements.lock"))
    assert not re.search(r"nvidia|cuda|triton", names)


def test_the_books_lock_is_a_subset_without_torch():
    book = set(lines("requirements-book.lock"))
    assert len(book) > 50
    assert book <= set(lines("requirements.lock"))
    assert not [line for line in book if line.startswith("torch")]


def test_the_package_pins_nothing():
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    needs = [Requirement(line) for line in project["dependencies"]]
    assert {"torch", "torchvision"} <= {need.name for need in needs}
    for need in needs:
        assert {spec.operator for spec in need.specifier} <= {">="}, need
    book_tools = {"jupyter-book", "sphinx", "myst-nb", "nbval", "pytest"}
    assert not book_tools & {need.name for need in needs}
