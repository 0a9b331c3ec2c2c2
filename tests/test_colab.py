"""A notebook alone, as on Colab: torch is there, the package and the book are not.

The environment is fresh, the folder holds the one notebook, and its first cell
installs the package from a git repository. No index can be reached, so nothing
else can be installed or changed.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "chapters" / "structure" / "batch_norm.ipynb"
RUN = "import sys; from nbclient.cli import main; sys.exit(main())"

pytestmark = [
    pytest.mark.skipif(
        sys.platform == "win32", reason="links into a new environment need rights there"
    ),
    pytest.mark.skipif(
        # Not by find_spec: setuptools takes that for a run of pip and steps aside.
        not list(importlib.metadata.distributions(name="pip")),
        reason="the first cell calls pip, which this environment lacks",
    ),
]


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """The package as a git repository of its own, as it stands in this checkout."""
    folder = tmp_path / "repository"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("course_lib", "course_book"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    run(["git", "init", "-q"], cwd=folder)
    run(["git", "add", "-A"], cwd=folder)
    run([*git, "commit", "-q", "-m", "release"], cwd=folder)
    return folder


@pytest.fixture
def colab(tmp_path):
    """The python of an environment like this one, but without course_lib."""
    home = tmp_path / "colab"
    run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    installed = Path(sysconfig.get_path("purelib"))
    fresh = Path(
        run(
            [
                home / "bin" / "python",
                "-c",
                "import site; print(site.getsitepackages()[0])",
            ]
        ).strip()
    )
    for entry in installed.iterdir():
        if not entry.name.startswith(("course_lib", "__editable__")):
            (fresh / entry.name).symlink_to(entry)
    return home / "bin" / "python"


def test_a_notebook_runs_alone(tmp_path, repository, colab):
    folder = tmp_path / "empty"
    folder.mkdir()
    shutil.copy(NOTEBOOK, folder)
    keep = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    environment = keep | {
        "HOME": str(tmp_path),
        "COURSE_LIB_URL": f"git+file://{repository}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one upside down
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYTHONNOUSERSITE": "1",
    }
    absent = subprocess.run(
        [colab, "-c", "import course_lib"], cwd=folder, env=environment, check=False
    )
    assert absent.returncode != 0
    command = [colab, "-c", RUN, "--inplace", "--timeout=120", NOTEBOOK.name]
    run(command, cwd=folder, env=environment)

    where = run(
        [colab, "-c", "import course_lib; print(course_lib.__file__)"],
        cwd=folder,
        env=environment,
    )
    assert where.startswith(str(tmp_path / "colab"))
    cells = json.loads((folder / NOTEBOOK.name).read_text())["cells"]
    counts = [c["execution_count"] for c in cells if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
