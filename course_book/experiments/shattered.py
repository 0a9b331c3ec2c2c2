"""How alike are the gradients of neighboring inputs?

After Balduzzi et al. (2017), "The Shattered Gradients Problem",
https://arxiv.org/abs/1702.08591, sections 2 and 3: towers of fully connected layers
with ReLUs at the start of training, one number out, and the gradient of that number
by the input. A plain layer computes W relu(h), a residual one h + W relu(h); with BN,
relu(BN(h)) takes the place of relu(h). Weights are drawn with variance 2 / width
(He et al. 2015).

BN uses the mean and the deviation of all inputs together and holds them fixed, as in
eval mode: a train-mode BN would let each output depend on all inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["KINDS", "autocorrelation", "input_gradients", "mean_cosine"]

Kind = Literal["plain", "plain + BN", "residual", "residual + BN"]
KINDS: tuple[Kind, ...] = ("plain", "plain + BN", "residual", "residual + BN")


def input_gradients(
    kind: Kind, layers: int, inputs: Tensor, seed: int, width: int = 128
) -> Tensor:
    """Gradient of a fresh tower's output by its input, for each input by itself.

    Args:
        kind: one of ``KINDS``.
        layers: layers between the first one, which takes the input to ``width``
            numbers with random biases, and the last one, which makes one of them.
        inputs: [B, D], float64.
        seed: of the weights. Same seed and layers, same weights for every kind.
        width: numbers per layer.

    Returns:
        [B, D], float64.

    Raises:
        ValueError: for another kind, or inputs of another shape.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, got {kind!r}")
    if inputs.ndim != 2:
        raise ValueError(f"inputs must have shape [B, D], got {list(inputs.shape)}")
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, variance: float) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.to(inputs) * math.sqrt(variance)

    x = inputs.detach().requires_grad_()
    h = F.linear(
        x,
        draw(width, inputs.shape[1], variance=1 / inputs.shape[1]),
        draw(width, variance=1),
    )  # [B, width]
    for _ in range(layers):
        weight = draw(width, width, variance=2 / width)
        a = h
        if "BN" in kind:
            mean, variance = h.mean(0), h.var(0, correction=0)
            a = (h - mean.detach()) / (variance.detach() + 1e-5).sqrt()
        f = F.linear(a.relu(), weight)
        h = h + f if kind.startswith("residual") else f
    y = h @ draw(width, variance=1 / width)
    return torch.autograd.grad(y.sum(), x)[0]


def autocorrelation(series: Tensor, lags: Sequence[int]) -> Tensor:
    """Correlation of a series with itself, shifted by each lag.

    The mean of the series is taken off first. 1 at lag 0; white noise has about 0
    at all others.

    Args:
        series: [n].
        lags: each from 0 to n - 1.

    Returns:
        One number per lag.

    Raises:
        ValueError: if a lag is out of range or the series constant.
    """
    n = len(series)
    if any(not 0 <= lag < n for lag in lags):
        raise ValueError(f"lags must lie in 0 ... {n - 1}, got {list(lags)}")
    centered = series - series.mean()
    power = centered.square().mean()
    if power == 0:
        raise ValueError("the series is constant and has no autocorrelation")
    products = [(centered[lag:] * centered[: n - lag]).mean() for lag in lags]
    return torch.stack(products) / power


def mean_cosine(gradients: Tensor) -> float:
    """Mean cosine of the angle between the gradients of all pairs of inputs.

    Args:
        gradients: [B, D] with B of at least 2, none of them 0.
    """
    unit = F.normalize(gradients, dim=1)
    cosines = unit @ unit.T
    count = len(unit)
    off_diagonal = cosines.sum() - cosines.diagonal().sum()
    return (off_diagonal / (count * (count - 1))).item()
