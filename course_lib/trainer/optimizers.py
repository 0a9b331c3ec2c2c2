"""The optimizer and the learning rate's course that the settings ask for."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.trainer.config import TrainerConfig

__all__ = ["optimizer_for", "schedule_for"]


class _AsItLies:
    """Shows Adam's kernel each weight as it lies in memory.

    Channels-last weights [C_out, C, K, K] lie in the order [C_out, K, K, C]. Adam
    changes each number by itself, in whatever order, but on the CPU the fused kernel
    first copies a tensor whose axes are not in memory's order: half of its time for
    ResNet-18 (torch 2.12).
    """

    def _init_group(self, group: dict[str, Any], *lists: Any) -> bool:
        complex_ = super()._init_group(group, *lists)
        weights = list(lists[0])
        for tensors in lists:  # weights, gradients, running means, numbers of steps
            if isinstance(tensors, list):  # AdamW of torch 2.6 has a bool among them
                tensors[:] = map(_in_order, tensors, weights)
        return complex_


def _in_order(x: Tensor, weight: Tensor) -> Tensor:
    last = x.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1) if last else x


class _Adam(_AsItLies, torch.optim.Adam):
    pass


class _AdamW(_AsItLies, torch.optim.AdamW):
    pass


def optimizer_for(model: nn.Module, config: TrainerConfig) -> torch.optim.Optimizer:
    """The optimizer, with weight decay on matrices and kernels only.

    To shrink γ, β or a bias does not make the function simpler; He et al. (2019,
    section 3.1) leave them out as well.
    """
    wanted = [p for p in model.parameters() if p.requires_grad]
    if not wanted:
        raise ValueError("the model has no parameter that requires a gradient")
    groups = [
        {
            "params": [p for p in wanted if p.ndim >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # Fused: one pass over the weights instead of one for each operation.
    settings = {"lr": config.learning_rate, "fused": True}
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, **settings)
    kind = _Adam if config.optimizer == "adam" else _AdamW
    return kind(groups, **settings)


def schedule_for(
    optimizer: torch.optim.Optimizer, config: TrainerConfig, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then half a cosine down to 0, over ``steps`` steps."""
    rising = round(config.warmup * steps)

    def share(step: int) -> float:  # of the highest rate, for step 0, 1, ...
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, steps - rising))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
