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
    window, kernel = torch.randint(-120, 120, (2, 3, 7, 7), generator=generator)
    written = texts(draw_products(window, kernel, ["red", "green", "blue"]))
    values = [int(t.replace("−", "-").replace(",", "")) for t in written
              if t.strip("−0123456789,") == ""]  # fmt: skip
    total = int(nn.functional.conv2d(window[None].double(), kernel[None].double()))
    assert values[-1] == total
    # Per channel: window, kernel, seven sums.
    assert len(values) == 3 * (49 + 49 + 7) + 1
    sums = (window * kernel).sum(2)
    for channel in range(3):
        block = values[105 * channel : 105 * (channel + 1)]
        assert block[:49] == window[channel].flatten().tolist()
        assert block[49:98] == kernel[channel].flatten().tolist()
        assert block[98:] == sums[channel].tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_max_pooling(torch.zeros(5, 9)), r"at least \[6, 6\], got \[5, 9"),
        (lambda: draw_max_pooling(torch.zeros(9, 9), [(3, 0)]), r"\(2, 2\), got"),
        (lambda: draw_products(torch.zeros(3, 7, 7), torch.zeros(3, 3, 3), "rgb"),
         r"\[3, 7, 7\], \[3, 3, 3\] and 3 names"),
        (lambda: draw_products(torch.zeros(3, 7, 7), torch.zeros(3, 7, 7), "r"),
         "1 names"),
        (lambda: draw_products(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), "r"),
         "whole, got torch.float32"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
