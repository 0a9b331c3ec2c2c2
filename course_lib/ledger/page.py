"""A ledger as HTML: a tree that folds, in a notebook or as a page of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template

from course_lib.dimensions import unread
from course_lib.ledger.rows import COUNTS, Row, shape_text, subtotal

HEADS = ("output", "K, S, P", "floor drops", "parameters", "MACs", "MiB out")
HEADS += ("MiB kept", "field")
OPEN = 10  # a branch with at most so many layers is open at first

FILES = Path(__file__).parent


def page(title: str, tree: str) -> str:
    """A whole page: it needs no other file, folds, prints, and turns dark."""
    template = (FILES / "page.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=escape(title), tree=tree)


def fragment(
    rows: Sequence[Row],
    classes: Mapping[str, str],
    totals: Sequence[str],
    notes: Iterable[str],
) -> str:
    """The tree with its style, to stand in a notebook.

    Args:
        rows: the layers, in the order of their calls.
        classes: of the modules by name.
        totals: parameters, MACs, MiB made and kept, as text.
        notes: what the totals leave out.
    """
    style = (FILES / "tree.css").read_text(encoding="utf-8")
    heads = "".join(f"<span><b>{head}</b></span>" for head in HEADS)
    sums = [sum(getattr(row, key) or 0 for row in rows) for key in COUNTS]
    whole = line("total", "", ["", "", "", *totals, ""], 0)
    branches = "".join(tree(rows, classes, sums, 1))
    paragraphs = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    return (
        f'<style>\n{style}</style>\n<div class="ledger">\n<span class="row heads">'
        f'<span class="name"><b>layer</b></span>{heads}</span>\n'
        f"<details open><summary>{whole}</summary>\n"
        f"{branches}</details>\n{paragraphs}</div>"
    )


def tree(
    rows: Sequence[Row], classes: Mapping[str, str], sums: Sequence[int], depth: int
) -> Iterator[str]:
    """A line for each layer, in branches of rows whose names begin alike."""

    def row_line(row: Row) -> str:
        counts = [getattr(row, key) or 0 for key in COUNTS]
        shares = [part / max(1, whole) for part, whole in zip(counts, sums)]
        return line(row.name.split(".")[-1], row.kind, cells(row), depth, shares)

    for prefix, group in groupby(rows, lambda row: row.name.split(".")[:depth]):
        inner = list(group)
        if all(row.name.count(".") < depth for row in inner):
            yield from map(row_line, inner)
            continue
        name = ".".join(prefix)
        layers = f", {len(inner)} layers" if len(inner) > 1 else ""
        kind = (classes.get(name, "") + layers).lstrip(", ")
        yield f"<details{' open' * (len(inner) <= OPEN)}>"
        yield f"<summary>{row_line(subtotal(inner, name, kind))}</summary>\n"
        yield from tree(inner, classes, sums, depth + 1)
        yield "</details>\n"


def line(
    name: str, kind: str, cells: Sequence[str], depth: int, bars: Sequence[float] = ()
) -> str:
    """One row; each cell holds its column's head too, for phones and screen readers.

    ``bars``: the share of parameters, MACs, bytes made and bytes kept.
    """
    kind = kind if kind != name else ""
    spans = [f'<span class="name">{escape(name)} <i>{escape(kind)}</i></span>']
    shares = [0.0, 0.0, 0.0, *bars, *[0.0] * 5]
    for head, cell, part in zip(HEADS, cells, shares):
        bar = f' class="share" style="--s:{part:.3f}"' if part >= 0.001 else ""
        spans.append(f"<span{bar}>{cell and f'<b>{head}</b> {escape(cell)}'}</span>")
    return f'<span class="row" style="--d:{depth}">{"".join(spans)}</span>\n'


def cells(row: Row) -> list[str]:
    """The cells below ``HEADS``."""
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
