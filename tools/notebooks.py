"""Execute notebooks in place and normalize them (`make notebooks`).

    python tools/notebooks.py [NOTEBOOK ...]      # all of them by default

Two run at a time. What is stored afterwards depends on the code alone: the
common first cell, the kernel ``python3``, no timestamps and no widget state.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
FIRST_CELL = """\
# On Colab this cell installs the course's package; elsewhere it does nothing.
import importlib.util
import os

if importlib.util.find_spec("course_lib") is None and (
    "COLAB_RELEASE_TAG" in os.environ or "COURSE_LIB_URL" in os.environ
):
    repository = "{repository}"
    release = f"git+{{repository}}@v{version}"
    source = os.environ.get("COURSE_LIB_URL", release)
    %pip install -q {{source}}"""


def find_notebooks() -> list[Path]:
    """Every notebook of the book, in a stable order."""
    found = (ROOT / "chapters").rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def first_cell() -> str:
    """The first code cell of every notebook, for this repository and release."""
    import course_lib

    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    repository = config["repository"]["url"]
    return FIRST_CELL.format(repository=repository, version=course_lib.__version__)


def normalize(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep what a reader or a test needs, in place, and nothing of this run."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "ExecuteTime", "lines_to_next_cell"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            for output in cell.outputs:
                output.get("metadata", {}).pop("execution", None)
                # A widget's own HTML stays; its id in the kernel means nothing.
                output.get("data", {}).pop(WIDGET, None)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if code:
        written = code[0].source.strip()
        if written and not written.startswith(FIRST_CELL.splitlines()[0]):
            # The author's own: it stays, behind the common one.
            code.insert(0, nbformat.v4.new_code_cell())
            notebook.cells.insert(notebook.cells.index(code[1]), code[0])
        code[0].source = first_cell()
        code[0].metadata["tags"] = ["remove-cell"]  # in the book only
    nbformat.validate(notebook)
    return notebook


def execute(path: Path) -> None:
    """Run one notebook from a fresh kernel in its own folder and store it."""
    notebook = normalize(nbformat.read(path, as_version=4))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    # Only now: a notebook that fails keeps the outputs it had.
    nbformat.write(normalize(notebook), path)
    print(path.relative_to(ROOT), flush=True)


def main(names: list[str]) -> None:
    paths = [Path(name).resolve() for name in names] or find_notebooks()
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(execute, paths))


if __name__ == "__main__":
    main(sys.argv[1:])
