"""Drawn inputs for the checks: the same ones in every run, on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RandomInputs:
    """Random numbers from a generator of its own; the global one is left alone."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Normally distributed numbers of mean 0 and deviation 1."""
        return torch.randn(*shape, generator=self.generator, dtype=dtype)

    def positive(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Numbers from 0.5 to 2."""
        drawn = torch.rand(*shape, generator=self.generator, dtype=dtype)
        return 0.5 + 1.5 * drawn

    def integer(self, low: int, high: int) -> int:
        """An int from ``low`` to ``high``, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def labels(self, count: int, classes: int) -> Tensor:
        """``count`` class numbers, int64."""
        return torch.randint(classes, (count,), generator=self.generator)

    def choice(self, values: Sequence) -> object:
        """One of the values."""
        return values[self.integer(0, len(values) - 1)]

    def fill(self, module: torch.nn.Module) -> torch.nn.Module:
        """Give each weight and each running statistic of a module drawn values."""
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                drawn = self.normal(*tensor.shape, dtype=tensor.dtype)
                # Variances and the scales of BN stay away from 0.
                scale = name.endswith("running_var") or tensor.ndim == 1
                tensor.copy_(drawn.abs() + 0.5 if scale else drawn * 0.3)
        return module
