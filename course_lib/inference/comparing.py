"""How far a program's answers are from the model's, and how fast it is."""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.inference.programs import Program


class Check(NamedTuple):
    """How far a program's answers are from the model's, see :func:`check`."""

    error: float  # ‖logits − exact‖ / ‖exact‖
    images: int
    same: int  # images with the same most likely class
    changed: int = 0  # images whose answer changed in spite of a safe lead

    def __str__(self) -> str:
        answers = f"the same answer for {self.same} of {self.images} images"
        return f"relative error {self.error:.1e}, {answers}"


def check(logits: Tensor, exact: Tensor, margin: float | None = None) -> Check:
    """Compare a program's logits [B, classes] with the model's own, ``exact``.

    An error of at most ``margin`` cannot turn an answer whose most likely class leads
    by more than twice that; where it is the largest error on *other* images, such
    answers may change all the same, and ``changed`` counts them.
    """
    difference, exact = logits.double() - exact.double(), exact.double()
    error = (difference.norm() / exact.norm().clamp_min(1e-300)).item()
    stays, changed = logits.argmax(1) == exact.argmax(1), 0
    if margin is not None and exact.shape[1] > 1:
        first, second = exact.topk(2, dim=1).values.unbind(1)
        changed = (~stays & (first - second > 2 * margin)).sum().item()
    return Check(error, len(exact), stays.sum().item(), changed)


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
