"""Two remedies against imbalance: weights in the loss, or a fair sampler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

__all__ = ["balanced_sampler", "class_weights"]


def _counts(labels: Sequence[int] | np.ndarray | Tensor, classes: int | None) -> tuple:
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"labels must be one row of at least one integer, got shape "
            f"{list(array.shape)} and type {array.dtype}"
        )
    if array.min() < 0:
        raise ValueError(f"labels must not be negative, got {array.min()}")
    if classes is not None and array.max() >= classes:
        raise ValueError(
            f"labels go up to {array.max()}, too high for num_classes={classes}"
        )
    return array, np.bincount(array, minlength=classes or 0)


def class_weights(
    labels: Sequence[int] | np.ndarray | Tensor, num_classes: int | None = None
) -> Tensor:
    """Weights for ``nn.CrossEntropyLoss(weight=...)``: rare classes count more.

    Class c of n_c examples gets n / (K · n_c), where n counts all examples and K
    the classes that occur: scikit-learn's "balanced" rule. Over the examples the
    weights average 1.

    Args:
        labels: the class of each training example.
        num_classes: length of the result; by default the highest label plus 1. A
            class without examples gets weight 1.

    Returns:
        float32 [num_classes].

    Raises:
        ValueError: if the labels are no integers in 0 ... num_classes - 1.
    """
    _, counts = _counts(labels, num_classes)
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.tensor(weights, dtype=torch.float32)


def balanced_sampler(
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    num_samples: int | None = None,
    seed: int = 0,
) -> WeightedRandomSampler:
    """Draw examples so that each class comes up equally often.

    With replacement: of a rare class the same pictures come again and again, and
    of a common one some never do in an epoch. Use it for training only, and not
    together with :func:`class_weights`, which would correct twice.

    Args:
        labels: the class of each training example.
        num_samples: examples per epoch, by default as many as there are labels.
        seed: of the sampler's own generator.

    Returns:
        A sampler for ``DataLoader(..., sampler=...)``.

    Raises:
        ValueError: if the labels are no integers from 0 up.
    """
    array, counts = _counts(labels, None)
    weights = 1.0 / counts[array]
    return WeightedRandomSampler(
        torch.from_numpy(weights),
        num_samples=len(array) if num_samples is None else num_samples,
        replacement=True,
        generator=torch.Generator().manual_seed(seed),
    )
