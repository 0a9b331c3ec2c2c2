"""course_lib.backprop.layers against autograd, over 5,200 drawn cases."""

import itertools

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.backprop import layers

drawn = itertools.count()  # cases that the checks have seen


def integers(*bounds):
    return st.tuples(*(st.integers(low, high) for low, high in bounds))


def draw(seed, *shape, kind="normal"):
    generator = torch.Generator().manual_seed(seed)
    if kind == "integers":  # few values, hence ties and exact zeros
        return torch.randint(-2, 3, shape, generator=generator).double()
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def by_hand(operation, inputs, delta, *constants, **options):
    """Output and gradients; neither inputs nor δ may change, nor autograd be asked."""
    forward = getattr(layers, f"{operation}_forward")
    backward = getattr(layers, f"{operation}_backward")
    before = [x.detach().clone() for x in (*inputs, delta)]
    output, saved = forward(*(x.detach() for x in inputs), *constants, **options)
    found = backward(delta, saved)
    assert all(map(torch.equal, (*inputs, delta), before))
    found = (found,) if isinstance(found, torch.Tensor) else found
    return output, tuple(g for g in found if g is not None)


def compare(found, inputs, output, delta, scale=0.0):
    """Each gradient as autograd has it, to 1e-10 of its norm (or of ``scale``)."""
    next(drawn)
    for a, b in zip(found, torch.autograd.grad(output, inputs, delta), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert not a.requires_grad
        assert (a - b).norm() <= 1e-10 * max(b.norm(), scale, 1e-4), (a, b)


# A strategy, a check and a number of cases for each operation ------------------------

seeds = st.integers(0, 2**31)
conv2d_cases = st.tuples(
    integers((1, 3), (1, 3), (1, 3)),
    integers((1, 4), (1, 4)),
    integers((1, 4), (1, 4)),
    integers((0, 3), (0, 3)),
    integers((1, 3), (1, 3)),
    integers((0, 4), (0, 4)),
    seeds,
)


def check_conv2d(case):
    (b, c, o), k, s, p, d, more, seed = case
    # As small as the window allows, and up to 4 rows more: where the stride is
    # larger than 1 the floor drops some of them.
    size = [max(1, d[a] * (k[a] - 1) + 1 - 2 * p[a]) + more[a] for a in (0, 1)]
    shapes = [(b, c, *size), (o, c, *k), (o,)][: 2 + seed % 2]  # without and with b
    inputs = [draw(seed + i, *shape) for i, shape in enumerate(shapes)]
    inputs = [value.requires_grad_() for value in inputs]
    z = F.conv2d(*inputs, stride=s, padding=p, dilation=d)
    delta = draw(seed + 3, *z.shape)
    output, found = by_hand("conv2d", inputs, delta, stride=s, padding=p, dilation=d)
    assert torch.equal(output, z)
    compare(found, inputs, z, delta)
    _, saved = layers.conv2d_forward(*inputs, stride=s, padding=p, dilation=d)
    readable = layers.conv2d_weight_gradient(delta, saved).detach()
    torch.testing.assert_close(found[1], readable, rtol=1e-10, atol=1e-10)


batch_norm_cases = st.tuples(
    integers((1, 3), (1, 3), (1, 3), (1, 3)),
    st.sampled_from(["train", "eval"]),
    st.sampled_from(["normal", "integers", "constant", "shifted"]),
    seeds,
)


def check_batch_norm(case):
    (b, c, h, w), mode, kind, seed = case
    b += mode == "train" and b * h * w == 1  # one value has no variance
    z, gamma, beta = draw(seed, b, c, h, w, kind=kind), draw(seed + 1, c), draw(2, c)
    if kind == "constant":
        z[:, 0] = 3
    if kind == "shifted":
        z += 100
    inputs = [value.requires_grad_() for value in (z, gamma, beta)]
    running = None if mode == "train" else (draw(seed + 3, c), draw(4, c).square())
    mean_var = (None, None) if mode == "train" else running
    y = F.batch_norm(z, *mean_var, gamma, beta, mode == "train", eps=1e-3)
    delta = draw(seed + 5, *y.shape)
    output, found = by_hand("batch_norm", inputs, delta, running=running, eps=1e-3)
    assert torch.equal(output, y)
    compare(found, inputs, y, delta, scale=1e-2)  # a few equal values: all but 0


map_cases = st.tuples(
    integers((1, 3), (1, 4), (1, 6), (1, 6)),
    st.sampled_from(["normal", "integers"]),
    seeds,
)


def check_relu(case):
    shape, kind, seed = case
    z = draw(seed, *shape, kind=kind).requires_grad_()
    delta = draw(seed + 1, *shape)
    output, found = by_hand("relu", [z], delta)
    assert torch.equal(output, F.relu(z))
    compare(found, [z], F.relu(z), delta)


def check_global_average_pool(case):
    shape, kind, seed = case
    x = draw(seed, *shape, kind=kind).requires_grad_()
    y = F.adaptive_avg_pool2d(x, 1).flatten(1)
    delta = draw(seed + 1, *y.shape)
    output, found = by_hand("global_average_pool", [x], delta)
    assert torch.equal(output, y)
    compare(found, [x], y, delta)


max_pool_cases = st.tuples(
    integers((1, 2), (1, 2)),
    integers((1, 4), (1, 4)),
    integers((1, 4), (1, 4)),
    integers((0, 2), (0, 2)),
    integers((1, 2), (1, 2)),
    integers((0, 4), (0, 4)),
    st.sampled_from(["normal", "integers"]),
    seeds,
)


def check_max_pool(case):
    maps, k, s, p, d, more, kind, seed = case
    p = [min(p[a], k[a] // 2) for a in (0, 1)]
    # With gaps a window could lie in the padding alone; torch's own answer to that
    # is an index outside the map.
    reach = [d[a] * (k[a] - 1) + 1 - 2 * p[a] * (d[a] == 1) for a in (0, 1)]
    size = [max(1, reach[a]) + more[a] for a in (0, 1)]
    x = draw(seed, *maps, *size, kind=kind).requires_grad_()
    s = None if seed % 5 == 0 else s  # None is the kernel's size
    y = F.max_pool2d(x, k, s, p, d)
    delta = draw(seed + 1, *y.shape)
    options = {"stride": s, "padding": tuple(p), "dilation": d}
    output, found = by_hand("max_pool", [x], delta, k, **options)
    assert torch.equal(output, y)
    compare(found, [x], y, delta)


linear_cases = st.tuples(integers((1, 4), (1, 5), (1, 5)), seeds)


def check_linear(case):
    (b, c, o), seed = case
    shapes = [(b, c), (o, c), (o,)][: 2 + seed % 2]
    inputs = [draw(seed + i, *shape) for i, shape in enumerate(shapes)]
    inputs = [value.requires_grad_() for value in inputs]
    z = F.linear(*inputs)
    delta = draw(seed + 3, *z.shape)
    output, found = by_hand("linear", inputs, delta)
    assert torch.equal(output, z)
    compare(found, inputs, z, delta)


cross_entropy_cases = st.tuples(
    integers((1, 4), (1, 5)),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([1.0, 30.0]),
    seeds,
)


def check_cross_entropy(case):
    (b, o), weighted, smoothing, size, seed = case
    z = (size * draw(seed, b, o)).requires_grad_()
    labels = torch.arange(seed % 7, seed % 7 + b) % o
    weight = draw(seed + 1, o).abs() + 0.1 if weighted else None
    options = {"weight": weight, "label_smoothing": smoothing}
    loss = F.cross_entropy(z, labels, **options)
    delta = draw(seed + 2)
    output, found = by_hand("cross_entropy", [z], delta, labels, **options)
    assert output.shape == () and torch.allclose(output, loss, rtol=1e-12)
    compare(found, [z], loss, delta)


fork_cases = st.tuples(integers((1, 2), (1, 3), (1, 5), (1, 5)), st.booleans(), seeds)


def check_fork(case):
    """A residual sum whose branch is a convolution, with and without projection."""
    (b, c, h, w), projects, seed = case
    x = draw(seed, b, c, h, w).requires_grad_()
    kernel, projection = draw(seed + 1, c, c, 3, 3), draw(seed + 2, c, c, 1, 1)
    shortcut = F.conv2d(x, projection) if projects else x
    y = F.conv2d(x, kernel, padding=1) + shortcut
    delta = draw(seed + 3, *y.shape)
    with torch.no_grad():
        (x_f, x_s), saved_fork = layers.fork_forward(x)
        f, saved_f = layers.conv2d_forward(x_f, kernel, padding=1)
        if projects:
            x_s, saved_s = layers.conv2d_forward(x_s, projection)
        output, saved_sum = layers.add_forward(f, x_s)
        of_f, of_s = layers.add_backward(delta, saved_sum)
        of_f, *_ = layers.conv2d_backward(of_f, saved_f)
        if projects:
            of_s, *_ = layers.conv2d_backward(of_s, saved_s)
        found = layers.fork_backward((of_f, of_s), saved_fork)
    assert torch.allclose(output, y, rtol=1e-12)
    compare([found], [x], y, delta)


CHECKS = {
    "conv2d": (conv2d_cases, check_conv2d, 1500),
    "batch_norm": (batch_norm_cases, check_batch_norm, 1000),
    "max_pool": (max_pool_cases, check_max_pool, 1000),
    "cross_entropy": (cross_entropy_cases, check_cross_entropy, 500),
    "linear": (linear_cases, check_linear, 400),
    "relu": (map_cases, check_relu, 300),
    "global_average_pool": (map_cases, check_global_average_pool, 200),
    "fork": (fork_cases, check_fork, 300),
}


def run(operation, cases=None):
    strategy, check, count = CHECKS[operation]
    phases = (Phase.generate, Phase.shrink) if cases is None else (Phase.generate,)
    quietly = settings(max_examples=cases or count, phases=phases, database=None)
    quietly(given(strategy)(check))()


@pytest.mark.parametrize("operation", CHECKS)
def test_backward_is_autograds(operation):
    before = next(drawn)
    run(operation)
    assert next(drawn) - before > CHECKS[operation][2]


def test_five_thousand_cases():
    assert sum(count for _, _, count in CHECKS.values()) >= 5000


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradcheck(mode):
    """Against differences of the outputs, which no autograd formula has touched."""

    def differentiable(operation, *constants, **options):
        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *inputs):
                forward = getattr(layers, f"{operation}_forward")
                output, ctx.saved = forward(*inputs, *constants, **options)
                return output

            @staticmethod
            def backward(ctx, delta):
                return getattr(layers, f"{operation}_backward")(delta, ctx.saved)

        return Function.apply

    def check(function, *shapes):
        inputs = [
            draw(i + 1, *shape).requires_grad_() for i, shape in enumerate(shapes)
        ]
        assert torch.autograd.gradcheck(function, inputs)

    window = {"stride": 2, "padding": 1, "dilation": 2}
    check(differentiable("conv2d", **window), (2, 2, 6, 7), (3, 2, 2, 3), (3,))
    running = None if mode == "train" else (draw(8, 3), draw(9, 3).exp())
    check(differentiable("batch_norm", running=running), (3, 3, 2, 2), (3,), (3,))
    check(differentiable("max_pool", 3, stride=2, padding=1), (2, 2, 5, 6))
    check(differentiable("global_average_pool"), (2, 3, 4, 3))
    check(differentiable("relu"), (2, 3, 4, 3))
    check(differentiable("linear"), (3, 4), (2, 4), (2,))
    labels = torch.tensor([0, 3, 3])
    loss = differentiable("cross_entropy", labels, weight=draw(7, 4).abs())
    check(loss, (3, 4))
