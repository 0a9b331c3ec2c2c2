"""Every notebook keeps the rules, and each rule catches its fault."""

import base64
import copy
import importlib.util
import io
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hygiene import IGNORED, compared, problems
from PIL import Image

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location(
    "notebooks", ROOT / "tools" / "notebooks.py"
)
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)

NOTEBOOKS = tool.find_notebooks()
NAMES = [path.relative_to(ROOT).as_posix() for path in NOTEBOOKS]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_keeps_the_rules(path):
    found = problems(read(path), tool.first_cell())
    assert not found, "\n".join(found)


def test_most_of_the_output_is_compared():
    pairs = [compared(read(path)) for path in NOTEBOOKS]
    share = sum(kept for kept, _ in pairs) / sum(total for _, total in pairs)
    assert share >= 0.85, f"only {share:.0%} of the outputs are compared"


def test_labels_are_unique_in_the_book():
    labels = [
        cell["metadata"]["label"]
        for path in NOTEBOOKS
        for cell in read(path)["cells"]
        if "label" in cell["metadata"]
    ]
    assert [label for label, count in Counter(labels).items() if count > 1] == []


def test_every_page_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = {toc["root"]}

    def collect(entry):
        listed.update([entry["file"]] if "file" in entry else [])
        for key in ("parts", "chapters", "sections"):
            for child in entry.get(key, []):
                collect(child)

    collect(toc)
    pages = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for suffix in ("md", "ipynb")
        for path in (ROOT / "chapters").rglob(f"*.{suffix}")
        if ".ipynb_checkpoints" not in path.parts
    } | {"index"}
    assert listed == pages


def test_the_first_cell_names_the_repository_of_the_configuration():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    address = config["repository"]["url"]
    assert f'repository = "{address}"' in tool.first_cell()
    # … and nothing else in the repository types the address again.
    texts = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("course_lib/*.py")]
    texts += [*ROOT.glob("chapters/**/*.md"), *ROOT.glob(".github/**/*.yml")]
    assert [p.name for p in texts if address in p.read_text(encoding="utf-8")] == []


def png(width):
    file = io.BytesIO()
    Image.new("RGB", (width, 4)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def good():
    """A small notebook that keeps every rule, to plant faults in."""

    def code(source, count, outputs=(), **metadata):
        return {
            "cell_type": "code",
            "source": source,
            "execution_count": count,
            "outputs": list(outputs),
            "metadata": metadata,
        }

    line = {"output_type": "stream", "name": "stdout", "text": "3 bars\n"}
    drawn = {"output_type": "display_data", "data": {"image/png": png(1200)}}
    alt = {"image": {"alt": "Three bars of growing height"}}
    return {
        "metadata": {"kernelspec": {"name": "python3"}, "language_info": {}},
        "cells": [
            {"cell_type": "markdown", "source": "# Title", "metadata": {}},
            code("FIRST", 1),
            code("draw()", 2, [line, drawn], mystnb=alt, label="bars"),
            code("time()", 3, [line], tags=[IGNORED]),
            code("assert True", 4),
        ],
    }


FAULTS = {
    "not executed": lambda c: c[2].update(execution_count=None),
    "out of order": lambda c: c[2].update(execution_count=7),
    "no title": lambda c: c.pop(0),
    "another first cell": lambda c: c[1].update(source="import os"),
    "an error": lambda c: c[4]["outputs"].append(
        {"output_type": "error", "ename": "ValueError"}
    ),
    "stderr": lambda c: c[4]["outputs"].append(
        {"output_type": "stream", "name": "stderr", "text": "oh"}
    ),
    "a warning": lambda c: c[2]["outputs"][0].update(text="FutureWarning: old\n"),
    "a bare object": lambda c: c[4]["outputs"].append(
        {"output_type": "execute_result", "data": {"text/plain": "<A at 0x7f3a>"}}
    ),
    "widget state": lambda c: c[4]["outputs"].append(
        {
            "output_type": "display_data",
            "data": {"application/vnd.jupyter.widget-view+json": {}},
        }
    ),
    "timestamps": lambda c: c[4]["metadata"].update(execution={}),
    "a skipped cell": lambda c: c[4]["metadata"].update(tags=["nbval-skip"]),
    "a long line": lambda c: c[4].update(source="assert True  # " + "x" * 70),
    "no alt text": lambda c: c[2]["metadata"].pop("mystnb"),
    "no summary": lambda c: c[2]["outputs"].pop(0),
    "no label": lambda c: c[2]["metadata"].pop("label"),
    "a wide picture": lambda c: c[2]["outputs"][1]["data"].update(
        {"image/png": png(2000)}
    ),
    "a table without a name": lambda c: c[0].update(
        source="# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    ),
    "nothing asserted": lambda c: c[4].update(source="pass"),
}


def test_the_small_notebook_keeps_the_rules():
    assert problems(good(), "FIRST") == []
    assert compared(good()) == (1, 2)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_caught(fault):
    notebook = good()
    FAULTS[fault](notebook["cells"])
    assert problems(notebook, "FIRST") != []


def test_another_kernel_is_caught():
    notebook = good()
    notebook["metadata"]["kernelspec"]["name"] = "conda-env"
    assert problems(notebook, "FIRST") != []


@pytest.mark.parametrize("first", ["", "import os", tool.FIRST_CELL])
def test_the_first_cell_is_put_in_and_no_other_lost(first):
    from nbformat import v4

    cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell(first)]
    notebook = tool.normalize(v4.new_notebook(cells=[*cells, v4.new_code_cell("1")]))
    sources = [cell.source for cell in notebook.cells]
    own = [first] if first == "import os" else []
    assert sources == ["# Title", tool.first_cell(), *own, "1"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_stored_notebook_is_normalized(path):
    import nbformat

    stored = nbformat.read(path, as_version=4)
    assert tool.normalize(copy.deepcopy(stored)) == stored
