"""Every setting of a training in one place, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

__all__ = ["TrainerConfig"]

# Where the training goes on may differ from where it began, not what it computes.
_FREE = frozenset({"workers", "progress", "log_dir", "checkpoint_dir"})


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How to train. The same settings, data and seed give the same training.

    Attributes:
        epochs: passes over the training data.
        batch_size: images per optimizer step, of all processes together.
        optimizer: "adam" (Kingma and Ba 2015), "adamw" (Loshchilov and Hutter 2019)
            or "sgd" with ``momentum``.
        learning_rate: the highest one, reached after the warm-up.
        momentum: of "sgd"; the others ignore it.
        weight_decay: for weights with two dimensions or more; BN and biases have none.
        warmup: share of all steps in which the rate rises linearly (Goyal et al.
            2017, section 2.2); then it falls to zero along half a cosine (Loshchilov
            and Hutter 2017, equation 5).
        label_smoothing: share of the target spread evenly over all classes (Szegedy
            et al. 2016, section 7).
        class_weights: weight of each class in the loss, such as
            ``course_lib.data.balance.class_weights`` gives; None weighs all alike.
        precision: "fp32", "bf16", "fp16" (CUDA only, with a gradient scaler), or
            "auto": bf16 where the hardware computes in it natively, else fp32.
        channels_last: keep the channels of a pixel side by side in memory, which
            convolutions prefer; results differ by rounding only.
        compile: hand the model to ``torch.compile``; the first step takes minutes.
        clip: largest norm of all gradients together; None leaves them alone.
        seed: decides the order of the data, the augmentation and dropout. (The
            first weights are the model's own: seed before you build it.)
        workers: processes that prepare batches; 0 does it between steps. The
            number changes nothing in the result. On the CPU, tensors and
            ``ByteImages`` are ready as they are and need none.
        progress: show how far the training is.
        log_dir: folder for TensorBoard; None writes none.
        checkpoint_dir: folder for checkpoints and ``history.csv``; None writes none.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    clip: float | None = None
    seed: int = 0
    workers: int = 0
    progress: bool = True
    log_dir: str | None = None
    checkpoint_dir: str | None = None

    def __post_init__(self) -> None:
        if self.class_weights is not None:  # a tensor or a list will do
            weights = tuple(float(weight) for weight in self.class_weights)
            object.__setattr__(self, "class_weights", weights)
        for name in ("log_dir", "checkpoint_dir"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, str(getattr(self, name)))
        for name, allowed, test in _RULES:
            value = getattr(self, name)
            try:
                fits = test(value)
            except TypeError:
                fits = False
            if not fits:
                raise ValueError(f"{name} must be {allowed}, got {value!r}")

    def as_dict(self) -> dict[str, Any]:
        """All settings, ready for ``json.dumps``."""
        values = asdict(self)
        if self.class_weights is not None:
            values["class_weights"] = list(self.class_weights)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainerConfig:
        """The settings that :meth:`as_dict` gave.

        Raises:
            ValueError: for a name that is no setting, or a bad value.
        """
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"{unknown} are no settings of TrainerConfig")
        return cls(**values)

    def differences(self, other: dict[str, Any]) -> Iterator[str]:
        """What keeps a training with other settings from going on with these."""
        mine = self.as_dict()
        for name in sorted(set(mine) - _FREE):
            if name not in other or other[name] != mine[name]:
                yield f"{name} was {other.get(name)!r} and is {mine[name]!r}"


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


_Rule = tuple[str, str, Callable[[Any], bool]]
_RULES: tuple[_Rule, ...] = (
    ("epochs", "a whole number from 1 up", lambda v: _whole(v) and v >= 1),
    ("batch_size", "a whole number from 1 up", lambda v: _whole(v) and v >= 1),
    (
        "optimizer",
        '"adam", "adamw" or "sgd"',
        lambda v: v in ("adam", "adamw", "sgd"),
    ),
    ("learning_rate", "a number above 0", lambda v: _number(v) and v > 0),
    ("momentum", "at least 0 and below 1", lambda v: _number(v) and 0 <= v < 1),
    ("weight_decay", "at least 0", lambda v: _number(v) and v >= 0),
    ("warmup", "at least 0 and below 1", lambda v: _number(v) and 0 <= v < 1),
    ("label_smoothing", "at least 0 and below 1", lambda v: _number(v) and 0 <= v < 1),
    (
        "class_weights",
        "None, or positive numbers, one for each class",
        lambda v: v is None or (len(v) > 0 and all(_number(w) and w > 0 for w in v)),
    ),
    (
        "precision",
        '"auto", "fp32", "bf16" or "fp16"',
        lambda v: v in ("auto", "fp32", "bf16", "fp16"),
    ),
    ("channels_last", "True or False", lambda v: isinstance(v, bool)),
    ("compile", "True or False", lambda v: isinstance(v, bool)),
    ("clip", "None or a number above 0", lambda v: v is None or (_number(v) and v > 0)),
    ("seed", "a whole number from 0 up", lambda v: _whole(v) and v >= 0),
    ("workers", "a whole number from 0 up", lambda v: _whole(v) and v >= 0),
    ("progress", "True or False", lambda v: isinstance(v, bool)),
)
