"""What layers and functions do to the receptive field, per axis (height, width)."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import conv, pooling

from course_lib.dimensions import Field, Layer, grow

WINDOWS = (conv._ConvNd, pooling._MaxPoolNd, pooling._AvgPoolNd)
# One value reaches several places.
SPREADING = (conv._ConvTransposeNd, nn.Upsample)
# Functions that leave each value where it is, and those that read a whole map.
POINTWISE = {
    *("add", "sub", "rsub", "mul", "div", "cat", "relu", "sigmoid", "tanh", "silu"),
    *("gelu", "hardswish", "hardsigmoid", "leaky_relu", "relu6", "dropout", "clone"),
    *("contiguous", "batch_norm", "to", "float", "clamp", "neg"),
}
WHOLE = {"flatten", "view", "reshape", "mean", "amax", "adaptive_avg_pool2d"}


def field_after(
    layer: nn.Module | str, inputs: Sequence[Tensor], after: torch.Size
) -> Field | None:
    """Receptive field of a result of a module or named function; None: no rule."""
    fields = [getattr(tensor, "field", None) for tensor in inputs]
    merged = functools.reduce(span, fields)
    if merged is None:
        return None
    if window := window_of(layer):
        return grow(merged, *window[1:5])
    before = inputs[0].shape
    known = isinstance(layer, nn.Module)
    if before[2:] == after[2:] and not isinstance(layer, SPREADING):
        return merged if known or layer.rstrip("_") in POINTWISE else None
    shrinks = len(before) == 4 and (len(after) == 2 or after[2:] == (1, 1))
    if shrinks and (known or layer in WHOLE):  # a value sees all positions
        return grow(merged, tuple(before[2:]))
    return None


def window_of(layer: nn.Module | str) -> Layer | None:
    """The settings of a window that slides, as tuples; None for other layers."""
    if not isinstance(layer, WINDOWS) or isinstance(layer, SPREADING):
        return None
    k, s, p = layer.kernel_size, layer.stride, layer.padding
    d = getattr(layer, "dilation", 1)
    if isinstance(p, str):
        p = tuple(d * (k - 1) // 2 if p == "same" else 0 for k, d in zip(k, d))
    kind = "conv" if isinstance(layer, conv._ConvNd) else "pool"
    return Layer(kind, k, s, p, d, getattr(layer, "ceil_mode", False))


def span(a: Field | None, b: Field | None) -> Field | None:
    """The smallest field that covers both: where branches meet."""
    if a is None or b is None or a.jump != b.jump:
        return None
    start = tuple(map(min, a.start, b.start))
    ends = ([s + n for s, n in zip(f.start, f.size)] for f in (a, b))
    size = tuple(end - s for end, s in zip(map(max, *ends), start))
    return Field(size, a.jump, start)
