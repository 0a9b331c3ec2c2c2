"""The page of claims: each has a quotation, a cell that settles it, and an answer."""

import copy
import json
import re
from pathlib import Path

import pytest
from hygiene import IGNORED, has_text, tags

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "chapters" / "reference" / "claims.ipynb"
CHAPTERS = ["Structure", "Mechanism", "Code", "Backpropagation"]
# What is asked: the last lines of a Markdown cell. The heading of a chapter may stand
# before it. Cards of the claims can be made from these groups.
QUESTION = re.compile(
    r"\(claim-(?P<id>e\d+)\)=\n"
    r"### (?P<number>E\d+): (?P<title>\S.*)\n\n"
    r"> “(?P<quotation>.+)”\Z"
)
ANSWER = re.compile(r"\*\*(?P<verdict>True|False|Half true)\.\*\* (?P<text>[\s\S]+)")
CHAPTER = re.compile(r"^## (.+)$", re.MULTILINE)
LINK = re.compile(r"[<(]#?claim-(\w+)[>)]")


def text_of(cell: dict) -> str:
    return "".join(cell["source"])


def claims(notebook: dict) -> list[dict[str, str]]:
    """Every claim of the page: chapter, id, title, quotation, verdict, text.

    Raises:
        ValueError: for a claim that has not this form; says which and what.
    """
    found, chapter = [], ""
    cells = notebook["cells"]
    for place, cell in enumerate(cells):
        source = text_of(cell)
        if cell["cell_type"] != "markdown":
            continue
        if heading := CHAPTER.search(source):
            chapter = heading[1]
        if "(claim-" not in source:
            continue
        asked = QUESTION.search(source)
        if not asked or asked["id"] != asked["number"].lower():
            raise ValueError(f"no heading and quotation: {source[-80:]!r}")
        name = asked["id"]
        code, reply = [*cells[place + 1 : place + 3], {}, {}][:2]
        if code.get("metadata", {}).get("label") != f"claim-{name}":
            raise ValueError(f"{name}: no cell labeled claim-{name} after it")
        if not has_text(code) or IGNORED in tags(code):
            raise ValueError(f"{name}: its cell prints nothing that is compared")
        answer = ANSWER.match(text_of(reply)) if "source" in reply else None
        if not answer:
            raise ValueError(f"{name}: no verdict and answer after its cell")
        found.append({"chapter": chapter, **asked.groupdict(), **answer.groupdict()})
    return found


def links(notebook: dict) -> set[str]:
    """Claims that a notebook's text links to."""
    cells = [c for c in notebook["cells"] if c["cell_type"] == "markdown"]
    return {name for cell in cells for name in LINK.findall(text_of(cell))}


def page() -> dict:
    return json.loads(PAGE.read_text(encoding="utf-8"))


def every_cell() -> list[dict]:
    paths = sorted((ROOT / "chapters").rglob("*.ipynb"))
    books = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [cell for book in books for cell in book["cells"]]


def test_each_claim_has_its_cell_and_its_answer():
    found = claims(page())
    names = [claim["id"] for claim in found]
    assert sorted(names, key=lambda e: int(e[1:])) == [
        f"e{k}" for k in range(1, len(names) + 1)
    ]
    chapters = [claim["chapter"] for claim in found]
    assert list(dict.fromkeys(chapters)) == CHAPTERS
    assert chapters == sorted(chapters, key=CHAPTERS.index)
    # A reader who answers "false" each time must be wrong sometimes.
    verdicts = [claim["verdict"] for claim in found]
    assert {"True", "False", "Half true"} == set(verdicts)
    labels = {
        cell["metadata"]["label"]
        for cell in page()["cells"]
        if cell["metadata"].get("label", "").startswith("claim-e")
    }
    assert labels == {f"claim-{name}" for name in names}


def test_every_link_to_a_claim_lands():
    names = {claim["id"] for claim in claims(page())}
    linked = links({"cells": every_cell()})
    for path in (ROOT / "chapters").rglob("*.md"):
        linked |= set(LINK.findall(path.read_text(encoding="utf-8")))
    assert "e5" in linked and linked <= names


def small() -> dict:
    """A page with one claim, to plant faults in."""
    out = {"output_type": "stream", "name": "stdout", "text": ["56\n"]}
    question = "## Mechanism\n\n(claim-e1)=\n### E1: sizes\n\n> “It is 55.”"
    return {
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": question},
            {
                "cell_type": "code",
                "metadata": {"label": "claim-e1"},
                "source": "print(56)",
                "outputs": [out],
            },
            {"cell_type": "markdown", "metadata": {}, "source": "**False.** It is 56."},
        ]
    }


FAULTS = {
    "another number": lambda c: c[0].update(source=c[0]["source"].replace("E1", "E2")),
    "no quotation": lambda c: c[0].update(source=c[0]["source"].replace("> “", "“")),
    "no heading": lambda c: c[0].update(source=c[0]["source"].replace("### ", "")),
    "no cell": lambda c: c.pop(1),
    "another cell": lambda c: c[1]["metadata"].update(label="claim-e2"),
    "no output": lambda c: c[1].update(outputs=[]),
    "not compared": lambda c: c[1]["metadata"].update(tags=[IGNORED]),
    "no answer": lambda c: c.pop(2),
    "no verdict": lambda c: c[2].update(source="It is 56."),
    "another verdict": lambda c: c[2].update(source="**Maybe.** It is 56."),
}


def test_the_small_page_is_read():
    (claim,) = claims(small())
    assert claim == {
        "chapter": "Mechanism",
        "id": "e1",
        "number": "E1",
        "title": "sizes",
        "quotation": "It is 55.",
        "verdict": "False",
        "text": "It is 56.",
    }
    for link in ("[E3](#claim-e3)", "{ref}`E3 <claim-e3>`"):
        prose = {"cell_type": "markdown", "metadata": {}, "source": [link]}
        assert links({"cells": [prose]}) == {"e3"}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_caught(fault):
    notebook = copy.deepcopy(small())
    FAULTS[fault](notebook["cells"])
    with pytest.raises(ValueError, match=r"e1|no heading"):
        claims(notebook)
