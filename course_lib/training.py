"""The bare training loop: one pass over the data, and one pass that only measures."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Batches = Iterable[tuple[Tensor, Tensor]]  # images [B, C, H, W] and int64 labels [B]


def pick_device(name: str = "auto") -> torch.device:
    """The device to compute on: "cuda", "cuda:1", "mps" (Apple's GPU) or "cpu".

    "auto" is the first of cuda, mps and cpu that works, with a warning where one is
    there and does not work. A named device that does not work is a ``ValueError``.
    """
    kinds = ["cuda"] if torch.cuda.is_available() else []
    kinds += ["mps"] if torch.backends.mps.is_available() else []
    kinds += ["cpu"]
    for kind in kinds if name == "auto" else [name]:
        try:
            if torch.device(kind).type not in kinds:
                raise RuntimeError("it is not on this machine")
            torch.ones(1, device=kind).add_(1)  # a driver or a GPU may be too old
            return torch.device(kind)
        except RuntimeError as error:
            reason = f"device {kind!r} does not work: {str(error).splitlines()[0]}"
            if name != "auto":
                choices = ", ".join(kinds)
                raise ValueError(f"{reason}; choose from {choices}") from error
            warnings.warn(reason, stacklevel=2)


def training_steps(
    model: nn.Module,
    loader: Batches,
    optimizer: torch.optim.Optimizer,
    *,
    loss_function: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    scheduler: Any = None,
    amp: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    clip: float | None = None,
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Train a classifier, one optimizer step per batch, and yield after each.

    ``scheduler`` steps after each batch, ``amp`` is the type of autocast, ``scaler``
    keeps float16's smallest gradients from 0 (Micikevicius et al. 2018, section 3.2;
    pass one to keep its scale between calls), and ``clip`` is the largest norm of all
    gradients together (Pascanu et al. 2013).

    Yields the batch's mean loss and number of correct answers, tensors [] from before
    the step on the model's device, and its number of images. A loss that is not finite
    is a ``FloatingPointError`` before it reaches the weights; on a GPU, for which the
    check would have to wait, up to 16 steps later.
    """
    device = next(model.parameters()).device
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=amp is torch.float16)
    model.train()
    total, step = torch.zeros((), device=device), 0
    for step, (x, y) in enumerate(loader, start=1):
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            logits = model(x)
            loss = loss_function(logits, y)
        total += loss.detach()
        if device.type == "cpu" or step % 16 == 0:
            _check_finite(total, step)

        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)  # optimizer.step(), unless a scaled gradient overflowed
        scaler.update()
        if scheduler is not None:
            scheduler.step()
        yield loss.detach(), (logits.argmax(1) == y).sum(), len(y)
    _check_finite(total, step)


def _check_finite(total: Tensor, step: int) -> None:
    if not torch.isfinite(total):
        raise FloatingPointError(
            f"the loss became {total.item()} by step {step}; lower the learning rate"
        )


def train_one_epoch(
    model: nn.Module, loader: Batches, optimizer: torch.optim.Optimizer, **options: Any
) -> dict[str, float]:
    """Train for one pass over the data; arguments as for :func:`training_steps`.

    Returns the means ``loss`` and ``accuracy`` over the ``images`` as they were seen:
    the weights changed meanwhile.
    """
    losses, correct, images = 0, 0, 0
    for loss, right, count in training_steps(model, loader, optimizer, **options):
        losses, correct = losses + loss.float() * count, correct + right
        images += count
    if not images:
        raise ValueError("loader gave no batch; is drop_last larger than the data?")
    means = {"loss": losses.item() / images, "accuracy": correct.item() / images}
    return means | {"images": images}


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: Batches, *, amp: torch.dtype | None = None
) -> dict[str, Any]:
    """Cross-entropy ``loss`` and ``accuracy`` in eval mode, ``logits`` and ``labels``.

    The logits, float32 [N, K], and the int64 labels [N] are on the CPU and in the
    loader's order. The model is left as it was.
    """
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    outputs, labels = [], []
    try:
        model.eval()
        for x, y in loader:
            with torch.autocast(device.type, amp, enabled=amp is not None):
                outputs.append(model(x.to(device, non_blocking=True)).float())
            labels.append(y)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not outputs:
        raise ValueError("loader gave no batch; is the data set empty?")
    z, y = torch.cat(outputs).cpu(), torch.cat(labels).cpu()
    found = {"loss": cross_entropy(z, y).item(), "logits": z, "labels": y}
    return found | {"accuracy": (z.argmax(1) == y).float().mean().item()}
