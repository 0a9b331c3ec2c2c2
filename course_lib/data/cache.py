"""Decode photos once; every later epoch and run maps the bytes from one file.

A JPEG of 256 px takes about a millisecond to decode, and every epoch would do it
again. The file is an ordinary ``.npy`` with 64 bytes more for each picture, the SHA-256
of its file and that of its pixels, which tell copies and later changes.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from course_lib.data.photos import PhotoError, Skipped, open_photo
from course_lib.data.preprocessing import Preprocessing

__all__ = ["CacheError", "Decoded", "decode"]

_VERSION = 2  # raise it when the stored pictures would differ
_BLOCK = 64  # pictures that wait in memory at most
_BROKEN = bytes(64)


class CacheError(OSError):
    """The cache could not be written; nothing of it is left on the disk."""


class Decoded(NamedTuple):
    """Photos as bytes on the disk."""

    path: Path  # of a .npy file, uint8 [N, resize, resize, 3]
    files: list[str]  # SHA-256 of each file's bytes
    pixels: list[str]  # SHA-256 of each stored picture
    broken: dict[int, Skipped]  # by index; their pictures are black


def decode(
    paths: Sequence[Path],
    folder: Path,
    preprocessing: Preprocessing,
    *,
    name: str = "photos",
    progress: bool = False,
) -> Decoded:
    """Decode photos into one file, or find them decoded.

    The file's name covers the path, length and modification time of every photo, so
    a changed, added or removed one leads to a new file, and the old one is removed. A
    builder writes under another name and renames at the end: two that build at once
    both end with a whole file, and what a killed one left is removed by the next.

    Args:
        paths: the photos.
        folder: where the file goes; made if missing.
        preprocessing: its ``fit`` makes the stored pictures.
        name: beginning of the file's name; data sets that share a folder need
            different ones.
        progress: show a bar.

    Raises:
        CacheError: if the disk is full or the folder cannot be written to.
        PhotoError: if a photo has vanished.
        ValueError: if there are no photos.
    """
    if not paths:
        raise ValueError("paths is empty: there is nothing to decode")
    side, color = preprocessing.resize, (3,) * (preprocessing.channels == 3)
    header = _header((len(paths), side, side, *color))
    pictures = len(paths) * side * side * preprocessing.channels
    size = len(header) + pictures + len(paths) * len(_BROKEN)
    prefix = f"{name}-{side}px-"
    path = folder / f"{prefix}{_key(paths, preprocessing)}.npy"
    if not _is_whole(path, header, size):
        _make_room(folder, prefix, size)
        _build(path, prefix, header, paths, preprocessing, progress)
        for old in folder.glob(f"{glob.escape(prefix)}*.npy"):
            if old != path:
                _try_unlink(old)
    with path.open("rb") as file:
        file.seek(len(header) + pictures)
        digests = [file.read(len(_BROKEN)) for _ in paths]
    broken = {i: _why(paths[i], path) for i, d in enumerate(digests) if d == _BROKEN}
    files, pixels = zip(*((d[:32].hex(), d[32:].hex()) for d in digests))
    return Decoded(path, list(files), list(pixels), broken)


def _key(paths: Sequence[Path], preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(f"{_VERSION} {preprocessing.channels}".encode())
    for path in paths:
        try:
            facts = path.stat()
        except OSError as error:
            raise PhotoError(f"{path}: {error.strerror}") from error
        line = f"\n{path.absolute()} {facts.st_size} {facts.st_mtime_ns}"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _header(shape: tuple[int, ...]) -> bytes:
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, head)
    return buffer.getvalue()


def _is_whole(path: Path, header: bytes, size: int) -> bool:
    try:
        with path.open("rb") as file:
            return path.stat().st_size == size and file.read(len(header)) == header
    except OSError:
        return False


def _read(path: Path, preprocessing: Preprocessing) -> tuple[bytes, bytes]:
    """Pixels and digests; a broken photo is black and its digests are zeros."""
    side = preprocessing.resize
    try:
        content = path.read_bytes()
        file = io.BytesIO(content)
        file.name = str(path)  # for messages, and for formats told by their ending
        pixels = preprocessing.fit(open_photo(file, at_least=side)).tobytes()
    except (OSError, PhotoError):
        return bytes(side * side * preprocessing.channels), _BROKEN
    return pixels, b"".join(hashlib.sha256(x).digest() for x in (content, pixels))


def _why(path: Path, cache: Path) -> Skipped:
    try:
        open_photo(path)
    except PhotoError as error:
        return Skipped(path, str(error).removeprefix(f"{path}: "))
    _try_unlink(cache)  # a network drive may have been away
    return Skipped(path, "could not be read at first, but now; start again")


def _all(paths: Sequence[Path], how: Preprocessing) -> Iterator[tuple[bytes, bytes]]:
    """In order, with a thread per processor, since Pillow lets them run."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), _BLOCK):
            block = paths[start : start + _BLOCK]
            yield from pool.map(partial(_read, preprocessing=how), block)


def _build(
    path: Path,
    prefix: str,
    header: bytes,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    progress: bool,
) -> None:
    from tqdm.auto import tqdm

    scratch = None
    try:
        file, scratch = _scratch_file(path.parent, prefix)
        # Not through a memory map: on a full disk writing to one kills the process,
        # whereas a plain write raises an error.
        with file, warnings.catch_warnings(record=True) as told:
            file.write(header)
            digests = []
            pictures = _all(paths, preprocessing)
            bar = tqdm(
                pictures, "Decoding", len(paths), unit="photo", disable=not progress
            )
            for pixels, digest in bar:
                file.write(pixels)
                digests.append(digest)
            file.write(b"".join(digests))
            file.flush()
            os.fsync(file.fileno())
        scratch.chmod(0o644)  # mkstemp's files are closed to other users
        _rename(scratch, path, header)
    except OSError as error:
        raise CacheError(
            f"the cache {path} could not be written: {error.strerror or error}; "
            "nothing is left of it"
        ) from error
    finally:
        if scratch is not None:
            _try_unlink(scratch)
    if notes := list(dict.fromkeys(str(warning.message) for warning in told)):
        more = f"\n... and {len(notes) - 5:,} more" * (len(notes) > 5)
        warnings.warn("\n".join(notes[:5]) + more, stacklevel=3)


def _make_room(folder: Path, prefix: str, size: int) -> None:
    """Make the folder, remove what killed builders left, and see if there is space."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{glob.escape(prefix)}*.building"):
            if _is_abandoned(path):
                _try_unlink(path)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = f"{folder} cannot be used: {error.strerror or error}"
        raise CacheError(f"the cache folder {reason}") from error
    if free < size:
        raise CacheError(
            f"the cache needs {size:,} bytes and {folder} has {free:,} free; choose "
            "another folder (--cache) or a smaller size (--size)"
        )


def _scratch_file(folder: Path, prefix: str) -> tuple[BinaryIO, Path]:
    """A new file that this process holds locked for as long as it is open."""
    while True:
        handle, name = tempfile.mkstemp(".building", prefix, folder)
        _lock(handle)
        if Path(name).exists():  # else one who cleans up was faster than the lock
            return os.fdopen(handle, "wb"), Path(name)
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed or its process dies; False if it is held."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows, which lets nobody remove a file that is open
        return True
    except OSError:
        return False
    return True


def _is_abandoned(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _lock(file.fileno())
    except OSError:  # another builder was faster
        return False


def _rename(scratch: Path, path: Path, header: bytes) -> None:
    size = scratch.stat().st_size
    try:
        scratch.replace(path)
    except PermissionError:
        # Windows does not replace a file that another process has mapped: that one
        # was built from the same photos, so it is the same.
        if not _is_whole(path, header, size):
            raise


def _try_unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # in use on Windows: the next build removes it
        return
