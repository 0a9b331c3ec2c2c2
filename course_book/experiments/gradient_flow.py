"""The size of the gradient at every unit, in fresh plain and residual networks.

For each depth, weight scale, activation, with and without BN, with and without
shortcuts: a stack of units of 16 channels on 8×8 maps, in train mode, float64. A
random gradient of length 1 arrives at the output; noted is its length in front of
each unit, on the way back, as a power of ten (median of three seeds). A plain and a
residual stack of one seed have the same weights.

The units are those of :mod:`course_lib.resnet` with another activation or without
BN. Weights: He initialization (2015, fan-out) times the scale.

    python -m course_book.experiments.gradient_flow

writes ``course_book/results/gradient_flow.csv``, in about a minute on one core. The
scalar argument beside it, products of w₁·w₂ and of 1 + w₁·w₂, is :func:`chain`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from torch import nn

from course_lib.resnet import BasicBlock, PlainBlock

__all__ = ["ACTIVATIONS", "DEPTHS", "SCALES", "chain", "profile", "slope"]

ACTIVATIONS = {"ReLU": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
DEPTHS = (2, 4, 8, 16, 32)
SCALES = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0)
BLOCKS = {"plain": PlainBlock, "residual": BasicBlock}
SEEDS = (0, 1, 2)
CHANNELS, SIZE, BATCH = 16, 8, 4


def profile(
    block: str, units: int, scale: float, activation: str, norm: bool, seed: int
) -> list[float]:
    """Powers of ten: length of the gradient in front of each unit, first to last.

    Args:
        block: "plain" or "residual".
        units: units in the stack, at least 1.
        scale: factor on He initialization.
        activation: a key of ``ACTIVATIONS``.
        norm: with BN, or without.
        seed: of the weights, the input and the gradient at the output.

    Returns:
        ``units`` + 1 numbers; the last is 0, the gradient that arrives.
    """
    torch.manual_seed(seed)
    stack = nn.Sequential(*(BLOCKS[block](CHANNELS, CHANNELS) for _ in range(units)))
    for unit in stack:
        unit.relu = ACTIVATIONS[activation]()
        for conv in (unit.conv1, unit.conv2):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")
            conv.weight.data *= scale
        if not norm:
            unit.bn1, unit.bn2 = nn.Identity(), nn.Identity()
    stack.double()
    x = torch.rand(BATCH, CHANNELS, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    points = [x]
    for unit in stack:
        points.append(unit(points[-1]))
    arriving = torch.randn_like(points[-1])
    gradients = torch.autograd.grad(points[-1], points, arriving / arriving.norm())
    return [math.log10(max(float(g.norm()), 1e-300)) for g in gradients]


def slope(activation: str) -> float:
    """The largest derivative of an activation: what a scalar chain gets at best."""
    at = torch.linspace(-4, 4, 81, dtype=torch.float64, requires_grad=True)
    ACTIVATIONS[activation]()(at).sum().backward()
    return float(at.grad.max())


def chain(
    weights: Sequence[Sequence[float]], units: int, scale: float, slope: float
) -> dict[str, list[float]]:
    """The scalar argument: products of plain and of residual factors, as powers of 10.

    Args:
        weights: of each chain at least 2·``units`` numbers, drawn from N(0, 1).
        units: pairs of layers.
        scale: factor on the weights.
        slope: derivative of the activation after each weight.

    Returns:
        For "plain" and "residual" the median over the chains of log10 |∂out/∂x| in
        front of each unit, first to last; the last is 0.
    """
    found = {}
    for name, shortcut in (("plain", 0), ("residual", 1)):
        logs = []
        for w in weights:
            powers = [0.0]
            for unit in reversed(range(units)):
                first, second = w[2 * unit], w[2 * unit + 1]
                factor = shortcut + first * second * (scale * slope) ** 2
                powers.append(powers[-1] + math.log10(max(abs(factor), 1e-12)))
            logs.append(powers[::-1])
        found[name] = [median(values) for values in zip(*logs)]
    return found


def main() -> None:
    """Measure everything and write the table."""
    torch.set_num_threads(1)
    target = Path(__file__).parents[1] / "results" / "gradient_flow.csv"
    lines = [
        "# python -m course_book.experiments.gradient_flow",
        f"# Measured on a CPU with torch {torch.__version__.split('+')[0]}, float64; "
        "median of three seeds.",
        "block,units,scale,activation,norm,powers",
    ]
    settings = itertools.product(BLOCKS, DEPTHS, SCALES, ACTIVATIONS, (0, 1))
    for block, units, scale, activation, norm in settings:
        runs = [profile(block, units, scale, activation, norm, s) for s in SEEDS]
        powers = " ".join(f"{median(values) + 0.0:.2f}" for values in zip(*runs))
        lines.append(f"{block},{units},{scale},{activation},{norm},{powers}")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(target.name, len(lines) - 3, "networks")


if __name__ == "__main__":
    main()
