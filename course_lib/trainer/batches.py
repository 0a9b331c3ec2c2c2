"""Which images come in which batch, and how they reach the network.

Everything random in a training is a function of (seed, epoch, step), nothing of what
happened before. So a training that was interrupted resumes with the very same batches,
and the number of workers changes nothing. (A StatefulDataLoader stores where it was
instead: the state of every worker, which another number of workers cannot take up.)
"""

import hashlib
import itertools
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate


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
    """Which images one process takes, and the seed of all that is random with them."""

    seed: int
    indices: Sequence[int]


class Plan:
    """The batches of a whole training: this process's part of each joint batch.

    A last batch that would leave a process with less than two images is joined to
    the one before: BN has no variance of one, and no image is lost.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.seed, self.rank, self.processes = seed, rank, processes
        self.bounds = list(range(0, images, batch_size))
        if len(self.bounds) > 1 and images - self.bounds[-1] < 2 * processes:
            self.bounds.pop()
        self.bounds.append(images)
        self.sizes = [b - a for a, b in itertools.pairwise(self.bounds)]
        self.steps = len(self.sizes)  # per epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This process's part of each batch of an epoch, from batch ``start`` on."""
        generator = torch.Generator().manual_seed(derive(self.seed, epoch, "order"))
        order = torch.randperm(self.bounds[-1], generator=generator).tolist()
        for step in range(start, self.steps):
            joint = order[self.bounds[step] : self.bounds[step + 1]]
            seed = derive(self.seed, epoch, step, self.rank)
            yield Batch(seed, joint[self.rank :: self.processes])

    def rest(self, epochs: int, epoch: int, start: int) -> Iterator[Batch]:
        """All batches from one point on: workers run on through the epochs."""
        for number in range(epoch, epochs + 1):
            yield from self.epoch(number, start if number == epoch else 0)


def in_order(
    images: int, batch_size: int, rank: int = 0, processes: int = 1
) -> Iterator[Batch]:
    """Every ``processes``-th image from ``rank`` on, for evaluation."""
    mine = range(rank, images, processes)
    for start in range(0, len(mine), batch_size):
        yield Batch(start, mine[start : start + batch_size])


class _WholeBatches(Dataset):
    """A data set whose index is a :class:`Batch`, and whose item its images."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitem__(self, batch: Batch) -> tuple[int, Tensor, Tensor]:
        if isinstance(self.data, TensorDataset):
            x, y = self.data[torch.tensor(batch.indices)]
        elif hasattr(self.data, "batch"):
            x, y = self.data.batch(batch.indices)
        else:
            seed_all(batch.seed)  # for random transforms of single images
            x, y = default_collate([self.data[index] for index in batch.indices])
        return batch.seed, x, y.long()


def _leave_signals_to_the_trainer(_: int) -> None:
    for name in ("SIGINT", "SIGHUP"):  # these reach all processes of a terminal
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def load(
    data: Any, order: Iterator[Batch], workers: int, device: torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Make the given batches in their order: seed, images and labels of each."""
    # On the CPU workers take the network's cores, so for what is ready they cost time.
    ready = isinstance(data, TensorDataset) or hasattr(data, "batch")
    loader = DataLoader(
        _WholeBatches(data),
        sampler=order,
        batch_size=None,  # the batches come ready
        num_workers=0 if ready and device.type == "cpu" else workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    try:
        yield from loader
    except RuntimeError as error:
        # The loader chains this error only where a worker has died without a word.
        if not loader.num_workers or error.__cause__ is None:
            raise
        raise RuntimeError(
            f"a process that prepares batches has died ({error}). A script that trains "
            'with workers must do so below `if __name__ == "__main__":`, because where '
            "processes are spawned (Windows, macOS, Linux from Python 3.14) each of "
            "them runs the script again. If yours does, memory may be short: lower "
            "workers or batch_size"
        ) from error


def check_data(data: Any, name: str) -> int:
    """The number of images; a data set that is empty or of another kind is refused."""
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise TypeError(
            f"{name} must be a data set with len() and [index] (the trainer makes the "
            f"batches), got {type(data).__name__}"
        )
    if not len(data):
        raise ValueError(f"{name} is empty: there is no image to look at")
    return len(data)


def check_training(
    data: Any, classes: Sequence[str], plan: Plan, model: nn.Module
) -> None:
    """Refuse data of one class (if labels are known), and batches too small for BN."""
    labels = data.tensors[-1] if isinstance(data, TensorDataset) else None
    labels = getattr(data, "labels", labels)
    if labels is not None and len(found := np.unique(labels)) == 1:
        name = classes[found[0]] if 0 <= found[0] < len(classes) else found[0]
        raise ValueError(
            f"all {len(labels)} training images are of the class {name!r}; a "
            "classifier needs examples of two classes at least"
        )
    norm = nn.modules.batchnorm._BatchNorm
    need = 2 if any(isinstance(module, norm) for module in model.modules()) else 1
    if min(plan.sizes) // plan.processes < need:
        raise ValueError(
            f"the smallest batch has {min(plan.sizes)} images for {plan.processes} "
            f"process(es), and each needs at least {need}"
            f"{', because BN has no variance of one' if need == 2 else ''}; choose "
            "another batch_size or give more images"
        )
