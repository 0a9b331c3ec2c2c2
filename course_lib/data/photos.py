"""Which files are photos, and how to open one, whatever camera or phone wrote it.

What comes out is always an upright RGB picture with 8 bits per channel. What
cannot be opened raises :class:`PhotoError` with the file and the reason.
"""

import importlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Above this number of pixels Pillow itself calls a file a decompression bomb: a
# few kilobytes that unpack to gigabytes. Phones' 108 megapixels are below it.
MAX_PIXELS = 178_956_970

_PILLOW = "avif bmp gif j2k jfif jp2 jpe jpeg jpg mpo pgm png pnm ppm tif tiff webp"
_RAW = "3fr arw cr2 cr3 crw dng erf iiq kdc mrw nef nrw orf pef raf raw rw2 srw x3f"
# Formats that Pillow reads with a plugin: ending -> (module, name on PyPI).
_HEIF, _JXL = ("pillow_heif", "pillow-heif"), ("pillow_jxl", "pillow-jxl-plugin")
_PLUGINS = {".heic": _HEIF, ".heif": _HEIF, ".hif": _HEIF, ".jxl": _JXL}

# Largest values of 8, 10, 12, 14 and 16 bits.
_DEPTHS = (255, 1023, 4095, 16383, 65535)
_HEADER = threading.Lock()  # held while a header is read

PhotoLike = str | os.PathLike | bytes | BinaryIO | Image.Image


class PhotoError(ValueError):
    """A photo cannot be opened. The message names the file and the reason."""


class PhotoWarning(UserWarning):
    """A photo was opened, but not all of it can be taken at face value."""


class Photo(NamedTuple):
    """A photo as :func:`read_photo` found it."""

    image: Image.Image  # "RGB", upright
    size: tuple[int, int]  # (width, height) in the file, upright
    notes: list[str]  # how values were scaled, if that had to be guessed


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    path: Path
    reason: str


def _suffix_of(head: bytes, suffix: str) -> str:
    """The ending that fits a file's first 16 bytes; phones often write another."""
    if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return ".heic"
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return ".jxl"
    return suffix.lower()


def is_readable(suffix: str) -> bool:
    """Whether Pillow reads files with this ending; loads the plugin that it takes."""
    if suffix not in _PLUGINS:
        return suffix[1:] in _PILLOW.split()
    module = _PLUGINS[suffix][0]
    if find_spec(module) is None:
        return False
    plugin = importlib.import_module(module)  # pillow_jxl needs no more
    getattr(plugin, "register_heif_opener", lambda: None)()
    return True


def advice(suffix: str) -> str | None:
    """What to do about a photo that Pillow cannot read; None about all other files."""
    if suffix[1:] in _RAW.split():
        return "a camera's raw file; export it as JPEG or 8-bit TIFF first"
    if suffix in _PLUGINS and not is_readable(suffix):
        kind, package = suffix[1:].upper(), _PLUGINS[suffix][1]
        return f"a {kind} picture; pip install {package}, or save it as JPEG first"
    return None


def open_photo(
    photo: PhotoLike, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Open a photo as an upright RGB picture.

    The orientation in EXIF is applied, transparent parts are laid over white, CMYK is
    converted without a color profile, and of an animation the first frame is taken.
    Gray pictures with more than 8 bits are scaled: 255 is the smallest limit of 8, 10,
    12, 14 or 16 bits (for floats also 1) that no value exceeds.

    Args:
        photo: a path, the bytes of a file, a file opened for reading bytes, or a
            PIL picture in any mode.
        at_least: pixels of the shorter side that are needed. A larger JPEG is decoded
            at 1/2, 1/4 or 1/8 of its size, in less than half of the time.
        max_pixels: refuse pictures with more pixels than this before decoding.

    Raises:
        PhotoError: if the file is missing, broken, no picture or larger than
            ``max_pixels``, or if nothing tells how its values are scaled.
        ValueError: if ``at_least`` is not positive.

    Warns:
        PhotoWarning: says how values were scaled, if that had to be guessed.
    """
    found = read_photo(photo, at_least=at_least, max_pixels=max_pixels)
    for note in found.notes:
        warnings.warn(note, PhotoWarning, stacklevel=2)
    return found.image


def read_photo(
    photo: PhotoLike, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Photo:
    """:func:`open_photo` with the size in the file and notes instead of warnings."""
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least must be at least 1 pixel, got {at_least}")
    if isinstance(photo, Image.Image):
        return _to_rgb(photo, "the given picture")
    if isinstance(photo, bytes):
        name, file = "the given bytes", io.BytesIO(photo)
    elif isinstance(photo, str | os.PathLike):
        name, file = str(Path(photo)), _open_file(Path(photo))
    elif hasattr(photo, "read"):
        name, file = str(getattr(photo, "name", "the given file")), photo
        if not file.seekable():  # a pipe or a download
            file = io.BytesIO(file.read())
    else:
        kind = type(photo).__name__
        raise TypeError(f"photo must be a path, bytes, file or picture, got {kind}")
    try:
        return _decode(file, name, at_least, max_pixels)
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(
            f"{name}: no picture in a format that Pillow knows (JPEG, PNG, TIFF, "
            "WebP, ...)"
        ) from None
    except MemoryError as error:
        raise PhotoError(f"{name}: too large for this machine's memory") from error
    except Exception as error:  # decoders raise nearly every kind for a broken file
        raise PhotoError(f"{name}: broken picture ({error})") from error
    finally:
        if file is not photo:
            file.close()


def _open_file(path: Path) -> BinaryIO:
    """Say what is wrong with a path, in words, before Pillow tries it."""
    try:
        if not path.exists():
            raise PhotoError(f"{path}: no such file")
        if not path.is_file():
            raise PhotoError(f"{path}: a folder or device, not a file")
        if path.stat().st_size == 0:
            raise PhotoError(f"{path}: the file is empty")
        return path.open("rb")
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def _unlimited() -> Iterator[None]:
    """Without Pillow's limit of pixels, for which there is ``max_pixels``.

    It is global, as warnings are, so threads take turns, for the header only.
    """
    with _HEADER, warnings.catch_warnings():
        # Pillow warns of odd EXIF blocks, which do not keep a picture from being used.
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode(file: BinaryIO, name: str, at_least: int | None, max_pixels: int) -> Photo:
    file.seek(0)
    suffix = _suffix_of(file.read(16), Path(name).suffix)
    if reason := advice(suffix):
        raise PhotoError(f"{name}: {reason}")
    with _unlimited():
        image = Image.open(file)
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise PhotoError(
                f"{name}: {width} × {height} pixels are more than the {max_pixels:,} "
                "allowed; make it smaller, or raise max_pixels (predict --max-pixels)"
            )
        tags = getattr(image, "tag_v2", {})  # of a TIFF
        if 50706 in tags:  # DNGVersion: Pillow would find the thumbnail
            raise PhotoError(f"{name}: {advice('.dng')}")
        bits, signed = tags.get(258, ()), tags.get(339, (1,))[0] == 2
        if (16 in bits and tags.get(284) == 2) or (8 in bits and signed):
            raise PhotoError(
                f"{name}: a TIFF with {bits[0]} bits, signed or plane by plane, which "
                "Pillow reads wrongly; save it as 8-bit TIFF or PNG first"
            )
        deep = ";16" in str(image.tile[:1]) and not image.mode.startswith("I")
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # JPEG only; else does nothing
        image.load()
        with suppress(Exception):  # a broken EXIF block costs the orientation, no more
            with _unlimited():
                image.getexif()
            ImageOps.exif_transpose(image, in_place=True)
        if (width > height) != (image.width > image.height):
            width, height = height, width
        if deep and max(high for _, high in image.getextrema()[:3]) < 64:
            raise PhotoError(
                f"{name}: 16-bit color without a value above 16,383, of which Pillow "
                "reads the upper 8 bits; save it stretched, with 8 bits per channel"
            )
        found = _to_rgb(image, name, inverted=tags.get(262) == 0)
        return found._replace(size=(width, height))


def _to_rgb(image: Image.Image, name: str, inverted: bool = False) -> Photo:
    if min(image.size) < 1:
        raise PhotoError(f"{name}: a picture without pixels, {image.size}")
    mode, notes = image.mode, []
    if mode == "F" or mode.startswith("I"):
        deep = mode != "I" or image.format == "PNG"  # Pillow before 11 reads "I"
        values = _scale(np.asarray(image), name, deep, notes)
        values = 255 - values if inverted and mode != "F" else values
        rgb = Image.fromarray(values).convert("RGB")
    elif mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        rgb = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        rgb = Image.alpha_composite(ground, layer).convert("RGB")
    else:
        rgb = image.convert("RGB")
    return Photo(rgb, image.size, notes)


def _scale(
    values: np.ndarray, name: str, sixteen_bits: bool, notes: list[str]
) -> np.ndarray:
    """Numbers of any range as bytes; notes what had to be guessed."""
    finite = np.isfinite(values)
    if not finite.all():
        lost = (~finite).sum()
        notes.append(f"pixels that are NaN or infinite, taken for black: {lost:,}")
        values = np.where(finite, values, 0)
    low, high = values.min(), values.max()
    if low < 0:
        raise PhotoError(
            f"{name}: negative values, {low:g} to {high:g}: nothing tells which is "
            "black and which white; save it with 8 bits per pixel first"
        )
    floats = values.dtype.kind == "f"
    limits = (1, 255, 65535) if floats else _DEPTHS
    limit = next((limit for limit in limits if high <= limit), high)
    usual = limits if floats else (65535,) if sixteen_bits else (255, 65535)
    if limit not in usual and high > 0:
        notes.append(f"values up to {high:,g}: {limit:,g} is taken for white")
    return np.rint(values * (255 / limit)).astype(np.uint8)
