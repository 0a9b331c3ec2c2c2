"""Figures of the refresher: what is drawn is what was computed."""

import matplotlib.pyplot as plt
import pytest
import torch

from course_book.figures import BLUE, ORANGE
from course_book.figures.refresher import (
    draw_cross_entropy,
    draw_ellipse,
    draw_losses,
    draw_relu,
    draw_splits,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def arrows(ax):
    tips = [note.xy for note in ax.texts if note.arrowprops is not None]
    return torch.tensor(tips, dtype=torch.float64).T  # one arrow a column


def test_the_half_axes_of_the_ellipse_are_the_singular_values():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    left, right = draw_ellipse(matrix).axes
    steps, images = arrows(left), arrows(right)
    torch.testing.assert_close(steps.norm(dim=0), torch.ones(2).double())
    torch.testing.assert_close(matrix @ steps, images)
    torch.testing.assert_close(images.norm(dim=0), torch.linalg.svdvals(matrix))
    assert abs(images[:, 0] @ images[:, 1]) < 1e-12, "they are at right angles"


def test_each_probability_is_a_point_on_the_curve():
    (ax,) = draw_cross_entropy([0.5, 0.25], ["a", "b"]).axes
    points = [line.get_xydata()[0].tolist() for line in ax.lines[1:]]
    assert points == [[0.5, pytest.approx(0.6931, abs=1e-4)], [0.25, 2 * points[0][1]]]
    assert [note.get_text() for note in ax.texts] == ["a: 0.69", "b: 1.39"]


def test_a_line_ends_each_epoch():
    (ax,) = draw_losses({"a": [3.0, 2.0, 1.0, 0.5], "b": [3.0, 1.0, 0.5, 0]}, 2).axes
    ends = [line.get_xdata()[0] for line in ax.lines[2:]]
    assert ends == [2.5, 4.5]
    assert ax.lines[0].get_xydata().tolist()[0] == [1, 3.0]


def test_training_is_blue_and_test_is_orange():
    table = torch.tensor([[True, False], [True, True]])
    ax = draw_splits({"one": table, "two": ~table}).axes[0]
    colors = ax.collections[0].to_rgba(ax.collections[0].get_array().ravel())
    blue, orange = plt.matplotlib.colors.to_rgba_array([BLUE, ORANGE])
    wanted = [blue, orange, blue, blue]
    assert all((got == want).all() for got, want in zip(colors, wanted, strict=True))


def test_the_derivative_of_relu_is_0_at_0():
    filled = draw_relu().axes[1].lines[2]
    assert filled.get_xydata().tolist() == [[0, 0]]
    assert filled.get_markerfacecolor() == ORANGE
