"""Results that are too long to compute in a notebook, shipped as CSV files.

Each file is made by a command that stands in its first lines, which begin with
``#`` and also say on which hardware and with which versions it ran.
"""

from __future__ import annotations

import csv
from importlib.resources import files

__all__ = ["load", "metadata"]


def load(name: str) -> list[dict[str, int | float | str | None]]:
    """Read a shipped table, such as ``"degradation"``, without pandas.

    Args:
        name: the file's name without ``.csv``.

    Returns:
        One dict per row, by column. Whole numbers are ``int``, other numbers
        ``float``, empty fields ``None``, and the rest ``str``.

    Raises:
        ValueError: if there is no such table; the message lists those there are.
    """
    lines = [line for line in _lines(name) if not line.startswith("#")]
    return [
        {column: _value(text) for column, text in row.items()}
        for row in csv.DictReader(lines)
    ]


def metadata(name: str) -> str:
    """Where a shipped table comes from: its leading ``#`` lines, without ``#``.

    Raises:
        ValueError: as :func:`load`.
    """
    notes = [line[1:].strip() for line in _lines(name) if line.startswith("#")]
    return "\n".join(notes)


def _lines(name: str) -> list[str]:
    tables = {
        entry.name.removesuffix(".csv"): entry
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".csv")
    }
    if name not in tables:
        raise ValueError(
            f"name must be one of {sorted(tables)}, got {name!r}; "
            "leave the folder and .csv out"
        )
    return tables[name].read_text(encoding="utf-8").splitlines()


def _value(text: str) -> int | float | str | None:
    if text == "":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text
