"""What can be measured, each subject by a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks import arithmetic, files, growth, inference, site, training
from benchmarks.racing import Measurement, Settings

__all__ = ["SUBJECTS", "measure", "show"]

SUBJECTS: dict[str, Callable[[Settings], Iterator[Measurement]]] = {
    "inference": inference.rows,
    "training": training.rows,
    "files": files.rows,
    "arithmetic": arithmetic.rows,
    "growth": growth.rows,
    "site": site.rows,
    "tests": site.tests,
}


def show(row: Measurement) -> str:
    """One line of the table."""
    spread = "" if row.low is None else f"{row.low:.2f}–{row.high:.2f}"
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return (
        f"{row.value:7.2f}  {spread:12} {row.goal:8} {met:7} {row.measure:18}"
        f"{row.subject}: {row.case}"
    ) + (f", against {row.against}" if row.against else "")


def measure(name: str, settings: Settings) -> list[Measurement]:
    """The rows of a subject, each printed when it is there."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    rows = []
    for row in SUBJECTS[name](settings):
        print(show(row), flush=True)
        rows.append(row)
    return rows
