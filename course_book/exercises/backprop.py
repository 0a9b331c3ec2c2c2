"""Checks for the exercises of the chapter on backpropagation.

The oracle is autograd in float64 throughout, and ``course_lib.dimensions.unread``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from course_book.exercises.random_inputs import RandomInputs
from course_book.exercises.runner import Learner, NotYet, check, judge
from course_book.exercises.values import describe
from course_lib.dimensions import unread

MAPS = (0, 2, 3)  # batch, rows and columns: all but the channels


def gradients(function: Callable, inputs: list[Tensor], delta: Tensor) -> tuple:
    """Autograd's gradients at ``inputs``, for δ at the output."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    return torch.autograd.grad(function(*inputs), inputs, delta)


@check("gradient times slope, added up over all who used the number")
def check_graph(learner: Learner) -> None:
    """``graph_gradients(graph)``: ∂L/∂v for every node of a graph of numbers."""

    def oracle(graph: list) -> list:
        """Autograd on one sum per node: a change of each node is a leaf of its own."""
        nudges = torch.zeros(len(graph), dtype=torch.float64, requires_grad=True)
        values: list[Tensor] = []
        for nudge, parents in zip(nudges, graph):
            values.append(nudge + sum(slope * values[k] for k, slope in parents))
        return torch.autograd.grad(values[-1], nudges)[0].tolist()

    def walk(graph: list, *, keep: bool = True, first: float = 1.0, own: bool = True,
             forward: bool = False) -> list:  # fmt: skip
        found = [0.0] * len(graph)
        found[-1] = first
        order = range(len(graph))
        for node in order if forward else reversed(order):
            for parent, slope in graph[node]:
                share = slope * (found[node] if own else 1.0)
                found[parent] = share + (found[parent] if keep else 0.0)
        return found

    def multiplied(graph: list) -> list:
        found = [1.0] * len(graph)
        for node in reversed(range(len(graph))):
            for parent, slope in graph[node]:
                found[parent] *= slope * found[node]
        return found

    # The unit of the notebook: x, w, u = wx, b, z, a, y = a + x, L; then drawn ones.
    unit = [[], [], [(1, 2.0), (0, -1.0)], [], [(2, 1.0), (3, 1.0)]]
    unit += [[(4, 0.25)], [(5, 1.0), (0, 1.0)], [(6, 2.0)]]
    cases = [(unit,)]
    for seed in range(4):
        draws = RandomInputs(80 + seed)
        graph: list = [[], []]
        while len(graph) < 7:
            uses = {len(graph) - 1, draws.integer(0, len(graph) - 2)}
            slopes = draws.normal(2).tolist()
            graph.append(list(zip(sorted(uses), slopes)))
        cases.append((graph,))
    judge(
        learner,
        cases,
        oracle,
        [
            (
                lambda g: walk(g, keep=False),
                "a number that is used twice gets the sum of both shares",
            ),
            (multiplied, "slopes multiply along a path, but shares of two paths add"),
            (
                lambda g: walk(g, own=False),
                "a share is the slope times the gradient of the one who used it",
            ),
            (
                lambda g: walk(g, forward=True),
                "the last node goes first: hand on what is complete",
            ),
            (lambda g: walk(g, first=0.0), "the loss has the gradient 1 in itself"),
        ],
        "begin with 1 at the last node, and go back one node at a time",
        shown="a small graph",
    )


@check("a number that was broadcast was used many times, and collects from all of them")
def check_scale(learner: Learner) -> None:
    """``scale_backward(delta, x, g)``: y = x · g, x [B, C, H, W] and g [C, 1, 1]."""
    cases = []
    for seed in range(4):
        draws = RandomInputs(90 + seed)
        x = draws.normal(*(draws.integer(2, 4) for _ in range(4)))
        cases.append((draws.normal(*x.shape), x, draws.normal(x.shape[1], 1, 1)))

    def total(values: Tensor) -> Tensor:
        return values.sum((0, 2, 3))[:, None, None]

    judge(
        learner,
        cases,
        lambda d, x, g: gradients(torch.mul, [x, g], d),
        [
            (
                lambda d, x, g: (d * g, total(d * x)[:, 0, 0]),
                "a gradient has the shape of its variable, here [C, 1, 1]",
            ),
            (
                lambda d, x, g: (d * g, d * x),
                "g was broadcast: sum over the axes along which it was repeated",
            ),
            (
                lambda d, x, g: (d * g, (d * x).sum(0)),
                "g was repeated along the batch, the rows and the columns",
            ),
            (
                lambda d, x, g: (d * g, total(d * x) / (x.numel() // len(g))),
                "what comes back from many uses is added up, not averaged",
            ),
            (
                lambda d, x, g: (d * g, total(d)),
                "the slope of x · g by g is x",
            ),
            (
                lambda d, x, g: (d, total(d * x)),
                "the slope of x · g by x is g",
            ),
            (lambda d, x, g: (total(d * x), d * g), "the order is ∂L/∂x, ∂L/∂g"),
        ],
        "number by number it is a product; then undo the broadcast",
        shown="a drawn δ",
    )


@check("the probability that was said, minus the one that was asked for, over B")
def check_logit_gradient(learner: Learner) -> None:
    """``logit_gradient(logits, labels)``: of the batch's mean cross-entropy."""

    def said(z: Tensor, dim: int = 1) -> Tensor:
        return z.softmax(dim)

    def asked(z: Tensor, y: Tensor) -> Tensor:
        return F.one_hot(y, z.shape[1]).to(z)

    cases = []
    for seed in range(4):
        draws = RandomInputs(seed)
        batch, classes = draws.integer(2, 6), draws.integer(3, 7)
        z = 3 * draws.normal(batch, classes)
        z = z + 1000 if seed == 3 else z
        cases.append((z, draws.labels(batch, classes)))
    judge(
        learner,
        cases,
        lambda z, y: gradients(
            lambda z: F.cross_entropy(z, y), [z], torch.ones(()).double()
        )[0],
        [
            (
                lambda z, y: said(z) - asked(z, y),
                "the loss is the mean over the batch: each photo has a share in it",
            ),
            (
                lambda z, y: (asked(z, y) - said(z)) / len(z),
                "this points uphill the wrong way: check the sign at the right class",
            ),
            (
                lambda z, y: (said(z, 0) - asked(z, y)) / len(z),
                "the probabilities of one photo add up to 1, those of one class do not",
            ),
            (
                lambda z, y: (z - asked(z, y)) / len(z),
                "logits are no probabilities yet",
            ),
            (lambda z, y: said(z) / len(z), "the label has not been used yet"),
            (
                lambda z, y: (said(z) - asked(z, y)) / z.numel(),
                "divide by the number of photos, not of logits",
            ),
            (
                lambda z, y: (
                    (z.exp() / z.exp().sum(1, keepdim=True) - asked(z, y)) / len(z)
                ),
                "a large logit overflows: use a softmax that survives it",
            ),
        ],
        "what does the softmax say, and what should it have said?",
    )


@check("what met, times what came back, summed over the batch")
def check_linear(learner: Learner) -> None:
    """``linear_backward(delta, x, w)``: ∂L/∂x, ∂L/∂w and ∂L/∂b of x·wᵀ + b."""
    cases = []
    for seed in range(4):
        draws = RandomInputs(10 + seed)
        batch, wide, out = (draws.integer(2, 5) for _ in range(3))
        wide = wide + 1 if wide == out else wide
        x, w = draws.normal(batch, wide), draws.normal(out, wide)
        cases.append((draws.normal(batch, out), x, w))

    def oracle(delta: Tensor, x: Tensor, w: Tensor) -> tuple:
        return gradients(F.linear, [x, w, torch.zeros(len(w)).double()], delta)

    judge(
        learner,
        cases,
        oracle,
        [
            (
                lambda d, x, w: (d @ w, d.T @ x / len(x), d.mean(0)),
                "δ holds the mean of the loss already: add up over the batch",
            ),
            (
                lambda d, x, w: (d @ w, d.T @ x, d.mean(0)),
                "the bias is used once for each photo, and its gradients add up",
            ),
            (
                lambda d, x, w: (d @ w, d.T @ x, d),
                "there is one bias for all photos: its gradient is a sum",
            ),
            (
                lambda d, x, w: (d @ w, x.T @ d, d.sum(0)),
                "a gradient has the shape of its weights",
            ),
            (
                lambda d, x, w: (d @ w, d.T @ x),
                "three gradients are asked for: x, w and b",
            ),
            (
                lambda d, x, w: (d.T @ x, d @ w, d.sum(0)),
                "the order is ∂L/∂x, ∂L/∂w, ∂L/∂b",
            ),
        ],
        "write down the shapes first: only one product fits each of them",
    )


def _row(x: Tensor, w: Tensor, s: int) -> Tensor:
    return F.conv1d(x[None, None], w[None, None], stride=s)[0, 0]


@check("each window hands its δ to all the numbers that it has read")
def check_row(learner: Learner) -> None:
    """``row_backward(delta, x, w, stride)``: ∂L/∂x and ∂L/∂w of one row."""
    cases = []
    for seed in range(6):
        draws = RandomInputs(20 + seed)
        k, s = ((2, 3), (3, 1), (3, 2), (2, 1), (4, 2), (1, 2))[seed]
        x, w = draws.normal(draws.integer(7, 12)), draws.normal(k)
        cases.append((draws.normal(len(_row(x, w, s))), x, w, s))

    def wrong(
        delta: Tensor,
        x: Tensor,
        w: Tensor,
        s: int,
        *,
        add: bool = True,
        step: int | None = None,
        flip: bool = False,
    ) -> tuple[Tensor, Tensor]:
        dx, dw, s = torch.zeros_like(x), torch.zeros_like(w), step or s
        for i, k in itertools.product(range(len(delta)), range(len(w))):
            weight = w.flip(0)[k] if flip else w[k]
            dx[i * s + k] = delta[i] * weight + (dx[i * s + k] if add else 0)
            dw[k] = delta[i] * x[i * s + k] + (dw[k] if add else 0)
        return dx, dw

    def half(*case: object, right: int) -> tuple:
        good, bad = wrong(*case), wrong(*case, add=False)
        return (good[0], bad[1]) if right == 0 else (bad[0], good[1])

    judge(
        learner,
        cases,
        lambda d, x, w, s: gradients(lambda x, w: _row(x, w, s), [x, w], d),
        [
            (
                lambda *case: wrong(*case, flip=True),
                "the kernel is flipped once too often",
            ),
            (
                lambda *case: wrong(*case, add=False),
                "a number that several windows read collects from all of them",
            ),
            (
                lambda *case: half(*case, right=1),
                "an input that several windows read collects from all of them",
            ),
            (
                lambda *case: half(*case, right=0),
                "a weight is used in every window and collects from all of them",
            ),
            (
                lambda *case: wrong(*case, step=1),
                "window i starts at place i · S, not at i",
            ),
            (lambda *case: wrong(*case)[::-1], "first ∂L/∂x, then ∂L/∂w"),
        ],
        "go through the windows: z[i] = Σ w[k] · x[i·S + k], and read it backward",
    )


@check("rows and columns that no window reads get nothing, whatever comes back")
def check_zero_places(learner: Learner) -> None:
    """``zero_places(n, k, s, p, d)``: places of an n × n map whose gradient is 0."""

    def read(n: int, k: int, s: int, p: int, d: int) -> int:
        return unread(n, k, s, p, d).read

    cases = [(13, 3, 2, 2, 2), (13, 3, 2, 1, 2), (56, 1, 2, 0, 1), (7, 3, 1, 1, 1)]
    draws = RandomInputs(30)
    while len(cases) < 16:
        n, k, s = draws.integer(4, 20), draws.integer(1, 4), draws.integer(1, 4)
        p, d = draws.integer(0, 2), draws.integer(1, 3)
        if d * (k - 1) + 1 <= n:
            cases.append((n, k, s, p, d))

    def out(n: int, k: int, s: int, p: int, d: int) -> int:
        return (n + 2 * p - d * (k - 1) - 1) // s + 1

    judge(
        learner,
        cases,
        lambda *case: case[0] ** 2 - read(*case) ** 2,
        [
            (
                lambda *case: (case[0] - read(*case)) ** 2,
                "a place gets something only if its row and its column are both read",
            ),
            (
                lambda *case: case[0] - read(*case),
                "these are rows: count places of a square map",
            ),
            (
                lambda *case: read(*case) ** 2,
                "these are the places that are read; the others were asked for",
            ),
            (
                lambda n, k, s, p, d: n**2 - out(n, k, s, p, d) ** 2,
                "a window reads K rows, not one",
            ),
            (
                lambda n, k, s, p, d: n**2 - (out(n, k, s, p, d) * k) ** 2,
                "windows overlap, and rows of padding are no rows of the map",
            ),
            (
                lambda n, k, s, p, d: n**2 - read(n, k, s, p, 1) ** 2,
                "dilation leaves gaps within a window",
            ),
        ],
        "collect the rows that any window reads in a set: i · S + k · D − P",
    )


@check("a mean is a convolution with equal weights, and goes back like one")
def check_average_pool(learner: Learner) -> None:
    """``average_pool_backward(delta, size)``: K = 3, S = 2, P = 1, [B, C, N, N]."""
    cases = []
    for seed, size in enumerate((9, 8, 5, 7)):
        draws = RandomInputs(40 + seed)
        out = (size - 1) // 2 + 1
        cases.append((draws.normal(2, draws.integer(1, 3), out, out), size))

    def back(delta: Tensor, size: int, **options: object) -> Tensor:
        x = torch.zeros(*delta.shape[:2], size, size).double()
        settings = {"stride": 2, "padding": 1} | options
        return gradients(lambda x: F.avg_pool2d(x, 3, **settings), [x], delta)[0]

    def spread(delta: Tensor, size: int) -> Tensor:
        x = torch.zeros(*delta.shape[:2], size, size).double()
        x[:, :, ::2, ::2] = delta
        return x

    judge(
        learner,
        cases,
        back,
        [
            (
                lambda d, n: 9 * back(d, n),
                "each of nine numbers has a ninth of the mean",
            ),
            (
                lambda d, n: back(d, n, count_include_pad=False),
                "the zeros of the ring count here: each window divides by 9",
            ),
            (
                spread,
                "a window hands its δ to all nine places, not to its middle alone",
            ),
            (
                lambda d, n: spread(d, n) / 9,
                "a window hands its δ to all nine places, not to its middle alone",
            ),
            (
                lambda d, n: F.interpolate(d, size=(n, n)) / 9,
                "windows overlap: some places collect from two or four of them",
            ),
        ],
        "which windows read a place, and what share has the place in each of them?",
        shown="a drawn δ",
    )


@check("the last ReLU stops both ways, and both ways add up")
def check_unit_backward(learner: Learner) -> None:
    """``unit_backward(delta, x, y, branch_backward)`` of y = ReLU(x + F(x))."""
    cases = []
    for seed in range(4):
        draws = RandomInputs(50 + seed)
        x = draws.normal(2, 3, 4, 4)
        weight = draws.normal(3, 3, 3, 3) * 0.5
        y = F.relu(x + torch.tanh(F.conv2d(x, weight, padding=1)))
        cases.append((draws.normal(*x.shape), x, y, _Branch(x, weight)))

    def oracle(delta: Tensor, x: Tensor, y: Tensor, branch: _Branch) -> Tensor:
        return gradients(lambda x: F.relu(x + branch.forward(x)), [x], delta)[0]

    judge(
        learner,
        cases,
        oracle,
        [
            (
                lambda d, x, y, f: d + f(d),
                "the last ReLU has not been walked through: where was y equal to 0?",
            ),
            (
                lambda d, x, y, f: d + f(d * (y > 0)),
                "the last ReLU comes after the addition: it stops the shortcut, too",
            ),
            (
                lambda d, x, y, f: d * (y > 0) + f(d),
                "the last ReLU comes after the addition: it stops the branch, too",
            ),
            (
                lambda d, x, y, f: f(d * (y > 0)),
                "the shortcut brings something back, too",
            ),
            (
                lambda d, x, y, f: d * (y > 0),
                "the branch brings something back, too: call branch_backward",
            ),
            (
                lambda d, x, y, f: d * (x > 0) + f(d * (x > 0)),
                "the ReLU saw x + F(x), so it is not the sign of x that decides",
            ),
            (
                lambda d, x, y, f: (d + f(d)) * (y > 0),
                "walk back in order: first the ReLU, then the two ways",
            ),
        ],
        "walk back from y: ReLU, addition, two ways, and where they part they add up",
        shown="a drawn unit",
    )


class _Branch:
    """F(x) = tanh(conv(x)), and what it sends back to x of a δ at its output."""

    __name__ = "branch_backward"

    def __init__(self, x: Tensor, weight: Tensor) -> None:
        self.x, self.weight = x, weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(F.conv2d(x, self.weight, padding=1))

    def __call__(self, delta: Tensor) -> Tensor:
        return gradients(self.forward, [self.x], delta)[0]


def _norm(z: Tensor) -> Tensor:
    return F.batch_norm(z, None, None, training=True, eps=1e-12)


@check("a constant and the values themselves: BN takes both away")
def check_blind(learner: Learner) -> None:
    """``blind(z)``: two δ of z's shape of which BN in train mode passes nothing on."""
    for seed in range(3):
        draws = RandomInputs(60 + seed)
        z = 10 * draws.normal(4, draws.integer(1, 3), 3, 5)
        call = learner.call((z,))
        got = learner(z)
        if not isinstance(got, list | tuple) or len(got) != 2:
            raise NotYet(f"{call} should be two tensors, and {describe(got)} came")
        flat = []
        for name, delta in zip(("the first δ", "the second δ"), got):
            if not isinstance(delta, Tensor) or delta.shape != z.shape:
                raise NotYet(
                    f"{call}: {name} should have the shape {list(z.shape)}, and "
                    f"{describe(delta)} came"
                )
            delta = delta.detach().double().cpu()
            size = delta.abs().max().item()
            if not 0 < size < float("inf"):
                raise NotYet(f"{call}: {name} should be finite and not all 0")
            delta = delta / size
            (passed,) = gradients(_norm, [z], delta)
            rest = (passed * z.std()).abs().max().item()
            if rest > 1e-6:
                raise NotYet(
                    f"{call}: of {name} something gets through, {rest:.2g} of it; "
                    "the formula takes away a mean and the share along ẑ, in each "
                    "channel, so what consists of nothing else?"
                )
            flat.append(delta.flatten(0))
        both = torch.stack(flat)
        if torch.linalg.matrix_rank(both, rtol=1e-6) < 2:
            raise NotYet(
                f"{call}: the second δ is a multiple of the first; there is another "
                "one, of a different kind"
            )
        deviations = [
            (delta.view(z.shape).std(MAPS, correction=0) > 1e-9).any() for delta in flat
        ]
        if not any(deviations):
            raise NotYet(
                f"{call}: both δ are constant in each channel; there is another kind, "
                "which is not constant"
            )


@check("less its mean, less its share along ẑ, and γ over the deviation")
def check_batch_norm_backward(learner: Learner) -> None:
    """``batch_norm_backward(delta, z, gamma, eps)``: ∂L/∂z, ∂L/∂γ and ∂L/∂β."""

    def back(
        delta: Tensor,
        z: Tensor,
        gamma: Tensor,
        eps: float,
        *,
        mean: bool = True,
        share: bool = True,
        dims: tuple = MAPS,
        correction: int = 0,
        scale: bool = True,
        sums: bool = True,
        total: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        root = (z.var(dims, correction=correction, keepdim=True) + eps).sqrt()
        z_hat = (z - z.mean(dims, keepdim=True)) / root
        left = delta
        take = delta.sum if total else delta.mean
        along = (delta * z_hat).sum if total else (delta * z_hat).mean
        if mean:
            left = left - take(dims, keepdim=True)
        if share:
            left = left - z_hat * along(dims, keepdim=True)
        dz = left / root * (gamma[:, None, None] if scale else 1)
        parts = (delta * z_hat, delta)
        last = [part.sum(MAPS) if sums else part.mean(MAPS) for part in parts]
        return (dz, *last)

    cases = []
    for seed in range(4):
        draws = RandomInputs(70 + seed)
        z = 2 * draws.normal(draws.integer(2, 3), draws.integer(2, 4), 2, 3) + 1
        gamma = draws.positive(z.shape[1]) + 0.3
        cases.append((draws.normal(*z.shape), z, gamma, (1e-5, 0.1)[seed % 2]))

    def oracle(delta: Tensor, z: Tensor, gamma: Tensor, eps: float) -> tuple:
        def normed(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            return F.batch_norm(z, None, None, gamma, beta, True, 0.1, eps)

        return gradients(normed, [z, gamma, torch.zeros_like(gamma)], delta)

    hints = [
        (
            {"mean": False, "share": False},
            "these are the gradients of eval mode: mean and deviation depend on z, too",
        ),
        ({"mean": False}, "the path through the mean is missing"),
        ({"share": False}, "the path through the variance is missing"),
        ({"scale": False}, "γ multiplies on the way there, so on the way back as well"),
        (
            {"dims": (0, 1, 2, 3)},
            "each channel has its own mean and deviation, and its own two shares",
        ),
        (
            {"correction": 1},
            "the batch's variance divides by the number of values, not by one less",
        ),
        ({"sums": False}, "γ and β serve all values: their gradients are sums"),
        ({"total": True}, "take away the means of δ and of δ · ẑ, not their sums"),
    ]
    mistakes = [
        (lambda *case, c=change: back(*case, **c), hint) for change, hint in hints
    ]
    mistakes.append(
        (
            lambda *case: tuple(back(*case)[k] for k in (0, 2, 1)),
            "the order is ∂L/∂z, ∂L/∂γ, ∂L/∂β",
        )
    )
    judge(
        learner,
        cases,
        oracle,
        mistakes,
        "name the three paths from one z to the loss, and add up what they bring",
        shown="a drawn batch",
    )
