"""Pictures of what a value sees: the squares and numbers given are those drawn."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch

from course_book.figures.mechanism.pooling import draw_heads
from course_book.figures.mechanism.receptive_field import (
    draw_effective,
    draw_lead,
    draw_squares,
    draw_ways,
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def boxes(axes):
    return [(*p.get_xy(), p.get_width()) for p in axes.patches]


def test_squares_are_where_they_should_be_and_all_are_seen():
    figure = draw_squares(torch.rand(3, 64, 64), {"a": (10, 7), "b": (-20, 150)})
    (axes,) = figure.axes
    assert boxes(axes)[1:] == [(9.5, 9.5, 7), (-20.5, -20.5, 150)]
    assert [t.get_text() for t in axes.texts] == ["a: 7", "b: 150"]
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert left < -20.5 and right > 130 and high < -20.5 and low > 130


def test_heat_is_drawn_as_given():
    heat = {n: {"x": torch.rand(9, 9), "y": torch.rand(9, 9)} for n in ("one", "two")}
    sides = {n: {"x": 3, "y": 5} for n in heat}
    figure = draw_effective(heat, {"x": (2, 5), "y": (-3, 15)}, sides)
    drawn = [axes.images[0].get_array() for axes in figure.axes]
    given = [values for maps in heat.values() for values in maps.values()]
    assert all((d == g.numpy()).all() for d, g in zip(drawn, given, strict=True))
    assert [b for (b,) in map(boxes, figure.axes[:2])] == [
        (1.5, 1.5, 5),
        (-3.5, -3.5, 15),
    ]
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "90 %: 3 px",
        "90 %: 5 px",
    ] * 2


def test_numbers_are_written():
    (axes,) = draw_ways({"a": [1.0, 2.0], "b": [4.0]}, {"a": "A", "b": "B"}).axes
    assert [t.get_text() for t in axes.texts] == ["mean 1.5 %", "mean 4.0 %"]
    (axes,) = draw_heads({("here", "mean"): (4, 6), ("there", "large"): (80, 86)}).axes
    assert {"5 %", "83 %"} <= {t.get_text() for t in axes.texts}
    (axes,) = draw_lead([1.0, 2.0, 3.0], 2).axes
    assert axes.lines[0].get_ydata().tolist() == [1.0, 2.0, 3.0]
