"""From a batch as the data set gives it to what the network sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from course_lib.trainer.batches import Plan, seed_all

__all__ = ["Augment", "Inputs", "check_data", "check_parts", "labels_of"]

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Inputs:
    """Checks labels, normalizes bytes and augments, on the device.

    Args:
        model: its first parameter says where images go and in which type.
        classes: number of classes.
        channels_last: memory format of the images.
        augment: see ``Trainer``.
        preprocessing: see ``Trainer``.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        channels_last: bool,
        augment: Augment | None,
        preprocessing: dict[str, Any] | None,
    ) -> None:
        parameter = next(model.parameters())
        self.device, self.type = parameter.device, parameter.dtype
        self.classes, self.channels_last = classes, channels_last
        self.augment, self.numbers = augment, preprocessing

    def __call__(
        self, x: Tensor, y: Tensor, seed: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images and labels [B] on the device; with a seed also augmented."""
        if y.ndim != 1 or y.min() < 0 or y.max() >= self.classes:
            raise ValueError(
                f"labels must be whole numbers from 0 to {self.classes - 1} for "
                f"{self.classes} classes, got {y.flatten()[:8].tolist()} ..."
            )
        generator = None
        if seed is not None:
            seed_all(seed)  # dropout draws from the global generator
            generator = torch.Generator().manual_seed(seed)
        x = x.to(self.device, non_blocking=True)
        if x.dtype == torch.uint8:
            x = self._normalize(self._windows(x, generator))
        x = x.to(self.type)
        if generator is not None and self.augment is not None:
            x = self.augment(x, generator)
        if self.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y.to(self.device, non_blocking=True)

    def _windows(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Square windows of the size of preprocessing: at random, or the middle.

        As in ``course_lib.data.transforms``: pictures are kept a little larger than
        the network takes them, so that a training sees shifted ones.
        """
        if self.numbers is None:
            raise ValueError(
                "images are bytes: pass preprocessing with their size, mean and std to "
                "Trainer, or make normalized floats of them"
            )
        size, (rows, columns) = self.numbers["size"], x.shape[2:]
        if rows < size or columns < size:
            raise ValueError(
                f"images of {rows} × {columns} pixels are smaller than the size in "
                f"preprocessing, {size}"
            )
        top, left = (rows - size) // 2, (columns - size) // 2
        if generator is None or rows == columns == size:
            return x[:, :, top : top + size, left : left + size]
        tops = torch.randint(rows - size + 1, (len(x),), generator=generator)
        lefts = torch.randint(columns - size + 1, (len(x),), generator=generator)
        corners = zip(x, tops.tolist(), lefts.tolist())
        return torch.stack([i[:, t : t + size, c : c + size] for i, t, c in corners])

    def _normalize(self, x: Tensor) -> Tensor:
        mean = torch.tensor(self.numbers["mean"], device=x.device).view(-1, 1, 1)
        std = torch.tensor(self.numbers["std"], device=x.device).view(-1, 1, 1)
        return (x / 255 - mean) / std

    def to_show(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] between 0 and 1, as near to the originals as known."""
        if x.dtype == torch.uint8:
            return self._windows(x, None) / 255
        x = x.detach().float().cpu()
        if self.numbers is not None:
            mean = torch.tensor(self.numbers["mean"]).view(-1, 1, 1)
            return (x * torch.tensor(self.numbers["std"]).view(-1, 1, 1) + mean).clamp(
                0, 1
            )
        low = x.amin((1, 2, 3), keepdim=True)
        return (x - low) / (x.amax((1, 2, 3), keepdim=True) - low).clamp_min(1e-12)


def labels_of(data: Any) -> np.ndarray | None:
    """The labels of a data set, if they can be had without opening its images."""
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:
        return data.tensors[1].numpy()
    labels = getattr(data, "labels", None)
    return None if labels is None else np.asarray(labels)


def check_data(data: Any, name: str) -> int:
    """The number of images.

    Raises:
        TypeError: if it is no map-style data set.
        ValueError: if it is empty.
    """
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise TypeError(
            f"{name} must be a data set with len() and [index] (the trainer makes the "
            f"batches), got {type(data).__name__}"
        )
    if not len(data):
        raise ValueError(f"{name} is empty: there is no image to look at")
    return len(data)


def check_classes(data: Any, classes: tuple[str, ...]) -> None:
    """Refuse training data of one class: whatever is said is right then.

    Raises:
        ValueError: names the class. Data whose labels are not known without opening
            every image pass.
    """
    labels = labels_of(data)
    if labels is not None and len(found := np.unique(labels)) == 1:
        name = classes[found[0]] if 0 <= found[0] < len(classes) else found[0]
        raise ValueError(
            f"all {len(labels)} training images are of the class {name!r}; a "
            "classifier needs examples of two classes at least"
        )


def check_parts(plan: Plan, model: nn.Module) -> None:
    """Refuse batches that leave a process too few images.

    Raises:
        ValueError: says how many there are and how many it takes.
    """
    norm = nn.modules.batchnorm._BatchNorm
    need = 2 if any(isinstance(module, norm) for module in model.modules()) else 1
    if plan.smallest // plan.processes < need:
        raise ValueError(
            f"the smallest batch has {plan.smallest} images for {plan.processes} "
            f"process(es), and each needs at least {need}"
            f"{', because BN has no variance of one' if need == 2 else ''}; choose "
            "another batch_size or give more images"
        )
