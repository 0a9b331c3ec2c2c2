"""The extension that keeps formulas and their commas together."""

import importlib.util
from pathlib import Path

import pytest

nodes = pytest.importorskip("docutils.nodes")
PATH = Path(__file__).parent.parent / "_ext" / "nonbreaking_spaces.py"


def test_two_full_stops_of_one_paragraph_stay_where_they_are():
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("nonbreaking_spaces", PATH)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    formula = nodes.math("", "x")
    parts = [
        nodes.Text("A"),
        nodes.emphasis("", "b"),
        nodes.Text("."),
        nodes.Text(" C "),
    ]
    paragraph = nodes.paragraph("", "", *parts, formula, nodes.Text("."))
    extension.hold(formula)
    assert paragraph.astext() == "Ab. C x."
    assert formula.parent["classes"] == ["together"]
