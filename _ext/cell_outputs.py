"""Show the output of a labeled notebook cell on any page, and link to the cell.

A cell is labeled in its metadata: ``"label": "units"``. Then

* ``{ref}`text <cell-units>` `` links to it from anywhere;
* the directive below shows its picture (or its HTML table) as a figure::

      ```{cell-figure} residual_unit.ipynb::units
      :name: fig-units
      Caption, one paragraph of Markdown.
      ```

The alt text is the cell's own (``mystnb.image.alt``) unless ``:alt:`` is given.
"""

import base64
import os
import struct
from pathlib import Path
from typing import ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


def png_width(path: Path) -> int:
    """Pixels across, from the PNG header."""
    with path.open("rb") as file:
        return struct.unpack(">I", file.read(24)[16:20])[0]


class CellFigure(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {
        "name": directives.unchanged,
        "alt": directives.unchanged,
    }

    def run(self):
        name, _, label = self.arguments[0].partition("::")
        folder = Path(self.env.doc2path(self.env.docname)).parent
        path = (folder / name).resolve()
        if not path.is_file():
            raise self.error(f"no notebook {name!r} beside this page")
        self.env.note_dependency(str(path))
        notebook = nbformat.read(path, as_version=4)
        cells = [c for c in notebook.cells if c.metadata.get("label") == label]
        if len(cells) != 1:
            raise self.error(f"{len(cells)} cells of {name!r} are labeled {label!r}")
        figure = nodes.figure("", self.output(cells[0], path.stem, label))
        figure["classes"] += cells[0].metadata.get("classes", [])
        self.set_source_info(figure)
        self.caption(figure, label)
        self.add_name(figure)
        return [figure]

    def output(self, cell, stem, label):
        bundles = [out.data for out in cell.outputs if "data" in out]
        for data in bundles:
            if "image/png" in data:
                alt = self.options.get("alt")
                alt = alt or cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
                if not alt:
                    raise self.error(f"the cell {label!r} has no alt text")
                # Beside the images that myst-nb extracts, outside the sources.
                place = Path(self.env.app.outdir).parent / "jupyter_execute"
                place.mkdir(parents=True, exist_ok=True)
                file = place / f"{stem}-{label}.png"
                file.write_bytes(base64.b64decode(data["image/png"]))
                folder = Path(self.env.doc2path(self.env.docname)).parent
                return nodes.image(
                    uri=Path(os.path.relpath(file, folder)).as_posix(), alt=alt
                )
        for data in bundles:
            if "text/html" in data:
                return nodes.raw("", data["text/html"], format="html")
        raise self.error(f"the cell {label!r} has neither a picture nor a table")

    def caption(self, figure, label):
        if not self.content:
            raise self.error("a figure needs a caption")
        parsed = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, parsed)
        text = parsed[0]
        caption = nodes.caption(text.rawsource, "", *text.children)
        caption.source, caption.line = text.source, text.line
        caption += nodes.Text(" ")
        caption += self.link("Show the code.", f"cell-{label}")
        figure += caption

    def link(self, text, target):
        return pending_xref(
            "",
            nodes.inline(text, text),
            refdomain="std",
            reftype="ref",
            reftarget=target,
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )


class CellTargets(SphinxTransform):
    """Give every labeled code cell an anchor that ``{ref}`` finds, and every cell
    the classes of its metadata, ``"classes": ["keep-colors"]``."""

    default_priority = 210

    def apply(self):
        for node in self.document.findall(nodes.container):
            metadata = node.get("cell_metadata", {})
            node["classes"] += metadata.get("classes", [])
            label = metadata.get("label")
            if label:
                node["names"].append(f"cell-{label}")
                self.document.note_explicit_target(node)


class RetinaImages(SphinxPostTransform):
    """Notebook pictures hold two pixels per CSS pixel: show them at half size."""

    default_priority = 5

    def run(self):
        for node in self.document.findall(nodes.image):
            if "jupyter_execute" in node["uri"] and node["uri"].endswith(".png"):
                file = Path(self.env.srcdir) / node["uri"]
                if file.is_file():
                    node["width"] = f"{png_width(file) // 2}px"


def setup(app):
    app.add_directive("cell-figure", CellFigure)
    app.add_transform(CellTargets)
    app.add_post_transform(RetinaImages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
