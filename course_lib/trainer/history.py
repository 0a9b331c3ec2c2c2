"""What happened in each epoch, and which epoch was the best."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["History"]

Row = dict[str, int | float]


class History:
    """One row per epoch, in order.

    Attributes:
        rows: dictionaries with ``epoch`` (from 1), ``learning_rate`` (of the
            epoch's last step), ``train_loss``, ``train_accuracy`` (means over the
            epoch, while the weights changed), ``validation_loss`` (plain
            cross-entropy, without smoothing or class weights),
            ``validation_accuracy``, ``validation_macro_f1`` and ``seconds``.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows: list[Row] = [dict(row) for row in rows]

    @property
    def best(self) -> Row:
        """The epoch with the highest macro F1 on validation.

        Among equals the one with the lower loss, and then the earlier one.

        Raises:
            ValueError: if no epoch has ended yet.
        """
        if not self.rows:
            raise ValueError("the history is empty: no epoch has ended yet")
        return max(
            self.rows,
            key=lambda row: (
                row["validation_macro_f1"],
                -row["validation_loss"],
                -row["epoch"],
            ),
        )

    def column(self, name: str) -> list[int | float]:
        """One number of every epoch, for example to draw it."""
        return [row[name] for row in self.rows]

    def text(self) -> str:
        """The rows as CSV with a header; floats are written in full."""
        file = io.StringIO()
        if self.rows:
            table = csv.DictWriter(file, self.rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows(self.rows)
        return file.getvalue()

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write :meth:`text` to a file."""
        Path(path).write_text(self.text(), encoding="utf-8")

    @classmethod
    def from_csv(cls, path: str | os.PathLike) -> History:
        """Read what :meth:`to_csv` wrote.

        Raises:
            ValueError: if a value is no number.
        """
        with Path(path).open(newline="", encoding="utf-8") as file:
            return cls(
                {name: _number(text) for name, text in row.items()}
                for row in csv.DictReader(file)
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, History) and self.rows == other.rows

    def __repr__(self) -> str:
        return f"History of {len(self.rows)} epochs"


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
