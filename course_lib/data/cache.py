"""Decode a data set's photos once, and read them from memory maps afterwards.

A JPEG of 256 px takes about a millisecond to decode, and every epoch does it
again. The cache holds all pictures at training resolution as one array of bytes
on the disk, which the system pages in as needed and which all workers share.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from course_lib.data.folders import PhotoDataset
from course_lib.data.photos import PhotoError, open_photo, show_progress

__all__ = ["CacheError", "DecodedCache"]

_VERSION = 1  # raise it when the stored pictures would differ
_BLOCK = 64  # pictures that wait in memory at most
_ABANDONED = 24 * 3600  # seconds after which a builder that left a file is gone


class CacheError(OSError):
    """The cache could not be written; nothing of it is left on the disk."""


class DecodedCache(Dataset):
    """The pictures of a photo data set, decoded and resized once.

    The first time it writes ``<name>-<size>px-<key>.npy``; the key covers the
    path, length and modification time of every file, so a changed, added or
    removed file leads to a new cache, and the old one is removed. A builder
    writes under a name of its own and renames at the end: two that build at
    once both end with a whole cache.

    Args:
        dataset: a ``PhotoDataset``, such as ``SDNET2018`` or ``CrackFolder``.
        folder: where the cache goes; made if missing.
        size: side of the square pictures in pixels. The shorter side of a photo
            is resized to it and the middle is cut out.
        name: beginning of the file's name; data sets that share a folder need
            different ones. By default the class and the split.
        transform: applied to each PIL picture; by default the data set's own.
        progress: show a bar while decoding.

    Attributes:
        images: uint8 [N, size, size, 3], memory-mapped, read-only.
        labels: as the data set's.
        classes: as the data set's.
        path: the file of the cache.

    Raises:
        CacheError: if the disk is full or the folder cannot be written to.
        PhotoError: if a photo is broken; give a data set that skips those.
        ValueError: if ``size`` is not positive or the data set is empty.
    """

    def __init__(
        self,
        dataset: PhotoDataset,
        folder: str | os.PathLike,
        *,
        size: int,
        name: str | None = None,
        transform: Callable | None = None,
        progress: bool = True,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        if not len(dataset):
            raise ValueError("dataset is empty: there is nothing to decode")
        if name is None:
            parts = (type(dataset).__name__, getattr(dataset, "split", ""))
            name = "-".join(part.lower() for part in parts if part)
        self.size = size
        self.paths = dataset.paths
        self.labels = dataset.labels
        self.classes = dataset.classes
        self.transform = dataset.transform if transform is None else transform
        prefix = f"{name}-{size}px-"
        self.path = Path(folder) / f"{prefix}{_key(dataset.paths, size)}.npy"
        self._images: np.ndarray | None = None
        if not self._is_whole():
            self._build(prefix, progress)
        _ = self.images  # a mapping stays good even if the file is removed

    @property
    def images(self) -> np.ndarray:
        """All pictures; a worker maps them anew when it first asks."""
        if self._images is None:
            try:
                self._images = np.load(self.path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise CacheError(
                    f"the cache {self.path} is gone or damaged ({error}); make a new "
                    "DecodedCache of the data set"
                ) from error
        return self._images

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple:
        image = Image.fromarray(np.asarray(self.images[index]))
        if self.transform is not None:
            image = self.transform(image)
        return image, self.labels[index]

    def __getstate__(self) -> dict:
        # A pickled memory map would carry every byte to each worker.
        return {**self.__dict__, "_images": None}

    def _header(self) -> bytes:
        head = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (len(self.labels), self.size, self.size, 3),
        }
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, head)
        return buffer.getvalue()

    def _bytes(self) -> int:
        return len(self._header()) + len(self.labels) * self.size**2 * 3

    def _is_whole(self) -> bool:
        """Whether the file is there with the right length and header."""
        try:
            if self.path.stat().st_size != self._bytes():
                return False
            with self.path.open("rb") as file:
                return file.read(len(self._header())) == self._header()
        except OSError:
            return False

    def _decoded(self) -> Iterator[bytes]:
        """The pictures in order; a thread per processor, since Pillow lets them run."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(self.paths), _BLOCK):
                block = self.paths[start : start + _BLOCK]
                yield from pool.map(_decode, block, repeat(self.size))

    def _build(self, prefix: str, progress: bool) -> None:
        folder = self.path.parent
        scratch = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder, prefix)
            free = shutil.disk_usage(folder).free
            if free < self._bytes():
                raise CacheError(
                    f"the cache needs {self._bytes():,} bytes and {folder} has "
                    f"{free:,} free; choose another folder or a size below {self.size}"
                )
            handle, scratch = tempfile.mkstemp(
                dir=folder, prefix=prefix, suffix=".building"
            )
            # Not through a memory map: on a full disk writing to one kills the
            # process, whereas a plain write raises an error.
            with os.fdopen(handle, "wb") as file:
                file.write(self._header())
                bar = show_progress(self.paths, "Decoding", progress)
                for _, image in zip(bar, self._decoded()):
                    file.write(image)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).chmod(0o644)  # mkstemp's files are closed to other users
            _rename(Path(scratch), self)
            scratch = None
        except CacheError:
            raise
        except OSError as error:
            raise CacheError(
                f"the cache {self.path} ({self._bytes():,} bytes) could not be "
                f"written: {error.strerror or error}; nothing is left of it"
            ) from error
        finally:
            if scratch is not None:
                Path(scratch).unlink(missing_ok=True)
        for old in folder.glob(f"{glob.escape(prefix)}*.npy"):
            if old != self.path:
                _try_unlink(old)


def _key(paths: list[Path], size: int) -> str:
    digest = hashlib.sha256(f"{_VERSION} {size}".encode())
    for path in paths:
        try:
            facts = path.stat()
        except OSError as error:
            raise PhotoError(f"{path}: {error.strerror}") from error
        line = f"\n{path.absolute()} {facts.st_size} {facts.st_mtime_ns}"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _decode(path: Path, size: int) -> bytes:
    image = ImageOps.fit(open_photo(path), (size, size), Image.Resampling.BILINEAR)
    return image.tobytes()


def _rename(scratch: Path, cache: DecodedCache) -> None:
    try:
        scratch.replace(cache.path)
    except PermissionError:
        # Windows does not replace a file that another process has mapped: that
        # one was built from the same photos, so it is the same.
        if not cache._is_whole():
            raise
        scratch.unlink()


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove what a builder left that was killed; a living one stays."""
    for path in folder.glob(f"{glob.escape(prefix)}*.building"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
        except OSError:  # another builder was faster
            continue


def _try_unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError:  # in use on Windows: the next build removes it
        return
