"""course_lib.backprop.autograd against torch's autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import broadcastable_shapes
from torch.nn import functional as F

from course_lib.backprop import autograd
from course_lib.backprop.autograd import (
    Value,
    cross_entropy,
    topological_order,
    undo_broadcast,
)

seeds = st.integers(0, 2**31)
shapes = st.lists(st.integers(1, 4), max_size=4).map(tuple)
two_shapes = shapes.flatmap(
    lambda shape: st.tuples(st.just(shape), broadcastable_shapes(shape, max_side=4))
)


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def check(expression, *inputs, theirs=None, seed=0):
    """Value and gradients of a random weighting of the expression, against torch's."""
    ours = [Value(x) for x in inputs]
    leaves = [x.clone().requires_grad_() for x in inputs]
    mine, reference = expression(*ours), (theirs or expression)(*leaves)
    assert mine.data.shape == reference.shape
    assert torch.allclose(mine.data, reference, rtol=1e-12, atol=1e-12)
    delta = draw(seed + 1, *reference.shape)
    (mine * delta).sum().backward()
    for value, leaf in zip(ours, torch.autograd.grad(reference, leaves, delta)):
        assert value.grad.shape == leaf.shape and value.grad.dtype == leaf.dtype
        assert torch.allclose(value.grad, leaf, rtol=1e-10, atol=1e-12)


BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / (b * b + 1),
    "fork": lambda a, b: a * b + (a - 2) * (1 - b) + 3 * a + a / 2,
}


@pytest.mark.parametrize("sign", BINARY)
@settings(max_examples=50, deadline=None)
@given(two_shapes, seeds)
def test_shapes_that_are_broadcast(sign, pair, seed):
    a, b = draw(seed, *pair[0]), draw(seed + 1, *pair[1])
    check(BINARY[sign], a, b, seed=seed)


UNARY = {
    "neg": lambda x: -x,
    "pow": lambda x: x**3 + (x * x + 1) ** -0.5,
    "relu": lambda x: x.relu(),
    "exp": lambda x: x.exp(),
    "log": lambda x: (x * x + 1).log(),
    "sum": lambda x: x.sum() * x,
    "mean": lambda x: x.mean() * x,
    "reshape": lambda x: x.reshape(-1, 1),
}


@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=25, deadline=None)
@given(shapes, seeds)
def test_functions_of_one_value(name, shape, seed):
    check(UNARY[name], draw(seed, *shape), seed=seed)


axes = st.sampled_from([0, 1, -1, (0, 2), (1, -1), (0, 1, 2)])


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 3), axes, st.booleans(), seeds)
def test_sums_and_means_over_some_axes(shape, dim, keepdim, seed):
    x = draw(seed, *shape)
    check(lambda x: x.sum(dim, keepdim), x, seed=seed)
    check(lambda x: x.mean(dim, keepdim), x, seed=seed)
    check(lambda x: x.reshape(*reversed(shape)) ** 2, x, seed=seed)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 4), st.booleans(), st.booleans(), seeds)
def test_products_of_matrices(sizes, left, right, seed):
    batch, n, k, m = sizes
    a = draw(seed, *[batch] * left, n, k)
    b = draw(seed + 1, *[1, batch] * right, k, m)
    check(lambda a, b: a @ b, a, b, seed=seed)


LOGITS = Value([[1.0, 2.0], [3.0, 4.0]])
KEYS = [0, slice(1, 3), (..., 0), ([0, 0, 2], [1, 1, 0]), torch.tensor([2, 2, 2])]


@pytest.mark.parametrize("key", KEYS)
def test_an_index_may_take_a_number_twice(key):
    check(lambda x: x[key], draw(0, 3, 2))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 1000]), seeds)
def test_cross_entropy(batch, classes, size, seed):
    labels = torch.randint(classes, (batch,))
    logits = size * draw(seed, batch, classes)
    check(
        lambda z: cross_entropy(z, labels),
        logits,
        theirs=lambda z: F.cross_entropy(z, labels),
    )


def test_a_plain_tensor_may_stand_on_either_side():
    left = draw(7, 3, 1)
    for sign in (BINARY[name] for name in "+-*"):
        check(lambda x, f=sign: f(left, x) + f(x, left), draw(8, 2), seed=9)


def test_the_kink_of_relu_has_slope_zero():
    check(lambda x: x.relu(), torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_gradient_has_its_values_dtype_and_plain_numbers_have_none(dtype):
    x = Value(torch.ones(2, dtype=dtype))
    y = 2 * x / 3 - 1
    y.sum().backward()
    assert y.data.dtype == x.grad.dtype == dtype


def test_a_residual_network_trains_as_with_torch():
    x, labels = draw(0, 16, 5), torch.arange(16) % 3
    w = [draw(1, 5, 8), draw(2, 1, 8), draw(3, 8, 8) / 3, draw(4, 8, 3)]

    def logits(x, w):
        h = (x @ w[0] + w[1]).relu()
        h = h + (h @ w[2]).relu()  # the shortcut
        return h @ w[3]

    ours, theirs = [Value(p.clone()) for p in w], [p.requires_grad_() for p in w]
    sgd = torch.optim.SGD(theirs, lr=0.1)
    for _ in range(5):
        loss = cross_entropy(logits(Value(x), ours), labels)
        loss.backward()
        for p in ours:
            p.data -= 0.1 * p.grad
        sgd.zero_grad()
        reference = F.cross_entropy(logits(x, theirs), labels)
        reference.backward()
        sgd.step()
        assert abs(loss.data - reference) < 1e-12
    for mine, other in zip(ours, theirs):
        assert torch.allclose(mine.data, other.detach(), rtol=1e-10, atol=1e-12)


def test_parents_come_first_and_a_second_call_starts_at_zero():
    a = Value(1.0)
    b = a * 2
    c = b + a * b
    order = topological_order(c)
    assert len(order) == len(set(order)) and order[-1] is c
    for value in order:
        assert all(order.index(p) < order.index(value) for p, _ in value.parents)
    for _ in range(2):
        c.backward()
        assert (a.grad, b.grad, c.grad) == (6, 2, 1)


def test_a_graph_may_be_deep():
    x = y = Value(1.0)
    for _ in range(5000):
        y = y + x
    y.backward()
    assert x.grad == 5001


@settings(max_examples=50, deadline=None)
@given(two_shapes, seeds)
def test_undo_broadcast_is_torchs_sum_to_size(pair, seed):
    grad = draw(seed, *torch.broadcast_shapes(*pair))
    for shape in pair:
        assert torch.allclose(undo_broadcast(grad, shape), grad.sum_to_size(shape))


def no_sum(grad, shape):
    return grad


def only_new_axes(grad, shape):
    while grad.ndim > len(shape):
        grad = grad.sum(dim=0)
    return grad


def first_of_each(grad, shape):
    while grad.ndim > len(shape):
        grad = grad[0]
    for axis, size in enumerate(shape):
        grad = grad.narrow(axis, 0, size)
    return grad


@pytest.mark.parametrize("mutant", [no_sum, only_new_axes, first_of_each])
def test_a_forgotten_sum_is_caught(monkeypatch, mutant):
    """Broadcasting in place would hide the first two: [1] += [3] is an error."""
    monkeypatch.setattr(autograd, "undo_broadcast", mutant)
    with pytest.raises((AssertionError, RuntimeError)):
        check(BINARY["*"], draw(0, 3, 2), draw(1, 1, 2))


def test_a_use_that_overwrites_another_is_caught(monkeypatch):
    def last_one(self):
        order = topological_order(self)
        order[-1].grad = torch.ones_like(self.data)
        for value in reversed(order):
            for parent, share in value.parents:
                parent.grad = undo_broadcast(share(value.grad), parent.data.shape)

    monkeypatch.setattr(Value, "backward", last_one)
    with pytest.raises(AssertionError):
        check(lambda x: x * x, draw(0, 3))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: Value([1, 2]), TypeError, "floats.*int64"),
        (lambda: Value([1.0, 2.0]).backward(), ValueError, r"\[2\].*mean\(\)"),
        (
            lambda: Value([1.0, 2.0]) + Value([1.0] * 3),
            ValueError,
            r"\[2\] \+ \[3\], 2 and 3",
        ),
        (lambda: Value([[1.0]]) @ Value([1.0]), ValueError, r"\[1, 1\] @ \[1\]"),
        (lambda: Value([[1.0]]) @ Value([[1.0]] * 2), ValueError, r"@ \[2, 1\]"),
        (lambda: cross_entropy(LOGITS, torch.tensor([0])), ValueError, r"int64 \[2\]"),
        (lambda: cross_entropy(LOGITS, torch.tensor([0, -1])), ValueError, "got -1"),
        (lambda: Value(1.0) ** 0, ValueError, "exponent.*got 0"),
        (lambda: Value(2.0) ** Value(2.0), ValueError, "exponent"),
    ],
)
def test_errors_name_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()
