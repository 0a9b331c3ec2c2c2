"""Where programs keep their caches if the home folder cannot be written to.

Matplotlib, IPython and Jupyter write into the home folder, and say so on stderr when
they cannot: in a notebook's output, where nothing of the kind belongs. On a cluster or
in a container that is no fault of the reader. Only the standard library is imported.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

__all__ = ["use_writable_folders"]

# The variable that names each program's folder, and where that is without it.
FOLDERS = {
    "MPLCONFIGDIR": ".config/matplotlib",
    "IPYTHONDIR": ".ipython",
    "JUPYTER_RUNTIME_DIR": ".local/share/jupyter/runtime",
}


def is_writable(folder: Path) -> bool:
    """Whether a folder takes files."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def use_writable_folders() -> None:
    """Give each program a folder for temporary files where its own is closed.

    Must run before they are imported. Where no folder at all can be written to,
    nothing changes.
    """
    # It tells of each new cache of fonts, on stderr.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - raises nothing without one
    for variable, usual in FOLDERS.items():
        folder = Path(os.environ.get(variable) or home / usual)
        try:
            if variable in os.environ:  # as the program itself would do
                folder.mkdir(parents=True, exist_ok=True)
            if is_writable(folder if folder.exists() else home):
                continue
        except OSError:
            pass
        try:
            user = os.getuid() if hasattr(os, "getuid") else 0
            base = Path(tempfile.gettempdir()) / f"course-{user}"
            base.mkdir(mode=0o700, exist_ok=True)
            if base.is_symlink() or (user and base.stat().st_uid != user):
                base = Path(tempfile.mkdtemp(prefix="course-"))  # somebody else's
            (base / variable.lower()).mkdir(exist_ok=True)
        except OSError:
            return
        os.environ[variable] = str(base / variable.lower())
