"""Exercises in the book: the stub is seen, the solution is folded behind it.

A notebook holds each solution between nbgrader's markers. This page shows the cell
as a learner gets it, and the solved cell in a fold below. The Colab button of such a
page opens the learners' version, which a workflow publishes on the branch `handout`.
"""

import re
from pathlib import PurePosixPath

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.transforms.post_transforms import SphinxPostTransform

REGION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION$", re.DOTALL | re.M
)
MARKER = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION\n?", re.MULTILINE)
# What nbgrader_config.py puts in a solution's place.
STUB = "# Your code here, in place of the dots.\n..."


def stub_of(source: str) -> str:
    """The cell as learners get it."""
    return REGION.sub(lambda region: indent(STUB, region.group(1)), source)


def solved(source: str) -> str:
    """The cell without the markers."""
    return MARKER.sub("", source).strip("\n")


def indent(text: str, by: str) -> str:
    return "\n".join(by + line for line in text.split("\n"))


class FoldSolutions(SphinxPostTransform):
    default_priority = 198  # before myst-nb folds cells
    formats = ("html",)

    def run(self, **options):
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") != "cell_code":
                continue
            if not cell.get("cell_metadata", {}).get("nbgrader", {}).get("solution"):
                continue
            source = cell.children[0]
            block = next(source.findall(nodes.literal_block))
            text = block.astext()
            fold = HideCodeCellNode(
                prompt_show="Show the solution", prompt_hide="Hide the solution"
            )
            fold["classes"] += ["above-input", "exercise-solution"]
            answer = source.deepcopy()
            self.fill(next(answer.findall(nodes.literal_block)), solved(text))
            fold.append(answer)
            self.fill(block, stub_of(text))
            cell.insert(1, fold)

    @staticmethod
    def fill(block, text):
        block.rawsource = text
        block.children = []
        block += nodes.Text(text)


def open_handout(app, pagename, templatename, context, doctree):
    """Point the Colab button of an exercises page to the learners' version."""
    path = PurePosixPath(pagename)
    if path.name != "exercises":
        return
    branch = app.config.html_theme_options.get("repository_branch", "main")
    old = f"/blob/{branch}/{pagename}.ipynb"
    new = f"/blob/handout/{path.parent.name}_exercises.ipynb"
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if "colab" in button.get("url", ""):
                button["url"] = button["url"].replace(old, new)


def setup(app):
    app.add_post_transform(FoldSolutions)
    # Behind the theme, which makes the button at 501.
    app.connect("html-page-context", open_handout, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
