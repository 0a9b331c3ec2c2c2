"""The page that a learner gets back; it holds text and pictures, and nothing that runs.

Whoever opens it may be logged in somewhere, so a hand-in must not bring a script along.
Everything of the hand-in is escaped text, or a PNG or JPEG picture whose bytes are
one; HTML, SVG, JavaScript, Markdown and widgets that its cells display are left out.
A content security policy forbids the browser the rest.
"""

import base64
import re
from html import escape

from marking import Marks, slug

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem; color: #1f2328; background: #fff; }
pre { background: #f6f8fa; padding: .6rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .3rem 0; }
pre.error { background: #ffebe9; }
pre.text, pre.stderr { background: none; border-left: 3px solid #d1d9e0; }
pre.stdout { background: none; border-left: 3px solid #59636e; }
section { margin: 1.2rem 0; }
td, th { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #d1d9e0; }
img { max-width: 100%; }
"""
# Colors of a terminal, and control characters that HTML cannot hold.
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
PICTURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def page(marks: Marks, learner: str) -> str:
    """The HTML of a page for one notebook."""
    most, got = marks.assignment.points, marks.points
    rows = [
        f"<tr><td>{escape(slug(marks, check))}</td>"
        f"<td>{got[check]:g} of {most[check]:g}</td></tr>"
        for check in most
    ]
    title = f"{marks.assignment.name}: {learner}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{sum(got.values()):g} of {sum(most.values()):g} points</p>",
            f"<table><tr><th>Exercise</th><th>Points</th></tr>{''.join(rows)}</table>",
            *(f"<p>{escape(note)}</p>" for note in marks.notes),
            *(cell(marks, index) for index in range(len(marks.cells))),
            "</body></html>",
        ]
    )


def cell(marks: Marks, index: int) -> str:
    """One cell and what it printed."""
    one, check = marks.cells[index], marks.cells[index].grade_id
    points = ""
    if one.points is not None:
        points = f"<p><b>{marks.points[check]:g} of {one.points:g} points</b></p>"
    outputs = "".join(map(output, marks.outputs.get(index, [])))
    return f"<section>{points}<pre>{plain(one.source)}</pre>{outputs}</section>"


def output(one: dict) -> str:
    """One output of a cell."""
    if "picture" not in one:
        name = one["name"] if one["name"] in ("error", "stderr", "stdout") else "text"
        return f'<pre class="{name}">{plain(one["text"])}</pre>'
    try:
        data = base64.b64decode(one["picture"])
    except ValueError:
        return ""
    kind = next((k for start, k in PICTURES.items() if data.startswith(start)), None)
    text = base64.b64encode(data).decode()
    return (
        f'<img alt="A picture" src="data:image/{kind};base64,{text}">' if kind else ""
    )


def plain(text: str) -> str:
    """Text as HTML shows it."""
    return escape(CONTROLS.sub("", text))
