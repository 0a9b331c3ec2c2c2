"""All rows of a ledger: totals, subtotals, and tables for the terminal and the page."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from course_lib.ledger.page import fragment, page
from course_lib.ledger.rows import HEADS, Row, figures, shape_text, subtotal


@dataclass(frozen=True, repr=False)
class Ledger:
    """All rows of one forward pass. Bytes and MACs are those of the whole batch.

    ``parameters`` and their bytes cover the whole model, shared parameters once;
    ``unused`` names those of layers that this input never met.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    parameters: int
    parameter_bytes: int
    trained_bytes: int
    buffer_bytes: int
    unused: tuple[str, ...] = ()
    classes: dict[str, str] = field(default_factory=dict)  # of modules by name; "": all

    @property
    def unknown(self) -> tuple[str, ...]:
        """Rows whose MACs or kept bytes have no rule, as ``name (kind)``."""
        missing = (row for row in self.rows if None in (row.macs, row.kept_bytes))
        return tuple(f"{row.name} ({row.kind})".strip() for row in missing)

    @property
    def macs(self) -> int:
        """MACs of all rows with a rule; the rest is named in ``unknown``."""
        return sum(row.macs or 0 for row in self.rows)

    @property
    def output_bytes(self) -> int:
        """Bytes of all results that the forward pass allocates."""
        return sum(row.output_bytes for row in self.rows)

    @property
    def kept_bytes(self) -> int:
        """Bytes of activations that wait for the backward pass."""
        return sum(row.kept_bytes or 0 for row in self.rows)

    def by_stage(self) -> "Ledger":
        """One row for each child of the model, in the order of the calls."""
        stages = []
        for name, group in groupby(self.rows, lambda row: row.name.split(".")[0]):
            rows = list(group)
            kind = rows[0].kind if len(rows) == 1 else f"{len(rows)} layers"
            stages.append(subtotal(rows, name, kind))
        return replace(self, rows=tuple(stages))

    def total(self) -> list[str]:
        """The cells of the last line."""
        sums = figures(self.parameters, self.macs, self.output_bytes, self.kept_bytes)
        for column, key in ((1, "macs"), (3, "kept_bytes")):
            if any(getattr(row, key) is None for row in self.rows):
                sums[column] = f"at least {sums[column]}"
        return ["total", "", "", *sums, ""]

    def notes(self) -> Iterator[str]:
        """What the totals leave out, in words."""
        if self.unknown:
            yield f"Not counted: {', '.join(self.unknown)}"
        if self.unused:
            yield f"Parameters of layers that were not called: {', '.join(self.unused)}"

    def __str__(self) -> str:
        table = [HEADS, *(row.cells() for row in self.rows), self.total()]
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = []
        for cells in table:
            left = [cell.ljust(width) for cell, width in zip(cells[:3], widths)]
            right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:])]
            lines.append("  ".join(left + right).rstrip())
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *self.notes()])

    __repr__ = __str__

    def to_html(self, path: str | Path) -> None:
        """Write one page with everything in it: a tree to fold, for screen and paper.

        Beside the columns of the text it shows each window's kernel, stride and
        padding, and what its floor drops at the far edge.
        """
        shape = shape_text(self.input_shape)
        title = f"{self.classes.get('', 'Ledger')}, input {shape}"
        Path(path).write_text(page(title, self._repr_html_()), encoding="utf-8")

    def _repr_html_(self) -> str:
        return fragment(self.rows, self.classes, self.total()[3:7], self.notes())
