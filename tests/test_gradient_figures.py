"""Pictures of backward passes: what they write is what autograd computes."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from torch.nn import functional as F

from course_book.figures.backprop.grids import (
    draw_conv_backward,
    draw_pooling_backward,
)
from course_book.figures.backprop.paths import (
    draw_bn_paths,
    draw_branch_lengths,
    draw_forgotten,
    draw_kept,
)
from course_lib.dimensions import output_size, unread


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def whole(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).double()


def numbers(figure):
    """The numbers that are written, in the order in which they are drawn."""
    written = [text.get_text().replace("−", "-") for text in figure.axes[0].texts]
    return [int(text) for text in written if text.lstrip("-").isdigit()]


CONVS = [(5, 3, 2, 1), (6, 3, 2, 1), (6, 1, 2, 0), (8, 2, 3, 1)]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CONVS)
def test_convolution_writes_autograds_gradient(size, kernel, stride, padding):
    rows = output_size(size, kernel, stride, padding)
    delta, weight = whole(rows, rows), whole(kernel, kernel, seed=1)
    figure = draw_conv_backward(delta, weight, size, stride, padding)

    x = torch.zeros(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    z = F.conv2d(x, weight[None, None], None, stride, padding)
    (gradient,) = torch.autograd.grad(z, x, delta[None, None])
    written = torch.tensor(numbers(figure))
    wide = size + kernel - 1
    spread, result, kernels = written[rows**2 :].split(
        [wide**2, size**2, 2 * kernel**2]
    )
    assert torch.equal(result, gradient.flatten().long())
    drawn, flipped = kernels.split(kernel**2)
    assert torch.equal(drawn, weight.flatten().long())

    # The grid in the middle and the kernel, as drawn, make it by plain convolution.
    product = F.conv2d(spread.view(1, 1, wide, wide), flipped.view(1, 1, kernel, -1))
    assert torch.equal(product.flatten(), result)

    hatched = sum(patch.get_hatch() is not None for patch in figure.axes[0].patches)
    read = unread(size, kernel, stride, padding).read
    assert hatched == size**2 - read**2


def test_the_sum_of_the_outlined_number_is_written_out():
    delta = torch.tensor([[1.0, 2.0, 0.0], [-1.0, 3.0, 1.0], [2.0, 0.0, -2.0]])
    weight = torch.arange(1.0, 10.0).view(3, 3)
    for at, text in (
        ((1, 3), "2·9 + 0·7 + 3·3 + 1·1\n= 18 + 0 + 9 + 1 = 28"),
        ((2, 1), "−1·6 + 3·4\n= −6 + 12 = 6"),
    ):
        figure = draw_conv_backward(delta, weight, 5, 2, 1, at)
        assert figure.axes[0].texts[-1].get_text() == text


@pytest.mark.parametrize("size", [4, 5])
def test_pooling_writes_autograds_gradient(size):
    values = whole(size, size).div(3).round()  # so coarse that there are ties
    rows = output_size(size, 3, 2, 1, kind="pool")
    delta = whole(rows, rows, seed=1)
    x = values[None, None].clone().requires_grad_()
    y = F.max_pool2d(x, 3, 2, 1)
    (gradient,) = torch.autograd.grad(y, x, delta[None, None])
    figure = draw_pooling_backward(values, delta)
    expected = gradient.flatten().int().tolist()
    assert numbers(figure)[-len(expected) :] == expected
    ring = [text.get_text() for text in figure.axes[0].texts].count("−∞")
    assert ring == 4 * size + 4


def test_bn_paths_are_the_derivatives():
    """Paths as drawn, multiplied and added, are autograd's gradient of one value."""
    labels = {text.get_text() for text in draw_bn_paths().axes[0].texts}
    names = {
        r"$1/s$": lambda s, m, d, h: 1 / s,
        r"$1/m$": lambda s, m, d, h: 1 / m,
        r"$-1/s$": lambda s, m, d, h: -1 / s,
        r"$2\,(z_i-\mu)/m$": lambda s, m, d, h: 2 * d / m,
        r"$-\hat z_m/(2s^2)$": lambda s, m, d, h: -h / (2 * s**2),
    }
    assert set(names) | {r"$0$", r"$\gamma\,\delta_i$"} <= labels
    z, delta = whole(6), whole(6, seed=1)
    z.requires_grad_()
    y = F.batch_norm(z[:, None], None, None, training=True)
    (gradient,) = torch.autograd.grad(y, z, delta[:, None])

    d = (z - z.mean()).detach()
    s, m = (d.square().mean() + 1e-5).sqrt(), len(z)
    direct, to_mean, from_mean, to_var, from_var = (
        derivative(s, m, d, d / s) for derivative in names.values()
    )
    total = delta * direct + to_mean * (delta * from_mean).sum()
    total = total + to_var * (delta * from_var).sum()
    assert torch.allclose(total, gradient)


def test_errors_and_shares_are_drawn_in_percent():
    names = ["conv1", *(f"layer{k}.{u}.conv{c}" for k in range(1, 5)
                        for u in (0, 1) for c in (1, 2)), "fc"]  # fmt: skip
    errors = {name: k / 10 for k, name in enumerate(names)}
    bars = draw_forgotten(errors).axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx(
        [100 * error for error in errors.values()]
    )
    curve, dots = draw_kept({2: 0.02, 4: 0.7, 64: 0.98}).axes[0].lines
    assert dots.get_ydata().tolist() == pytest.approx([2, 70, 98])
    assert curve.get_ydata()[0] == 0 and curve.get_xdata()[-1] == pytest.approx(64)


def test_bars_are_as_long_as_the_gradients():
    lengths = {"1.0": (3.0, 4.0, 5.0), "1.1": (1.0, 2.0, 2.5)}
    axes = draw_branch_lengths(lengths).axes[0]
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    assert heights == [[3.0, 1.0], [4.0, 2.0], [5.0, 2.5]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1.0", "1.1"]


SQUARE = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_conv_backward(torch.zeros(3, 2), SQUARE, 5), r"\[3, 2\]"),
        (lambda: draw_conv_backward(SQUARE, SQUARE, 5, padding=3), "0 to 2, got 3"),
        (lambda: draw_conv_backward(SQUARE, SQUARE, 9, 2, 1), "5 rows .* got 3"),
        (lambda: draw_conv_backward(SQUARE, SQUARE, 5, 2, 1, at=(0, 5)), r"\(4, 4\)"),
        (lambda: draw_pooling_backward(SQUARE, SQUARE), "M = 2 for N = 3"),
        (lambda: draw_pooling_backward(torch.zeros(5, 5), SQUARE, [(0, 3)]),
         r"\(2, 2\), got"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
