"""Open one photo robustly: from any camera, phone, scanner or broken download.

What comes out is always an upright RGB picture with 8 bits per channel. What
cannot be opened raises :class:`PhotoError` with the file and the reason, or is
put on a list, as the caller says. No torch here.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "OnError",
    "PhotoError",
    "Skipped",
    "check_photos",
    "find_photos",
    "open_photo",
    "report_skipped",
]

_HEADER = threading.Lock()  # held while a header is read

# Above this number of pixels Pillow itself calls a file a decompression bomb: a
# few kilobytes that unpack to gigabytes. Phones' 108 megapixels are below it.
MAX_PIXELS = 178_956_970

_FORMATS = ("avif", "bmp", "gif", "jfif", "jp2", "jpeg", "jpg")
_FORMATS += ("pgm", "png", "ppm", "tif", "tiff", "webp")
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _FORMATS)
# What file managers leave in every folder; nobody means these as photos.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

OnError = Literal["raise", "skip"]


class PhotoError(ValueError):
    """A photo cannot be opened. The message names the file and the reason."""


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    path: Path
    reason: str


def open_photo(
    photo: str | os.PathLike | bytes | BinaryIO,
    *,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Open a photo as an upright RGB picture.

    The orientation that a camera notes in EXIF is applied. Transparent parts
    are laid over white. Gray and palette pictures become RGB; 16 bits per
    channel are scaled to 8 by their range (65535 becomes 255), not stretched;
    CMYK is converted without a color profile. Of an animation the first frame
    is taken.

    Args:
        photo: a path, the bytes of a file, or a file opened for reading bytes.
        at_least: the picture will be made smaller, down to a shorter side of this
            many pixels. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size,
            still at least this large: a quarter of the time for 12 megapixels.
        max_pixels: refuse pictures with more pixels than this before decoding.

    Returns:
        A PIL image in mode "RGB", fully decoded, with no file left open.
        ``image.info["original_size"]`` is the upright size in the file.

    Raises:
        PhotoError: if the file is missing, empty, broken, no picture or larger
            than ``max_pixels``.
        ValueError: if ``at_least`` is not positive.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least must be at least 1 pixel, got {at_least}")
    source: Path | BinaryIO
    if isinstance(photo, bytes):
        name, source = "the given bytes", io.BytesIO(photo)
    elif isinstance(photo, str | os.PathLike):
        source = Path(photo)
        name = str(source)
        _check_file(source)
    elif hasattr(photo, "read"):
        name, source = str(getattr(photo, "name", "the given file")), photo
    else:
        raise TypeError(
            f"photo must be a path, bytes or an open file, got {type(photo).__name__}"
        )
    try:
        return _decode(source, name, at_least, max_pixels)
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(
            f"{name}: no picture in a format that Pillow knows (JPEG, PNG, TIFF, "
            "WebP, ...); save HEIC and raw files as JPEG first"
        ) from None
    except MemoryError as error:
        raise PhotoError(f"{name}: too large for this machine's memory") from error
    except Exception as error:
        # Decoders meet broken files with OSError, SyntaxError, struct.error,
        # EOFError, ZeroDivisionError and more; to the caller all are one thing.
        raise PhotoError(f"{name}: broken picture ({error})") from error


def _check_file(path: Path) -> None:
    """Say what is wrong with a path, in words, before Pillow tries it."""
    try:
        if not path.exists():
            raise PhotoError(f"{path}: no such file")
        if not path.is_file():
            raise PhotoError(f"{path}: a folder or device, not a file")
        if path.stat().st_size == 0:
            raise PhotoError(f"{path}: the file is empty")
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def _unlimited() -> Iterator[None]:
    """Switch off Pillow's size limit, which is global, and its warnings.

    ``max_pixels`` takes its place. The lock makes threads take turns, and only the
    header is read meanwhile: pixels are decoded in parallel.
    """
    with _HEADER, warnings.catch_warnings():
        # Pillow warns of odd EXIF blocks, which do not keep a picture from being used.
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode(
    source: Path | BinaryIO, name: str, at_least: int | None, max_pixels: int
) -> Image.Image:
    with _unlimited():
        image = Image.open(source)
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise PhotoError(
                f"{name}: {width} × {height} pixels are more than the "
                f"{max_pixels:,} allowed; make it smaller or raise max_pixels"
            )
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # JPEG only; else does nothing
        image.load()
        try:
            with _unlimited():
                image.getexif()
            ImageOps.exif_transpose(image, in_place=True)
        except Exception:  # a broken EXIF block costs the orientation, no more
            pass
        if (width > height) != (image.width > image.height):
            width, height = height, width
        upright = _to_rgb(image, image.format)
        upright.info["original_size"] = (width, height)
        return upright


def _to_rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    mode = image.mode
    # Older Pillow reads 16-bit gray PNG as mode "I".
    if mode.startswith("I;16") or (mode == "I" and file_format == "PNG"):
        return _gray(np.asarray(image) / 257)
    if mode in ("I", "F"):
        limits = (255, 65535) if mode == "I" else (1, 255, 65535)
        return _gray(_scale_deep(np.asarray(image, dtype=np.float64), limits))
    if mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _scale_deep(values: np.ndarray, limits: Sequence[int]) -> np.ndarray:
    """Scale 32-bit numbers to 0...255 by the least limit that none exceeds."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    return values * (255 / next((limit for limit in limits if top <= limit), top))


def _gray(values: np.ndarray) -> Image.Image:
    gray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def find_photos(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """List the files of one folder tree, in an order that no platform changes.

    Hidden files and what file managers leave behind are passed over.

    Args:
        folder: an existing folder. Links to folders are not followed.

    Yields:
        Each file, and why it cannot be a photo (None if it may be one): the name
        has no picture's ending, or the file is empty.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_litter(name))
        for name in sorted(names):
            if is_litter(name):
                continue
            path = Path(parent) / name
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                yield path, "the name has no picture's ending"
            elif not path.is_file():
                yield path, "a broken link or no file"
            elif path.stat().st_size == 0:
                yield path, "the file is empty"
            else:
                yield path, None


def is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def check_photos(
    paths: Sequence[Path], *, progress: bool = False
) -> tuple[list[int], list[Skipped]]:
    """Decode each photo once to learn which ones can be opened.

    Args:
        paths: files to try.
        progress: show a bar; a photo of 256 px takes about a millisecond.

    Returns:
        The indices of the good ones, and the others with their reasons.
    """
    good, skipped = [], []
    for index, path in enumerate(show_progress(paths, "Checking photos", progress)):
        try:
            open_photo(path)
        except PhotoError as error:
            reason = str(error).removeprefix(f"{path}: ")
            skipped.append(Skipped(path, reason))
        else:
            good.append(index)
    return good, skipped


def report_skipped(
    skipped: Sequence[Skipped], total: int, on_error: OnError, where: str
) -> None:
    """Raise or warn about files that cannot be used, with a count and a list.

    Args:
        skipped: the files; with none nothing happens.
        total: number of files looked at, for the message.
        on_error: "raise" or "skip".
        where: what was being read, for the message.

    Raises:
        PhotoError: if there are any and ``on_error`` is "raise".
        ValueError: for another ``on_error``.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
    if not skipped:
        return
    lines = [f"  {path}: {reason}" for path, reason in skipped[:5]]
    if len(skipped) > 5:
        lines.append(f"  ... and {len(skipped) - 5} more")
    files = "\n".join(lines)
    if on_error == "raise":
        raise PhotoError(
            f"{len(skipped)} of {total} files below {where} are no usable photos:\n"
            f'{files}\nRemove them, or leave them out with on_error="skip".'
        )
    warnings.warn(
        f"skipped {len(skipped)} of {total} files below {where}, "
        f"all listed in .skipped:\n{files}",
        stacklevel=3,
    )


def show_progress(items: Iterable, title: str, shown: bool) -> Iterable:
    """Iterate with a progress bar, or without."""
    if not shown:
        return items
    from tqdm.auto import tqdm

    return tqdm(items, desc=title, unit="photo")
