r"""Why a shortcut helps: small nets on digits, cut, scaled and looked at from afar.

    python -m course_book.experiments.why lesion     # units taken out of trained nets
    python -m course_book.experiments.why start      # 56 layers without BN
    python -m course_book.experiments.why landscape  # slices of the loss
    python -m course_book.experiments.why remedies   # is plain-56 slow or stuck?

Each writes one table, ``course_book/results/why_<part>.csv``. Nets, data and the budget
of 12 epochs are those of :mod:`course_book.experiments.degradation`, fixed before.

* lesion: Veit, Wilber, Belongie (2016), https://arxiv.org/abs/1605.06431, section 4;
* start: De and Smith (2020), https://arxiv.org/abs/2002.10444 (SkipInit);
* landscape: Li et al. (2018), https://arxiv.org/abs/1712.09913, section 4;
* remedies: among them LARS, You et al. (2017), https://arxiv.org/abs/1708.03888.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from course_book.experiments.degradation import (
    BATCH,
    EPOCHS,
    LEARNING_RATE,
    build,
    evaluate,
    train,
)
from course_book.experiments.digits import Digits, load_digits, remove_bn
from course_lib.resnet import BasicBlock

__all__ = [
    "PARTS",
    "ScaledBranch",
    "branch_shares",
    "directions",
    "lesion_errors",
    "loss_slice",
    "skip_init",
    "train_with",
    "units_of",
    "without",
]

SEEDS = (0, 1, 2)
SIDE = 25  # points along each direction of a slice
SIZES = {  # what the trial of ``remedies`` chooses from
    "clipping": (0.3, 0.1, 0.03),
    "per layer": (0.1, 0.03, 0.01),
    "Adam": (0.03, 0.01, 0.003),
}
TRIAL_SEED = 10


class ScaledBranch(nn.Module):
    """A residual unit whose branch is multiplied by a learned α that starts at 0.

    ReLU(x + α · F(x)): SkipInit (De and Smith 2020, section 4). With α = 0 the unit is
    the identity, whatever its weights are, and no BN is needed for a start.
    """

    def __init__(self, unit: BasicBlock) -> None:
        super().__init__()
        self.unit = unit
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        unit = self.unit
        identity = x if unit.downsample is None else unit.downsample(x)
        out = unit.bn2(unit.conv2(unit.relu(unit.bn1(unit.conv1(x)))))
        return torch.relu(identity + self.alpha * out)


def units_of(net: nn.Module) -> Iterator[tuple[nn.Sequential, int, nn.Module]]:
    """Every unit of a net, with the stage that holds it and its place there."""
    for stage in (net.layer1, net.layer2, net.layer3):
        for place, unit in enumerate(stage):
            yield stage, place, unit


def skip_init(net: nn.Module) -> nn.Module:
    """Take every BN out of a residual net and put an α in front of each branch."""
    remove_bn(net)
    for stage, place, unit in list(units_of(net)):
        stage[place] = ScaledBranch(unit)
    return net


class _ShortcutOnly(nn.Module):
    """What is left of a unit when its branch is taken out."""

    def __init__(self, unit: BasicBlock) -> None:
        super().__init__()
        self.shortcut = unit.downsample or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x))


def without(net: nn.Module, number: int) -> nn.Module:
    """A copy of a residual net in which one unit's branch is gone.

    Its shortcut stays. A plain unit has none: one that keeps the shape is replaced by
    the identity; one that changes the shape cannot be replaced.

    Args:
        net: a ``DigitsNet``; left as it is.
        number: of the unit, 0 for the first of ``layer1``.

    Raises:
        ValueError: for a plain unit that changes the shape.
    """
    net = copy.deepcopy(net)
    stage, place, unit = list(units_of(net))[number]
    if type(unit) is BasicBlock:
        stage[place] = _ShortcutOnly(unit)
    elif unit.conv1.in_channels == unit.conv2.out_channels:
        stage[place] = nn.Identity()
    else:
        raise ValueError(f"unit {number} changes the shape: nothing can replace it")
    return net


@torch.no_grad()
def branch_shares(net: nn.Module, images: Tensor) -> list[tuple[float, float, float]]:
    """Variance of x, of F(x) and of the output of each unit, in train mode.

    The variance is that of one channel over batch and positions, averaged over the
    channels. ``images`` is a batch [B, C, H, W] that the net takes. For a unit with a
    projection, the first number is the variance of the projected x.
    """
    found = []

    def look(unit: BasicBlock, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        identity = x if unit.downsample is None else unit.downsample(x)
        f = unit.bn2(unit.conv2(unit.relu(unit.bn1(unit.conv1(x)))))
        three = (identity, f, output)
        found.append(tuple(t.var((0, 2, 3)).mean().item() for t in three))

    units = [module for module in net.modules() if isinstance(module, BasicBlock)]
    hooks = [unit.register_forward_hook(look) for unit in units]
    net.train()
    net(images)
    for hook in hooks:
        hook.remove()
    return found


def directions(net: nn.Module, seed: int) -> list[list[Tensor]]:
    """Two random directions in weight space, with each filter as long as the net's.

    Without that, a net with large weights looks flat and one with small ones sharp
    (Li et al. 2018, section 4). Parameters of BN and biases stay where they are.
    """
    generator = torch.Generator().manual_seed(seed)
    both = []
    for _ in range(2):
        steps = []
        for parameter in net.parameters():
            step = torch.zeros_like(parameter)
            if parameter.ndim > 1:
                step = torch.randn(parameter.shape, generator=generator)
                step = step.to(parameter).flatten(1)
                length = parameter.detach().flatten(1).norm(dim=1, keepdim=True)
                step = (step * length / step.norm(dim=1, keepdim=True)).view_as(
                    parameter
                )
            steps.append(step)
        both.append(steps)
    return both


@torch.no_grad()
def loss_slice(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    steps: list[list[Tensor]],
    first: Tensor,
    second: Tensor,
) -> Tensor:
    """Loss at w + a·d1 + b·d2 for every a in ``first`` and b in ``second``: [n, m].

    BN uses the statistics of these images (train mode), as it would if the net stood
    there. The net itself is left as it is.
    """
    net = copy.deepcopy(net).train()
    start = [parameter.clone() for parameter in net.parameters()]
    losses = torch.empty(len(first), len(second))
    for i, a in enumerate(first.tolist()):
        for j, b in enumerate(second.tolist()):
            for p, w, d1, d2 in zip(net.parameters(), start, *steps):
                p.copy_(w + a * d1 + b * d2)
            losses[i, j] = cross_entropy(net(images), labels)
    return losses


def lesion_errors(
    rows: Sequence[Mapping[str, object]], kind: str, depth: int, **wanted: int
) -> list[float]:
    """Test errors (%) of all seeds in the table ``why_lesion``.

    Args:
        rows: of the table.
        kind: "plain" or "residual".
        depth: layers of the net.
        wanted: ``unit=-1`` for the whole nets, ``unit=k`` for those without unit k,
            ``special=0`` or 1 for those without any one unit of that kind.
    """
    return [
        row["test_error"]
        for row in rows
        if (row["kind"], row["depth"]) == (kind, depth)
        and all(row[name] == value for name, value in wanted.items())
        and (wanted.get("unit") == -1 or row["unit"] >= 0)
    ]


def _errors(net: nn.Module, data: Digits) -> dict[str, float]:
    found = evaluate(net, data)
    return {key: round(found[key], 2) for key in ("final_train_error", "test_error")}


def lesion() -> Iterator[dict[str, object]]:
    """Errors of trained nets, whole (unit -1) and with each unit taken out."""
    data = load_digits()
    for kind, depth in (("residual", 56), ("residual", 20), ("plain", 20)):
        for seed in SEEDS:
            net = build(kind, depth, seed)
            train(net, data, lr=LEARNING_RATE, epochs=EPOCHS, seed=seed)
            about = {"kind": kind, "depth": depth, "seed": seed}
            yield about | {"unit": -1, "special": 0} | _errors(net, data)
            for number, (_, _, unit) in enumerate(units_of(net)):
                special = int(unit.conv1.stride != (1, 1))
                try:
                    cut = without(net, number)
                except ValueError:
                    continue
                row = about | {"unit": number, "special": special}
                yield row | _errors(cut, data)


def start() -> Iterator[dict[str, object]]:
    """Residual nets of 56 layers: with BN, without it, and without it but with α."""
    data = load_digits()
    ways = {"BN": lambda net: net, "no BN": remove_bn, "no BN, α": skip_init}
    for name, change in ways.items():
        for seed in SEEDS:
            net = change(build("residual", 56, seed))
            history = train(net, data, lr=LEARNING_RATE, epochs=EPOCHS, seed=seed)
            losses = [row["train_loss"] for row in history]
            row = {"way": name, "seed": seed} | _errors(net, data)
            first, last = losses[0], losses[-1]
            yield row | {"first_loss": f"{first:.4g}", "last_loss": f"{last:.4g}"}


def landscape() -> Iterator[dict[str, object]]:
    """Slices through trained nets of 56 layers, on 512 training images."""
    data = load_digits()
    images, labels = (part[:512] for part in data.train)
    at = torch.linspace(-1, 1, SIDE)
    for kind in ("plain", "residual"):
        net = build(kind, 56, seed=0)
        train(net, data, lr=LEARNING_RATE, epochs=3 * EPOCHS, seed=0)
        losses = loss_slice(net, images, labels, directions(net, seed=0), at, at)
        for i, a in enumerate(at.tolist()):
            for j, b in enumerate(at.tolist()):
                loss = f"{losses[i, j].item():.4g}"
                yield {"kind": kind, "a": round(a, 4), "b": round(b, 4), "loss": loss}


def train_with(
    way: str, size: float, net: nn.Module, data: Digits, *, epochs: int, seed: int
) -> list[float]:
    """Train in place as ``degradation.train`` does, with one remedy.

    Args:
        way: "none"; "clipping", of the whole gradient to a norm of 1; "per layer",
            where each weight tensor's gradient is scaled to a length in proportion to
            the tensor's own (LARS, You et al. 2017); or "Adam".
        size: that proportion for "per layer", else the learning rate at the start.
        net: a ``DigitsNet``.
        data: the three splits.
        epochs: passes over the training images.
        seed: decides the order of the images.

    Returns:
        The training error (%) over each epoch's batches as they came.
    """
    images, labels = data.train
    steps = len(images) // BATCH
    if way == "Adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=size)
    else:
        lr = LEARNING_RATE if way == "per layer" else size
        optimizer = torch.optim.SGD(
            net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4
        )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    generator = torch.Generator().manual_seed(seed)
    errors = []
    for _ in range(epochs):
        net.train()
        wrong = 0
        order = torch.randperm(len(images), generator=generator)
        for batch in order[: steps * BATCH].split(BATCH):
            logits = net(images[batch])
            optimizer.zero_grad()
            cross_entropy(logits, labels[batch]).backward()
            if way == "clipping":
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            elif way == "per layer":
                for p in net.parameters():
                    if p.ndim > 1:
                        length = p.grad.norm().clamp_min(1e-12)
                        p.grad.mul_(size * p.detach().norm() / length)
            optimizer.step()
            schedule.step()
            wrong += (logits.argmax(1) != labels[batch]).sum().item()
        errors.append(100 * wrong / (steps * BATCH))
    return errors


def remedies() -> Iterator[dict[str, object]]:
    """Plain nets with what their diagnosis calls for.

    A trial with another seed chooses each remedy's step size, by the training error,
    because that is what a remedy is to bring down. ``learned_after`` is the first
    epoch whose training error is below 5 %, or 0 if there is none.
    """
    data = load_digits()

    def row(
        part: str, depth: int, way: str, size: float, epochs: int, seed: int
    ) -> dict[str, object]:
        net = build("plain", depth, seed)
        errors = train_with(way, size, net, data, epochs=epochs, seed=seed)
        learned = [epoch for epoch, error in enumerate(errors, 1) if error < 5]
        about = {"part": part, "depth": depth, "way": way, "size": size}
        about |= {"epochs": epochs, "seed": seed}
        return about | _errors(net, data) | {"learned_after": (learned or [0])[0]}

    chosen = {}
    for way, sizes in SIZES.items():
        trial = [row("trial", 56, way, size, EPOCHS, TRIAL_SEED) for size in sizes]
        yield from trial
        chosen[way] = min(trial, key=lambda found: found["final_train_error"])["size"]
    plans = [
        (56, way, size, epochs)
        for epochs in (EPOCHS, 3 * EPOCHS)
        for way, size in chosen.items()
    ]
    plans += [(56, "none", LEARNING_RATE, 6 * EPOCHS)]
    plans += [(34, "none", LEARNING_RATE, EPOCHS)]  # at full width
    for depth, way, size, epochs in plans:
        for seed in SEEDS:
            yield row("main", depth, way, size, epochs, seed)


PARTS = {"lesion": lesion, "start": start, "landscape": landscape, "remedies": remedies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    part = parser.parse_args().part
    torch.set_num_threads(1)  # for nets this small more threads gain nothing
    path = Path(__file__).parents[1] / "results" / f"why_{part}.csv"
    rows = []
    for row in PARTS[part]():
        print(row, flush=True)
        rows.append(row)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# python -m course_book.experiments.why {part}\n")
        versions = f"torch {torch.__version__}, Python {platform.python_version()}"
        file.write(f"# {versions}, one thread of a CPU\n")
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert all(math.isfinite(row.get("test_error", 0)) for row in rows)


if __name__ == "__main__":
    main()
