"""Keep the built book to itself: no page asks another host for anything.

Jupyter Book's defaults load MathJax, RequireJS, the widget manager and Thebe
from content networks. Here

* MathJax comes from ``_vendor/mathjax``, copied to ``_static/mathjax``, and is
  loaded only on pages that hold math (Sphinx also loads it on pages above them);
* scripts and styles of Thebe, which this book does not use, are dropped;
* anything else with an address on another host is an error, not a request.

Font Awesome's icons come as its style sheet and fonts instead of 1.5 MB of
JavaScript: see ``_templates/static/webpack-macros.html``.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

logger = logging.getLogger(__name__)

FOREIGN = re.compile(r"^(https?:)?//")


def use_vendored_mathjax(app, config):
    config.html_static_path.append(str(Path(__file__).parent.parent / "_vendor"))
    config.mathjax_path = "mathjax/startup.js"


def is_math(node):
    return isinstance(node, nodes.math | nodes.math_block)


def drop_scripts(app, pagename, templatename, context, doctree):
    has_math = doctree and any(doctree.findall(is_math))
    for kind in ("script_files", "css_files"):
        kept = []
        for asset in context.get(kind, []):
            address = str(getattr(asset, "filename", None) or "")
            body = getattr(asset, "attributes", {}).get("body") or ""
            if "thebe" in f"{address} {body}".lower():
                continue
            if "mathjax" in f"{address} {body}".lower() and not has_math:
                continue
            if FOREIGN.match(address):
                logger.warning("%s loads %s", pagename, address)
            kept.append(asset)
        if kind in context:
            context[kind] = kept


def drop_thebe_settings(app, doctree, docname):
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if "x-thebe-config" in text or "kernelName =" in text:
            node.parent.remove(node)


def setup(app):
    app.connect("doctree-resolved", drop_thebe_settings, priority=999)
    app.connect("config-inited", use_vendored_mathjax)
    # After every other extension has added its scripts.
    app.connect("html-page-context", drop_scripts, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
