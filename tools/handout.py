"""Write the learners' versions of the exercises (`make handout`).

    python tools/handout.py [FOLDER]      # handout/ by default

Each ``chapters/<name>/exercises.ipynb`` becomes ``<name>_exercises.ipynb`` without
solutions, outputs and explanations, with locked checks. The work is done by
nbgrader's own preprocessors, set up by nbgrader_config.py.
"""

import sys
from pathlib import Path

import nbformat
from nbconvert.exporters import NotebookExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

ROOT = Path(__file__).parent.parent
# nbgrader's own order, without the steps that need a gradebook.
PREPROCESSORS = [TagRemovePreprocessor, LockCells, ClearSolutions, ClearOutput]
PREPROCESSORS += [CheckCellMetadata, ClearHiddenTests, ClearMarkScheme]
PREPROCESSORS += [ComputeChecksums, CheckCellMetadata]


def load_config() -> Config:
    """The settings of nbgrader_config.py."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    config.TagRemovePreprocessor.enabled = True
    return config


def sources() -> dict[str, Path]:
    """The exercises of the book: {"structure": …/exercises.ipynb, …}."""
    found = sorted((ROOT / "chapters").glob("*/exercises.ipynb"))
    return {path.parent.name: path for path in found}


def learners_version(path: Path) -> nbformat.NotebookNode:
    """One notebook without what its learners are to find out."""
    config = load_config()
    config.NotebookExporter.preprocessors = []
    exporter = NotebookExporter(config=config)
    for preprocessor in PREPROCESSORS:
        exporter.register_preprocessor(preprocessor, enabled=True)
    text, _ = exporter.from_filename(str(path))
    return nbformat.reads(text, as_version=4)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in sources().items():
        target = folder / f"{name}_exercises.ipynb"
        nbformat.write(learners_version(path), target)
        print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "handout")
