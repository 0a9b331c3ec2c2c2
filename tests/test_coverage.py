"""Every topic of the course stands on the coverage page, with a cell that has it."""

import re
from pathlib import Path

from test_claims import every_cell

PAGE = Path(__file__).parent.parent / "chapters" / "reference" / "coverage.md"
TOPICS = {"ST": 10, "ME": 12, "CO": 20, "BP": 8}  # how many there are of each


def faults(page: str, labels: set[str]) -> list[str]:
    """Topics that are missing or lead nowhere."""
    found = []
    rows = dict(re.findall(r"^\* - (\w+)\n((?:  - .*\n)+)", page, flags=re.MULTILINE))
    wanted = [f"{part}{k}" for part, n in TOPICS.items() for k in range(1, n + 1)]
    if [name for name in rows if name != "Topic"] != wanted:
        found.append("the topics are not those of the course, in their order")
    for name in wanted:
        cells = re.findall(r"<cell-([\w-]+)>", rows.get(name, ""))
        if not cells:
            found.append(f"{name}: no cell")
        found += [f"{name}: no cell {c}" for c in cells if c not in labels]
    return found


def all_labels() -> set[str]:
    return {cell["metadata"].get("label") for cell in every_cell()}


def test_every_topic_has_its_cell():
    assert faults(PAGE.read_text(encoding="utf-8"), all_labels()) == []


def test_each_fault_is_found():
    page, labels = PAGE.read_text(encoding="utf-8"), all_labels()
    assert faults(page, labels - {"max-pooling"}) == ["ME9: no cell max-pooling"]
    assert faults(page.replace("* - CO7\n", "* - CO77\n"), labels) != []
    assert faults(page.replace("<cell-stem>", "<stem>"), labels) == []
