"""Lines do not break between a number and its unit, or a formula and its comma.

Sources stay easy to type and to translate: "40 %" and "7 × 7" are written with plain
spaces, and the spaces that do not break come in when a page is written.
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

UNITS = "%|‰|px|pixels|mm|cm|ms|s|min|kB|MB|GB|KiB|MiB|GiB"
SPACES = [
    (re.compile(rf"(?<=\d) (?=(?:{UNITS})(?!\w))"), "\u00a0"),
    (re.compile(r"(?<=[\dA-Z]) × (?=[\dA-Z])"), "\u00a0×\u00a0"),
]
CLOSING = re.compile(r"[.,;:!?)\]’”…]+")
OPENING = re.compile(r"[(\[“]$")
LITERAL = (nodes.literal, nodes.literal_block, nodes.raw, nodes.math, nodes.math_block)


class Spaces(SphinxPostTransform):
    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs):
        end = ""  # of the text before: a value put in by glue is a text of its own
        for text in list(self.document.findall(nodes.Text)):
            before, end = end, text.astext()[-1:]
            if any(isinstance(parent, LITERAL) for parent in above(text)):
                continue
            words = before + text.astext()
            for pattern, replacement in SPACES:
                words = pattern.sub(replacement, words)
            words = words[len(before) :]
            if words != text.astext():
                put(text, nodes.Text(words))
        for formula in list(self.document.findall(nodes.math)):
            hold(formula)


def above(node):
    while (node := node.parent) is not None:
        yield node


def put(old, new):
    """Replace this very node: ``replace`` takes the first text that reads the same."""
    siblings = old.parent
    place = next(i for i, child in enumerate(siblings) if child is old)
    siblings[place] = new


def hold(formula):
    """Put a formula, the bracket before it and the comma behind it into one box."""
    parent = formula.parent
    place = parent.index(formula)
    before = parent[place - 1] if place else None
    after = parent[place + 1] if place + 1 < len(parent) else None
    opening = isinstance(before, nodes.Text) and OPENING.search(before.astext())
    closing = isinstance(after, nodes.Text) and CLOSING.match(after.astext())
    if not (opening or closing):
        return
    box = nodes.inline(classes=["together"])
    put(formula, box)
    if opening:
        put(before, nodes.Text(before.astext()[: opening.start()]))
        box += nodes.Text(opening[0])
    box += formula
    if closing:
        put(after, nodes.Text(after.astext()[closing.end() :]))
        box += nodes.Text(closing[0])


def setup(app):
    app.add_post_transform(Spaces)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
