"""The operators behind layers and functions: their MACs, and what a CPU keeps."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from course_lib.dimensions import output_size

aten = torch.ops.aten
size_after = functools.lru_cache(maxsize=1000)(output_size)
# Words in the names of operators that multiply and add; without a formula: unknown.
MULTIPLIERS = {
    *("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "vdot", "linear", "conv"),
    *("convolution", "attention", "trilinear", "cdist", "pdist", "fft", "linalg"),
    *("rnn", "lstm", "gru", "bag", "sparse", "quantized"),
}
# Shapes of the mean and the deviation that normalization keeps on a CPU. The meta
# device's own code takes 1 ms per call, and has other types and sizes.
STATISTICS = {
    aten.native_batch_norm.default: lambda x, *rest: [rest[4] * x.shape[1]],
    aten.native_group_norm.default: lambda x, *rest: [rest[2], rest[5]],
    aten.native_layer_norm.default: lambda x, shape, *_: (
        [*x.shape[: -len(shape)], *[1] * len(shape)]
    ),
}


class Operators(TorchDispatchMode):
    """Runs operators on the meta device and adds up their multiply-accumulates."""

    macs: int | None = 0

    def take(self) -> int | None:
        """MACs since the last call; None if an operator has no formula."""
        macs, self.macs = self.macs, 0
        return macs

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in STATISTICS:
            x, shape = args[0], STATISTICS[func](*args)
            dtype = next((t.dtype for t in args[1:4] if isinstance(t, Tensor)), x.dtype)
            form = {"dtype": x.dtype, "device": "meta"}
            out = torch.empty_strided(x.size(), x.stride(), **form)
            return out, *(torch.empty(shape, **form | {"dtype": dtype}) for _ in "ab")
        if "device" in kwargs:  # tensors that forward makes
            kwargs = kwargs | {"device": "meta"}
        elif any(isinstance(t, Tensor) and not t.is_meta for t in args):
            args = tree_map_only(Tensor, lambda t: t.to("meta"), args)
        if func is aten.convolution.default:
            check_convolution(*args)
        out = func(*args, **kwargs)
        macs = count_macs(func.overloadpacket, args, kwargs, out)
        self.macs = None if None in (macs, self.macs) else self.macs + macs
        return out


def check_convolution(x: Tensor, weight: Tensor, *settings: Any) -> None:
    """Refuse what torch refuses: on the meta device it does not, or not in words."""
    _, stride, padding, dilation, transposed, extra, groups = settings
    channels = len(weight) if transposed else weight.shape[1] * groups
    if x.shape[1] != channels:
        axes = ", ".join("DHW"[5 - x.ndim :])
        raise ValueError(f"expected [B, {channels}, {axes}], got {list(x.shape)}")
    if not transposed:
        for axis in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation):
            size_after(*axis)
    elif any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"output_padding must be below the stride, got {list(extra)}")


def count_macs(op: Any, args: tuple, kwargs: dict, out: Any) -> int | None:
    """MACs of one call of an operator, or None where there is no formula."""
    if op is aten.convolution:
        # Each output value sums a whole kernel; transposed, each input value meets one.
        x, weight, transposed = args[0], args[1], args[6]
        return (x if transposed else out).numel() * (weight.numel() // len(weight))
    if op in (aten.mv, aten.dot, aten.vdot, aten.addmv):
        return args[op is aten.addmv].numel()
    if op in flop_registry:
        return flop_registry[op](*args, **kwargs, out_val=out) // 2
    return None if multiplies(op) else 0


@functools.cache
def multiplies(op: Any) -> bool:
    """Whether an operator multiplies and adds, judged by the words of its name."""
    space, name = op._qualified_op_name.split("::")
    is_torchs = space in ("aten", "prim", "prims")
    found = not is_torchs or MULTIPLIERS & {*name.split("_")}
    return bool(found) and name != "linalg_vector_norm"
