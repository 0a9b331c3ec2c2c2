"""A ledger as HTML: a tree that folds, in a notebook or as a page of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby

from course_lib.dimensions import unread
from course_lib.ledger.rows import COUNTS, Row, shape_text, subtotal

HEADS = ("output", "K, S, P", "floor drops", "parameters", "MACs", "MiB out")
HEADS += ("MiB kept", "field")
OPEN = 10  # a branch with at most so many layers is open at first

STYLE = """<style>
.ledger { container-type: inline-size; font: 0.75rem/1.4 sans-serif; }
.ledger .row { display: grid; gap: 0 0.5em; padding: 0.15em 0.3em;
  grid-template-columns: repeat(3, 1fr); border-bottom: 1px solid #8886; }
.ledger .name { grid-column: 1 / -1; padding-left: calc(var(--d) * 1em); }
.ledger summary { cursor: pointer; list-style: none; }
.ledger summary::-webkit-details-marker, .ledger .heads { display: none; }
.ledger summary .name { font-weight: bold; }
.ledger summary .name::before { content: "▸ "; }
.ledger details[open] > summary .name::before { content: "▾ "; }
.ledger .row > :empty { display: none; }
.ledger b, .ledger i { font-weight: normal; opacity: 0.8; }
.ledger .share { background: linear-gradient(#4a90d9 0 0) no-repeat
  0 100% / calc(var(--s) * 100%) 2px; }
@container (min-width: 43rem) {
  .ledger .row { grid-template-columns: minmax(8em, 1fr) 8em 4.5em 5em 6.5em 8.5em
    4.5em 4em 3.5em; }
  .ledger .heads { display: grid; }
  .ledger .name { grid-column: 1; }
  .ledger .row > :empty { display: block; }
  .ledger .row > span:not(.name) { text-align: right; }
  .ledger .row:not(.heads) b { position: absolute; clip-path: inset(50%);
    width: 1px; overflow: hidden; }
}
</style>
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 70rem; margin: 1rem auto; padding: 0 0.5rem; }}
body, button {{ font: 1rem sans-serif; }}
button {{ padding: 0.3em 0.8em; }}
@page {{ size: landscape; margin: 10mm; }}
@media print {{ button {{ display: none; }} .row {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p><button type="button">Open all</button> <button type="button">Close all</button></p>
{tree}
</main>
<script>
const fold = open => document.querySelectorAll("details details").forEach(
  one => {{ one.open = open; }});
document.querySelectorAll("button").forEach(
  (button, place) => button.addEventListener("click", () => fold(place === 0)));
addEventListener("beforeprint", () => fold(true));
</script>
</body>
</html>
"""


def page(title: str, tree: str) -> str:
    """A whole page: it needs no other file, folds, prints, and turns dark."""
    return PAGE.format(title=escape(title), tree=tree)


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
    heads = "".join(f"<span><b>{head}</b></span>" for head in HEADS)
    sums = [sum(getattr(row, key) or 0 for row in rows) for key in COUNTS]
    whole = line("total", "", ["", "", "", *totals, ""], 0)
    branches = "".join(tree(rows, classes, sums, 1))
    paragraphs = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    return (
        f'{STYLE}<div class="ledger">\n<span class="row heads">'
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
