"""The HTML of an explorer: the same text in a notebook's output and in the book.

Only the standard library, and no import from the package: ``_ext/explorer.py`` loads
this file by its path, since the book is built without ``course_lib``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["embed", "module", "names", "read_data", "read_more", "style"]

HERE = Path(__file__).parent
MARK = "// common.js\n"


def names() -> list[str]:
    """All explorers."""
    return sorted(path.stem for path in HERE.glob("*.json"))


@cache
def read_text(name: str) -> str:
    """A file of this folder."""
    return (HERE / name).read_text(encoding="utf-8").strip()


@cache
def read_data(name: str) -> dict[str, Any]:
    """What Python wrote for an explorer: title, state, limits, height, tables.

    Raises:
        ValueError: if there is no such explorer.
    """
    if name not in names():
        raise ValueError(f"no explorer {name!r}; there are {', '.join(names())}")
    return json.loads(read_text(f"{name}.json"))


def read_more(file: str) -> dict[str, Any]:
    """What a table's ``file`` holds: too much for the page, loaded when it is seen.

    A script of one assignment, since a page from the disk may read nothing else.
    """
    return json.loads(read_text(file).partition("] =\n")[2].rstrip(";"))


def module(name: str) -> str:
    """An explorer's ES module, complete: ``common.js`` in the place of its mark."""
    text, common = read_text(f"{name}.js"), read_text("common.js")
    if text.count(MARK) != 1:
        raise ValueError(f"{name}.js needs one line {MARK.strip()!r}")
    return text.replace(MARK, f"// common: begin\n{common}\n// common: end\n")


def style(name: str) -> str:
    """The style that all explorers share, and an explorer's own where it has a file."""
    own = [f"{name}.css"] if (HERE / f"{name}.css").exists() else []
    return "\n".join(map(read_text, ["explorers.css", *own]))


def embed(name: str, state: Mapping[str, object] | None = None) -> str:
    """The explorer as HTML that comes alive in any browser, from ``file://`` too.

    A module named by ``src`` would be blocked there; one that stands in the page is
    not. Without JavaScript the picture and the text remain.

    Args:
        name: one of :func:`names`.
        state: values to start with, the explorer's own for those left out.

    Raises:
        ValueError: if there is no such explorer, or it has no such value.
    """
    data = read_data(name)
    known = data["state"]
    strange = sorted(set(state or {}) - set(known))
    if strange:
        raise ValueError(f"{name} has no {', '.join(strange)}; it has {sorted(known)}")
    values = json.dumps(
        {"state": {**known, **(state or {})}, "data": data},
        ensure_ascii=False,
        separators=(",", ":"),
    ).replace("</", "<\\/")
    wide, narrow = data["height"]
    return "\n".join(
        [
            f"<style>{style(name)}</style>",
            f'<div class="explorer-frame" data-explorer="{name}" role="group" '
            f'aria-label="{escape(data["title"])}" '
            f'style="--wide: {wide}px; --narrow: {narrow}px">',
            read_text(f"{name}.html"),
            f'<script type="application/json">{values}</script>',
            "</div>",
            f'<script type="module">\n{module(name)}\n'
            f'mount(render, "{name}");\n</script>',
        ]
    )
