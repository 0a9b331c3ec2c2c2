"""Pictures of a photo's way: the numbers drawn are the numbers given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from course_book import figures
from course_book.figures.mechanism.forward_pass import (
    draw_branches,
    draw_probabilities,
    draw_verdicts,
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_branches_share_one_scale():
    x = torch.arange(32.0).reshape(2, 4, 4)
    figure = draw_branches({"x": x, "F": -x, "sum": x - x}, "+=", ["a", "b"], (1, 2))
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == 6
    assert {image.get_clim() for image in images} == {images[0].get_clim()}
    low, high = images[0].get_clim()
    assert low == -high and high == 31  # nothing is clipped
    np.testing.assert_array_equal(images[0].get_array(), x[0])
    assert {"x", "F", "sum", "+", "=", "a", "b"} <= {t.get_text() for t in figure.texts}


def test_a_mark_has_the_same_center_in_maps_of_other_sizes():
    big, small = torch.zeros(1, 56, 56), torch.ones(1, 28, 28)
    figure = draw_branches({"x": big, "out": small}, ["→"], ["c"], (10, 3))
    boxes = [p for axes in figure.axes[:2] for p in axes.patches]
    centers = [tuple(box.get_center()) for box in boxes]
    assert centers == [pytest.approx((6, 20)), pytest.approx((3, 10))]


def test_probabilities_are_written_and_the_right_class_is_blue():
    figure = draw_probabilities({"deck": 0.25, "wall": 0.75}, "wall")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["75.0 %", "25.0 %"]
    colors = [bar.get_facecolor() for bar in axes.patches]
    assert colors == [to_rgba(figures.BLUE), to_rgba(figures.ORANGE)]


def test_verdicts_cover_the_photo():
    scores = {"cracked": torch.eye(7), "not": -2 * torch.eye(7)}
    figure = draw_verdicts(torch.rand(3, 70, 140), scores)
    tiles = [axes.images[1] for axes in figure.axes[1:3]]
    assert [list(tile.get_extent()) for tile in tiles] == [
        [-0.5, 139.5, 69.5, -0.5]
    ] * 2
    assert {tile.get_clim() for tile in tiles} == {(-2.0, 2.0)}
    assert figure.axes[3].get_xlim() == (-2.0, 2.0)  # the color bar


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_branches({"x": torch.ones(1, 2, 2)}, "+", "a"), "1 signs"),
        (lambda: draw_branches({"x": torch.ones(1, 2, 2)}, "", "ab"), "2 names"),
        (lambda: draw_verdicts(torch.ones(1, 2, 2), {"a": torch.ones(7, 7)}),
         r"got \[1, 2, 2\]"),
        (lambda: draw_verdicts(torch.ones(3, 2, 2), {}), "0 scores"),
        (lambda: draw_probabilities({"deck": 1.0}, "wall"), "got 'wall'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
