"""Explorers: interactive pictures, the same in a notebook and in the static book.

    from course_book.explorers import ConvolutionExplorer
    explorer = ConvolutionExplorer(size=112, kernel=3, stride=2, padding=1, kind="pool")
    explorer            # at the end of a cell: alive
    explorer.size       # what the reader has chosen

Each is an ES module in this folder, in anywidget's form, which gets ``common.js`` when
a page or a widget is made, with a JSON file that
Python writes (``python -m course_book.explorers``) and a picture for readers without
JavaScript. The book mounts the same module without a kernel.

Importing this package imports neither anywidget nor torch; using a class does the
first.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "ActivationsExplorer",
    "BatchNormExplorer",
    "ConvBackwardExplorer",
    "ConvolutionExplorer",
    "GradientFlowExplorer",
    "NetworkExplorer",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"course_book.explorers has no {name!r}; it has {__all__}")
    try:
        import_module("anywidget")
    except ImportError as error:
        raise ImportError(
            f"{name} needs anywidget: pip install anywidget, then restart the kernel; "
            "the explorers in the online book need nothing"
        ) from error
    return getattr(import_module("course_book.explorers.widgets"), name)
