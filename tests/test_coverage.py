"""Every topic of the course stands on the coverage page, with a cell that has it."""

import re
from pathlib import Path

from test_claims import every_cell

REFERENCE = Path(__file__).parent.parent / "chapters" / "reference"
TOPICS = {"ST": 10, "ME": 12, "CO": 20, "BP": 8}  # how many there are of each


def faults(page: str, labels: set[str], claims: set[str]) -> list[str]:
    """Topics that are missing or lead nowhere, claims that are missing."""
    found = []
    rows = dict(re.findall(r"^\* - (\w+)\n((?:  - .*\n)+)", page, flags=re.MULTILINE))
    wanted = [f"{part}{k}" for part, n in TOPICS.items() for k in range(1, n + 1)]
    if [name for name in rows if name != "Topic" and name != "Claim"] != wanted:
        found.append("the topics are not those of the course, in their order")
    for name in wanted:
        cells = re.findall(r"<cell-([\w-]+)>", rows.get(name, ""))
        if not cells:
            found.append(f"{name}: no cell")
        found += [f"{name}: no cell {c}" for c in cells if c not in labels]
    linked = re.findall(r"^\* - \{ref\}`E(\d+) <claim-e(\d+)>`$", page, re.MULTILINE)
    if any(shown != target for shown, target in linked):
        found.append("a claim's link leads to another claim")
    if {f"e{number}" for number, _ in linked} != claims:
        found.append("the claims are not those of the claims page")
    return found


def cells_and_claims() -> tuple[set[str], set[str]]:
    labels = {cell["metadata"].get("label") for cell in every_cell()}
    page = (REFERENCE / "claims.md").read_text(encoding="utf-8")
    return labels, set(re.findall(r"^\(claim-(\w+)\)=$", page, flags=re.MULTILINE))


def test_every_topic_has_its_cell():
    page = (REFERENCE / "coverage.md").read_text(encoding="utf-8")
    assert faults(page, *cells_and_claims()) == []


def test_each_fault_is_found():
    page = (REFERENCE / "coverage.md").read_text(encoding="utf-8")
    labels, claims = cells_and_claims()
    assert faults(page, labels - {"max-pooling"}, claims) == [
        "ME9: no cell max-pooling"
    ]
    assert faults(page, labels, claims | {"e99"}) != []
    assert faults(page.replace("* - CO7\n", "* - CO77\n"), labels, claims) != []
    assert faults(page.replace("<cell-stem>", "<stem>"), labels, claims) == []
    assert faults(page.replace("<claim-e2>", "<claim-e3>"), labels, claims) != []
