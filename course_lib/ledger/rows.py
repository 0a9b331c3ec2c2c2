"""One row of a ledger, and what rows have in common: sums, and numbers as text."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from course_lib.dimensions import Layer

MIB = 2**20
COUNTS = ("parameters", "macs", "output_bytes", "kept_bytes")
HEADS = ("name", "kind", "output", "parameters", "MACs", "MiB out", "kept", "field")


class Row(NamedTuple):
    """One call of a layer, or one function called between layers, such as ``+``.

    ``macs``, ``kept_bytes`` and ``field`` (height, width) are None where no rule is
    known. ``window`` is None unless a window slides.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int | None
    output_bytes: int
    kept_bytes: int | None
    field: tuple[int, int] | None
    window: Layer | None = None

    def cells(self) -> list[str]:
        """The row as text, in the order of ``HEADS``."""
        field = shape_text(dict.fromkeys(self.field or "–"))  # one number if square
        counts = self.parameters, self.macs, self.output_bytes, self.kept_bytes
        shape = shape_text(self.output_shape)
        return [self.name, self.kind, shape, *figures(*counts), field]


def figures(
    parameters: int, macs: int | None, output: int, kept: int | None
) -> list[str]:
    """Numbers as text; bytes in MiB."""
    counts = [f"{parameters:,}", "unknown" if macs is None else f"{macs:,}"]
    sizes = ["unknown" if n is None else f"{n / MIB:.2f}" for n in (output, kept)]
    return counts + sizes


def shape_text(shape: Iterable[object]) -> str:
    """As it is read: 64×56×56."""
    return "×".join(map(str, shape))


def subtotal(rows: Sequence[Row], name: str, kind: str) -> Row:
    """One row for several that follow one another."""
    sums = {key: total(getattr(row, key) for row in rows) for key in COUNTS}
    ends = {"input_shape": rows[0].input_shape, "window": None}
    return rows[-1]._replace(name=name, kind=kind, **ends, **sums)


def total(counts: Iterable[int | None]) -> int | None:
    """The sum, or None if one is missing."""
    counts = list(counts)
    return None if None in counts else sum(counts)
