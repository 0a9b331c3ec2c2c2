"""Compare a learner's value with the expected one, and put both into words.

Learners return all kinds of things, so nothing here trusts a value: its type is
looked at before its contents, and broken objects are named by their type.
"""

from __future__ import annotations

import math
import numbers
import reprlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SHORT = 60


class WrongType(str):
    """A difference of kind, which holds its own hint: no method need be hinted at."""


def shorten(text: object, length: int = SHORT) -> str:
    """At most ``length`` characters of a text, on one line."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def describe(value: object) -> str:
    """A few words for any value: numbers and short lists as they are."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.ndim == 0 and value.device.type != "meta":
            return f"a tensor with the one number {number(value.item())}"
        where = "" if value.device.type == "cpu" else f" on {value.device.type}"
        kind = "" if value.is_floating_point() else f" of {shorten(value.dtype)}"
        return f"a tensor of shape {list(value.shape)}{kind}{where}"
    if numpy is not None and isinstance(value, numpy.ndarray):
        return f"a NumPy array of shape {list(value.shape)}"
    if isinstance(value, bool | numbers.Number):
        return number(value)
    if isinstance(value, str):
        return shorten(repr(value))
    if isinstance(value, list | tuple | set | frozenset | dict | type(None)):
        if torch is not None and any(
            isinstance(entry, torch.Tensor | torch.nn.Module) for entry in flat(value)
        ):
            return f"a {type(value).__name__} of {len(value)}"
        try:
            return shorten(reprlib.repr(value))
        except Exception:
            return f"a {type(value).__name__}"
    if isinstance(value, type):
        return f"the class {shorten(value.__name__)}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {shorten(value.__name__)}"
    return f"a {shorten(type(value).__name__)}"


def flat(value: object) -> list:
    """The entries of a list or dict, and of lists in it, without an end to depth."""
    entries = list(value.values()) if isinstance(value, dict) else list(value or ())
    return entries + [
        inner for entry in entries if isinstance(entry, list | tuple) for inner in entry
    ]


def number(value: Any) -> str:
    """A number with four digits that count; whole ones as they are."""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return str(bool(value))
    if isinstance(value, numbers.Integral):
        return shorten(str(int(value))) if abs(value) < 10**60 else "a huge integer"
    if isinstance(value, numbers.Real):
        text = f"{float(value):.4g}"
        return text if set(text) & set(".en") else text + ".0"
    return shorten(repr(value))


def difference(got: object, want: object, where: str = "the result") -> str | None:
    """What differs, in words, or None where both agree.

    Args:
        got: the learner's value, of any type.
        want: the expected one: bool, int, float, str, list, tuple, set, dict or
            tensor, or these in one another.
        where: which part of the result this is.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(want, torch.Tensor):
        return tensor_difference(got, want, where)
    got = plain(got)
    if isinstance(want, bool):
        fits = isinstance(got, bool) and got is want
        if not isinstance(got, bool):
            return WrongType(
                f"{where} should be True or False, and {describe(got)} came; return "
                "what a comparison gives"
            )
    elif isinstance(want, int):
        if isinstance(got, float) and got == want:
            return WrongType(
                f"{where} should be the whole number {want}, and the float {got} came; "
                "which division of Python gives whole numbers?"
            )
        fits = isinstance(got, int) and not isinstance(got, bool) and got == want
    elif isinstance(want, float):
        fits = is_close(got, want)
    elif isinstance(want, str):
        fits = isinstance(got, str) and got == want
    elif isinstance(want, Mapping):
        return mapping_difference(got, want, where)
    elif isinstance(want, set | frozenset):
        return set_difference(got, want, where)
    elif isinstance(want, Sequence):
        return sequence_difference(got, want, where)
    else:
        raise TypeError(f"no comparison for {type(want).__name__}")
    if fits:
        return None
    return f"{where} should be {describe(want)}, and {describe(got)} came"


def plain(value: object) -> object:
    """Numbers of NumPy and of torch's single-valued tensors as Python's own."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.ndim == 0 and value.device.type != "meta":
            return value.item()
    elif numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    return value


def is_close(got: object, want: float) -> bool:
    """Whether a learner's value is this number, up to rounding."""
    if isinstance(got, bool) or not isinstance(got, int | float):
        return False
    if isinstance(got, int) and abs(got) > 10**300:
        return False
    if math.isnan(want):
        return math.isnan(got)
    return math.isclose(got, want, rel_tol=1e-5, abs_tol=1e-7)


def mapping_difference(got: object, want: Mapping, where: str) -> str | None:
    if not isinstance(got, Mapping):
        return f"{where} should be a dict, and {describe(got)} came"
    missing = [key for key in want if key not in got]
    if missing:
        return f"{where} has no entry {missing[0]!r}"
    more = [key for key in got if key not in want]
    if more:
        return f"{where} has an entry {shorten(repr(more[0]))} too many"
    entries = (difference(got[key], want[key], f"{key!r}") for key in want)
    return next((fault for fault in entries if fault), None)


def set_difference(got: object, want: set, where: str) -> str | None:
    if isinstance(got, str | Mapping) or not isinstance(
        got, set | frozenset | list | tuple
    ):
        return f"{where} should be a list, and {describe(got)} came"
    try:
        came = {tuple(x) if isinstance(x, list) else x for x in map(plain, got)}
    except TypeError:
        return f"{where} should hold {describe(next(iter(want)))} and the like"
    for entry in sorted(came - want, key=str):
        return f"{where} should have {len(want)} entries, and {describe(entry)} is none"
    if want - came:
        return f"{where} should have {len(want)} entries, and {len(want - came)} miss"
    return None


def sequence_difference(got: object, want: Sequence, where: str) -> str | None:
    array = sys.modules.get("numpy") is not None and type(got).__name__ == "ndarray"
    tensor = sys.modules.get("torch") is not None and type(got).__name__ == "Tensor"
    if array or (tensor and got.device.type != "meta" and not got.is_sparse):
        got = got.tolist()
    if isinstance(got, str) or not isinstance(got, list | tuple):
        return (
            f"{where} should be a {type(want).__name__} of {len(want)}, and "
            f"{describe(got)} came"
        )
    if len(got) != len(want):
        return f"{where} should have {len(want)} entries, and {len(got)} came"
    for place, (mine, yours) in enumerate(zip(want, got)):
        name = f"entry {place}" if where == "the result" else f"{where}, entry {place}"
        fault = difference(yours, mine, name)
        if fault:
            return fault
    return None


def tensor_difference(got: object, want: Any, where: str) -> str | None:
    torch = sys.modules["torch"]
    if not isinstance(got, torch.Tensor):
        return WrongType(
            f"{where} should be {describe(want)}, and {describe(got)} came; stay with "
            "tensors to the end"
        )
    if list(got.shape) != list(want.shape):
        return (
            f"{where} should have the shape {list(want.shape)}, and "
            f"{list(got.shape)} came"
        )
    if got.device.type != want.device.type:
        return (
            f"{where} should lie on {want.device.type} like the input, and it lies on "
            f"{got.device.type}"
        )
    if got.dtype != want.dtype:
        return WrongType(
            f"{where} should be of {want.dtype}, and {got.dtype} came; keep the type "
            "of the numbers that come in"
        )
    if got.layout != torch.strided:
        return f"{where} should be an ordinary tensor, and a sparse one came"
    got, want = got.detach(), want.detach()
    if not want.is_floating_point():
        unequal = got != want
    else:
        wide = 1e-3 if want.dtype in (torch.float16, torch.bfloat16) else 1e-4
        near = wide if want.dtype != torch.float64 else 1e-7
        scale = float(want.abs().nan_to_num(0, 0, 0).max()) if want.numel() else 0.0
        unequal = ~torch.isclose(
            got, want, rtol=near, atol=near * max(scale, 1e-6), equal_nan=True
        )
    if not bool(unequal.any()):
        return None
    place = [int(index) for index in unequal.nonzero()[0]]
    mine, yours = want[tuple(place)].item(), got[tuple(place)].item()
    share = unequal.double().mean().item()
    many = "" if want.numel() == 1 else f" ({share:.0%} of the numbers differ)"
    at = f" at {place}" if place else ""
    return f"{where} should be {number(mine)}{at}, and {number(yours)} came{many}"
