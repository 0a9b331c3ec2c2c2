"""Put an interactive explorer into a page; it needs no kernel.

::

    ```{explorer} convolution
    :name: fig-explorer-convolution
    :state: {"size": 112, "kernel": 3, "kind": "pool"}
    Caption, one paragraph of Markdown.
    ```

The state is JSON and may be left out: the explorer starts with its own. Modules,
tables and pictures are the files of ``course_book/explorers``, read by their path,
for the book is built without the package.
"""

import json
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).parent.parent / "course_book" / "explorers"
SHARED = ("page.py", "common.js", "explorers.css")  # what every explorer is made with


def load_page():
    spec = spec_from_file_location("explorers_page", FOLDER / "page.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = load_page()


class ExplorerDirective(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        "name": directives.unchanged,
        "state": directives.unchanged,
    }

    def run(self):
        name = self.arguments[0]
        files = FOLDER.glob(f"{name}.*")
        for path in [*files, *(FOLDER / one for one in SHARED)]:
            self.env.note_dependency(str(path))
        try:
            state = json.loads(self.options.get("state", "{}"))
            text = page.embed(name, state)
        except ValueError as error:  # an unknown name or value, or no JSON
            raise self.error(f"explorer {name!r}: {error}") from error
        if not self.content:
            raise self.error(f"explorer {name!r} needs a caption")
        figure = nodes.figure("", nodes.raw("", text, format="html"))
        figure["classes"].append("explorer-figure")
        self.set_source_info(figure)
        parsed = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, parsed)
        caption = nodes.caption(parsed[0].rawsource, "", *parsed[0].children)
        caption.source, caption.line = parsed[0].source, parsed[0].line
        figure += caption
        self.add_name(figure)
        return [figure]


def copy_files(app, error):
    """What is too much for a page: it asks for the file when the explorer is seen."""
    if error is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "explorers"
        target.mkdir(parents=True, exist_ok=True)
        for path in FOLDER.glob("*_data.js"):
            shutil.copyfile(path, target / path.name)


def setup(app):
    app.add_directive("explorer", ExplorerDirective)
    app.connect("build-finished", copy_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
