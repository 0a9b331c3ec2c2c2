"""Weights in the loss, against imbalance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["class_weights"]


def class_weights(
    labels: Sequence[int] | np.ndarray | Tensor, num_classes: int | None = None
) -> Tensor:
    """Weights for ``nn.CrossEntropyLoss(weight=...)``: rare classes count more.

    Class c of n_c examples gets n / (K · n_c), where n counts all examples and K the
    classes that occur: scikit-learn's "balanced" rule. A class without examples gets 1.

    Args:
        labels: the class of each training example.
        num_classes: by default the highest label plus 1.

    Returns:
        float32 [num_classes].

    Raises:
        ValueError: if the labels are no integers in 0 ... num_classes - 1.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be a row of integers, got {array.dtype} {list(array.shape)}"
        )
    if array.min() < 0 or array.max() >= (num_classes or np.inf):
        raise ValueError(
            f"labels must lie in 0 ... num_classes - 1, got {array.min()} to "
            f"{array.max()} with num_classes={num_classes}"
        )
    counts = np.bincount(array, minlength=num_classes or 0)
    weights = len(array) / ((counts > 0).sum() * counts.clip(1))
    weights[counts == 0] = 1
    return torch.tensor(weights, dtype=torch.float32)
