"""Decode photos once; every later epoch and run maps the bytes from one file.

The file is an ordinary ``.npy`` with 32 bytes more for each picture, the SHA-256 of its
pixels, which tells copies and later changes.
"""

import hashlib
import io
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from course_lib.data.photos import PhotoError, PhotoWarning, Skipped, read_photo
from course_lib.data.preprocessing import Preprocessing

_VERSION = 3  # raise it when the stored pictures would differ
_BLOCK = 64  # pictures that wait in memory at most
_BROKEN = bytes(32)
_ABANDONED = 3600.0  # seconds after which nobody writes a scratch file any more


class Decoded(NamedTuple):
    """Photos as bytes on the disk."""

    path: Path  # of a .npy file, uint8 [N, resize, resize, 3]
    pixels: list[str]  # SHA-256 of each stored picture
    broken: dict[int, Skipped]  # by index; their pictures are black


def decode(
    paths: Sequence[Path],
    folder: Path,
    how: Preprocessing,
    *,
    name: str = "photos",
    progress: bool = False,
) -> Decoded:
    """Decode photos into one file, or find them decoded.

    The file's name covers the path, length and modification time of every photo: after
    a change there is a new file, and the old one is removed. It is written under
    another name and renamed at the end.

    Args:
        paths: the photos, at least one.
        folder: where the file goes; made if missing.
        how: its ``fit`` makes the stored pictures.
        name: beginning of the file's name, one for each data set.
        progress: show a bar.

    Raises:
        OSError: if a photo has vanished, the disk is full, or the folder cannot be
            written to; nothing of the file is left then.
    """
    head, color = io.BytesIO(), (3,) if how.channels == 3 else ()
    shape = (len(paths), how.resize, how.resize, *color)
    facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, facts)
    start = head.tell() + math.prod(shape)
    size = start + len(paths) * len(_BROKEN)
    path = folder / f"{name}-{how.resize}px-{_key(paths, how)}.npy"
    if not _is_whole(path, size):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _clean(path, size)
            _build(path, head.getvalue(), paths, how, progress)
        except OSError as error:
            if not _is_whole(path, size):  # else another process was faster
                raise OSError(
                    f"the cache {path} could not be written: {error.strerror or error};"
                    " nothing is left of it; choose another folder (--cache) or a "
                    "smaller --size"
                ) from error
    with path.open("rb") as file:
        file.seek(start)
        digests = [file.read(len(_BROKEN)) for _ in paths]
    broken = {i: _why(paths[i], path) for i, d in enumerate(digests) if d == _BROKEN}
    return Decoded(path, [digest.hex() for digest in digests], broken)


def _key(paths: Sequence[Path], how: Preprocessing) -> str:
    digest = hashlib.sha256(f"{_VERSION} {how.channels}".encode())
    for path in paths:
        facts = path.stat()
        line = f"\n{path.absolute()} {facts.st_size} {facts.st_mtime_ns}"
        digest.update(os.fsencode(line))
    return digest.hexdigest()[:16]


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _why(path: Path, cache: Path) -> Skipped:
    try:
        read_photo(path)
    except PhotoError as error:
        return Skipped(path, str(error).removeprefix(f"{path}: "))
    _unlink(cache)  # a network drive may have been away
    return Skipped(path, "could not be read at first, but now; start again")


def _clean(path: Path, size: int) -> None:
    """Remove older caches and what killed builders left, and see if there is room."""
    for old in path.parent.glob("*.npy"):
        if old.name.rpartition("-")[0] == path.name.rpartition("-")[0]:
            _unlink(old)
    for left in path.parent.glob("*.building"):
        if time.time() - left.stat().st_mtime > _ABANDONED:
            _unlink(left)
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise OSError(f"it needs {size:,} bytes and there are {free:,} free")


def _build(
    path: Path, head: bytes, paths: Sequence[Path], how: Preprocessing, progress: bool
) -> None:
    scratch = path.with_suffix(f".{os.getpid()}.building")
    digests, notes = [], []
    try:
        # Not through a memory map: on a full disk writing to one kills the process,
        # whereas a plain write raises an error.
        with scratch.open("wb") as file:
            file.write(head)
            bar = tqdm(_all(paths, how), "Decoding", len(paths), disable=not progress)
            for pixels, digest, noted in bar:
                file.write(pixels)
                digests.append(digest)
                notes += noted
            file.write(b"".join(digests))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        _unlink(scratch)
    if notes:
        more = f"\n... and {len(notes) - 5:,} more" * (len(notes) > 5)
        warnings.warn("\n".join(notes[:5]) + more, PhotoWarning, stacklevel=3)


def _all(paths: Sequence[Path], how: Preprocessing) -> Iterator[tuple]:
    """In order, with a thread per processor, since Pillow lets them run."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), _BLOCK):
            yield from pool.map(partial(_read, how=how), paths[start : start + _BLOCK])


def _read(path: Path, how: Preprocessing) -> tuple[bytes, bytes, list[str]]:
    """Pixels, digest, notes; a broken photo is black and its digest is zeros."""
    try:
        photo = read_photo(path, at_least=how.resize)
    except PhotoError:
        return bytes(how.resize**2 * how.channels), _BROKEN, []
    pixels = how.fit(photo.image).tobytes()
    notes = [f"{path}: {note}" for note in photo.notes]
    return pixels, hashlib.sha256(pixels).digest(), notes


def _unlink(path: Path) -> None:
    with suppress(OSError):  # gone, or in use on Windows
        path.unlink()
