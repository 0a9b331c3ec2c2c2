"""A small automatic differentiation: micrograd, with tensors in place of numbers.

A :class:`Value` is a tensor that remembers what it was computed from; ``backward()``
walks from the loss back to the beginning and hands every value its gradient. The
arrays are torch tensors, as everywhere in the course, but torch's autograd is not used.

After Andrej Karpathy's micrograd, https://github.com/karpathy/micrograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import torch
from torch import Tensor

from course_lib.backprop.layers import check_labels

# A value, and a function from δ, the gradient at a result, to this value's share of it.
Parent = tuple["Value", Callable[[Tensor], Tensor]]
Operand = Union["Value", Tensor, float]
Axes = int | tuple[int, ...] | None


class Value:
    """A floating-point tensor, where it came from, and the gradient of the loss in it.

    Args:
        data: a tensor, a float, or a (nested) list of floats. A tensor is not copied;
            do not change it in place between the forward pass and ``backward()``.
        *parents: what this value was computed from, each with its share of δ.
        op: the operation's sign, for drawings.

    ``grad`` has the shape of ``data`` and is None until ``backward()`` sets it.
    """

    def __init__(self, data: Any, *parents: Parent, op: str = "") -> None:
        self.data = torch.as_tensor(data).detach()
        if not self.data.is_floating_point():
            raise TypeError(f"a Value holds floats, such as 2.0, got {self.data.dtype}")
        self.grad: Tensor | None = None
        self.parents, self.op = parents, op

    def __repr__(self) -> str:
        return f"Value({self.data.tolist()})"

    def backward(self) -> None:
        """Set ``grad`` of this value, the loss, and of all that it was computed from.

        Each call starts at zero: gradients of several calls do not add up. Raises
        ValueError if this value is more than one number.
        """
        if self.data.numel() != 1:
            raise ValueError(
                "backward starts at one number, the loss, but this value has shape "
                f"{list(self.data.shape)}; take its sum() or mean() first"
            )
        order = topological_order(self)
        for value in order:
            value.grad = torch.zeros_like(value.data)
        self.grad += 1
        for value in reversed(order):
            for parent, share in value.parents:
                parent.grad += undo_broadcast(share(value.grad), parent.data.shape)

    # Number by number. Two shapes that differ are broadcast.

    def __add__(self, other: Operand) -> Value:
        other = self._operand(other, "+")
        y = self.data + other.data
        return Value(y, (self, lambda d: d), (other, lambda d: d), op="+")

    def __mul__(self, other: Operand) -> Value:
        other = self._operand(other, "×")
        a, b = self.data, other.data
        return Value(a * b, (self, lambda d: d * b), (other, lambda d: d * a), op="×")

    def __pow__(self, n: float) -> Value:
        if not isinstance(n, (int, float)) or n == 0:
            raise ValueError(f"the exponent must be a number other than 0, got {n!r}")
        x = self.data
        return Value(x**n, (self, lambda d: d * n * x ** (n - 1)), op=f"^{n}")

    def relu(self) -> Value:
        x = self.data  # slope 0 at the kink, as PyTorch's
        return Value(x.relu(), (self, lambda d: d * (x > 0)), op="ReLU")

    def exp(self) -> Value:
        y = self.data.exp()
        return Value(y, (self, lambda d: d * y), op="exp")

    def log(self) -> Value:
        x = self.data
        return Value(x.log(), (self, lambda d: d / x), op="log")

    # Matrices, sums and other shapes.

    def __matmul__(self, other: Value | Tensor) -> Value:
        """[..., N, K] @ [..., K, M] to [..., N, M]."""
        other = other if isinstance(other, Value) else Value(other)
        a, b = self.data, other.data
        if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
            shapes = f"{list(a.shape)} @ {list(b.shape)}"
            raise ValueError(f"@ needs [..., N, K] @ [..., K, M], got {shapes}")
        to_a, to_b = (lambda d: d @ b.mT), (lambda d: a.mT @ d)
        return Value(a @ b, (self, to_a), (other, to_b), op="@")

    def sum(self, dim: Axes = None, keepdim: bool = False) -> Value:
        x, ones = self.data, self.data.sum(dim, keepdim=True).shape
        back = (self, lambda d: d.reshape(ones).expand(x.shape))
        return Value(x.sum(dim, keepdim=keepdim), back, op="sum")

    def mean(self, dim: Axes = None, keepdim: bool = False) -> Value:
        total = self.sum(dim, keepdim)
        return total * (total.data.numel() / self.data.numel())

    def reshape(self, *shape: int) -> Value:
        x = self.data
        return Value(x.reshape(shape), (self, lambda d: d.reshape(x.shape)), op="shape")

    def __getitem__(self, key: Any) -> Value:
        """Some of the numbers, by any index that a tensor takes."""
        x = self.data
        places = torch.arange(x.numel(), device=x.device).reshape(x.shape)[key]

        def put_back(d: Tensor) -> Tensor:  # a number taken twice gets both shares
            flat = torch.zeros_like(x).flatten()
            return flat.index_add(0, places.flatten(), d.flatten()).reshape(x.shape)

        return Value(x[key], (self, put_back), op="[ ]")

    # What follows from these.

    def __neg__(self) -> Value:
        return self * -1.0

    def __sub__(self, other: Operand) -> Value:
        return self + self._operand(other, "−") * -1.0

    def __rsub__(self, other: Operand) -> Value:
        return -self + other

    def __truediv__(self, other: Operand) -> Value:
        return self * self._operand(other, "/") ** -1

    __radd__, __rmul__ = __add__, __mul__

    def _operand(self, other: Operand, sign: str) -> Value:
        """The other side of a sign as a Value, if their shapes fit."""
        if isinstance(other, (int, float)):
            other = self.data.new_tensor(float(other))
        other = other if isinstance(other, Value) else Value(other)
        for a, b in zip(reversed(self.data.shape), reversed(other.data.shape)):
            if a != b and 1 not in (a, b):
                shapes = f"{list(self.data.shape)} {sign} {list(other.data.shape)}"
                raise ValueError(f"the shapes do not fit: {shapes}, {a} and {b} differ")
        return other


def topological_order(end: Value) -> list[Value]:
    """All values that ``end`` was computed from, then ``end``; parents come first."""
    order, seen, stack = [], set(), [(end, False)]
    while stack:  # not a recursion, which Python ends at a depth of 1,000
        value, parents_are_in = stack.pop()
        if parents_are_in:
            order.append(value)
        elif value not in seen:
            seen.add(value)
            stack.append((value, True))
            stack.extend((parent, False) for parent, _ in value.parents)
    return order


def undo_broadcast(grad: Tensor, shape: tuple[int, ...]) -> Tensor:
    """From the shape of a broadcast result back to ``shape``, by sums.

    Broadcasting uses a number in many places, along new axes in front and along axes
    of size 1; what comes back from these places adds up.
    """
    while grad.ndim > len(shape):
        grad = grad.sum(dim=0)
    for axis, size in enumerate(shape):
        if size == 1:
            grad = grad.sum(dim=axis, keepdim=True)
    return grad


def cross_entropy(logits: Value, labels: Tensor) -> Value:
    """The mean of −ln p over a batch: logits [B, O], the true classes int64 [B]."""
    check_labels(labels, *logits.data.shape)
    # Less the largest logit, as a constant: p is the same, and exp cannot overflow.
    z = logits - logits.data.amax(dim=1, keepdim=True)
    log_p = z - z.exp().sum(dim=1, keepdim=True).log()
    return -log_p[torch.arange(len(labels)), labels].mean()
