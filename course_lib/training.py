"""The bare training loop: one pass over the data, and a pass that only looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.memory import keep_freed_memory
from course_lib.small_maps import SmallMaps

__all__ = ["Step", "evaluate", "train_one_epoch", "training_steps"]

Loss = Callable[[Tensor, Tensor], Tensor]
LOOK_EVERY = 16  # steps between two looks at an accelerator's losses


class Step(NamedTuple):
    """What one training step saw, before it changed the weights."""

    loss: Tensor  # [], mean over the batch, on the model's device
    correct: Tensor  # [], int64, right answers
    images: int


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def training_steps(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    loss_function: Loss = nn.functional.cross_entropy,
    scheduler: Any = None,
    amp: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    clip: float | None = None,
) -> Iterator[Step]:
    """Train a classifier, one optimizer step per batch, and tell after each step.

    On the CPU a loss that is not finite stops the training before it reaches the
    weights. To look at each loss of a GPU would make the processor wait for it, so
    there the running sum is looked at every 16 steps and at the end.

    Args:
        model: gives logits [B, K] for float images [B, C, H, W]; put in train mode.
        loader: pairs of images and int64 labels [B], on any device.
        optimizer: holds the model's parameters.
        loss_function: of logits and labels, the mean over the batch.
        scheduler: a learning-rate schedule; one step after every batch.
        amp: ``torch.bfloat16`` or ``torch.float16`` computes the forward pass in
            that type where it is safe.
        scaler: needed for float16, whose smallest gradients would round to zero
            (Micikevicius et al. 2018, section 3.2); leaves out a step whose
            gradients overflow.
        clip: gradients whose common norm is above are scaled down to it (Pascanu
            et al. 2013, algorithm 1).

    Yields:
        What each step saw; the weights have changed by then.

    Raises:
        ValueError: if ``amp`` is float16 and there is no scaler.
        FloatingPointError: if the loss is not finite.
    """
    if amp is torch.float16 and scaler is None:
        raise ValueError(
            "amp must be None or torch.bfloat16, got torch.float16 without a scaler; "
            'pass scaler=torch.amp.GradScaler("cuda")'
        )
    device = _device(model)
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    every = 1 if device.type == "cpu" else LOOK_EVERY
    if device.type == "cpu":
        keep_freed_memory()
    model.train()
    total, images, number = torch.zeros((), device=device), 0, 0
    maps = _small_maps(model, device, amp)
    for number, (x, y) in enumerate(loader, start=1):
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, amp, enabled=amp is not None), maps:
            logits = model(x)
            loss = loss_function(logits, y)
        seen = Step(loss.detach(), (logits.detach().argmax(1) == y).sum(), len(y))
        total, images = total + seen.loss, images + seen.images
        if number % every == 0:
            _check_finite(total, images)

        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)  # optimizer.step(), unless a scaled gradient overflowed
        scaler.update()
        if scheduler is not None:
            scheduler.step()
        yield seen
    _check_finite(total, images)


def _small_maps(
    model: nn.Module, device: torch.device, amp: torch.dtype | None
) -> AbstractContextManager:
    """Where it helps, and not for a compiled model, which has chosen its kernels."""
    helps = device.type == "cpu" and amp is torch.bfloat16
    return SmallMaps() if helps and not hasattr(model, "_orig_mod") else nullcontext()


def _check_finite(total: Tensor, images: int) -> None:
    if not torch.isfinite(total):
        raise FloatingPointError(
            f"the loss became {total.item()} after {images} images; "
            "lower the learning rate or look at the data"
        )


def train_one_epoch(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    **options: Any,
) -> dict[str, float]:
    """Train a classifier for one pass over ``loader``, in train mode.

    Args:
        model: gives logits [B, K] for float images [B, C, H, W].
        loader: pairs of images and int64 labels [B], on any device.
        optimizer: holds the model's parameters.
        **options: ``loss_function``, ``scheduler``, ``amp``, ``scaler`` and
            ``clip`` of :func:`training_steps`.

    Returns:
        ``loss`` and ``accuracy``, means over the images as they were seen (the
        weights changed meanwhile), and ``images``, how many.

    Raises:
        ValueError: if the loader is empty, or ``amp`` is float16 without a scaler.
        FloatingPointError: if the loss is not finite.
    """
    losses, correct, images = [], [], []
    for step in training_steps(model, loader, optimizer, **options):
        losses.append(step.loss * step.images)
        correct.append(step.correct)
        images.append(step.images)
    if not images:
        raise ValueError("loader gave no batch; is drop_last larger than the data?")
    return {
        "loss": torch.stack(losses).cpu().double().sum().item() / sum(images),
        "accuracy": torch.stack(correct).sum().item() / sum(images),
        "images": sum(images),
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
        amp: as for :func:`training_steps`; float16 needs no scaler here.

    Returns:
        ``loss`` and ``accuracy`` (floats), ``logits`` float32 [N, K] and
        ``labels`` int64 [N], both on the CPU and in the loader's order.

    Raises:
        ValueError: if the loader is empty.
    """
    device = _device(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    losses, outputs, labels = [], [], []
    try:
        for x, y in loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            with torch.autocast(device.type, amp, enabled=amp is not None):
                logits = model(x)
                losses.append(loss_function(logits, y) * len(y))
            outputs.append(logits.float())
            labels.append(y)
    finally:
        for module, mode in modes:
            module.training = mode
    if not outputs:
        raise ValueError("loader gave no batch; is the data set empty?")
    logits, y = torch.cat(outputs).cpu(), torch.cat(labels).cpu()
    return {
        "loss": torch.stack(losses).cpu().double().sum().item() / len(y),
        "accuracy": (logits.argmax(1) == y).float().mean().item(),
        "logits": logits,
        "labels": y,
    }
