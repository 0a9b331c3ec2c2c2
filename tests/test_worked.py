"""Worked numbers: what the figures write is what torch computes."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from course_book.figures.mechanism.worked import draw_max_pooling, draw_products


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_pooling_writes_torchs_results():
    values = torch.randn(112, 112, generator=torch.Generator().manual_seed(0))
    written = texts(draw_max_pooling(values))
    pooled = nn.MaxPool2d(3, 2, 1)(values[None])[0, :3, :3].flatten().tolist()
    numbers = [text for text in written if text[-1:].isdigit()]
    assert written.count("−∞") == 13  # the ring above and beside 6 x 6 values
    assert len(numbers) == 36 + 9
    assert numbers[36:] == [f"{value:.2f}".replace("-", "−") for value in pooled]


def test_products_add_up_to_the_convolution():
    generator = torch.Generator().manual_seed(1)
    patch, kernel = torch.randn(2, 3, 7, 7, generator=generator)
    written = texts(draw_products(patch, kernel, ["red", "green", "blue"]))
    value = float(nn.functional.conv2d(patch[None], kernel[None]))
    assert written[-1] == f"{value:+.3f}".replace("-", "−")
    assert {"red", "green", "blue"} <= set(written)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_max_pooling(torch.zeros(5, 9)), r"at least \[6, 6\], got \[5, 9"),
        (lambda: draw_max_pooling(torch.zeros(9, 9), [(3, 0)]), r"\(2, 2\), got"),
        (lambda: draw_products(torch.zeros(3, 7, 7), torch.zeros(3, 3, 3), "rgb"),
         r"\[3, 7, 7\], \[3, 3, 3\] and 3 names"),
        (lambda: draw_products(torch.zeros(3, 7, 7), torch.zeros(3, 7, 7), "r"),
         "1 names"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
