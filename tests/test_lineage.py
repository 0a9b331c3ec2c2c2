"""The drawings of the family and its descendants say what they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import FancyBboxPatch

from course_book.figures.structure.family import draw_error
from course_book.figures.structure.idea import draw_idea
from course_book.figures.structure.lineage import STEPS, WIDTH, draw_timeline


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_the_timeline_is_in_order_and_names_every_step_and_year():
    years = [step.year for step in STEPS]
    assert years == sorted(years)
    figure = draw_timeline()
    texts = [text.get_text() for text in figure.axes[0].texts]
    for step in STEPS:
        assert step.name in texts and step.change in texts
    assert [t for t in texts if t.isdigit()] == [str(y) for y in dict.fromkeys(years)]
    assert figure.get_figwidth() == WIDTH <= 6.4


def test_every_step_has_its_own_drawing_within_the_picture():
    for step in STEPS:
        axes = draw_timeline([step]).axes[0]
        boxes = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
        assert boxes, step.name
        for box in boxes:
            assert box.get_x() + box.get_width() < WIDTH


def test_every_network_stands_at_its_cost_and_error():
    residual = {"ResNet-18": (1.8, 27.9), "34": (3.7, 25.0)}
    axes = draw_error(residual, {"plain-34": (3.7, 28.5)}, {"VGG": (15.5, 28.1)}).axes
    found = {tuple(xy) for line in axes[0].lines for xy in line.get_xydata()}
    assert found == {(1.8, 27.9), (3.7, 25.0), (3.7, 28.5), (15.5, 28.1)}
    assert {t.get_text() for t in axes[0].texts} == {
        "ResNet-18",
        "34",
        "plain-34",
        "VGG",
    }


def test_the_slide_has_both_equations_and_the_measured_numbers():
    line = torch.linspace(-1, 1, 9)
    figure = draw_idea([0.75, 0.2, 0.1], (line, line), (18, 25), (line, line**2))
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "$x_4 = H_4(H_3(H_2(H_1(x))))$" in texts
    assert "$x_4 = x + F_1 + F_2 + F_3 + F_4$" in texts
    assert "10 % of its sum" in texts and "18 of 25 units" in texts
    bars = [patch.get_height() for patch in figure.axes[1].patches]
    assert bars == [0.75, 0.2, 0.1]
    width, height = figure.get_size_inches()
    assert width <= 6.4 and 1.5 <= width / height <= 1.78  # fits on a slide
