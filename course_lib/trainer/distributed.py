"""Several processes that train one model together, under ``torchrun``.

Each process computes on its part of every joint batch; DistributedDataParallel
averages their gradients (Li et al. 2020). For the average to be the joint batch's
gradient each part's loss must be divided by the weight of the joint batch, not of the
part: that is :class:`JointLoss`. (Accelerate and Lightning divide by the part's, so
with class weights or uneven parts two processes are not one.)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.training import pick_device

SILENCE = timedelta(minutes=5)  # a peer that says nothing for so long is dead
_GROUPS: list[Any] = []


class PeerLostError(RuntimeError):
    """Another process of the same training ended or cannot be reached."""


class World(NamedTuple):
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files and draws the bar."""
        return self.rank == 0


def world() -> World:
    """Who I am; alone unless a process group was set up."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


@contextmanager
def process_group(device: str = "auto") -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started; yield the device of this one.

    Raises:
        PeerLostError: if the others cannot be reached.
        ValueError: if the device is not there, or too few GPUs are.
    """
    picked = pick_device(device)
    if "RANK" not in os.environ:
        yield picked
        return
    gpu = picked.type == "cuda"
    if gpu:
        local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= count:
            raise ValueError(
                f"process {local} of this machine has no GPU of its own: there are "
                f"{count}; start torchrun with --nproc-per-node {count}"
            )
        picked = torch.device("cuda", local)
        torch.cuda.set_device(picked)
    # Gradients go through NCCL on GPUs, small talk of the CPUs through gloo.
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
    try:
        dist.init_process_group(backend, timeout=SILENCE)
    except RuntimeError as error:
        raise PeerLostError(f"the others cannot be reached: {error}") from error
    # gloo's group waits in its destructor for its threads, and these may wait for
    # Python's lock to let go of a tensor. Where the last reference is that of a
    # DistributedDataParallel, the destructor holds that lock: both wait forever
    # (pytorch/pytorch, issue 56297). So this reference lives as long as the process.
    _GROUPS.append(dist.group.WORLD)
    try:
        yield picked
    finally:
        dist.destroy_process_group()


@contextmanager
def peers() -> Iterator[None]:
    """Say in a sentence that a peer was lost.

    gloo raises a bare RuntimeError for it, from any operation, the backward pass
    included; so among several processes every bare one is taken for that.
    """
    try:
        yield
    except RuntimeError as error:
        bare = type(error) is RuntimeError or isinstance(error, dist.DistError)
        if world().size == 1 or not bare:
            raise
        raise PeerLostError(
            f"this process cannot continue: {str(error).splitlines()[0][:200]}. Most "
            "likely another process of this training ended: see its own message, then "
            "start all of them again and resume"
        ) from error


class JointLoss:
    """Cross-entropy, the mean over the joint batch of all processes.

    With class weights w [K] and labels y the mean of the joint batch is
    Σ w[y] ℓ / Σ w[y], both sums over all processes. A process returns P times its
    part of it, so that the mean over the P processes is the whole.
    """

    def __init__(self, class_weights: Tensor | None, label_smoothing: float) -> None:
        self.weights, self.smoothing = class_weights, label_smoothing
        self.size = world().size

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits [B, K] and labels [B]."""
        if logits.dtype.itemsize < 4:
            logits = logits.float()
        weights = None if self.weights is None else self.weights.to(logits)
        options = {"weight": weights, "label_smoothing": self.smoothing}
        if self.size == 1:
            return nn.functional.cross_entropy(logits, labels, **options)
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum", **options)
        weights = logits.new_ones(logits.shape[1]) if weights is None else weights
        total = weights[labels].sum()
        dist.all_reduce(total)
        return loss * (self.size / total)


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with gradients averaged over the processes; itself when alone."""
    if world().size == 1:
        return model
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def share_statistics(model: nn.Module) -> None:
    """Give all processes BN's statistics of process 0: each saw its own part."""
    if world().size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def gather(rows: Tensor, total: int) -> Tensor:
    """All rows [total, ...] in order, of which each process has every P-th one."""
    size = world().size
    if size == 1:
        return rows
    padded = rows.new_zeros(-(-total // size), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, 1).flatten(0, 1)[:total]


def broadcast_object(value: Any) -> Any:
    """Process 0's value in every process: a file may be on its disk alone."""
    box = [value]
    if world().size > 1:
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
    return box[0]


def all_reduce(numbers: list[float], operation: str = "SUM") -> list[float]:
    """The sum of each number over all processes; with "MAX" the largest."""
    if world().size == 1:
        return numbers
    tensor = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(tensor, getattr(dist.ReduceOp, operation))
    return tensor.tolist()
