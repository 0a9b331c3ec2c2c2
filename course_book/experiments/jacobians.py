"""Jacobians of real residual units, and stacks of units to take products of.

A unit in eval mode is a function of one photo's maps: BN then scales and shifts
by fixed numbers. Its Jacobian is a matrix with a row per output and a column per
input, so maps must be small: 64 channels of 4x4 make 1,024 rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.resnet import BasicBlock

__all__ = [
    "branch",
    "inputs_of",
    "jacobian",
    "middle",
    "random_gain",
    "settle",
    "stack",
]


def jacobian(function: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """Derivative of each output of a function by each of its inputs.

    Args:
        function: from [1, C, H, W] to any shape that starts with 1, without
            anything that mixes photos, such as BN in train mode.
        maps: the point [C, H, W] at which to take the derivative, floating point.

    Returns:
        [outputs, inputs] on the device and of the dtype of ``maps``, both flattened
        as ``torch.flatten`` does it.

    Raises:
        ValueError: if ``maps`` has another number of dimensions.
    """
    if maps.ndim != 3:
        raise ValueError(
            f"maps must have shape [C, H, W], one photo's, got {list(maps.shape)}"
        )
    with torch.enable_grad():
        point = maps.detach().requires_grad_()
        output = function(point[None])[0].flatten()
    # One backward pass per output, as a batch of them.
    rows = torch.eye(len(output), device=maps.device, dtype=maps.dtype)
    parts = [
        torch.autograd.grad(
            output, point, chunk, retain_graph=True, is_grads_batched=True
        )[0]
        for chunk in rows.split(256)
    ]
    return torch.cat(parts).flatten(1)


def random_gain(
    function: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator
) -> float:
    """By how much a gradient of random direction grows on its way back.

    For a matrix J in place of the function this estimates the root mean square of
    its singular values (times the square root of inputs over outputs), without
    building it: E |J^T g|^2 = sum of the squares, for g of independent N(0, 1).

    Args:
        function: of ``x``.
        x: the point, floating point, any shape.
        generator: draws the gradient on the CPU, so that it is the same everywhere.

    Returns:
        Length of the gradient at ``x`` over its length at the output.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        output = function(point)
        gradient = torch.randn(output.shape, generator=generator).to(output)
        (back,) = torch.autograd.grad(output, point, gradient)
    return (back.norm() / gradient.norm()).item()


def branch(unit: BasicBlock) -> Callable[[Tensor], Tensor]:
    """F of a unit: everything that is added to the shortcut, [B, C, H, W] to same."""

    def residual_branch(x: Tensor) -> Tensor:
        out = F.relu(unit.bn1(unit.conv1(x)))
        return unit.bn2(unit.conv2(out))

    return residual_branch


def settle(net: nn.Module, x: Tensor) -> nn.Module:
    """Give every BN the statistics of one batch, in place; then eval mode.

    What running averages tend to while the weights stand still. A fresh BN in
    eval mode would divide by 1.

    Args:
        net: any net.
        x: a batch that it takes.

    Returns:
        The same net, in eval mode.
    """
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the new value replaces the running one
    net.train()
    with torch.no_grad():
        net(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return net.eval()


def inputs_of(net: nn.Module, names: list[str], x: Tensor) -> dict[str, Tensor]:
    """What arrives at some of a net's modules, by name: [B, C, H, W] each."""
    found: dict[str, Tensor] = {}
    handles = [
        net.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: found.update({name: args[0].detach().clone()})
        )
        for name in names
    ]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return found


def middle(maps: Tensor, size: int) -> Tensor:
    """The middle ``size`` x ``size`` positions of maps [..., H, W].

    Raises:
        ValueError: if the maps are smaller.
    """
    top, left = ((length - size) // 2 for length in maps.shape[-2:])
    if top < 0 or left < 0:
        raise ValueError(
            f"size must be at most the maps' {list(maps.shape[-2:])}, got {size}"
        )
    return maps[..., top : top + size, left : left + size]


def stack(
    block: type[BasicBlock], units: int, channels: int, seed: int
) -> nn.Sequential:
    """Units in a row with He's initialization; the caller's random state is kept.

    Args:
        block: ``BasicBlock`` or ``PlainBlock``.
        units: how many.
        channels: of every map.
        seed: of the weights; both kinds of block get the same ones.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(*(block(channels, channels) for _ in range(units)))
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )
    return net
