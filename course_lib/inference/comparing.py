"""How far a program's answers are from the model's, and how fast it is."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.inference.programs import Program

__all__ = ["Check", "benchmark", "check", "in_batches"]


class Check(NamedTuple):
    """How far a program's answers are from the model's, see :func:`check`."""

    error: float  # ‖logits − exact‖ / ‖exact‖
    images: int
    same: int  # images with the same most likely class
    safe: int  # images whose lead is more than twice the margin
    changed: int = 0  # safe images whose answer changed all the same
    held_out: bool = False  # whether other images set the margin

    def __str__(self) -> str:
        error = f"relative error {self.error:.1e}"
        if not self.held_out:
            return f"{error}, the same answer for {self.same} of {self.images} images"
        return (
            f"{error}, agreed on {self.same} of {self.images} images that were not "
            "used to set the bound"
        )


def check(logits: Tensor, exact: Tensor, margin: float | None = None) -> Check:
    """Compare a program's logits [B, classes] with the model's own, ``exact``.

    An answer cannot change where the lead of the most likely class over the next one
    is more than twice the largest error of a logit. ``margin`` is that error as found
    on *other* images, and can fail here; None measures it on these, image by image,
    where it holds by definition.
    """
    difference = logits.double() - exact.double()
    error = (difference.norm() / exact.double().norm().clamp_min(1e-300)).item()
    stays = logits.argmax(1) == exact.argmax(1)
    safe = torch.ones_like(stays)
    if exact.shape[1] > 1:
        first, second = exact.double().topk(2, dim=1).values.unbind(1)
        largest = difference.abs().amax(1) if margin is None else margin
        safe = first - second > 2 * largest
    counts = (int(mask.sum()) for mask in (stays, safe, safe & ~stays))
    return Check(error, len(exact), *counts, held_out=margin is not None)


def benchmark(
    runs: dict[str, Program], example: Tensor, rounds: int
) -> dict[str, float]:
    """Seconds of the least disturbed run of each, taken in turn.

    The least, because other work on the machine only ever adds time.
    """
    best = dict.fromkeys(runs, float("inf"))
    first = next(iter(runs))  # the one that all are compared with stays
    for number in range(-1, rounds):  # round -1 warms up
        limit = 1.5 * min(best.values()) if number >= 3 else float("inf")
        for name, run in runs.items():
            if best[name] > limit and name != first:
                continue
            start = time.perf_counter()
            run(example)
            if example.device.type == "cuda":
                torch.cuda.synchronize(example.device)
            if number >= 0:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def in_batches(run: Program, images: Tensor, size: int) -> Tensor:
    """Logits of N images by a program for so many; the last batch repeats images."""
    spare = torch.arange(-(-len(images) // size) * size, device=images.device)
    batches = images[spare % len(images)].split(size)
    return torch.cat([run(batch) for batch in batches])[: len(images)]
