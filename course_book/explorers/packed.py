"""Arrays in a file that a page can read from the disk, and how two files compare."""

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

__all__ = ["BYTE", "TOLERANCE", "Pack", "as_script", "differences", "unpack"]

BYTE = 127  # levels on one side of 0 that fit one byte
TOLERANCE = 5e-3
"""How far numbers may be apart, as other processors and versions of torch sum up."""


class Pack:
    """Arrays as integers in one compressed string."""

    def __init__(self) -> None:
        self.index: list[list[Any]] = []
        self.parts: list[bytes] = []

    def add(self, name: str, values: Tensor, levels: int) -> None:
        """Store round(values / scale), with the largest magnitude at ``levels``."""
        scale = float(values.abs().max()) / levels
        self.integers(name, (values / scale).round(), levels, scale)

    def integers(self, name: str, values: Tensor, levels: int, scale: float) -> None:
        """Store whole numbers; two bytes each go into two planes, which pack better."""
        kind = "i2" if levels > BYTE else "i1"
        raw = values.detach().numpy().astype(f"<{kind}")
        planes = raw.reshape(-1).view(np.uint8).reshape(raw.size, raw.itemsize).T
        self.parts.append(planes.tobytes())
        self.index.append([name, kind, list(raw.shape), float(f"{scale:.7g}")])

    def packed(self) -> dict[str, Any]:
        """``index`` and ``blob``, as :func:`unpack` reads them."""
        blob = zlib.compress(b"".join(self.parts), 9)
        return {"index": self.index, "blob": base64.b64encode(blob).decode()}


def unpack(more: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file by name: int8 or int16, without their scales."""
    raw, found, at = zlib.decompress(base64.b64decode(more["blob"])), {}, 0
    for name, kind, shape, _ in more["index"]:
        dtype = np.dtype(f"<{kind}")
        count = int(np.prod(shape))
        end = at + count * dtype.itemsize
        planes = np.frombuffer(raw[at:end], np.uint8).reshape(dtype.itemsize, count)
        found[name] = np.ascontiguousarray(planes.T).view(dtype).reshape(shape)
        at = end
    return found


def as_script(file: str, more: dict[str, Any]) -> str:
    """The file's text: a script, since a page from the disk may read nothing else."""
    lines = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}"
        for key, value in more.items()
    )
    return f'(globalThis.explorerFiles ??= {{}})["{file}"] =\n{{\n{lines}\n}};\n'


def picture_of(uri: str) -> np.ndarray:
    """The pixels of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))) / 255


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Where two files differ by more than rounding does; ``[]``: nowhere.

    Integers may differ by 1, other numbers by :data:`TOLERANCE`, the pictures (JPEG,
    each version of the library has its own) by 1 % of white on average.
    """

    def compare(path: str, a: Any, b: Any) -> list[str]:
        if isinstance(a, float) and isinstance(b, int | float):
            return [] if abs(a - b) <= TOLERANCE else [path]
        if type(a) is not type(b):
            return [path]
        if isinstance(a, dict):
            if a.keys() != b.keys():
                return [path]
            return [x for key in a for x in compare(f"{path}/{key}", a[key], b[key])]
        if isinstance(a, list):
            if len(a) != len(b):
                return [path]
            pairs = enumerate(zip(a, b))
            return [x for i, pair in pairs for x in compare(f"{path}/{i}", *pair)]
        return [] if a == b else [path]

    packed, pictures = ("blob",), ("photo", "thumbnail")
    plain = [
        {k: v for k, v in one.items() if k not in packed + pictures}
        for one in (old, new)
    ]
    found = compare("", *plain)
    for name in pictures:
        a, b = picture_of(old[name]), picture_of(new[name])
        if a.shape != b.shape or abs(a - b).mean() > 0.01:
            found.append(f"/{name}")
    arrays, others = unpack(old), unpack(new)
    if arrays.keys() != others.keys():
        return [*found, "/index"]
    for name, a in arrays.items():
        b = others[name]
        if a.shape != b.shape or abs(a.astype(int) - b).max() > 1:
            found.append(f"/{name}")
    return found
