"""A second `make book` is as good as a first, on a tiny book (incremental_build.py)."""

import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

from visits import ROOT

GLUED = {
    "cells": [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Numbers"},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": "1",
            "execution_count": 1,
            "outputs": [
                {
                    "output_type": "display_data",
                    "data": {"text/plain": "'eleven'"},
                    "metadata": {
                        "scrapbook": {"mime_prefix": "", "name": "count"},
                    },
                }
            ],
        },
    ],
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}
TOC = "format: jb-book\nroot: index\nchapters:\n- file: numbers\n"


# Each build is a process of its own, as a reader's is, but imports Sphinx only once.
fresh = multiprocessing.get_context("forkserver")
fresh.set_forkserver_preload(["jupyter_book.cli.main", "myst_nb", "sphinx.writers"])


def make(place: Path) -> None:
    from jupyter_book.cli.main import main

    os.chdir(place)
    with (place / "log.txt").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv = ["jupyter-book", "build", ".", "-W", "--keep-going", "-q"]
    main()


def build(place: Path) -> int:
    process = fresh.Process(target=make, args=(place,))
    process.start()
    process.join()
    return process.exitcode


def test_a_second_build_after_warnings_changes_and_removals(tmp_path):
    for name in ("_ext", "_static", "_templates", "_vendor"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("_config.yml", "references.bib"):
        shutil.copy(ROOT / name, tmp_path)
    explorers = "course_book/explorers"
    shutil.copytree(ROOT / explorers, tmp_path / explorers)
    page, notebook = tmp_path / "page.md", tmp_path / "numbers.ipynb"
    html = tmp_path / "_build" / "html"
    good = "# A page\n\nThere are {glue:text}`numbers.ipynb::count:s`.\n"
    (tmp_path / "index.md").write_text("# A book\n")
    notebook.write_text(json.dumps(GLUED))
    page.write_text("# Bad\n\n```{nonsense}\n```\n")
    (tmp_path / "_toc.yml").write_text(f"{TOC}- file: page\n")

    # A warning fails the build, and the next one too, though nothing has changed.
    assert build(tmp_path) != 0
    assert build(tmp_path) != 0

    page.write_text(good)
    assert build(tmp_path) == 0
    assert ">eleven<" in (html / "page.html").read_text()
    times = {path: path.stat().st_mtime_ns for path in html.rglob("*.html")}

    # Nothing has changed: nothing is written.
    assert build(tmp_path) == 0
    assert times == {path: path.stat().st_mtime_ns for path in html.rglob("*.html")}

    # The number comes from another page.
    notebook.write_text(json.dumps(GLUED).replace("eleven", "twelve"))
    assert build(tmp_path) == 0
    assert ">twelve<" in (html / "page.html").read_text()

    # A page that has left the contents leaves the book.
    (tmp_path / "_toc.yml").write_text(TOC)
    page.unlink()
    assert build(tmp_path) == 0
    assert not (html / "page.html").exists()
