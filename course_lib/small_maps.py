"""The weight gradient of a convolution over a small map, as one matrix product.

In bfloat16 on a CPU, oneDNN's weight gradient keeps up with its forward pass on large
maps and falls far behind on small ones: it walks over positions, and a map of 2 x 2
has few. The same sum is one product of two matrices, whose inner dimension is batch
times positions (unrolled convolution, Chellapilla et al. 2006), and such products are
fast at any shape. It costs a copy of the input for each position of the kernel, so it
pays only where maps are small. ``chapters/code/speed`` measures both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

__all__ = ["SmallMaps", "weight_gradient"]

LARGEST = 49  # positions of a map, 7 x 7; above, copying costs more than it saves


def weight_gradient(
    x: Tensor, delta: Tensor, kernel: int, stride: int, padding: int
) -> Tensor:
    """∂L/∂W of a convolution, from its input and δ.

    Args:
        x: the input [B, C, H, W].
        delta: ∂L/∂z [B, C_out, H_out, W_out], of x's type.
        kernel: K of the square kernel.
        stride: S.
        padding: P.

    Returns:
        [C_out, C, K, K], of x's type, channels-last in memory.
    """
    (B, C, _, _), (_, out, height, width) = x.shape, delta.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, *(padding,) * 4)).contiguous()
    image, row, pixel, _ = padded.stride()
    # One row of a window is K pixels of C numbers that lie side by side.
    windows = padded.as_strided(
        (B, height, width, kernel, kernel * C),
        (image, stride * row, stride * pixel, row, 1),
    ).reshape(B * height * width, kernel * kernel * C)
    rows = delta.permute(0, 2, 3, 1).reshape(-1, out)  # [B·H_out·W_out, C_out]
    return (rows.T @ windows).view(out, kernel, kernel, C).permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        S, P = ctx.stride, ctx.padding
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = torch.nn.grad.conv2d_input(x.shape, weight, delta, S, P)
        if ctx.needs_input_grad[1]:
            dw = weight_gradient(x, delta, weight.shape[-1], S, P)
        return dx, dw, None, None


class SmallMaps(TorchFunctionMode):
    """Within it, bfloat16 convolutions over small maps on the CPU learn faster.

    The forward pass is the same; the weight gradient is the same sum, rounded to
    bfloat16 once, at its end, as oneDNN's is. Everything else runs as it would.
    """

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        if function is torch.conv2d and not kwargs and _helped(*args):
            x, weight, _, stride, padding, *_ = args
            x, weight = x.to(torch.bfloat16), weight.to(torch.bfloat16)
            return _Convolution.apply(x, weight, stride[0], padding[0])
        return function(*args, **(kwargs or {}))


def _helped(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether a call is one of those that the matrix product makes faster."""
    if not (torch.is_autocast_enabled("cpu") and x.device.type == "cpu"):
        return False
    if torch.get_autocast_dtype("cpu") is not torch.bfloat16 or bias is not None:
        return False
    S, P, (height, width) = stride, padding, weight.shape[2:]
    pairs = x.ndim == 4 and all(isinstance(v, tuple) for v in (S, P, dilation))
    if not pairs or not height == width > 1:
        return False
    if not (S[0] == S[1] and P[0] == P[1] and groups == 1 == dilation[0]):
        return False
    rows, columns = ((size + 2 * P[0] - height) // S[0] + 1 for size in x.shape[2:])
    return (
        rows * columns <= LARGEST
        and dilation[1] == 1
        and torch.is_grad_enabled()
        and weight.requires_grad
    )
