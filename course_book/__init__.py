"""What the pages of the book need: figures, explorers, exercises, experiments.

``course_lib`` knows nothing of this package. Importing it imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_book.home import use_writable_folders

if TYPE_CHECKING:
    import torch

__all__ = ["glue", "setup"]

use_writable_folders()  # now: the figures import Matplotlib


def setup(seed: int = 0) -> torch.device:
    """Make a notebook repeatable and dress its figures; return the device.

    Seeds Python, NumPy and torch, asks cuDNN for deterministic kernels in full
    float32, and sets the one figure style of the book.

    Args:
        seed: any integer from 0 to 2**32 - 1.

    Returns:
        ``cuda``, ``mps`` or ``cpu``, the first of them that is there.

    Raises:
        ValueError: if ``seed`` is out of NumPy's range.
    """
    import random

    import numpy as np
    import torch

    from course_book import figures
    from course_lib.training import pick_device

    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0 ... 2**32 - 1, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - scikit-learn reads the global state
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.set_printoptions(precision=4, sci_mode=False)
    figures.use_style()
    return pick_device()


def glue(key: str, value: object) -> None:
    """Give the chapter pages a number: ``{glue:text}`page.ipynb::key:s` ``.

    The output is the one that ``myst_nb.glue(key, value, display=False)``
    stores, written without myst-nb, which Colab does not have.

    Args:
        key: the name that the page uses, unique in the notebook.
        value: shown as ``str(value)``: format it before, ``f"{n:,}"``.
    """
    from IPython.display import display

    prefix = "application/papermill.record/"
    display(
        {f"{prefix}text/plain": repr(str(value))},
        raw=True,
        metadata={"scrapbook": {"name": key, "mime_prefix": prefix}},
    )
