"""Write the bibliography as a list that screen readers know.

Docutils gives each entry the role ``doc-biblioentry``, which ARIA has withdrawn,
inside an element of role ``list``, which wants ``listitem``.
"""

from docutils import nodes


def visit_citation(self, node):
    type(self).visit_citation(self, node)
    self.body[-1] = self.body[-1].replace('"doc-biblioentry"', '"listitem"')


def depart_citation(self, node):
    type(self).depart_citation(self, node)


def setup(app):
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
