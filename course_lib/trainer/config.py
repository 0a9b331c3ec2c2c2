"""Every setting of a training, checked before anything starts, and what it makes."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
# A training may resume elsewhere than it began, as long as it computes the same.
_FREE = {"workers", "progress", "log_dir", "checkpoint_dir"}


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How to train. The same settings, data and seed give the same training.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """

    epochs: int = 10  # passes over the training data
    batch_size: int = 64  # images per step, of all processes together
    # "adam" (Kingma and Ba 2015), "adamw" (Loshchilov and Hutter 2019), or "sgd" with
    # momentum; weights with fewer than two dimensions (BN, biases) have no decay.
    optimizer: str = "adamw"
    learning_rate: float = 2e-3  # the highest one, reached after the warm-up
    momentum: float = 0.9
    weight_decay: float = 0.05
    # Share of all steps in which the rate rises (Goyal et al. 2017, section 2.2); then
    # it falls to 0 along half a cosine (Loshchilov and Hutter 2017, equation 5).
    warmup: float = 0.1
    # Share of the target spread over all classes (Szegedy et al. 2016, section 7).
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None  # of each class in the loss
    # "fp32", "bf16", "fp16" (CUDA only), or "auto": bf16 where it is native.
    precision: str = "auto"
    channels_last: bool = True  # convolutions prefer a pixel's channels side by side
    compile: bool = False  # torch.compile the model: the first step takes minutes
    clip: float | None = None  # largest norm of all gradients together
    seed: int = 0  # of order, augmentation, dropout; seed the weights yourself
    workers: int = 0  # processes that prepare batches; changes no result
    progress: bool = True  # a bar in a terminal, and a line per epoch
    log_dir: str | None = None  # for TensorBoard
    checkpoint_dir: str | None = None  # for checkpoints and history.csv

    def __post_init__(self) -> None:
        if self.class_weights is not None:  # a tensor or a list will do
            weights = tuple(map(float, self.class_weights))
            object.__setattr__(self, "class_weights", weights)
            positive = weights and all(0 < weight < math.inf for weight in weights)
            self._check("class_weights", positive, "positive numbers, one per class")
        for name in ("log_dir", "checkpoint_dir"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, str(getattr(self, name)))
        for name in ("epochs", "batch_size", "seed", "workers"):
            value, least = getattr(self, name), int(name in ("epochs", "batch_size"))
            fits = type(value) is int and value >= least
            self._check(name, fits, f"a whole number from {least} up")
        for name in ("momentum", "warmup", "label_smoothing", "weight_decay"):
            top = math.inf if name == "weight_decay" else 1
            self._check(name, 0 <= self._number(name) < top, f"from 0 to below {top}")
        for name in ("learning_rate", "clip")[: 1 if self.clip is None else 2]:
            self._check(name, 0 < self._number(name) < math.inf, "a number above 0")
        for name in ("channels_last", "compile", "progress"):
            self._check(name, type(getattr(self, name)) is bool, "True or False")
        for name, allowed in CHOICES.items():
            self._check(name, getattr(self, name) in allowed, f"one of {allowed}")

    def _number(self, name: str) -> float:
        """A setting, or NaN, which is in no range, where it is no number."""
        value = getattr(self, name)
        return value if isinstance(value, int | float) else math.nan

    def _check(self, name: str, fits: Any, allowed: str) -> None:
        if not fits:
            raise ValueError(f"{name} must be {allowed}, got {getattr(self, name)!r}")

    def differences(self, other: dict[str, Any]) -> Iterator[str]:
        """What keeps a training with other settings from resuming with these."""
        for name, mine in asdict(self).items():
            if name not in _FREE and other.get(name) != mine:
                yield f"{name} was {other.get(name)!r} and is {mine!r}"


def native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; others emulate it slowly.

    GPUs do from compute capability 8.0 on, x86 processors with AVX512-BF16 or AMX.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Private names until torch 2.11; an absent one counts as "no".
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = any(getattr(torch.cpu, name, bool)() for name in names)
    return device.type == "cpu" and found


def precision_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type for autocast; None computes in the model's own.

    Raises:
        ValueError: for fp16 on anything but a CUDA device.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f'precision must not be "fp16" on {device.type}: its range needs a '
            'gradient scaler and a CUDA GPU; use "auto"'
        )
    if precision == "auto":
        precision = "bf16" if native_bf16(device) else "fp32"
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def optimizer_for(model: nn.Module, config: TrainerConfig) -> torch.optim.Optimizer:
    """The optimizer, with weight decay on matrices and kernels only.

    To shrink γ, β or a bias makes no function simpler (He et al. 2019, section 3.1).
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter that requires a gradient")
    groups = [
        {"params": [p for p in trained if p.ndim >= 2]},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    kinds["sgd"] = partial(torch.optim.SGD, momentum=config.momentum)
    # Fused: one pass over the weights instead of one per operation.
    settings = {"weight_decay": config.weight_decay, "fused": True}
    return kinds[config.optimizer](groups, lr=config.learning_rate, **settings)


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
