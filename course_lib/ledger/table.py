"""The rows of a ledger and their sums, as text and as a tree in HTML that folds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import NamedTuple

from course_lib.dimensions import Layer, unread

MIB = 2**20
COUNTS = ("parameters", "macs", "output_bytes", "kept_bytes")
HEADS = ("name", "kind", "output", "parameters", "MACs", "MiB out", "kept", "field")
TREE_HEADS = ("output", "K, S, P", "floor drops", "parameters", "MACs", "MiB out")
TREE_HEADS += ("MiB kept", "field")
OPEN = 10  # a branch of the tree with at most so many layers is open at first


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
        title = escape(f"{self.classes.get('', 'Ledger')}, input {shape}")
        page = Template(part("page.html")).substitute(
            title=title, tree=self._repr_html_()
        )
        Path(path).write_text(page, encoding="utf-8")

    def _repr_html_(self) -> str:
        heads = "".join(f"<span><b>{head}</b></span>" for head in TREE_HEADS)
        whole = tree_line("total", "", ["", "", "", *self.total()[3:]], 0)
        notes = "".join(f"<p>{escape(note)}</p>\n" for note in self.notes())
        return (
            f"<style>\n{part('tree.css')}</style>\n"
            '<div class="ledger">\n<span class="line heads">'
            f'<span class="name"><b>layer</b></span>{heads}</span>\n'
            f"<details open><summary>{whole}</summary>\n"
            f"{''.join(self.tree(self.rows))}</details>\n{notes}</div>"
        )

    def tree(self, rows: Sequence[Row], depth: int = 1) -> Iterator[str]:
        """A line for each row, in branches of rows whose names begin alike."""
        sums = [max(1, sum(getattr(r, key) or 0 for r in self.rows)) for key in COUNTS]

        def row_line(row: Row) -> str:
            shares = [(getattr(row, k) or 0) / whole for k, whole in zip(COUNTS, sums)]
            name = row.name.split(".")[-1]
            return tree_line(name, row.kind, tree_cells(row), depth, shares)

        for prefix, group in groupby(rows, lambda row: row.name.split(".")[:depth]):
            inner = list(group)
            if all(row.name.count(".") < depth for row in inner):
                yield from map(row_line, inner)
                continue
            name = ".".join(prefix)
            layers = f", {len(inner)} layers" if len(inner) > 1 else ""
            kind = (self.classes.get(name, "") + layers).lstrip(", ")
            yield f"<details{' open' * (len(inner) <= OPEN)}>"
            yield f"<summary>{row_line(subtotal(inner, name, kind))}</summary>\n"
            yield from self.tree(inner, depth + 1)
            yield "</details>\n"


def tree_line(
    name: str, kind: str, cells: Sequence[str], depth: int, bars: Sequence[float] = ()
) -> str:
    """One row; each cell holds its column's head too, for phones and screen readers.

    ``bars``: the share of parameters, MACs, bytes made and bytes kept.
    """
    kind = kind if kind != name else ""
    spans = [f'<span class="name">{escape(name)} <i>{escape(kind)}</i></span>']
    shares = [0.0, 0.0, 0.0, *bars, *[0.0] * 5]
    for head, cell, part in zip(TREE_HEADS, cells, shares):
        bar = f' class="share" style="--s:{part:.3f}"' if part >= 0.001 else ""
        spans.append(f"<span{bar}>{cell and f'<b>{head}</b> {escape(cell)}'}</span>")
    return f'<span class="line" style="--d:{depth}">{"".join(spans)}</span>\n'


def tree_cells(row: Row) -> list[str]:
    """The cells below ``TREE_HEADS``."""
    _, _, shape, *counts, field = row.cells()
    if row.window is None:
        return [shape, "", "", *counts, field]
    kind, kernel, *_, ceil_mode = row.window
    axes = len(kernel) if isinstance(kernel, tuple) else len(row.input_shape) - 2
    settings = [v if isinstance(v, tuple) else (v,) * axes for v in row.window[1:5]]
    dropped = []
    for axis in zip(row.input_shape[-axes:], *settings):
        left = unread(*axis, kind=kind, ceil_mode=ceil_mode)
        counted = {"padded": left.padding, "real": left.edge}
        dropped.append(" + ".join(f"{n} {word}" for word, n in counted.items() if n))
    once = [shape_text(dict.fromkeys(values)) for values in settings[:3]]
    floor = shape_text(each or "0" for each in dict.fromkeys(dropped))
    return [shape, ", ".join(once), floor if any(dropped) else "", *counts, field]


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


def part(name: str) -> str:
    """A file that the page is made of."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
