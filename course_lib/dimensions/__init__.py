"""Sizes of feature maps: what a layer makes of N rows, and what it leaves unread.

Pure Python, no torch. Notation: size N, kernel K, stride S, padding P, dilation D.
Every size and setting is an int, for squares, or an (h, w) pair; results are
pairs as soon as one argument is. Rules and refusals are those of PyTorch's Conv2d,
MaxPool2d and AvgPool2d. Sources: Dumoulin and Visin, A guide to convolution
arithmetic for deep learning (2016), https://arxiv.org/abs/1603.07285;
Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks
(2019), https://distill.pub/2019/computing-receptive-fields.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

Size = int | tuple[int, int]

# The smallest value that each argument may have.
LEAST = {"size": 1, "kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "target": 1}


class Layer(NamedTuple):
    """The settings of one convolution or pooling."""

    kind: Literal["conv", "pool"]
    kernel: Size
    stride: Size = 1
    padding: Size = 0
    dilation: Size = 1
    ceil_mode: bool = False


class Unread(NamedTuple):
    """Rows (or pairs: rows and columns) of the input that no window reads."""

    padding: Size  # rows of padding left over at the far edge
    edge: Size  # real rows left over at the far edge
    between: Size  # real rows jumped over by the stride or the dilation
    read: Size  # real rows that are read: N - edge - between


class Field(NamedTuple):
    """What one output value sees of the network's input, in its pixels."""

    size: Size = 1  # receptive field, padding included
    jump: Size = 1  # distance between the fields of two neighboring outputs
    start: Size = 0  # first pixel of the first output's field; below 0: padding


def output_size(
    size: Size,
    kernel: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    *,
    kind: Literal["conv", "pool"] = "conv",
    ceil_mode: bool = False,
) -> Size:
    """Rows that come out: ⌊(N + 2P − D(K − 1) − 1)/S⌋ + 1.

    Args:
        size: rows N of the input, at least 1.
        kernel: rows K of the window, at least 1.
        stride: step S from one window to the next, at least 1.
        padding: rows P of zeros added at *each* edge.
        dilation: distance D between the rows that a window reads.
        kind: ``"conv"`` or ``"pool"``, which covers maximum and average.
        ceil_mode: pooling only: round up, so that a last window may hang over
            the far edge, provided that it starts inside (N + P).

    Raises:
        ValueError: where torch refuses too; names argument, value and rule.
    """
    settings = _checked(
        size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    if kind not in ("conv", "pool"):
        raise ValueError(f'kind must be "conv" or "pool", got {kind!r}')
    if ceil_mode and kind == "conv":
        raise ValueError("ceil_mode=True is for pooling; a convolution rounds down")

    def along(n: int, k: int, s: int, p: int, d: int) -> int:
        extent = d * (k - 1) + 1
        if kind == "pool" and p > k // 2:
            raise ValueError(
                f"padding must be at most half the kernel in pooling, got padding={p} "
                f"for kernel={k}: use at most {k // 2}"
            )
        room = n + 2 * p - extent
        if room < 0 and not ceil_mode:
            raise ValueError(
                f"kernel must fit into the padded size: kernel={k} with dilation={d} "
                f"spans {extent} rows, but size={n} with padding={p} has {n + 2 * p}"
            )
        if not ceil_mode:
            return room // s + 1
        out = -(-room // s) + 1
        if (out - 1) * s >= n + p:  # the last window would start in the padding
            out -= 1
        if out < 1:
            raise ValueError(
                f"size is too small: size={n} leaves no window for kernel={k}, "
                f"stride={s}, padding={p}, dilation={d}, even with ceil_mode"
            )
        return out

    return _each(along, *settings)


def same_padding(kernel: Size, dilation: Size = 1) -> Size:
    """Padding that keeps every size at stride 1: D(K − 1)/2; D(K − 1) must be even."""

    def along(k: int, d: int) -> int:
        if d * (k - 1) % 2:
            raise ValueError(
                f"kernel must be odd or dilation even to keep a size, got kernel={k}, "
                f"dilation={d}: the two edges would need {d * (k - 1)} rows together"
            )
        return d * (k - 1) // 2

    return _each(along, *_checked(kernel=kernel, dilation=dilation))


def find_settings(
    size: Size,
    target: Size,
    *,
    kernels: Iterable[int] = range(1, 8),
    strides: Iterable[int] = range(1, 5),
    paddings: Iterable[int] = range(4),
    kind: Literal["conv", "pool"] = "conv",
) -> list[tuple[int, int, int]]:
    """All (K, S, P) within the bounds that turn ``size`` into ``target`` rows.

    The result rises in K, then in S, then in P; it is empty if nothing fits.
    Dilation is 1, and pooling rounds down.
    """
    size, target = _checked(size=size, target=target)
    smallest = min(_pair(size))
    found = []
    for k, s, p in itertools.product(kernels, strides, paddings):
        _checked(kernel=k, stride=s, padding=p)
        if k > smallest + 2 * p or (kind == "pool" and p > k // 2):
            continue  # no such layer
        if _pair(output_size(size, k, s, p, kind=kind)) == _pair(target):
            found.append((k, s, p))
    return found


def unread(
    size: Size,
    kernel: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    *,
    kind: Literal["conv", "pool"] = "conv",
    ceil_mode: bool = False,
) -> Unread:
    """Rows that no window reads: left over by the floor, or jumped over.

    The last window ends at padded row (out − 1)S + D(K − 1). What is beyond it is
    left over: first the padding at that edge, and only then real rows. Arguments and
    errors as for :func:`output_size`.
    """
    settings = _checked(
        size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    out = output_size(*settings, kind=kind, ceil_mode=ceil_mode)

    def along(n: int, k: int, s: int, p: int, d: int, o: int) -> Unread:
        left_over = max(0, n + 2 * p - ((o - 1) * s + d * (k - 1) + 1))
        edge = min(n, max(0, left_over - p))
        windows = (range(first, first + d * k, d) for first in range(-p, o * s - p, s))
        read = len({row for window in windows for row in window if 0 <= row < n})
        return Unread(min(left_over, p), edge, n - edge - read, read)

    return _each(along, *settings, out)


def receptive_field(layers: Iterable[Layer | Sequence]) -> list[Field]:
    """The receptive field after each of a chain of layers.

    A layer widens the field by D(K − 1) jumps, moves its start back by P jumps,
    and makes the jump S times as long. Layers, from the input on, are :class:`Layer`
    or plain tuples ``("conv", kernel, stride, padding, dilation)``.

    Raises:
        ValueError: if a setting is out of its range.
    """
    fields = [Field()]
    for layer in itertools.starmap(Layer, layers):
        names = ("kernel", "stride", "padding", "dilation")
        settings = _checked(**dict(zip(names, layer[1:5])))
        fields.append(grow(fields[-1], *settings))
    return fields[1:]


def grow(
    field: Field, kernel: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1
) -> Field:
    """One step of :func:`receptive_field`."""

    def along(n: int, jump: int, start: int, k: int, s: int, p: int, d: int) -> Field:
        return Field(n + d * (k - 1) * jump, jump * s, start - p * jump)

    return _each(along, *field, kernel, stride, padding, dilation)


def _pair(value: Size) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _each(function: Callable, *values: Size) -> Any:
    """Apply to plain values, or to heights and to widths if one is a pair."""
    if not any(isinstance(value, tuple) for value in values):
        return function(*values)
    found = tuple(itertools.starmap(function, zip(*map(_pair, values))))
    return found if isinstance(found[0], int) else type(found[0])(*zip(*found))


def _checked(**settings: object) -> list[Size]:
    """The settings as ints or pairs of ints, none below its least value."""
    checked = []
    for name, value in settings.items():
        try:
            if isinstance(value, Sequence):
                height, width = map(operator.index, value)
                clean = (height, width)
            else:
                clean = operator.index(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} must be an int or an (h, w) pair of ints, got {value!r}"
            ) from None
        if min(_pair(clean)) < LEAST[name]:
            raise ValueError(f"{name} must be at least {LEAST[name]}, got {value!r}")
        checked.append(clean)
    return checked
