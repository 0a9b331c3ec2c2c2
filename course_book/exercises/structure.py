"""Checks for the exercises of the chapter on structure.

Oracles: the modules of ``course_lib.resnet`` and of torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_book.exercises.random_inputs import RandomInputs
from course_book.exercises.runner import Learner, NotYet, check, copies, judge
from course_book.exercises.values import describe, difference
from course_lib.dimensions import output_size
from course_lib.resnet import BasicBlock, conv1x1, conv3x3

MAPS = (0, 2, 3)  # batch, rows and columns: all but the channels


@check("a projection is needed exactly where the shape changes")
def check_projection(learner: Learner) -> None:
    """``needs_projection(in_channels, out_channels, stride)`` for basic blocks."""
    cases = [(64, 64, 1), (64, 128, 2), (64, 128, 1), (64, 64, 2), (64, 256, 1)]
    cases += [(256, 256, 1), (512, 256, 1), (128, 128, 2)]
    judge(
        learner,
        cases,
        _needs_projection,
        [
            (lambda i, o, s: s != 1, "a projection can be needed at stride 1, too"),
            (lambda i, o, s: i != o, "equal channels are not enough for an addition"),
            (
                lambda i, o, s: i != o and s != 1,
                "one of the two differences is enough to make the addition fail",
            ),
            (
                lambda i, o, s: i == o and s == 1,
                "it is the other way round: where x has the shape of F(x) already, "
                "it can be added as it is",
            ),
            (lambda i, o, s: o > i or s != 1, "channels can also become fewer"),
        ],
        "compare the shape of x with the shape of F(x)",
    )


def _needs_projection(in_channels: int, out_channels: int, stride: int) -> bool:
    return (in_channels, 8) != (out_channels, output_size(8, 3, stride, 1))


@check("stem, units and FC layer, and nothing beside the main path")
def check_layers(learner: Learner) -> None:
    """``layers_in_name(units, convolutions)``, units per stage."""
    draws = RandomInputs(1)
    cases = [((2, 2, 2, 2), 2), ((3, 4, 6, 3), 3), ((1, 1, 1, 1), 3)]
    cases += [
        (tuple(draws.integer(1, 4) for _ in range(4)), draws.choice((2, 3)))
        for _ in range(4)
    ]
    judge(
        learner,
        cases,
        lambda u, c: c * sum(u) + 2,
        [
            (lambda u, c: c * sum(u) + 1, "is the stem a layer with weights as well?"),
            (
                lambda u, c: c * sum(u),
                "what comes before and after the units?",
            ),
            (
                lambda u, c: 2 * sum(u) + 2,
                "the number of convolutions in a unit is given, and is not always 2",
            ),
            (
                lambda u, c: c * sum(u) + 2 + (3 if c == 2 else 4),
                "projections are beside the main path and are not counted",
            ),
            (
                lambda u, c: c * sum(u) + 2 + 3,
                "projections are beside the main path and are not counted",
            ),
            (
                lambda u, c: 2 * c * sum(u) + 3,
                "BN layers are not counted, only convolutions and the FC layer",
            ),
        ],
        "walk from the photo to the logits and count convolutions and FC layers",
    )


@check("conv, BN, ReLU, conv, BN, addition, ReLU")
def check_unit(learner: Learner) -> None:
    """``unit_forward(x, conv1, bn1, conv2, bn2, shortcut)``, with modules."""
    judge(
        learner,
        [_unit_case(seed) for seed in range(4)],
        lambda x, *layers: _unit(x, *layers),
        [
            (
                lambda x, *layers: _unit(x, *layers, early=True),
                "F(x) must be free to be negative: where does the last ReLU stand?",
            ),
            (
                lambda x, *layers: _unit(x, *layers, last=False),
                "one ReLU is missing, after the addition",
            ),
            (
                lambda x, *layers: _unit(x, *layers, first=False),
                "one ReLU is missing, between the two convolutions",
            ),
            (
                lambda x, *layers: _unit(x, *layers, skip=0.0),
                "this is a plain unit: the shortcut's output has not been added",
            ),
            (
                lambda x, *layers: _unit(x, *layers, scale=0.1),
                "ResNet adds F(x) as it is, without a factor",
            ),
            (
                lambda x, c1, b1, c2, b2, s: F.relu(b2(c2(F.relu(b1(c1(x))))) + x),
                "the shortcut is a layer of its own: what has to go through it?",
            ),
        ],
        "compare your lines with the figure of the residual unit, arrow by arrow",
    )


def _unit_case(seed: int) -> tuple:
    draws = RandomInputs(seed)
    channels, stride = draws.integer(2, 4), 1 + seed % 2
    out = channels * stride
    layers = [conv3x3(channels, out, stride), nn.BatchNorm2d(out)]
    layers += [conv3x3(out, out), nn.BatchNorm2d(out)]
    layers.append(conv1x1(channels, out, stride) if stride == 2 else nn.Identity())
    filled = [draws.fill(layer.double()).eval() for layer in layers]
    return (draws.normal(2, channels, 6, 6), *filled)


def _unit(
    x: Tensor,
    conv1: nn.Module,
    bn1: nn.Module,
    conv2: nn.Module,
    bn2: nn.Module,
    shortcut: nn.Module,
    *,
    first: bool = True,
    early: bool = False,
    last: bool = True,
    skip: float = 1.0,
    scale: float = 1.0,
) -> Tensor:
    out = bn1(conv1(x))
    out = bn2(conv2(F.relu(out) if first else out))
    out = F.relu(out) if early else out
    out = scale * out + skip * shortcut(x)
    return F.relu(out) if last and not early else out


@check("one mean and one deviation per channel, over the batch and all places")
def check_batch_norm(learner: Learner) -> None:
    """``batch_norm(z, gamma, beta, eps)`` in train mode, z of shape [B, C, H, W]."""

    def normed(
        z: Tensor,
        gamma: Tensor,
        beta: Tensor,
        eps: float,
        dims: tuple = MAPS,
        correction: int = 0,
        outside: bool = False,
        scale: bool = True,
    ) -> Tensor:
        mean = z.mean(dims, keepdim=True)
        var = z.var(dims, correction=correction, keepdim=True)
        root = var.sqrt() + eps if outside else (var + eps).sqrt()
        z_hat = (z - mean) / root
        return z_hat * gamma[:, None, None] + beta[:, None, None] if scale else z_hat

    judge(
        learner,
        [_norm_case(seed) for seed in range(4)],
        lambda z, g, b, eps: F.batch_norm(z, None, None, g, b, True, 0.1, eps),
        [
            (
                lambda *case: normed(*case, correction=1),
                "the sum of squares is divided by the number of values, not by one "
                "less; look for the argument correction",
            ),
            (
                lambda *case: normed(*case, dims=(0, 1, 2, 3)),
                "each channel has its own mean and deviation",
            ),
            (
                lambda *case: normed(*case, dims=(2, 3)),
                "the whole batch shares one mean per channel",
            ),
            (
                lambda *case: normed(*case, dims=(0,)),
                "all places of a channel's maps share one mean",
            ),
            (
                lambda *case: normed(*case, dims=(1,)),
                "the mean is taken within one channel, not over the channels",
            ),
            (lambda *case: normed(*case, outside=True), "eps is under the root"),
            (
                lambda *case: normed(*case, scale=False),
                "γ and β have not been used",
            ),
        ],
        "first the mean and the variance of each channel, then γ and β",
        shown="a drawn batch",
    )


def _norm_case(seed: int) -> tuple[Tensor, Tensor, Tensor, float]:
    draws = RandomInputs(10 + seed)
    batch, channels = draws.integer(2, 4), draws.integer(2, 5)
    z = 3 * draws.normal(batch, channels, 3, draws.integer(2, 5)) + 1
    return z, draws.positive(channels), draws.normal(channels), (1e-5, 0.1)[seed % 2]


@check("the memory moves a small step, and its variance divides by m − 1")
def check_running(learner: Learner) -> None:
    """``update(mean, var, z, momentum)`` returns the two running statistics."""

    def moved(
        mean: Tensor,
        var: Tensor,
        z: Tensor,
        momentum: float,
        *,
        correction: int = 1,
        new: float | None = None,
        roots: bool = False,
    ) -> tuple[Tensor, Tensor]:
        new = momentum if new is None else new
        spread = z.var(MAPS, correction=correction)
        return (
            (1 - new) * mean + new * z.mean(MAPS),
            (1 - new) * var + new * (spread.sqrt() if roots else spread),
        )

    def cases() -> list:
        drawn = []
        for seed in range(4):
            draws = RandomInputs(20 + seed)
            z = _norm_case(seed)[0]
            channels = z.shape[1]
            before = draws.normal(channels), draws.positive(channels)
            drawn.append((*before, z, (0.1, 0.25, 0.01, 0.3)[seed]))
        return drawn

    def oracle(
        mean: Tensor, var: Tensor, z: Tensor, momentum: float
    ) -> tuple[Tensor, Tensor]:
        F.batch_norm(z, mean, var, training=True, momentum=momentum)
        return mean, var

    judge(
        learner,
        cases(),
        oracle,
        [
            (
                lambda mean, var, z, m: moved(mean, var, z, m, new=1 - m),
                "the momentum is the share of the new value in PyTorch, not of the old",
            ),
            (
                lambda *case: moved(*case, correction=0),
                "the running variance is the unbiased one, other than the variance "
                "that normalizes the batch",
            ),
            (
                lambda *case: moved(*case, new=1.0),
                "the old value has to keep its share",
            ),
            (
                lambda *case: moved(*case, roots=True),
                "what is remembered is the variance, not the deviation",
            ),
            (lambda mean, var, z, m: (mean, var), "nothing has moved"),
        ],
        "new = (1 − momentum) · old + momentum · measured, once for each of the two",
        shown="a drawn batch",
    )


@check("same names, same outputs, and the large map is halved at once", what="class")
def check_repaired(learner: Learner) -> None:
    """``RepairedUnit(in_channels, out_channels)``, a special unit with two faults."""
    for seed, (channels, out) in enumerate([(2, 4), (3, 6)]):
        draws = RandomInputs(30 + seed)
        good = BasicBlock(
            channels,
            out,
            stride=2,
            downsample=nn.Sequential(conv1x1(channels, out, 2), nn.BatchNorm2d(out)),
        )
        draws.fill(good.double())
        call = f"{learner.name}({channels}, {out})"
        built = learner(channels, out)
        if not isinstance(built, nn.Module):
            raise NotYet(f"{call} should be a module, and {describe(built)} came")
        unit = built.double()
        fault = _state_fault(unit, good)
        if fault:
            raise NotYet(f"{call}: {fault}")
        unit.load_state_dict(good.state_dict())
        x = draws.normal(2, channels, 8, 8)
        sizes: dict[str, tuple] = {}
        for name in ("conv1", "conv2"):
            unit.get_submodule(name).register_forward_hook(_remember(sizes, name))
        for mode in (False, True):
            good.train(mode)
            unit.train(mode)
            want = good(*copies([x]))
            got = learner.guard(lambda u=unit, x=x: u(*copies([x])), f"{call}(x)")
            fault = difference(got, want, "its output")
            if fault:
                raise NotYet(f"{call}: {fault}; {_unit_hint(got, x, good)}")
        if sizes.get("conv1", (0,))[-1] != 4:
            raise NotYet(
                f"{call}: its output is right, but conv1 runs on {sizes['conv1']} "
                "where (4, 4) would do; which of the two convolutions should stride?"
            )


def _remember(sizes: dict[str, tuple], name: str) -> object:
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        sizes[name] = tuple(output.shape[2:])

    return hook


def _state_fault(unit: nn.Module, good: nn.Module) -> str | None:
    have, want = unit.state_dict(), good.state_dict()
    for name in have.keys() | want.keys():
        if name not in have:
            return f"the tensor {name!r} is missing; keep the names of BasicBlock"
        if name not in want and name.endswith("bias"):
            return f"{name!r} is too many: a bias before BN cannot learn anything"
        if name not in want:
            return f"{name!r} is too many; keep the names of BasicBlock"
        if have[name].shape != want[name].shape:
            return (
                f"{name!r} should have the shape {list(want[name].shape)}, and has "
                f"{list(have[name].shape)}"
            )
    return None


def _unit_hint(got: object, x: Tensor, good: BasicBlock) -> str:
    if not isinstance(got, Tensor) or got.shape != good(x.clone()).shape:
        return "the shape is that of BasicBlock with stride 2"
    layers = good.conv1, good.bn1, good.conv2, good.bn2, good.downsample
    early = _unit(x, *layers, early=True)
    moved = good.conv1.stride
    good.conv1.stride, good.conv2.stride = (1, 1), (2, 2)
    late = [_unit(x, *layers), _unit(x, *layers, early=True)]
    good.conv1.stride, good.conv2.stride = moved, (1, 1)
    if not difference(got, late[1]) or not difference(got, early):
        return (
            "follow the signs: the unit should be able to make a number smaller than "
            "the shortcut delivers it"
        )
    if bool((got < 0).any()):
        return "no ReLU has seen these numbers: where does the last one stand?"
    if not difference(got, late[0]):
        return "the stride is in the wrong convolution"
    return "compare its forward with the figure of the residual unit"


@check("a 1 in the middle, from each channel to itself, and 0 elsewhere")
def check_identity_kernels(learner: Learner) -> None:
    """``identity_kernels(channels, size)``: weights that make a conv return x."""

    def passed_on(channels: int, size: int) -> Tensor:
        weight = learner(channels, size)
        shape = [channels, channels, size, size]
        call = learner.call((channels, size))
        if not isinstance(weight, Tensor) or list(weight.shape) != shape:
            came = describe(weight)
            raise NotYet(f"{call} should be a tensor of shape {shape}, and {came} came")
        if not weight.is_floating_point():
            raise NotYet(f"{call} should hold floats, and {weight.dtype} came")
        return F.conv2d(image(channels, size), weight.double().cpu(), padding=size // 2)

    def image(channels: int, size: int) -> Tensor:
        return RandomInputs(channels * size).normal(2, channels, 7, 8)

    def by(make: object) -> object:
        def convolved(channels: int, size: int) -> Tensor:
            weight = torch.zeros(channels, channels, size, size).double()
            make(weight, size // 2)
            return F.conv2d(image(channels, size), weight, padding=size // 2)

        return convolved

    passed_on.call = learner.call
    judge(
        passed_on,
        [(2, 3), (3, 3), (4, 5), (1, 3), (3, 1)],
        image,
        [
            (
                by(lambda w, m: w[:, :, m, m].fill_(1)),
                "each output now adds up all input channels",
            ),
            (
                by(lambda w, m: w[:, :, 0, 0].fill_diagonal_(1)),
                "the picture is shifted: which place of the window looks down?",
            ),
            (
                by(lambda w, m: w.fill_(1 / w[0].numel())),
                "this is a mean: only one place of one channel may count",
            ),
            (
                by(lambda w, m: w[:, :].diagonal().fill_(1)),
                "the whole kernel is filled; only its middle may count",
            ),
            (by(lambda w, m: None), "all zeros: nothing passes"),
        ],
        "ask which single number of the window has to arrive, with which weight",
    )


@check("one branch is gone at a time, and its shortcut stays")
def check_lesion(learner: Learner) -> None:
    """``lesion_study(units, head, x, labels)``: a loss without each of the units."""
    judge(
        learner,
        [_lesion_case(seed) for seed in range(4)],
        _lesion,
        [
            (
                lambda *case: _lesion(*case, gone=lambda unit, x: torch.zeros_like(x)),
                "only the branch is taken out: what does the shortcut bring?",
            ),
            (
                lambda *case: _lesion(*case, gone=_shortcut),
                "the ReLU after the addition stays",
            ),
            (
                lambda *case: _lesion(*case, gone=_branch),
                "it is the other way round: the branch is taken out, and the shortcut "
                "stays",
            ),
            (
                lambda *case: _lesion(*case, gone=lambda unit, x: unit(x)),
                "nothing has been taken out",
            ),
            (
                lambda *case: _lesion(*case, together=True),
                "each network lacks one unit only: begin again with the whole one",
            ),
            (
                lambda *case: [one - _whole(*case) for one in _lesion(*case)],
                "return the loss itself, not by how much it has grown",
            ),
        ],
        "in a unit without its branch only the shortcut and the last ReLU are left",
        shown="a drawn network",
    )


def _lesion_case(seed: int) -> tuple:
    draws = RandomInputs(40 + seed)
    units = [BasicBlock(2, 2), BasicBlock(2, 2)]
    if seed:  # the first case has common units only
        special = nn.Sequential(conv1x1(2, 4, 2), nn.BatchNorm2d(4))
        units += [BasicBlock(2, 4, 2, special), BasicBlock(4, 4)]
    channels = units[-1].conv2.out_channels
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))
    units = [draws.fill(unit.double()).eval() for unit in units]
    # A ReLU comes before the first unit, too: what enters it is not negative.
    return (
        units,
        draws.fill(head.double()),
        draws.positive(5, 2, 6, 6),
        draws.labels(5, 3),
    )


def _shortcut(unit: nn.Module, x: Tensor) -> Tensor:
    return x if unit.downsample is None else unit.downsample(x)


def _branch(unit: nn.Module, x: Tensor) -> Tensor:
    return F.relu(unit.bn2(unit.conv2(F.relu(unit.bn1(unit.conv1(x))))))


def _lesion(
    units: list[nn.Module],
    head: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    gone: object = lambda unit, x: F.relu(_shortcut(unit, x)),
    together: bool = False,
) -> list[float]:
    losses = []
    for number in range(len(units)):
        out = x
        for place, unit in enumerate(units):
            taken = place <= number if together else place == number
            out = gone(unit, out) if taken else unit(out)
        losses.append(F.cross_entropy(head(out), labels).item())
    return losses


def _whole(units: list, head: nn.Module, x: Tensor, labels: Tensor) -> float:
    return F.cross_entropy(head(nn.Sequential(*units)(x)), labels).item()


@check("each filter of the direction is as long as the network's own")
def check_slice(learner: Learner) -> None:
    """``loss_slice(loss, weight, noise, steps)``, weight of shape [O, I, K, K]."""

    def along(
        loss: object,
        weight: Tensor,
        noise: Tensor,
        steps: list[float],
        *,
        dims: tuple[int, ...] = (1, 2, 3),
        power: float = 1.0,
        own: bool = True,
        walk: bool = False,
    ) -> list[float]:
        size = weight.square().sum(dims, keepdim=True).sqrt() ** power
        if own:
            size = size / noise.square().sum(dims, keepdim=True).sqrt() ** power
        at, losses = weight, []
        for step in steps:
            at = (at if walk else weight) + step * size * noise
            losses.append(loss(at).item())
        return losses

    judge(
        learner,
        [_slice_case(seed) for seed in range(4)],
        along,
        [
            (
                lambda *case: along(*case, power=0.0),
                "the noise has lengths of its own: make each filter as long as the "
                "filter of the weight",
            ),
            (
                lambda *case: along(*case, dims=(0, 1, 2, 3)),
                "the whole tensor has the right length now; each filter needs its own",
            ),
            (
                lambda *case: along(*case, dims=(2, 3)),
                "a filter reaches over all input channels: [I, K, K]",
            ),
            (
                lambda *case: along(*case, dims=(0, 2, 3)),
                "a filter makes one output channel, and those are the first axis",
            ),
            (
                lambda *case: along(*case, power=-1.0),
                "it is the other way round: divide by the length of the noise, and "
                "multiply by that of the weight",
            ),
            (
                lambda *case: along(*case, power=2.0),
                "a length is the root of the sum of squares",
            ),
            (
                lambda *case: along(*case, own=False),
                "the noise has a length already: divide by it first",
            ),
            (
                lambda *case: along(*case, walk=True),
                "each step starts at the trained weights, not where the last one ended",
            ),
        ],
        "for each a in steps: the loss at weight + a · d, with d made of the noise",
        shown="a drawn convolution",
    )


def _slice_case(seed: int) -> tuple:
    draws = RandomInputs(50 + seed)
    out, channels = draws.integer(2, 4), draws.integer(2, 3)
    maps = draws.normal(2, channels, 5, 5)

    def loss(weight: Tensor) -> Tensor:
        return F.conv2d(maps, weight).tanh().square().mean()

    # Filters of very different lengths, as in a trained network.
    weight = draws.positive(out, 1, 1, 1) ** 2 * draws.normal(out, channels, 3, 3)
    return loss, weight, draws.normal(out, channels, 3, 3), [-1.0, 0.0, 0.25, 1.0]
