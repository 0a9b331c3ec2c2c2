"""The bare training loop: one pass over the data, and a pass that only looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["evaluate", "train_one_epoch"]

Loss = Callable[[Tensor, Tensor], Tensor]


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def train_one_epoch(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    loss_function: Loss = nn.functional.cross_entropy,
    scheduler: Any = None,
    amp: torch.dtype | None = None,
) -> dict[str, float]:
    """Train a classifier for one pass over ``loader``, in train mode.

    Args:
        model: gives logits [B, K] for float images [B, C, H, W].
        loader: pairs of images and int64 labels [B], on any device.
        optimizer: holds the model's parameters.
        loss_function: of logits and labels, the mean over the batch.
        scheduler: a learning-rate schedule; one step after every batch.
        amp: ``torch.bfloat16`` computes the forward pass in that type where it is
            safe. (float16 needs a gradient scaler, which this loop has not.)

    Returns:
        ``loss`` and ``accuracy``, means over the images as they were seen (the
        weights changed meanwhile), and ``images``, how many.

    Raises:
        ValueError: if the loader is empty, or ``amp`` is float16.
        FloatingPointError: if the loss is not finite.
    """
    if amp is torch.float16:
        raise ValueError("amp must be None or torch.bfloat16, got torch.float16")
    device = _device(model)
    model.train()
    total = correct = images = 0.0
    for x, y in loader:
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            logits = model(x)
            loss = loss_function(logits, y)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss.item()} after {int(images)} images; "
                "lower the learning rate or look at the data"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total += loss.item() * len(y)
        correct += (logits.argmax(1) == y).sum().item()
        images += len(y)
    if not images:
        raise ValueError("loader gave no batch; is drop_last larger than the data?")
    return {
        "loss": total / images,
        "accuracy": correct / images,
        "images": images,
    }


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    loss_function: Loss = nn.functional.cross_entropy,
    amp: torch.dtype | None = None,
) -> dict[str, Any]:
    """Loss, accuracy and logits of a classifier; the model is left as it was.

    Args:
        model: gives logits [B, K]; run in eval mode, then put back into its mode.
        loader: pairs of images and int64 labels [B].
        loss_function: of logits and labels, the mean over the batch.
        amp: as for :func:`train_one_epoch`.

    Returns:
        ``loss`` and ``accuracy`` (floats), ``logits`` float32 [N, K] and
        ``labels`` int64 [N], both on the CPU and in the loader's order.

    Raises:
        ValueError: if the loader is empty.
    """
    device = _device(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    total, outputs, labels = 0.0, [], []
    try:
        for x, y in loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            with torch.autocast(device.type, amp, enabled=amp is not None):
                logits = model(x)
                total += loss_function(logits, y).item() * len(y)
            outputs.append(logits.float().cpu())
            labels.append(y.cpu())
    finally:
        for module, mode in modes:
            module.training = mode
    if not outputs:
        raise ValueError("loader gave no batch; is the data set empty?")
    logits, y = torch.cat(outputs), torch.cat(labels)
    return {
        "loss": total / len(y),
        "accuracy": (logits.argmax(1) == y).float().mean().item(),
        "logits": logits,
        "labels": y,
    }
