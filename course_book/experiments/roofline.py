"""What each layer has to compute and to move, and what a machine can do at best.

The roofline model (Williams, Waterman and Patterson 2009): a layer of F operations
that moves Q bytes takes at least max(F / peak, Q / bandwidth) seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from course_lib.ledger import Ledger, Row

__all__ = ["Machine", "Work", "layer_seconds", "measure_machine", "work"]

# Operations for each value of the result, where there are no MACs. A maximum of
# 3 × 3 values takes eight comparisons; BN in eval mode multiplies once and adds once.
_PER_VALUE = {"BatchNorm2d": 2, "ReLU": 1, "add": 1, "MaxPool2d": 8}


class Work(NamedTuple):
    """The work of one layer on a whole batch."""

    name: str
    kind: str
    operations: int
    bytes: int  # read and written, each number once: the least possible

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.bytes


class Machine(NamedTuple):
    """What was measured of a machine."""

    peak: float  # operations per second, in multiplying matrices
    bandwidth: float  # bytes per second, in copying

    @property
    def ridge(self) -> float:
        """Operations per byte from which on computing takes longer than moving."""
        return self.peak / self.bandwidth

    def seconds(self, layer: Work) -> float:
        """The least time for a layer's work."""
        return max(layer.operations / self.peak, layer.bytes / self.bandwidth)


def work(book: Ledger, itemsize: int = 4) -> tuple[Work, ...]:
    """Operations and bytes of each layer that moves numbers, in a ledger's order.

    Args:
        book: of a network in eval mode.
        itemsize: bytes of one number: 4 for float32, 2 for bfloat16.
    """
    return tuple(_work(row, itemsize) for row in book.rows if row.kind != "flatten")


def _work(row: Row, itemsize: int) -> Work:
    read, written = math.prod(row.input_shape), math.prod(row.output_shape)
    kind = "add" if row.kind in ("+", "add", "add_", "iadd") else row.kind
    if kind == "add":
        read *= 2  # the ledger names the first of two maps
    numbers = read + written + row.parameters
    if kind == "AdaptiveAvgPool2d":
        operations = read
    elif row.macs:
        operations = 2 * row.macs
    else:
        operations = _PER_VALUE.get(kind, 0) * written
    return Work(row.name, kind, operations, itemsize * numbers)


def _fastest(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure_machine(
    device: torch.device, dtype: torch.dtype = torch.float32, rounds: int = 20
) -> Machine:
    """Multiply two matrices, convolve, and copy 64 MB; the fastest run of each counts.

    The peak is that of the faster of the first two: libraries differ in how well they
    know a processor, and the one for convolutions is often another.
    """
    side = 4096 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device).to(dtype)
    maps = torch.randn(side // 128, 256, 28, 28, device=device).to(dtype)
    maps = maps.contiguous(memory_format=torch.channels_last)
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device, dtype)
    conv = conv.to(memory_format=torch.channels_last)
    source = torch.ones(2**24, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode():
        product = 2 * side**3 / _fastest(lambda: a @ a, device, rounds)
        macs = maps.numel() * 256 * 9
        convolved = 2 * macs / _fastest(lambda: conv(maps), device, rounds)
        moved = _fastest(lambda: target.copy_(source), device, rounds)
    return Machine(max(product, convolved), 2 * source.nbytes / moved)


def layer_seconds(
    model: nn.Module, x: torch.Tensor, rounds: int = 5
) -> dict[str, list[float]]:
    """Seconds that each call of each layer takes in eager mode, the fastest round.

    Args:
        model: in eval mode; its hooks are as before afterwards.
        x: a batch on the model's device.
        rounds: forward passes after one that warms up.

    Returns:
        Name of the layer to one number for each call in a forward pass.
    """
    best: dict[str, list[float]] = {}
    begun: dict[nn.Module, float] = {}

    def now() -> float:
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        return time.perf_counter()

    seen: dict[str, list[float]] = {}

    def before(module: nn.Module, _: tuple) -> None:
        begun[module] = now()

    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is not None:
            continue

        def after(m: nn.Module, _: tuple, __: object, name: str = name) -> None:
            seen.setdefault(name, []).append(now() - begun[m])

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))
    try:
        with torch.inference_mode():
            for number in range(rounds + 1):
                seen.clear()
                model(x)
                if not number:  # warms up
                    continue
                for name, times in seen.items():
                    known = best.get(name, times)
                    best[name] = [min(pair) for pair in zip(known, times)]
    finally:
        for handle in handles:
            handle.remove()
    return best
