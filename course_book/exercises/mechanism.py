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
from course_book.exercises.values import describe
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
