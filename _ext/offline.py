"""Keep the built book light and to itself: no page asks another host for anything.

Jupyter Book's defaults load MathJax, RequireJS, the widget manager and Thebe
from content networks, and every script and style sheet on every page. Here

* MathJax comes from ``_vendor/mathjax``, as one file, ``_static/mathjax/math.js``,
  named only on pages that hold math (Sphinx also loads it on pages above them);
  ``_static/book.js`` runs it when the page is there;
* the theme's icons come from ``_vendor/fontawesome``, 7 KB instead of Font
  Awesome's 1.5 MB of JavaScript, or 380 KB of style sheet and fonts, see
  ``_templates/static/webpack-macros.html``;
* scripts and style sheets that a page has no use for are dropped, Thebe's always;
* pictures below the first are loaded when they come near the screen;
* anything else with an address on another host is an error, not a request.
"""

import json
import re
import shutil
import struct
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

logger = logging.getLogger(__name__)

VENDOR = Path(__file__).parent.parent / "_vendor"
FOREIGN = re.compile(r"^(https?:)?//")
# What stands in the address or text of an asset, and what in a page needs it.
NEEDED_BY = {
    "thebe": None,
    "mathjax": r'class="[^"]*\bmath\b',
    "design-tabs": r'class="[^"]*\bsd-tab-set\b',
    "sphinx-design": r'class="[^"]*\bsd-',
    "clipboard": r'class="highlight',
    "copybutton": r'class="highlight',
    "toggle": r'class="[^"]*\b(toggle|dropdown)\b',
    "terms.js": r'class="[^"]*\bstd-term\b',
    "exercise.css": r'class="[^"]*\b(exercise|solution)',
    "mystnb": r'class="[^"]*\b(cell|cell_output|pasted-text)\b',
}
IMAGE = re.compile(r'<img (?=[^>]*?src="[^"]*_images/([^"]+)")')


def bundle_mathjax() -> str:
    """MathJax's files in one, as its loader asks for them one after the other."""
    source = VENDOR / "mathjax"
    parts = "".join(
        f"{json.dumps(path.relative_to(source).as_posix())}() {{\n"
        f"{path.read_text(encoding='utf-8')}\n}},\n"
        for path in sorted(source.rglob("*.js"))
        if path.name != "startup.js"
    )
    startup = (source / "startup.js").read_text(encoding="utf-8")
    return (
        "/* MathJax 3.2.2, Apache License 2.0, see LICENSE; bundled by this book. */\n"
        "window.MathJax.loader.require = (address) => {\n"
        f"const parts = {{\n{parts}}};\n"
        "const name = Object.keys(parts).find((key) => address.endsWith(`/${key}`));\n"
        "if (!name) throw new Error(`MathJax needs ${address}, see _vendor/mathjax`);\n"
        "parts[name]();\n"
        "};\n"
        f"{startup}\n"
    )


def use_vendored(app, config):
    folder = Path(app.outdir).parent / "vendored"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(VENDOR / "fontawesome", folder / "fontawesome")
    fonts = "output/chtml/fonts/woff-v2"
    shutil.copytree(VENDOR / "mathjax" / fonts, folder / "mathjax" / fonts)
    shutil.copy(VENDOR / "mathjax" / "LICENSE", folder / "mathjax")
    (folder / "mathjax" / "math.js").write_text(bundle_mathjax(), encoding="utf-8")
    config.html_static_path.append(str(folder))
    config.mathjax_path = "mathjax/math.js"
    # No browser runs a script of this type; book.js reads the address.
    config.mathjax_options = {"type": "text/x-math"}


def drop_assets(app, pagename, templatename, context, doctree):
    text = context.get("body") or ""
    for kind in ("script_files", "css_files"):
        kept = []
        for asset in context.get(kind, []):
            address = str(getattr(asset, "filename", None) or "")
            body = getattr(asset, "attributes", {}).get("body") or ""
            words = f"{address} {body}".lower()
            needs = [need for word, need in NEEDED_BY.items() if word in words]
            if any(not need or not re.search(need, text) for need in needs):
                continue
            if FOREIGN.match(address):
                logger.warning("%s loads %s", pagename, address)
            kept.append(asset)
        if kind in context:
            context[kind] = kept


def shape(path: Path) -> str:
    """A picture's width and height as attributes: its place is kept free."""
    if path.suffix != ".png" or not path.is_file():
        return ""
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:24])
    return f'width="{width}" height="{height}" '


def load_images_late(app, pagename, templatename, context, doctree):
    """All but a page's first picture wait until they come near the screen."""
    files = {name: uri for uri, name in app.builder.images.items()}
    seen = 0

    def late(match):
        nonlocal seen
        seen += 1
        lazy = 'loading="lazy" ' if seen > 1 else ""
        size = shape(Path(app.srcdir) / files.get(match[1], ""))
        return f"<img {lazy}{size}"

    context["body"] = IMAGE.sub(late, context.get("body") or "")


def drop_thebe_settings(app, doctree, docname):
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if "x-thebe-config" in text or "kernelName =" in text:
            node.parent.remove(node)


def setup(app):
    app.connect("doctree-resolved", drop_thebe_settings, priority=999)
    app.connect("config-inited", use_vendored)
    app.connect("html-page-context", load_images_late)
    # After every other extension has added its scripts.
    app.connect("html-page-context", drop_assets, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
