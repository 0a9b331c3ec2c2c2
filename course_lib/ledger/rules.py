"""What single layers do to shapes, MACs and receptive fields: the rules of the ledger.

A layer is an ``nn.Module``; a function called between layers is its name, a string.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation, batchnorm, conv, pooling

from course_lib.dimensions import Field, grow, output_size

size_after = functools.lru_cache(maxsize=1000)(output_size)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SPREADING = (*TRANSPOSED, nn.Upsample)  # one value reaches several places
# Layers with parameters whose MACs are none.
NO_MACS = (
    batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    activation.PReLU,
    nn.Embedding,
)
WINDOWS = (conv._ConvNd, pooling._MaxPoolNd, pooling._AvgPoolNd)
# Functions, called by name in a forward, that multiply and add without a rule here.
MULTIPLIERS = {
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
    *("conv_transpose3d", "linear", "bilinear", "matmul", "mm", "bmm", "addmm"),
    *("baddbmm", "addbmm", "mv", "dot", "einsum", "tensordot", "chain_matmul"),
    *("scaled_dot_product_attention", "multi_head_attention_forward"),
}
# Functions that leave each value where it is, and those that read a whole map.
POINTWISE = {
    *("add", "sub", "rsub", "mul", "div", "cat", "relu", "sigmoid", "tanh", "silu"),
    *("gelu", "hardswish", "hardsigmoid", "leaky_relu", "relu6", "dropout", "clone"),
    *("contiguous", "batch_norm", "to", "float", "clamp", "neg"),
}
WHOLE = {"flatten", "view", "reshape", "mean", "amax", "adaptive_avg_pool2d"}


def conv_shape(module: nn.Conv2d, shape: torch.Size) -> tuple[int, ...]:
    """Shape after a Conv2d, which keeps its input for the backward pass."""
    if len(shape) != 4 or shape[1] != module.in_channels:
        raise ValueError(f"expected [B, {module.in_channels}, H, W], got {list(shape)}")
    if module.padding == "same":
        return shape[0], module.out_channels, *shape[2:]
    padding = (0, 0) if module.padding == "valid" else module.padding
    size = size_after(
        tuple(shape[2:]), module.kernel_size, module.stride, padding, module.dilation
    )
    return shape[0], module.out_channels, *size


def norm_shape(module: nn.Module, shape: torch.Size) -> tuple[int, ...]:
    """Shape after BatchNorm1d, 2d or 3d, which keeps input, mean and deviation."""
    if len(shape) < 2 or shape[1] != module.num_features:
        raise ValueError(f"expected [B, {module.num_features}, ...], got {list(shape)}")
    if module.training and shape.numel() == shape[1]:
        raise ValueError(
            "in train mode batch normalization needs more than one value per channel; "
            "use a batch of at least 2, a larger image, or model.eval()"
        )
    return shape


def stand_in(module: nn.Module) -> Callable | None:
    """The rule for a layer that need not run at all, or None.

    Torch's own code for these two takes 0.03 and 0.8 ms per call on the meta device.
    """
    forward = type(module).forward
    if forward is batchnorm._BatchNorm.forward:
        return norm_shape
    if forward is nn.Conv2d.forward and module.padding_mode == "zeros":
        return conv_shape
    return None


def count_macs(
    layer: nn.Module | str, x: Tensor, y: Tensor, own: Sequence[Tensor]
) -> int | None:
    """MACs of one call, or None where there is no rule."""
    if isinstance(layer, str):
        return None if layer in MULTIPLIERS else 0
    if isinstance(layer, TRANSPOSED):  # each input value meets a whole kernel
        per_value = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
        return x.numel() * per_value
    if isinstance(layer, conv._ConvNd):  # each output value sums a whole kernel
        per_value = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
        return y.numel() * per_value
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features
    return 0 if not own or isinstance(layer, NO_MACS) else None


def field_after(
    layer: nn.Module | str,
    fields: list[tuple[Field, Field] | None],
    before: torch.Size,
    after: torch.Size,
) -> tuple[Field, Field] | None:
    """Receptive field, per axis, of a result; None where there is no rule."""
    if None in fields:
        return None
    merged = fields[0]
    for other in fields[1:]:  # branches meet: the field spans both
        merged = tuple(map(span, merged, other))
    if None in merged:
        return None
    if isinstance(layer, WINDOWS) and not isinstance(layer, TRANSPOSED):
        settings = (layer.kernel_size, layer.stride, layer.padding)
        return slide(merged, *settings, getattr(layer, "dilation", 1))
    is_function = isinstance(layer, str)
    name = layer.rstrip("_") if is_function else ""
    if before[2:] == after[2:] and not isinstance(layer, SPREADING):
        return merged if not is_function or name in POINTWISE else None
    shrinks = len(before) == 4 and (len(after) == 2 or after[2:] == (1, 1))
    if shrinks and (not is_function or name in WHOLE):  # a value sees all positions
        return tuple(map(grow, *zip(*merged), before[2:]))
    return None


@functools.lru_cache(maxsize=1000)
def slide(
    fields: tuple[Field, ...],
    kernel: int | tuple,
    stride: int | tuple,
    padding: int | tuple | str,
    dilation: int | tuple,
) -> tuple[Field, ...]:
    """The field of a window's result, per axis."""
    k, s, p, d = map(pair, (kernel, stride, padding, dilation))
    if padding == "same":
        p = tuple(d * (k - 1) // 2 for k, d in zip(k, d))
    return tuple(map(grow, *zip(*fields), k, s, p if p != "valid" else (0, 0), d))


def span(a: Field, b: Field) -> Field | None:
    """The smallest field that covers both."""
    if a.jump != b.jump:
        return None
    start = min(a.start, b.start)
    return Field(max(a.start + a.size, b.start + b.size) - start, a.jump, start)


def pair(value: int | tuple | str) -> Any:
    return (value, value) if isinstance(value, int) else value
