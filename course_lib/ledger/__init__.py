"""A ledger of a network: one row for each layer that an input runs through.

A copy of the model runs once on torch's ``meta`` device, where a tensor has a shape
and no values. The model itself is never called, and its hooks do not run. Columns:

* **MACs**: multiplications whose product is added to a sum, in convolutions, linear
  layers and products of matrices. Biases, normalization, activations, pooling and
  additions count 0. (torchinfo adds one for each bias, γ and β per image.)
* **output**: bytes that a layer allocates for its result; in-place layers and views 0.
* **kept**: bytes that autograd saves until the backward pass on a CPU, as its own
  ``saved_tensors_hooks`` reports them. Each block of memory counts once, at the first
  layer that saves it; parameters and buffers do not count, the input batch does.
* **field**: receptive field in pixels of the input, as in
  :mod:`course_lib.dimensions`. Statistics of normalization are left out of it.

What has no rule counts ``None``, such as the kept bytes of attention, which depend on
the kernel that the device chooses; :attr:`Ledger.unknown` names it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from course_lib.ledger.table import MIB, Ledger, Row
from course_lib.ledger.trace import Tracer, unwrap

__all__ = ["Fit", "Ledger", "Row", "fits", "ledger"]


def ledger(
    model: nn.Module, input_shape: Sequence[int], *, train: bool | None = None
) -> Ledger:
    """One row for each layer that a batch of ``input_shape`` runs through.

    Args:
        model: any module that takes one tensor. It is left as it is: parameters,
            buffers, gradients, mode, hooks and device.
        input_shape: shape of the whole batch, such as (1, 3, 224, 224).
        train: the mode of all modules; None: each one's own.

    Raises:
        ValueError: if the model does not run on such a shape; says where.
    """
    shape = tuple(input_shape)
    if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            "input_shape must be the shape of a batch in positive integers, such as "
            f"(1, 3, 224, 224), got {input_shape!r}"
        )
    model = unwrap(model)
    with torch.inference_mode(False), torch.enable_grad():
        tracer = Tracer(model)
        shadow = tracer.model
        if train is not None:
            shadow.train(train)
        parameters = [*tracer.parameters.values()]
        floats = (p.dtype for p in parameters if p.is_floating_point())
        dtype = next(floats, torch.get_default_dtype())
        try:
            tracer.run(torch.empty(shape, dtype=dtype, device="meta"))
        except Exception as error:
            inner = tracer.path and tracer.path[-1]  # "" is the model itself
            where = f"layer {inner!r} of " if inner else ""
            raise ValueError(
                f"input_shape={list(shape)} does not run through {where}"
                f"{type(model).__name__}: {error}"
            ) from error
    return Ledger(
        rows=tuple(tracer.rows),
        input_shape=shape,
        parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(p.nbytes for p in parameters),
        trained_bytes=sum(p.nbytes for p in parameters if p.requires_grad),
        buffer_bytes=sum(b.nbytes for b in tracer.buffers.values()),
        unused=tuple(tracer.unused.values()),
        classes=tracer.classes,
    )


class Fit(NamedTuple):
    """The largest batch that trains in a memory, and the sum behind it, in bytes."""

    memory: int
    weights: int  # parameters and buffers
    gradients: int
    optimizer: int
    workspace: int
    fixed: int  # kept whatever the batch: the statistics of batch normalization
    per_image: int  # kept for each image

    @property
    def batch(self) -> int:
        """The largest batch; 0: not even one image fits."""
        return max(0, (self.memory - self.peak(0)) // self.per_image)

    def peak(self, batch: int) -> int:
        """Bytes that training with this batch needs at its peak."""
        return sum(self[1:6]) + batch * self.per_image

    def __str__(self) -> str:
        parts = ("weights", "gradients", "optimizer", "workspace", "fixed")
        terms = " + ".join(f"{getattr(self, part) / MIB:.1f}" for part in parts)
        room = self.memory - self.peak(0)
        return (
            f"peak = {' + '.join(parts)} + B × per image\n"
            f"     = {terms} + B × {self.per_image / MIB:.2f} MiB\n"
            f"B ≤ ({self.memory / MIB:,.0f} − {self.peak(0) / MIB:.1f}) / "
            f"{self.per_image / MIB:.2f} = {room / self.per_image:.1f}: "
            f"the largest batch is {self.batch}"
        )


def fits(
    memory_bytes: int,
    model: nn.Module,
    image_shape: Sequence[int],
    *,
    optimizer_copies: int = 1,
    workspace_bytes: int = 256 * MIB,
) -> Fit:
    """The largest batch with which ``model`` trains in so much memory.

    Counted is the peak, when the backward pass begins, with all gradients, although
    they are allocated one after another. No mixed precision, no checkpointing.

    Args:
        memory_bytes: what the process may allocate. On a GPU,
            ``torch.cuda.mem_get_info()[0]`` before training.
        model: as it will be trained, frozen parameters included. Left as it is.
        image_shape: shape of one image without the batch, such as (3, 224, 224).
        optimizer_copies: numbers that the optimizer keeps for each trained
            parameter: SGD 0, SGD with momentum 1, Adam 2.
        workspace_bytes: scratch memory of the convolution and matrix kernels,
            256 MiB by default. It depends on GPU and library: measure yours.

    Raises:
        ValueError: for a negative number, a model that does not run on such images,
            or one with kept bytes that have no rule.
    """
    numbers = {"memory_bytes": memory_bytes, "optimizer_copies": optimizer_copies}
    for name, value in (numbers | {"workspace_bytes": workspace_bytes}).items():
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    # Kept bytes are linear in the batch: two passes give both coefficients.
    two, three = (ledger(model, (batch, *image_shape), train=True) for batch in (2, 3))
    if any(row.kept_bytes is None for row in two.rows):
        raise ValueError(f"kept bytes have no rule for {', '.join(two.unknown)}")
    per_image = three.kept_bytes - two.kept_bytes
    return Fit(
        memory=memory_bytes,
        weights=two.parameter_bytes + two.buffer_bytes,
        gradients=two.trained_bytes,
        optimizer=optimizer_copies * two.trained_bytes,
        workspace=workspace_bytes,
        fixed=two.kept_bytes - 2 * per_image,
        per_image=per_image,
    )
