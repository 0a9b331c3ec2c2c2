"""Terms that show their glossary entry where they stand.

A link made by ``{term}`kernel` `` finds its definition on its own page, in a hidden
box at the end, so that ``_static/terms.js`` needs no network and works from the disk.
Without JavaScript the link leads to the glossary, as ever.
"""

import re
from html import escape

from docutils import nodes

GLOSSARY = "chapters/reference/glossary"
CHINESE = re.compile(r"[\u4e00-\u9fff]+")


def words(definition):
    """The text of an entry; its items are numbered, if there are several."""
    items = list(definition.findall(nodes.list_item))
    texts = [" ".join(item.astext().split()) for item in items or [definition]]
    if len(texts) > 1:
        texts = [f"({number}) {text}" for number, text in enumerate(texts, start=1)]
    return " ".join(texts)


def definitions(env):
    """Anchor of each term: the term and its entry."""
    found = {}
    for entry in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        names = list(entry.findall(nodes.term))
        text = words(next(iter(entry.findall(nodes.definition))))
        for name in names:
            for anchor in name["ids"]:
                found[anchor] = (name.astext(), text)
    return found


def show(name, text):
    text = CHINESE.sub(r'<span lang="zh">\g<0></span>', escape(text))
    return f"<b>{escape(name)}</b> {text}"


def add_definitions(app, doctree, docname):
    if docname == GLOSSARY or GLOSSARY not in app.env.found_docs:
        return
    used = {
        link["refuri"].rpartition("#")[2]
        for link in doctree.findall(nodes.reference)
        if "refuri" in link
        and any("std-term" in inner["classes"] for inner in link.findall(nodes.inline))
    }
    if not used:
        return
    entries = definitions(app.env)
    boxes = "".join(
        f'<p id="hover-{anchor}">{show(*entries[anchor])}</p>\n'
        for anchor in sorted(used & set(entries))
    )
    html = f'<div class="term-definitions" hidden>\n{boxes}</div>\n'
    doctree += nodes.raw("", html, format="html")


def setup(app):
    app.connect("doctree-resolved", add_definitions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
