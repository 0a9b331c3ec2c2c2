"""Questions with answers to choose from; each answer, right or wrong, is explained.

::

    ```{self-check}
    :right: b a
    1. What is asked?

       - A wrong answer.

         No. Why it is wrong.

       - The right answer.

         Right. Why it is right.

    2. The next question, likewise.
    ```

An answer is a ``<details>`` element: its explanation unfolds by mouse, touch, keyboard
and screen reader, without a script, and ``book.css`` and ``book.js`` unfold all on
paper. Everything inside stays ordinary Markdown, so that it can be translated.
"""

from string import ascii_lowercase
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class explained(nodes.General, nodes.Element):
    """An answer with its explanation."""


class answer(nodes.General, nodes.Element):
    """What one can choose: one paragraph."""


class SelfCheck(SphinxDirective):
    has_content = True
    option_spec: ClassVar = {"right": directives.unchanged_required}

    def run(self):
        box = nodes.container(classes=["self-check"])
        self.set_source_info(box)
        self.state.nested_parse(self.content, self.content_offset, box)
        right = self.options.get("right", "").split()
        if len(box) != 1 or not isinstance(box[0], nodes.enumerated_list):
            raise self.error("a self-check is one numbered list of questions")
        if len(right) != len(box[0]):
            raise self.error(
                f"{len(box[0])} questions, but :right: names {len(right)} answers"
            )
        for number, (question, letter) in enumerate(zip(box[0], right), start=1):
            question["classes"].append("question")
            self.answers(question, letter, number)
        return [box]

    def answers(self, question, letter, number):
        if not isinstance(question[-1], nodes.bullet_list):
            raise self.error(f"question {number} does not end with a list of answers")
        items = question[-1].children
        if letter not in ascii_lowercase[: len(items)]:
            raise self.error(f"question {number} has no answer {letter!r}")
        choices = nodes.enumerated_list(
            "", enumtype="loweralpha", prefix="", suffix=".", classes=["answers"]
        )
        for item, name in zip(items, ascii_lowercase):
            if len(item) < 2:
                raise self.error(f"question {number}, {name}: no explanation")
            if not isinstance(item[0], nodes.paragraph):  # "57." begins a list
                raise self.error(f"question {number}, {name}: begin with a sentence")
            verdict = "right" if name == letter else "wrong"
            text, *reasons = item.children
            choice = explained("", answer("", text), *reasons)
            choices += nodes.list_item("", choice, classes=[verdict])
        question.replace(question[-1], choices)


def visit_explained(self, node):
    self.body.append("<details>\n")


def depart_explained(self, node):
    self.body.append("</details>\n")


def visit_answer(self, node):
    self.body.append("<summary>")
    # A summary holds words, no paragraph; they may have been translated by now.
    node.children = [child for text in node.children for child in text.children]


def depart_answer(self, node):
    self.body.append("</summary>\n")


def plain(self, node):
    """Other formats show an answer as it is."""


def setup(app):
    app.add_node(
        explained,
        html=(visit_explained, depart_explained),
        latex=(plain, plain),
        text=(plain, plain),
    )
    app.add_node(
        answer,
        html=(visit_answer, depart_answer),
        latex=(plain, plain),
        text=(plain, plain),
    )
    app.add_directive("self-check", SelfCheck)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
