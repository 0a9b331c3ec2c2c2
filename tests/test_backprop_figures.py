"""The graph of the chain rule, Jacobians of units, and shattered gradients."""

import math

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_book.experiments import jacobians, shattered
from course_book.figures.backprop import chain_rule as backprop_figures
from course_book.figures.backprop import residual_gradient as residual_figures
from course_book.figures.backprop.chain_rule import draw_graph, number
from course_book.figures.backprop.numbers_to_tensors import draw_tensor_graph, matrix
from course_lib.backprop.autograd import Value
from course_lib.resnet import BasicBlock, PlainBlock


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    plt.close("all")


class Node:
    def __init__(self, name, value, parents=(), slopes=(), sign=""):
        self.name, self.value, self.sign = name, value, sign
        self.parents, self.slopes, self.gradient = parents, slopes, 0.0


def walked(x, w, b, fork=True):
    """tanh(w x + b), plus x where it forks; gradients as autograd finds them."""
    leaves = [torch.tensor(v, dtype=torch.float64).requires_grad_() for v in (x, w, b)]
    u = leaves[0] * leaves[1]
    z = u + leaves[2]
    a = torch.tanh(z)
    y = a + leaves[0] if fork else a
    names = ["x", "w", "b", "u", "z", "a", *("y" if fork else "")]
    tensors = dict(zip(names, [*leaves, u, z, a, *([y] if fork else [])]))
    grads = torch.autograd.grad(y, list(tensors.values()))
    u, z, a, y = (t.detach() for t in (u, z, a, y))
    n = {"x": Node("x", x), "w": Node("w", w), "b": Node("b", b)}
    n["u"] = Node("u", float(u), (n["x"], n["w"]), (w, x), "×")
    n["z"] = Node("z", float(z), (n["u"], n["b"]), (1.0, 1.0), "+")
    n["a"] = Node("a", float(a), (n["z"],), (1 - float(a) ** 2,), "tanh")
    if fork:
        n["y"] = Node("y", float(y), (n["a"], n["x"]), (1.0, 1.0), "+")
    for name, gradient in zip(tensors, grads):
        n[name].gradient = float(gradient)
    return [n[name] for name in names]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


@settings(deadline=None, max_examples=10)
@given(*[st.floats(-3, 3).filter(lambda v: abs(v) > 0.1)] * 3)
def test_a_graph_shows_each_value_and_each_gradient(x, w, b):
    nodes = walked(x, w, b)
    written = texts(draw_graph(nodes))
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        assert number(node.value) in written
    for name in ("w", "b", "u", "z", "a", "y"):
        assert number(by_name[name].gradient) in written
    # The fork: both contributions beside their edges, and their sum below.
    gradient = by_name["x"].gradient
    (total,) = [text for text in written if text.startswith("gradient of x")]
    assert total.endswith(f"= {number(gradient)}")
    assert number(gradient - 1) in written and "1.000" in written
    plt.close("all")


def test_a_graph_without_a_fork_has_no_sum_and_fits_a_phone():
    for fork in (False, True):
        figure = draw_graph(walked(2.0, -1.0, 3.0, fork))
        written = texts(figure)
        assert any(t.startswith("gradient of") for t in written) == fork
        assert figure.get_size_inches()[0] <= 6.4
        canvas = figure.canvas.get_renderer()
        boxes = [t.get_window_extent(canvas) for t in figure.axes[0].texts]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_another_graph_is_named():
    nodes = walked(2.0, -1.0, 3.0)
    with pytest.raises(ValueError, match="must end with an operation"):
        draw_graph(nodes[:3])
    loose = Node("v", 1.0, (nodes[0],), (1.0,), "+")
    with pytest.raises(ValueError, match="v must be computed from y"):
        draw_graph([*nodes, loose])
    three = Node("v", 1.0, (nodes[-1], *nodes[:2]), (1.0,) * 3, "+")
    with pytest.raises(ValueError, match=r"besides y, got \['x', 'w'\]"):
        draw_graph([*nodes, three])
    first = Node("u", 1.0, nodes[:3], (1.0,) * 3, "×")
    with pytest.raises(ValueError, match="u may have at most two inputs"):
        draw_graph([*nodes[:3], first])


def tensor_unit():
    """ReLU(x W + b) + x with random whole numbers, and the sum of its squares."""
    draw = torch.Generator().manual_seed(3)
    shapes = {"x": (2, 2), "W": (2, 2), "b": (2,)}
    n = {
        name: Value(torch.randint(-3, 4, shape, generator=draw).double())
        for name, shape in shapes.items()
    }
    n["u"] = n["x"] @ n["W"]
    n["z"] = n["u"] + n["b"]
    n["a"] = n["z"].relu()
    n["y"] = n["a"] + n["x"]
    n["q"] = n["y"] ** 2
    n["L"] = n["q"].sum()
    n["L"].backward()
    return n


def test_a_graph_of_tensors_shows_each_value_and_each_gradient():
    values = tensor_unit()
    figure = draw_tensor_graph(values)
    written = texts(figure)
    for value in values.values():
        assert matrix(value.data) in written and matrix(value.grad) in written
    shortcut = values["y"].grad
    assert matrix(values["x"].grad - shortcut) in written  # the branch's share
    assert "gradient of x:" in written and "gradient of b:" not in written
    assert figure.get_size_inches()[0] <= 6.4
    canvas = figure.canvas.get_renderer()
    boxes = [t.get_window_extent(canvas) for t in figure.axes[0].texts]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_a_matrix_is_written_in_columns():
    assert matrix(torch.tensor([[-1.0, 20.0], [-0.0, 3.5]])) == "−1  20\n 0 3.5"
    assert (
        matrix(torch.tensor([1.0, 2.0])) == "1 2" and matrix(torch.tensor(7.0)) == "7"
    )


def curves(axes):
    return [line.get_ydata() for line in axes.get_lines()]


def test_layer_figures_draw_the_numbers_they_get():
    sizes = {"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 0.5]}
    figure = backprop_figures.draw_layers({"left": sizes, "right": sizes}, ylabel="δ")
    for axes in figure.axes:
        assert [list(y) for y in curves(axes)] == list(sizes.values())
    figure = backprop_figures.draw_five_layers(sizes, ([0, 1], [5, 6]))
    assert list(curves(figure.axes[1])[0]) == [5, 6]


def test_residual_figures_draw_the_numbers_they_get():
    generator = torch.Generator().manual_seed(0)
    sizes = torch.rand(11, 4, generator=generator).double() + 0.1
    panels = {"here": {"plain": sizes, "residual": 10 * sizes}}
    figure = residual_figures.draw_products(
        panels, xlabel="x", ylabel="y", powers=(-1, 0)
    )
    medians = curves(figure.axes[0])[:2]
    for drawn, series in zip(medians, panels["here"].values()):
        np.testing.assert_allclose(drawn, series.median(0).values, rtol=1e-9)

    steps = [torch.eye(2, 3), torch.tensor([[2.0, 0.0, 1.0], [0.0, 4.0, 1.0]])]
    figure = residual_figures.draw_directions({"plain": steps}, (0, 1))
    drawn = figure.axes[1].get_lines()[0].get_xydata().T
    np.testing.assert_allclose(drawn, steps[1] / 4, rtol=1e-6)

    values = torch.tensor([0.0, 1e-5, 0.5, 2.0])
    figure = residual_figures.draw_spectra({"start": {"unit": {"F": values}}})
    drawn = curves(figure.axes[0])[0]
    assert np.isnan(drawn).tolist() == [True, True, False, False]
    assert drawn[2:].tolist() == [0.5, 2.0]

    panels = {"one": {"plain": [3.0, 2.0], "residual": [2.0, 1.0]}}
    for figure in (
        residual_figures.draw_over_depth(panels, ylabel="y"),
        residual_figures.draw_identity(panels, 0.7),
    ):
        assert [list(y) for y in curves(figure.axes[0])[:2]] == [[3, 2], [2, 1]]

    names = list(shattered.KINDS)
    gradients = dict(zip(names, torch.tensor([[1.0, -2.0]] * 4)))
    figure = residual_figures.draw_neighbors(torch.arange(2), gradients, names)
    assert [list(curves(axes)[0]) for axes in figure.axes] == [[0.5, -1]] * 4
    depth = {name: {1: 0.5, 2: 0.25} for name in names}
    figure = residual_figures.draw_correlations(
        {name: [1.0, 0.5] for name in names}, depth, {"plain": {1: 0.5, 2: 0.3}}
    )
    assert len(curves(figure.axes[0])) == 4 and len(curves(figure.axes[1])) == 5


@pytest.mark.parametrize("block", [BasicBlock, PlainBlock])
def test_a_jacobian_is_autograds(block):
    net = jacobians.stack(block, 2, 3, seed=1).double()
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(8, 3, 5, 4, generator=generator, dtype=torch.float64).relu()
    jacobians.settle(net, batch)
    found = jacobians.jacobian(net, batch[0])
    right = torch.autograd.functional.jacobian(net, batch[:1]).reshape(60, 60)
    assert torch.allclose(found, right, atol=1e-12) and found.abs().max() > 0.1
    # Chain rule: the product of the units' Jacobians, last unit first.
    first = jacobians.jacobian(net[0], batch[0])
    with torch.no_grad():
        second = jacobians.jacobian(net[1], net[0](batch[:1])[0])
    assert torch.allclose(found, second @ first, atol=1e-10)
    assert not torch.allclose(found, first @ second, atol=1e-3)


def test_a_jacobian_may_change_the_size_and_needs_one_photo():
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False).double()
    maps = torch.randn(2, 5, 5, dtype=torch.float64)
    found = jacobians.jacobian(conv, maps)
    assert found.shape == (27, 50)
    assert torch.allclose(found @ maps.flatten(), conv(maps[None]).flatten())
    with pytest.raises(ValueError, match=r"\[C, H, W\].*\[1, 2, 5, 5\]"):
        jacobians.jacobian(conv, maps[None])


def test_the_gain_of_a_random_gradient_is_the_rms_of_the_singular_values():
    net = jacobians.stack(PlainBlock, 1, 8, seed=0)
    batch = torch.randn(8, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    jacobians.settle(net, batch)
    values = torch.linalg.svdvals(jacobians.jacobian(net, batch[0]))
    generator = torch.Generator().manual_seed(1)
    gains = [jacobians.random_gain(net, batch[:1], generator) for _ in range(40)]
    squares = sum(gain**2 for gain in gains) / len(gains)
    assert squares == pytest.approx(float(values.square().mean()), rel=0.1)


def test_a_unit_is_relu_of_its_input_and_its_branch():
    unit = jacobians.settle(
        jacobians.stack(BasicBlock, 1, 4, seed=0), torch.randn(8, 4, 6, 6)
    )[0]
    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        assert torch.equal(unit(x), torch.relu(jacobians.branch(unit)(x) + x))


def test_settled_bn_normalizes_the_batch_and_keeps_its_momentum():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, momentum=0.3))
    x = torch.randn(16, 1, 8, 8) * 5 + 2
    assert jacobians.settle(net, x) is net and not net.training
    with torch.no_grad():
        y = net(x)
    assert y.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (y.var(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
    assert net[1].momentum == 0.3


def test_inputs_and_middle():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    x = torch.randn(1, 1, 8, 8)
    found = jacobians.inputs_of(net, ["1", "2"], x)
    with torch.no_grad():
        assert torch.equal(found["1"], net[0](x))  # before the ReLU in place
        assert torch.equal(found["2"], net[0](x).relu())
    assert not net[1]._forward_pre_hooks
    maps = torch.arange(30).reshape(5, 6)
    assert jacobians.middle(maps, 2).tolist() == [[8, 9], [14, 15]]
    with pytest.raises(ValueError, match=r"at most the maps' \[5, 6\], got 6"):
        jacobians.middle(maps, 6)


def test_both_kinds_of_stack_have_the_same_weights_and_no_side_effect():
    state = torch.get_rng_state()
    plain, residual = (
        jacobians.stack(b, 2, 4, seed=3) for b in (PlainBlock, BasicBlock)
    )
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(plain.parameters(), residual.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", shattered.KINDS)
def test_input_gradients_are_slopes_of_one_input_at_a_time(kind):
    """An input's gradient is d y / d x, from the tower rebuilt with numpy."""
    inputs = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    found = shattered.input_gradients(kind, 3, inputs, seed=2, width=16)
    generator = torch.Generator().manual_seed(2)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).numpy()

    w0, b0 = draw(16, 1), draw(16)
    weights = [draw(16, 16) * math.sqrt(2 / 16) for _ in range(3)]
    last = draw(16) / 4
    h, fixed = inputs.numpy() @ w0.T + b0, []
    step = 1e-7
    near = (inputs.numpy() + step) @ w0.T + b0
    for w in weights:
        fixed.append((h.mean(0), h.var(0)))
        both = []
        for values in (h, near):
            a = values
            if "BN" in kind:
                a = (a - fixed[-1][0]) / np.sqrt(fixed[-1][1] + 1e-5)
            f = np.maximum(a, 0) @ w.T
            both.append(values + f if kind.startswith("residual") else f)
        h, near = both
    slopes = (near @ last - h @ last) / step
    gap = np.abs(slopes - found[:, 0].numpy())
    # A kink of a ReLU may lie within the step.
    assert np.median(gap) < 1e-5 * np.abs(slopes).max() and (gap < 1e-3).mean() > 0.9


def test_shattering_is_measured():
    line = torch.linspace(-2, 2, 100, dtype=torch.float64)[:, None]
    lag = {}
    for kind in ("plain + BN", "residual + BN"):
        gradient = shattered.input_gradients(kind, 30, line, seed=0, width=64)[:, 0]
        lag[kind] = float(shattered.autocorrelation(gradient, [1])[0])
    assert lag["plain + BN"] < 0.3 < 0.4 < lag["residual + BN"]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(5, 60))
def test_autocorrelation_and_cosine_are_numpys(seed, n):
    rng = np.random.default_rng(seed)
    series = rng.normal(size=n)
    centered = series - series.mean()
    found = shattered.autocorrelation(torch.tensor(series), range(n))
    for lag, value in enumerate(found.tolist()):
        sum_ = np.dot(centered[lag:], centered[: n - lag]) / (n - lag)
        assert value == pytest.approx(sum_ / series.var(), abs=1e-9)
    vectors = rng.normal(size=(n, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[np.triu_indices(n, 1)]
    assert shattered.mean_cosine(torch.tensor(vectors)) == pytest.approx(pairs.mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: shattered.input_gradients("deep", 2, x, 0), "one of .*'deep'"),
        (lambda x: shattered.input_gradients("plain", 2, x[0], 0), r"\[B, D\], got"),
        (lambda x: shattered.autocorrelation(x[:, 0], [4]), r"0 \.\.\. 3, got \[4\]"),
        (lambda x: shattered.autocorrelation(0 * x[:, 0], [1]), "is constant"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(4, 2, dtype=torch.float64))
