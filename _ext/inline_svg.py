"""Put a committed SVG drawing into a page, so that it follows the theme.

::

    ```{inline-svg} /_static/network_map.svg
    :name: fig-network-map
    :class: wide
    Caption, one paragraph of Markdown; it may be left out.
    ```

The path is relative to the page, or to the root of the book with a leading
slash. The drawing brings its own ``<title>`` and ``<desc>``. A link in it,
``href="page:chapters/structure/photo#anchor"``, becomes the address of that
page; the build warns where there is no such page.
"""

import re
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

LINK = re.compile(r'href="page:([^"#]+)(#[^"]*)?"')


class inline_svg(nodes.General, nodes.Element):
    """Holds the drawing until the page's own address is known."""


class InlineSvg(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {
        "name": directives.unchanged,
        "class": directives.class_option,
    }

    def run(self):
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise self.error(f"no drawing {self.arguments[0]!r}") from error
        if "<title" not in text or "<desc" not in text:
            raise self.error(f"{self.arguments[0]!r} needs a <title> and a <desc>")
        drawing = inline_svg(text=text[text.index("<svg") :])
        self.set_source_info(drawing)
        figure = nodes.figure("", drawing)
        figure["classes"] += ["inline-svg", *self.options.get("class", [])]
        self.set_source_info(figure)
        if self.content:
            parsed = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, parsed)
            caption = nodes.caption(parsed[0].rawsource, "", *parsed[0].children)
            caption.source, caption.line = parsed[0].source, parsed[0].line
            figure += caption
        self.add_name(figure)
        return [figure]


def visit_html(self, node):
    builder, page = self.builder, self.builder.current_docname

    def address(match):
        target, anchor = match[1], match[2] or ""
        if target not in builder.env.all_docs:
            logger.warning("the drawing links to no page: %r", target, location=node)
        return f'href="{builder.get_relative_uri(page, target)}{anchor}"'

    self.body.append(LINK.sub(address, node["text"]))
    raise nodes.SkipNode


def skip(self, node):
    raise nodes.SkipNode


def setup(app):
    app.add_node(
        inline_svg, html=(visit_html, None), latex=(skip, None), text=(skip, None)
    )
    app.add_directive("inline-svg", InlineSvg)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
