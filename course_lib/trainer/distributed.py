"""Several processes that train one model together, under ``torchrun``.

Each process computes on its part of every joint batch; DistributedDataParallel
averages their gradients (Li et al. 2020). For the average to be the joint batch's
gradient each part's loss must be divided by the weight of the joint batch, not of the
part: that is :class:`JointLoss`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["JointLoss", "PeerLostError", "World", "process_group", "world"]

SILENCE = timedelta(minutes=5)  # a peer that says nothing for so long is dead
PATIENCE = timedelta(hours=6)  # while one process alone prepares the data
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
def process_group() -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started; alone, just name the device.

    Yields:
        The device of this process: its own GPU where there is one, else the CPU.

    Raises:
        PeerLostError: if the others cannot be reached.
    """
    gpu = torch.cuda.is_available()
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield torch.device("cuda" if gpu else "cpu")
        return
    device = torch.device("cpu")
    if gpu:
        local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= count:
            raise ValueError(
                f"process {local} of this machine has no GPU of its own: there are "
                f"{count}; start torchrun with --nproc-per-node {count}"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    with peers():
        # Gradients go through NCCL on GPUs, small talk of the CPUs through gloo.
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        dist.init_process_group(backend, timeout=SILENCE)
    # gloo's group waits in its destructor for its threads, and these may wait for
    # Python's lock to let go of a tensor. Where the last reference is that of a
    # DistributedDataParallel, the destructor holds that lock: both wait forever
    # (pytorch/pytorch, issue 56297). So this reference lives as long as the process.
    _GROUPS.append(dist.group.WORLD)
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextmanager
def peers() -> Iterator[None]:
    """Say in a sentence what the loss of a peer looks like from inside."""
    try:
        yield
    except PeerLostError:
        raise
    except RuntimeError as error:
        text = str(error)
        network = isinstance(error, getattr(dist, "DistError", ()))
        if not network and not any(word in text for word in ("gloo", "NCCL", "c10d")):
            raise
        raise PeerLostError(
            "another process of this training ended or cannot be reached "
            f"({text.splitlines()[0][:200]}); see its own message, then start all of "
            "them again and resume"
        ) from error


def main_first(work: Callable[[], Any]) -> Any:
    """Let process 0 do some work before the others do it, such as fill a cache."""
    me = world()
    if me.size == 1:
        return work()
    patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    result = work() if me.writes else None
    with peers():
        dist.barrier(patient)
    result = result if me.writes else work()
    with peers():
        dist.barrier(patient)
    return result


class JointLoss:
    """Cross-entropy, the mean over the joint batch of all processes.

    With class weights w and labels y the mean of the joint batch is
    Σ w[y] ℓ / Σ w[y], both sums over all processes. A process returns P times its
    part of it, so that the mean over the P processes is the whole.

    Args:
        class_weights: float [K] or None.
        label_smoothing: as in ``torch.nn.functional.cross_entropy``.
    """

    def __init__(self, class_weights: Tensor | None, label_smoothing: float) -> None:
        self.weights, self.smoothing = class_weights, label_smoothing
        self.size = world().size

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits [B, K] and labels [B]."""
        if not logits.dtype.is_floating_point or logits.dtype.itemsize < 4:
            logits = logits.float()
        weights = None if self.weights is None else self.weights.to(logits)
        if self.size == 1:
            return nn.functional.cross_entropy(
                logits, labels, weights, label_smoothing=self.smoothing
            )
        total = nn.functional.cross_entropy(
            logits, labels, weights, reduction="sum", label_smoothing=self.smoothing
        )
        ones = torch.ones(len(labels), dtype=logits.dtype, device=logits.device)
        weight = (ones if weights is None else weights[labels]).sum()
        dist.all_reduce(weight)
        return total * (self.size / weight)


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with gradients averaged over the processes; itself when alone."""
    if world().size == 1:
        return model
    ids = [device.index] if device.type == "cuda" else None
    with peers():
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def share_statistics(model: nn.Module) -> None:
    """Give all processes the running statistics of process 0.

    On GPUs SyncBN has made them equal already. On CPUs each BN saw its own part.
    """
    if world().size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def gather(rows: Tensor, total: int) -> Tensor:
    """Put together what the processes computed on every P-th image.

    Args:
        rows: [n, ...] of this process, for the images rank, rank + P, ...
        total: number of images in all.

    Returns:
        [total, ...] in the order of the images, in every process.
    """
    size = world().size
    if size == 1:
        return rows
    longest = -(-total // size)
    padded = rows.new_zeros(longest, *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, 1).flatten(0, 1)[:total]


def spread(state: Any) -> Any:
    """Send process 0's tensors, numbers and texts to all: the disk may be its own."""
    if world().size == 1:
        return state
    buffer = io.BytesIO()
    torch.save(state, buffer)
    length = torch.tensor([len(buffer.getbuffer())])
    dist.broadcast(length, 0)
    if world().writes:
        data = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
    else:
        data = torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(data, 0)
    return torch.load(io.BytesIO(data.numpy().tobytes()), weights_only=True)


def sums(numbers: list[float]) -> list[float]:
    """Each number summed over the processes."""
    return _reduce(numbers, dist.ReduceOp.SUM)


def largest(numbers: list[float]) -> list[float]:
    """The largest of each number over the processes: one that asks is enough."""
    return _reduce(numbers, dist.ReduceOp.MAX)


def _reduce(numbers: list[float], operation: Any) -> list[float]:
    if world().size == 1:
        return numbers
    tensor = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(tensor, operation)
    return tensor.tolist()
