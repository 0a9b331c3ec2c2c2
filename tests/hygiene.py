"""What every notebook of the book keeps to; test_notebooks.py applies it."""

import base64
import io
import re

from PIL import Image

IGNORED = "nbval-ignore-output"
# Widest picture: 6.4 inches at 200 pixels per inch, plus the tight box's rim.
WIDEST = 1320


def text_of(value):
    return value if isinstance(value, str) else "".join(value)


def code_cells(notebook):
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in cells if text_of(cell["source"]).strip()]


def tags(cell):
    return cell["metadata"].get("tags", [])


def printed(cell):
    return "".join(
        text_of(out["text"])
        for out in cell["outputs"]
        if out["output_type"] == "stream"
    )


def pictures(cell):
    data = [out.get("data", {}) for out in cell["outputs"]]
    return [bundle["image/png"] for bundle in data if "image/png" in bundle]


def has_text(cell):
    """Whether nbval could compare something: text, HTML or a table."""
    kinds = {kind for out in cell["outputs"] for kind in out.get("data", {})}
    return bool(printed(cell)) or bool(kinds & {"text/html", "text/markdown"})


def compared(notebook):
    """(cells with text or HTML output that nbval compares, all such cells)."""
    with_text = [cell for cell in code_cells(notebook) if has_text(cell)]
    return sum(IGNORED not in tags(cell) for cell in with_text), len(with_text)


def problems(notebook, first_cell):
    """Say in a list of sentences where a notebook breaks the rules."""
    found = []
    cells = code_cells(notebook)
    counts = [cell["execution_count"] for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"cells are not executed 1..{len(cells)} in order: {counts}")
    kernel = notebook["metadata"].get("kernelspec", {}).get("name")
    if kernel != "python3":
        found.append(f"the kernel is {kernel!r}, not 'python3'")
    if set(notebook["metadata"]) != {"kernelspec", "language_info"}:
        found.append("the notebook's metadata holds more than kernel and language")
    if not cells or text_of(cells[0]["source"]) != first_cell:
        found.append("the first code cell is not the common one")
    if notebook["cells"][0]["cell_type"] != "markdown" or not text_of(
        notebook["cells"][0]["source"]
    ).startswith(("# ", "(")):
        found.append("the notebook does not begin with its title")
    for cell in notebook["cells"]:
        found += bare_tables(cell) if cell["cell_type"] == "markdown" else []
    for number, cell in enumerate(cells, start=1):
        found += [f"code cell {number}: {what}" for what in cell_problems(cell)]
        # A cell that says what must hold, and a hidden one that insists on it.
        following = "".join(text_of(c["source"]) for c in cells[number : number + 2])
        if IGNORED in tags(cell) and "assert" not in following:
            found.append(
                f"code cell {number}: its output is not compared, and the next two "
                "code cells assert nothing"
            )
    return found


def bare_tables(cell):
    """Tables that no directive gives a caption and a name to refer to."""
    named = re.compile(r"^[:`]{3}\{table\} \S.*\n:name: tab-\S+\n\n\|", re.MULTILINE)
    tables = re.findall(r"^\|[-:| ]+\|$", text_of(cell["source"]), re.MULTILINE)
    if len(tables) != len(named.findall(text_of(cell["source"]))):
        yield f"a table has no name: {text_of(cell['source'])[:40]!r}"


def cell_problems(cell):
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            yield f"holds an error, {output['ename']}"
        if output.get("name") == "stderr":
            yield f"wrote to stderr: {text_of(output['text'])[:80]!r}"
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            yield "stores widget state"
        plain = text_of(output.get("data", {}).get("text/plain", ""))
        if re.search(r"<\S+ at 0x[0-9a-f]+>", plain):
            yield f"shows a bare object: {plain[:80]!r}"
    if "Warning" in printed(cell):
        yield "has a warning in its output"
    if {"execution", "ExecuteTime"} & set(cell["metadata"]):
        yield "holds timestamps"
    if "nbval-skip" in tags(cell) or "raises-exception" in tags(cell):
        yield f"is tagged {tags(cell)}: a test must run it and see it pass"
    for line in text_of(cell["source"]).splitlines():
        if len(line) > 79 and "http" not in line:
            yield f"has a line of {len(line)} characters: {line[:40]!r}"
    if pictures(cell):
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt) < 20:
            yield f"draws, and its alt text is {alt!r}"
        if not printed(cell).strip():
            yield "draws, and prints no summary of what it drew"
        if not cell["metadata"].get("label"):
            yield "draws, and has no label"
    for picture in pictures(cell):
        width = Image.open(io.BytesIO(base64.b64decode(text_of(picture)))).width
        if width > WIDEST:
            yield f"draws {width} pixels wide; {WIDEST} is what a phone can show"
