"""Checks for the exercises of the chapter on the mechanism.

Oracles: ``course_lib.dimensions``, which the tests hold against torch, the modules
of ``course_lib.resnet``, and torch's own functions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_book.exercises.random_inputs import RandomInputs
from course_book.exercises.runner import Learner, NotYet, check, judge
from course_book.exercises.values import describe, difference
from course_lib.dimensions import find_settings, output_size
from course_lib.resnet import BasicBlock, conv1x1

# Stem, max pooling, and the four stages.
CHAIN = (("conv", 7, 2, 3), ("pool", 3, 2, 1), ("conv", 3, 1, 1))
CHAIN += (("conv", 3, 2, 1),) * 3


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    size, found = (height, width), []
    for kind, *settings in CHAIN:
        size = output_size(size, *settings, kind=kind)
        found.append(size)
    return found


def _drawn_layers(count: int = 20) -> list[tuple[int, int, int, int, int]]:
    """N, K, S, P and D of small layers, for the pencil; each is another sum."""
    draws, found = RandomInputs(5), []
    while len(found) < count:
        k = draws.choice((1, 2, 3, 3, 5, 7))
        s, p = draws.integer(1, 3), draws.integer(0, k // 2)
        n, d = draws.integer(6, 60), draws.choice((1, 1, 1, 2))
        if n + 2 * p >= d * (k - 1) + 1 and k * s > 1:
            found.append((n, k, s, p, d))
    return found


DRAWN = _drawn_layers()


@check("all twenty, so the formula is yours")
def check_drawn_sizes(learner: Learner) -> None:
    """``sizes()``: the rows that come out of each of the layers in ``DRAWN``."""
    slips = [
        (lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1, "pad both edges"),
        (lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1, "add the padding"),
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s, "add 1 at the end"),
        (
            lambda n, k, s, p, d: -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1,
            "round down, not up",
        ),
        (lambda n, k, s, p, d: n + 2 * p - d * (k - 1), "divide by the stride"),
        (
            lambda n, k, s, p, d: (n + 2 * p - k) // s + 1,
            "with D = 2 a window spans 2(K − 1) + 1 rows",
        ),
        (
            lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1,
            "between K rows there are K − 1 gaps",
        ),
    ]
    got = learner()
    if not isinstance(got, list | tuple) or len(got) != len(DRAWN):
        raise NotYet(
            f"{learner.name}() should be a list of {len(DRAWN)} numbers, and "
            f"{describe(got)} came"
        )
    faults = []
    for number, (layer, answer) in enumerate(zip(DRAWN, got), 1):
        fault = difference(answer, output_size(*layer), f"layer {number}")
        if fault:
            hints = (hint for slip, hint in slips if answer == slip(*layer))
            faults.append(f"{fault}; {next(hints, 'write the formula out')}")
    if faults:
        right = len(DRAWN) - len(faults)
        raise NotYet(f"{right} of {len(DRAWN)} are right; {faults[0]}")


@check("five halvings, each of which rounds up, and layer1 keeps what it gets")
def check_sizes(learner: Learner) -> None:
    """``map_sizes(height, width)``: six pairs, from conv1 to layer4."""

    def halved(height: int, width: int, steps: tuple = (1, 1, 0, 1, 1, 1)) -> list:
        found = []
        for step in steps:
            height, width = height >> step, width >> step
            found.append((height, width))
        return found

    def up(height: int, width: int, steps: tuple) -> list:
        found = []
        for step in steps:
            height, width = -(-height // 2**step), -(-width // 2**step)
            found.append((height, width))
        return found

    draws = RandomInputs(0)
    cases = [(224, 224), (200, 320)]
    cases += [(draws.integer(33, 400), draws.integer(33, 400)) for _ in range(6)]
    judge(
        learner,
        cases,
        _sizes,
        [
            (halved, "an odd size does not round down here: use the formula"),
            (
                lambda h, w: up(h, w, (1, 1, 1, 1, 1, 1)),
                "one of the six steps leaves the size alone",
            ),
            (
                lambda h, w: up(h, w, (1, 0, 0, 1, 1, 1)),
                "the max pooling has stride 2 as well",
            ),
            (lambda h, w: _sizes(w, h), "the height comes first, then the width"),
            (
                lambda h, w: [b for pair in _sizes(h, w) for b in pair],
                "return six pairs, one for each step",
            ),
            (lambda h, w: _sizes(h, w)[-1], "return all six pairs, not the last alone"),
        ],
        "apply ⌊(N + 2P − K)/S⌋ + 1 six times, to the height and to the width",
    )


@check("the formula holds for every kernel, stride, padding and dilation drawn")
def check_rows(learner: Learner) -> None:
    """``rows(n, k, s, p, d)``: how many rows come out of a convolution."""
    draws = RandomInputs(1)
    cases = [(224, 7, 2, 3, 1), (56, 1, 2, 0, 1), (7, 3, 1, 1, 1)]
    while len(cases) < 24:
        n, k, s = draws.integer(1, 60), draws.integer(1, 7), draws.integer(1, 4)
        p, d = draws.integer(0, 3), draws.integer(1, 3)
        if d * (k - 1) + 1 <= n + 2 * p:
            cases.append((n, k, s, p, d))
    judge(
        learner,
        cases,
        output_size,
        [
            (
                lambda n, k, s, p, d: (n + 2 * p - k) // s + 1,
                "a dilated window spans more rows than K",
            ),
            (
                lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1,
                "between K rows there are K − 1 gaps",
            ),
            (
                lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1,
                "there is padding at both edges",
            ),
            (
                lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s,
                "count the first window, too",
            ),
            (
                lambda n, k, s, p, d: (n + 2 * p - d * (k - 1)) // s + 1,
                "a window of one row spans one row, not none",
            ),
            (
                lambda n, k, s, p, d: math.ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1,
                "a window that does not fit any more is left out: which way to round?",
            ),
            (
                lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) / s + 1,
                "a number of rows is whole: how does Python divide without a rest?",
            ),
            (lambda n, k, s, p, d: n // s, "kernel and padding matter, too"),
        ],
        "how far can the first row of a window move, and in which steps?",
    )


@check("every pair, and only pairs whose window fits")
def check_halving(learner: Learner) -> None:
    """``halving(n)``: all (K, P), K 1 to 7 and P 0 to 3, with S = 2 from n to n/2."""

    def oracle(n: int) -> set[tuple[int, int]]:
        found = find_settings(n, n // 2, strides=(2,))
        return {(k, p) for k, _, p in found}

    def among(keep: object) -> object:
        return lambda n: {(k, p) for k in range(1, 8) for p in range(4) if keep(k, p)}

    judge(
        learner,
        [(n,) for n in (224, 56, 10, 12, 8)],
        oracle,
        [
            (
                among(lambda k, p: 2 * p == k - 1),
                "kernels of even size can do it as well",
            ),
            (
                among(lambda k, p: 2 * p == k - 2),
                "kernels of odd size can do it as well",
            ),
            (
                among(lambda k, p: p == k // 2),
                "for an even kernel P = K/2 makes one row too many",
            ),
            (
                lambda n: {(k, 2, p) for k, p in oracle(n)},
                "return pairs (K, P), the stride is given",
            ),
            (
                lambda n: {(p, k) for k, p in oracle(n)},
                "the kernel comes first, then the padding",
            ),
        ],
        "try every pair in a loop, and keep those for which the formula gives n/2",
    )


@check("the map is in the middle, and the edge is what was asked for")
def check_pad(learner: Learner) -> None:
    """``pad(x, p, value)``: [B, C, H, W] to [B, C, H + 2p, W + 2p]."""
    cases = []
    for seed, (p, value) in enumerate(((1, 0.0), (3, 0.0), (2, -7.5), (0, 1.0))):
        draws = RandomInputs(60 + seed)
        x = draws.normal(2, 3, draws.integer(2, 4), draws.integer(5, 7))
        cases.append((x, p, value))
    judge(
        learner,
        cases,
        lambda x, p, value: F.pad(x, [p] * 4, value=value),
        [
            (
                lambda x, p, value: F.pad(x, [p] * 4),
                "fill with value, not always with 0",
            ),
            (
                lambda x, p, value: F.pad(x, [0, p, 0, p], value=value),
                "there are two edges in each direction, so a side grows by 2p",
            ),
            (
                lambda x, p, value: F.pad(x, [0, 2 * p, 0, 2 * p], value=value),
                "the map belongs in the middle: its first row becomes row p",
            ),
            (
                lambda x, p, value: F.pad(x, [0, 0, p, p], value=value),
                "columns get an edge as well as rows",
            ),
            (
                lambda x, p, value: F.pad(x, [p, p, 0, 0], value=value),
                "rows get an edge as well as columns",
            ),
            (
                lambda x, p, value: F.pad(x, [p] * 6, value=value),
                "channels get no edge, only rows and columns do",
            ),
            (
                lambda x, p, value: torch.full_like(F.pad(x, [p] * 4), value),
                "the edge is right; copy the map into the middle",
            ),
        ],
        "make a tensor full of value first, then copy x into its middle",
        shown="a drawn map",
    )


@check("every window, every channel, and the bias")
def check_convolve(learner: Learner) -> None:
    """``convolve(x, weight, bias, stride)``: no padding; [B, C, H, W] to [B, O, …]."""
    cases = []
    for seed, stride in enumerate((1, 2, 3, 2)):
        draws = RandomInputs(70 + seed)
        channels, k = draws.integer(2, 4), draws.choice((2, 3))
        x = draws.normal(2, channels, draws.integer(6, 9), draws.integer(10, 12))
        out = channels + 1
        cases.append((x, draws.normal(out, channels, k, k), draws.normal(out), stride))

    def dense(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        rows, columns = F.conv2d(x, weight, bias, stride).shape[2:]
        return F.conv2d(x, weight, bias)[:, :, :rows, :columns]

    judge(
        learner,
        cases,
        F.conv2d,
        [
            (
                lambda x, weight, bias, stride: F.conv2d(x, weight, None, stride),
                "each output channel has a bias of its own",
            ),
            (
                lambda x, weight, bias, stride: F.conv2d(x, weight, bias),
                "a window begins `stride` rows after the one before it",
            ),
            (dense, "window i begins at row i · stride, not at row i"),
            (
                lambda x, weight, bias, stride: F.conv2d(
                    x, weight.flip(2, 3), bias, stride
                ),
                "the kernel is not turned: the first number of the window meets the "
                "first number of the kernel",
            ),
            (
                lambda x, weight, bias, stride: F.conv2d(
                    x, weight.transpose(2, 3), bias, stride
                ),
                "rows and columns of the kernel are exchanged",
            ),
            (
                lambda x, weight, bias, stride: F.conv2d(
                    x[:, :1], weight[:, :1], bias, stride
                ),
                "an output value sums over all input channels, not one",
            ),
            (
                lambda x, weight, bias, stride: F.conv2d(
                    x, weight / weight[0].numel(), bias, stride
                ),
                "a convolution sums its products; a mean divides them",
            ),
            (
                lambda x, weight, bias, stride: F.conv2d(
                    x, weight, bias, stride, weight.shape[-1] // 2
                ),
                "there is no padding here: the first window begins at row 0",
            ),
            (
                lambda x, weight, bias, stride: F.conv2d(
                    x, weight, bias * weight[0].numel(), stride
                ),
                "add the bias once, after the sum",
            ),
        ],
        "which K rows and K columns of x does output (i, j) read?",
        shown="a drawn map",
    )


@check("the largest value of every window, and padding never wins")
def check_max_pool(learner: Learner) -> None:
    """``max_pool(x, k, s, p)``: the maximum of each window, padding included."""
    cases = []
    for seed, (k, s, p) in enumerate(((3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2))):
        draws = RandomInputs(80 + seed)
        x = draws.normal(2, 3, draws.integer(6, 9), draws.integer(10, 12))
        cases.append((x - 2 * (seed % 2 == 0), k, s, p))  # nearly all below 0

    def padded(x: Tensor, k: int, s: int, p: int) -> Tensor:
        return F.max_pool2d(F.pad(x, [p] * 4), k, s)

    judge(
        learner,
        cases,
        F.max_pool2d,
        [
            (padded, "a 0 beside negative values wins: pad with something smaller"),
            (
                lambda x, k, s, p: F.max_pool2d(F.pad(x, [p] * 4, value=-1.0), k, s),
                "there are values below −1: which number is smaller than every other?",
            ),
            (lambda x, k, s, p: F.max_pool2d(x, k, s), "pad both edges by p first"),
            (
                lambda x, k, s, p: F.max_pool2d(x, k, 1, p),
                "a window begins s rows after the one before it",
            ),
            (
                lambda x, k, s, p: F.max_pool2d(x, k, k, p),
                "the stride is s, not the size of the window",
            ),
            (
                lambda x, k, s, p: F.avg_pool2d(x, k, s, p),
                "this is the mean of a window, not its largest value",
            ),
            (
                lambda x, k, s, p: (
                    F.max_pool2d(x, k, s, p)
                    .amax(1, keepdim=True)
                    .expand(-1, x.shape[1], -1, -1)
                ),
                "each channel keeps a maximum of its own",
            ),
            (
                lambda x, k, s, p: F.max_pool2d(x, k, s, p, ceil_mode=True),
                "a window that does not fit any more is left out",
            ),
        ],
        "pad, then take the maximum over the rows and columns of each window",
        shown="a drawn map",
    )


@check("a weighted sum of the features for each class, plus its bias")
def check_linear(learner: Learner) -> None:
    """``linear(x, weight, bias)``: [B, C], [classes, C], [classes] to [B, classes]."""
    cases = []
    for seed, (features, classes) in enumerate(((4, 4), (7, 3), (5, 6), (6, 1))):
        draws = RandomInputs(90 + seed)
        weight = draws.normal(classes, features)
        cases.append((draws.normal(3, features), weight, draws.normal(classes)))
    judge(
        learner,
        cases,
        F.linear,
        [
            (
                lambda x, weight, bias: x @ weight + bias,
                "weight is [classes, features], so a row of it belongs to a class: "
                "which of its axes must meet the features?",
            ),
            (lambda x, weight, bias: F.linear(x, weight), "the bias is missing"),
            (
                lambda x, weight, bias: F.linear(x, weight, bias).T,
                "images come first, then classes",
            ),
            (
                lambda x, weight, bias: F.linear(x, weight, bias).softmax(-1),
                "return the logits: the softmax comes later",
            ),
            (
                lambda x, weight, bias: F.linear(x, weight, bias).relu(),
                "no ReLU follows the last layer: a logit may be negative",
            ),
            (
                lambda x, weight, bias: F.linear(x, weight, bias)[0],
                "return a row of logits for each image",
            ),
        ],
        "multiply each feature by the weight of a class, and sum over the features",
        shown="drawn features",
    )


@check("both convolutions, three pairs of γ and β at most, and the projection")
def check_unit_parameters(learner: Learner) -> None:
    """``unit_parameters(in_channels, out_channels, stride)`` of a basic block."""

    def count(i: int, o: int, s: int, **change: int) -> int:
        use = {
            "norm": 2,
            "projected": 1,
            "norms": 1,
            "bias": 0,
            "kernel": 1,
            "first": i,
        }
        use |= change
        total = 9 * use["first"] * o + 9 * o * o + 2 * use["norm"] * o
        if (i, s) != (o, 1):
            size = use["kernel"] ** 2 * i * o
            total += use["projected"] * (size + use["norms"] * use["norm"] * o)
        return total + use["bias"] * 2 * o

    def oracle(i: int, o: int, s: int) -> int:
        unit = BasicBlock(i, o, s)
        extra = [conv1x1(i, o, s), nn.BatchNorm2d(o)] if (i, s) != (o, 1) else []
        modules = [unit, *extra]
        return sum(p.numel() for module in modules for p in module.parameters())

    draws = RandomInputs(2)
    cases = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (64, 64, 2), (16, 24, 1)]
    cases += [(draws.integer(1, 99), draws.integer(1, 99), 2) for _ in range(4)]
    hints = [
        ({"norm": 0}, "each BN has a γ and a β for each channel"),
        ({"norm": 1}, "each BN has a β beside its γ"),
        ({"norm": 4}, "running statistics are stored, but they are no parameters"),
        ({"projected": 0}, "a projection has weights as well"),
        ({"norms": 0}, "a BN follows the projection, too"),
        ({"bias": 1}, "a convolution before BN has no bias"),
        ({"kernel": 3}, "the projection's kernel is 1 × 1"),
    ]
    mistakes = [
        (lambda *case, change=change: count(*case, **change), hint)
        for change, hint in hints
    ]
    mistakes += [
        (
            lambda i, o, s: count(i, o, s, first=o),
            "the first convolution reads another number of channels than the second",
        ),
        (
            lambda i, o, s: count(i, o, s, projected=int(s == 2)),
            "a projection is also needed where only the channels change",
        ),
        (
            lambda i, o, s: count(i, o, s, projected=int(i != o)),
            "a projection is also needed where only the size changes",
        ),
    ]
    judge(
        learner,
        cases,
        oracle,
        mistakes,
        "count a convolution as K · K · channels in · channels out, layer by layer",
    )


@check("every position is read, and no weight was added")
def check_read_all(learner: Learner) -> None:
    """``shortcut(in_channels, out_channels)``: halves maps and reads all of them."""
    for channels, out, size in ((2, 4, 8), (3, 5, 14), (4, 8, 6)):
        call = f"{learner.name}({channels}, {out})"
        module = learner(channels, out)
        if not isinstance(module, nn.Module):
            raise NotYet(f"{call} should be a module, and {describe(module)} came")
        module = module.double().cpu().eval()
        draws = RandomInputs(channels)
        x = draws.normal(2, channels, size, size).requires_grad_()
        y = learner.guard(lambda m=module, x=x: m(x), f"{call}(x)")
        want = torch.empty(2, out, size // 2, size // 2, dtype=torch.float64)
        if not isinstance(y, Tensor) or y.shape != want.shape:
            raise NotYet(
                f"{call} should turn {list(x.shape)} into {list(want.shape)}, and "
                f"{describe(y)} came; which layer halves the maps?"
            )
        most = channels * out + 2 * out
        numbers = sum(p.numel() for p in module.parameters())
        if numbers > most:
            raise NotYet(
                f"{call} should have at most {most} parameters, and has {numbers}; "
                "is there a layer that looks at four places and needs no weight?"
            )
        seen = torch.zeros_like(x, dtype=torch.bool)
        if y.requires_grad:
            for _ in range(3):
                delta = draws.normal(*y.shape)
                (grad,) = torch.autograd.grad(y, x, delta, retain_graph=True)
                seen |= grad != 0
        share = seen.any(1).double().mean().item()
        if share < 1 or not bool(seen.all()):
            places = f"{share:.0%} of the positions"
            hint = (
                "a maximum passes on one number in four, and nothing of the others"
                if any(isinstance(m, nn.MaxPool2d) for m in module.modules())
                else "which layer makes one number of 2 × 2 neighbors, using them all?"
            )
            raise NotYet(
                f"{call} should read every number of x, and what comes out depends on "
                f"{places}; {hint}"
            )


@check("all patches of a photo stay together, and the test part has its share")
def check_split(learner: Learner) -> None:
    """``split(photos, share, seed)``: "train" or "test" for each patch."""

    def parts(photos: list[str], share: float, seed: int) -> list[str]:
        call = f"{learner.name}({len(photos)} patches, share={share}, seed={seed})"
        got = learner(photos, share, seed)
        got = got.tolist() if type(got).__name__ == "ndarray" else got
        if not isinstance(got, list | tuple) or len(got) != len(photos):
            raise NotYet(
                f"{call} should be a list with a word for each of {len(photos)} "
                f"patches, and {describe(got)} came"
            )
        for part in got:
            if not isinstance(part, str) or part not in ("train", "test"):
                raise NotYet(
                    f'{call} may say "train" or "test", and {describe(part)} came'
                )
        sides: dict[str, set] = {}
        for photo, part in zip(photos, got):
            sides.setdefault(photo, set()).add(part)
        torn = sum(len(side) == 2 for side in sides.values())
        if torn:
            raise NotYet(
                f"{call}: patches of {torn} of {len(sides)} photos lie on both sides, "
                "and none should; draw photos, not patches"
            )
        tested = sum("test" in side for side in sides.values())
        if not tested or tested == len(sides):
            raise NotYet(
                f"{call}: of {len(sides)} photos {tested} are for testing; both parts "
                "need photos"
            )
        wish = share * len(sides)
        if abs(tested - wish) > 1:
            raise NotYet(
                f"{call}: of {len(sides)} photos about {wish:.0f} should be for "
                f"testing, and {tested} are; the share is the test part's"
            )
        return list(got)

    for number in range(4):
        draws = RandomInputs(40 + number)
        names = [f"{7000 + k}" for k in range(draws.integer(12, 30))]
        photos = [name for name in names for _ in range(draws.integer(1, 9))]
        order = torch.randperm(len(photos), generator=draws.generator).tolist()
        photos = [photos[k] for k in order]
        share = (0.2, 0.25, 0.5, 0.3)[number]
        first = parts(photos, share, 0)
        if parts(photos, share, 0) != first:
            raise NotYet(
                "two calls with the same seed should deal the photos alike, and they "
                "do not; give the seed to the generator that shuffles"
            )
        others = [parts(photos, share, seed) for seed in (1, 2, 3)]
        if all(other == first for other in others):
            raise NotYet(
                "four seeds should deal the photos in more than one way, and all gave "
                "the same; shuffle the photos before you deal them"
            )


@check("no overflow, no logarithm of 0, and each row by itself")
def check_log_softmax(learner: Learner) -> None:
    """``log_softmax(z)`` along the last dimension, for any logits."""
    draws = RandomInputs(3)
    cases = [
        (draws.normal(3, 6),),
        (torch.tensor([[1000.0, 0.0, -1000.0]]).double(),),
        (draws.normal(2, 3, 4) * 300,),
        (torch.tensor([[5000.0, 4999.0], [-5000.0, -5001.0]]).double(),),
        (draws.normal(6),),
    ]

    def shifted(z: Tensor, by: Tensor, dim: int = -1) -> Tensor:
        z = z - by
        return z - z.exp().sum(dim, keepdim=True).log()

    judge(
        learner,
        cases,
        lambda z: F.log_softmax(z, -1),
        [
            (
                lambda z: torch.softmax(z, -1).log(),
                "softmax rounds a tiny probability to 0, and its logarithm is −∞: "
                "take the logarithm before anything can become 0",
            ),
            (
                lambda z: shifted(z, torch.zeros(())),
                "the exponential of a large logit overflows: what may be subtracted "
                "from all logits of a row without changing the result?",
            ),
            (
                lambda z: (z.exp() / z.exp().sum(-1, keepdim=True)).log(),
                "the exponential of a large logit overflows: what may be subtracted "
                "from all logits of a row without changing the result?",
            ),
            (
                lambda z: shifted(z, z.max()),
                "each row needs its own maximum, or a row far below it vanishes",
            ),
            (
                lambda z: F.log_softmax(z, 0),
                "the classes lie along the last dimension",
            ),
            (
                lambda z: F.softmax(z, -1),
                "these are the probabilities; their logarithm was asked for",
            ),
            (
                lambda z: z - z.amax(-1, keepdim=True),
                "subtracting the maximum is the first half: the sum is missing",
            ),
        ],
        "log of a quotient is a difference, and a common shift cancels",
    )


@check("scores at every position, and their mean is the usual answer")
def check_dense_scores(learner: Learner) -> None:
    """``dense_scores(maps, weight, bias)``: [B, C, H, W] to [B, classes, H, W]."""
    cases = []
    for seed in range(3):
        draws = RandomInputs(50 + seed)
        channels, classes = draws.integer(3, 7), draws.integer(2, 6)
        maps = draws.normal(2, channels, draws.integer(2, 5), draws.integer(6, 8))
        cases.append((maps, draws.normal(classes, channels), draws.normal(classes)))
    judge(
        learner,
        cases,
        lambda maps, weight, bias: F.conv2d(maps, weight[:, :, None, None], bias),
        [
            (
                lambda maps, weight, bias: F.conv2d(maps, weight[:, :, None, None]),
                "the bias belongs to every position",
            ),
            (
                lambda maps, weight, bias: F.linear(maps.mean((2, 3)), weight, bias),
                "these are the usual logits: do not take the mean over the positions",
            ),
            (
                lambda maps, weight, bias: F.linear(
                    maps.permute(0, 2, 3, 1), weight, bias
                ),
                "the classes belong where the channels were, behind the batch",
            ),
            (
                lambda maps, weight, bias: F.conv2d(
                    maps, weight[:, :, None, None], bias / maps[0, 0].numel()
                ),
                "a mean leaves a constant as it is: add the whole bias",
            ),
        ],
        "the FC layer's weights are a 1 × 1 convolution: which shape must they have?",
        shown="drawn maps",
    )
