"""course_book.setup and glue, and what importing the package costs."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import course_book
import course_lib
from course_lib.training import pick_device

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("module", ["course_lib", "course_lib.dimensions"])
def test_importing_brings_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def test_the_same_seed_repeats_every_generator():
    course_book.setup(seed=5)
    first = draw()
    course_book.setup(seed=5)
    assert draw() == first
    course_book.setup(seed=6)
    assert not set(draw()) & set(first)


def test_setup_returns_a_device_that_is_there():
    device = course_book.setup()
    assert torch.ones(2, device=device).sum().item() == 2
    assert device == pick_device("auto")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=rf"seed must lie in .* got {seed}"):
        course_book.setup(seed)


def test_glue_stores_what_myst_nb_stores(monkeypatch):
    myst_nb = pytest.importorskip("myst_nb")
    from IPython.core import display_functions
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.instance()  # without a shell, display only prints
    published = []
    monkeypatch.setattr(
        display_functions,
        "publish_display_data",
        lambda data, metadata=None, **_: published.append((data, metadata)),
    )
    course_book.glue("params", "11,689,512")
    myst_nb.glue("params", "11,689,512", display=False)
    ours, theirs = published
    assert ours == theirs
    assert ours[1]["scrapbook"]["name"] == "params"


def test_notebooks_run_clean_where_the_home_cannot_be_written_to(tmp_path):
    closed = (
        "/proc/nothing" if sys.platform == "linux" else str(tmp_path / "file" / "x")
    )
    (tmp_path / "file").touch()
    names = ("HOME", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    hostile = dict.fromkeys(names, closed) | {"PYTHONWARNINGS": "default"}
    hostile["TMPDIR"] = str(tmp_path)  # a new cache of fonts, which takes its time
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--nbval", "chapters/refresher.ipynb"],
        cwd=ROOT,
        env=os.environ | hostile,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_and_the_changes_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert citation["version"] == course_lib.__version__
    assert citation["title"] == config["title"]
    assert citation["repository-code"] == config["repository"]["url"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changes.splitlines() if line.startswith("## "))
    assert course_lib.__version__ in newest
