"""The bibliography: the labels that the pages use, and a list for screen readers.

A page says [He et al., 2016a], so the entry begins with these words, too. Docutils
gives each entry the role ``doc-biblioentry``, which ARIA has withdrawn, inside an
element of role ``list``, which wants ``listitem``.
"""

from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.alpha import Style as Alpha
from pybtex.style.labels import BaseLabelStyle


class AuthorYearLabels(BaseLabelStyle):
    def format_labels(self, sorted_entries):
        for entry in sorted_entries:
            people = entry.persons["author"]
            names = [" ".join(map(str, person.rich_last_names)) for person in people]
            who = names[0] + " et al." if len(names) > 2 else " and ".join(names)
            yield f"{who}, {entry.fields['year']}"


class AuthorYear(Alpha):
    default_label_style = "author_year"


register_plugin("pybtex.style.labels", "author_year", AuthorYearLabels)
register_plugin("pybtex.style.formatting", "author_year", AuthorYear)


def visit_citation(self, node):
    type(self).visit_citation(self, node)
    self.body[-1] = self.body[-1].replace('"doc-biblioentry"', '"listitem"')


def depart_citation(self, node):
    type(self).depart_citation(self, node)


def setup(app):
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
