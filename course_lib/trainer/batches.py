"""Which images come in which batch, and with which random numbers.

Everything random in a training is a function of (seed, epoch, batch), nothing of what
happened before. So a training that was interrupted goes on with the very same
batches, and the number of workers changes nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

__all__ = ["derive", "random_state_kept", "seed_all"]


def derive(*numbers: int | str) -> int:
    """A seed of 63 bits from other numbers: neighbors give unrelated ones."""
    text = " ".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - transforms read the global state
    random.seed(seed)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the caller's global generators as they were."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


class Batch(NamedTuple):
    """The order for one batch, small enough to send to a worker."""

    seed: int
    indices: Sequence[int]  # of this process's part
    images: int  # in the joint batch of all processes


class Plan:
    """The batches of a whole training.

    A last batch that would leave a process with less than two images is joined to
    the one before: BN has no variance of one, and no image is lost.

    Args:
        images: in the training set.
        batch_size: images per joint batch.
        seed: decides the order of every epoch.
        rank: which process this is.
        processes: how many share each batch.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.seed, self.rank, self.processes = seed, rank, processes
        self.bounds = list(range(0, images, batch_size))
        if len(self.bounds) > 1 and images - self.bounds[-1] < 2 * processes:
            self.bounds.pop()
        self.bounds.append(images)

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.bounds) - 1

    @property
    def smallest(self) -> int:
        """Images in the smallest joint batch."""
        return min(b - a for a, b in itertools.pairwise(self.bounds))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This process's part of each batch of an epoch, from batch ``start`` on."""
        generator = torch.Generator().manual_seed(derive(self.seed, epoch, "order"))
        order = torch.randperm(self.bounds[-1], generator=generator).tolist()
        for step in range(start, self.steps):
            joint = order[self.bounds[step] : self.bounds[step + 1]]
            seed = derive(self.seed, epoch, step, self.rank)
            yield Batch(seed, joint[self.rank :: self.processes], len(joint))

    def rest(self, epochs: int, epoch: int, start: int) -> Iterator[Batch]:
        """All batches from one point on: workers run on through the epochs."""
        for number in range(epoch, epochs + 1):
            yield from self.epoch(number, start if number == epoch else 0)


class _Maker(Dataset):
    """Makes whole batches: (seed, images in the joint batch, images, labels)."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitem__(self, batch: Batch) -> tuple[int, int, Tensor, Tensor]:
        if isinstance(self.data, TensorDataset):
            x, y = self.data[torch.tensor(batch.indices)]
        elif hasattr(self.data, "batch"):
            x, y = self.data.batch(batch.indices)
        else:
            seed_all(batch.seed)  # for random transforms of single images
            x, y = default_collate([self.data[index] for index in batch.indices])
        return batch.seed, batch.images, x, y.long()


class _Stream:
    """What a DataLoader takes for a sampler; it may be endless."""

    def __init__(self, batches: Callable[[], Iterator[Batch]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()


def _leave_signals_to_the_trainer(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def load(
    data: Any, batches: Callable[[], Iterator[Batch]], workers: int, pin: bool
) -> DataLoader:
    """A loader that makes the given batches in their order."""
    return DataLoader(
        _Maker(data),
        sampler=_Stream(batches),
        batch_size=None,  # the batches come ready
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_trainer,
    )


def in_order(
    images: int, batch_size: int, rank: int = 0, processes: int = 1
) -> Iterator[Batch]:
    """Every ``processes``-th image from ``rank`` on, for evaluation."""
    mine = range(rank, images, processes)
    for start in range(0, len(mine), batch_size):
        part = mine[start : start + batch_size]
        yield Batch(start, part, len(part))
