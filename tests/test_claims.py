"""Every claim of the reference page has its cell, and every cell its claim."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "chapters" / "reference" / "claims.md"
ID = re.compile(r"e\d+")


def faults(page: str, cells: list[dict]) -> list[str]:
    """What does not fit between the page's Markdown and the notebooks' cells."""
    code = {
        cell["metadata"]["label"]: "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "label" in cell["metadata"]
    }
    text = "".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )
    # An entry runs from its anchor to the next one, or to the end of the page.
    entries = re.split(r"^\(claim-(\w+)\)=$", page, flags=re.MULTILINE)[1:]
    names, bodies = entries[::2], entries[1::2]
    found = [f"{n} stands twice" for n in sorted(set(names)) if names.count(n) > 1]
    for name, body in zip(names, bodies):
        if not re.match(rf"\n### {name.upper()}: \S", body):
            found.append(f"{name}: no heading of its own")
        if f"<cell-{name}>" not in body:
            found.append(f"{name}: no link to its cell")
        if name not in code:
            found.append(f"{name}: no cell is labeled so")
        elif not re.search(r"^\s*assert ", code[name], flags=re.MULTILINE):
            found.append(f"{name}: its cell asserts nothing")
    checked = {label for label in code if ID.fullmatch(label)}
    found += [f"{n}: a cell, but no claim" for n in sorted(checked - set(names))]
    linked = set(re.findall(r"[<(]#?claim-(\w+)[>)]", text))
    found += [f"{n}: linked, but no claim" for n in sorted(linked - set(names))]
    return found


def every_cell() -> list[dict]:
    paths = sorted((ROOT / "chapters").rglob("*.ipynb"))
    books = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [cell for book in books for cell in book["cells"]]


def test_claims_and_cells_fit_together():
    assert faults(PAGE.read_text(encoding="utf-8"), every_cell()) == []


def test_each_fault_is_found():
    page = "(claim-e1)=\n### E1: sizes\n\n{ref}`cell E1 <cell-e1>`\n"
    cell = {"cell_type": "code", "metadata": {"label": "e1"}, "source": ["assert 1"]}
    assert faults(page, [cell]) == []

    assert faults(page, []) == ["e1: no cell is labeled so"]
    silent = {**cell, "source": ["print('assert 1')"]}
    assert faults(page, [silent]) == ["e1: its cell asserts nothing"]
    assert faults(page.replace("<cell-e1>", "<e1>"), [cell]) == [
        "e1: no link to its cell"
    ]
    assert faults(page.replace("### ", ""), [cell]) == ["e1: no heading of its own"]
    assert "e1 stands twice" in faults(page + page, [cell])
    other = {**cell, "metadata": {"label": "e2"}}
    assert faults(page, [cell, other]) == ["e2: a cell, but no claim"]
    for link in ("[E3](#claim-e3)", "{ref}`E3 <claim-e3>`"):
        prose = {"cell_type": "markdown", "metadata": {}, "source": [link]}
        assert faults(page, [cell, prose]) == ["e3: linked, but no claim"]
