"""The rows of a ledger: totals, subtotals, and tables for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas

MIB = 2**20
HEADS = ("name", "kind", "output", "parameters", "MACs", "MiB out", "kept", "field")


class Row(NamedTuple):
    """One call of a layer, or one function called between layers, such as ``+``.

    ``macs`` and ``field`` (height, width) are None where no rule is known.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int | None
    output_bytes: int
    kept_bytes: int
    field: tuple[int, int] | None

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of ``HEADS``."""
        field = self.field or ()
        return (
            self.name,
            self.kind,
            "×".join(map(str, self.output_shape)),
            f"{self.parameters:,}",
            "unknown" if self.macs is None else f"{self.macs:,}",
            f"{self.output_bytes / MIB:.2f}",
            f"{self.kept_bytes / MIB:.2f}",
            "×".join(map(str, field[: 1 if len(set(field)) == 1 else 2])) or "–",
        )


@dataclass(frozen=True, repr=False)
class Ledger:
    """All rows of one forward pass. Bytes and MACs are those of the whole batch.

    ``parameters`` and the bytes cover the whole model, shared parameters once;
    ``trained_bytes`` are those of parameters that get a gradient, and ``unused``
    names the parameters of no row: of layers that this input never met.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    parameters: int
    parameter_bytes: int
    trained_bytes: int
    buffer_bytes: int
    unused: tuple[str, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Layers whose MACs nobody counted, as ``name (kind)``."""
        missing = (row for row in self.rows if row.macs is None)
        return tuple(f"{row.name} ({row.kind})" for row in missing)

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
        return sum(row.kept_bytes for row in self.rows)

    def by_stage(self) -> Ledger:
        """One row for each child of the model, in the order of the calls."""
        stages = []
        for name, group in groupby(self.rows, lambda row: row.name.split(".")[0]):
            rows = list(group)
            counts = [row.macs for row in rows]
            stage = rows[-1]._replace(
                name=name,
                kind=rows[0].kind if len(rows) == 1 else f"{len(rows)} layers",
                input_shape=rows[0].input_shape,
                parameters=sum(row.parameters for row in rows),
                macs=None if None in counts else sum(counts),
                output_bytes=sum(row.output_bytes for row in rows),
                kept_bytes=sum(row.kept_bytes for row in rows),
            )
            stages.append(stage)
        return replace(self, rows=tuple(stages))

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows as a pandas DataFrame, one column for each field of ``Row``."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_dataframe() needs pandas: pip install pandas; "
                "print(ledger) and ledger.rows do without"
            ) from error
        return pandas.DataFrame(self.rows, columns=Row._fields)

    def total(self) -> tuple[str, ...]:
        """The cells of the last line."""
        return (
            "total",
            "",
            "",
            f"{self.parameters:,}",
            ("at least " if self.unknown else "") + f"{self.macs:,}",
            f"{self.output_bytes / MIB:.2f}",
            f"{self.kept_bytes / MIB:.2f}",
            "",
        )

    def notes(self) -> Iterator[str]:
        """What the totals leave out, in words."""
        if self.unknown:
            yield f"MACs not counted: {', '.join(self.unknown)}"
        if self.unused:
            yield f"Parameters of layers that were not called: {', '.join(self.unused)}"

    def __str__(self) -> str:
        table = [HEADS, *(row.cells() for row in self.rows), self.total()]
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = []
        for cells in table:
            padded = (
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths))
            )
            lines.append("  ".join(padded).rstrip())
        rule = "-" * max(map(len, lines))
        lines[1:1], lines[-1:-1] = [rule], [rule]
        return "\n".join([*lines, *self.notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(cells: tuple[str, ...], tag: str = "td") -> str:
            return "".join(
                f'<{tag} style="padding: 0.35em 0.5em 0.35em 0; '
                f'text-align: {"left" if i < 3 else "right"}">{escape(cell)}</{tag}>'
                for i, cell in enumerate(cells)
            )

        shape = "×".join(map(str, self.input_shape))
        body = "".join(f"<tr>{line(row.cells())}</tr>\n" for row in self.rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes())
        return (
            f'<table style="font-size: 0.8em">\n'
            f"<caption>Input {shape}; sizes in MiB</caption>\n"
            f"<thead><tr>{line(HEADS, 'th')}</tr></thead>\n<tbody>\n{body}</tbody>\n"
            f"<tfoot><tr>{line(self.total(), 'th')}</tr></tfoot>\n</table>{notes}"
        )
