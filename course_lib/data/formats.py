"""Which files are photos, and what to do about those that Pillow does not read."""

import importlib
from importlib.util import find_spec

__all__ = ["advice", "is_readable", "suffix_of"]

_PILLOW = "avif bmp gif j2k jfif jp2 jpe jpeg jpg mpo pgm png pnm ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _PILLOW.split())
_RAW = "3fr arw cr2 cr3 crw dng erf iiq kdc mrw nef nrw orf pef raf raw rw2 srw x3f"
_RAW_SUFFIXES = frozenset(f".{name}" for name in _RAW.split())
# Formats that Pillow reads with a plugin: ending -> (module, name on PyPI).
_HEIF, _JXL = ("pillow_heif", "pillow-heif"), ("pillow_jxl", "pillow-jxl-plugin")
_PLUGINS = {".heic": _HEIF, ".heif": _HEIF, ".hif": _HEIF, ".jxl": _JXL}


def suffix_of(head: bytes, suffix: str) -> str:
    """The ending that fits a file's first 16 bytes; phones often write another."""
    if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return ".heic"
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return ".jxl"
    return suffix.lower()


def is_readable(suffix: str) -> bool:
    """Whether Pillow reads files with this ending; loads the plugin that it takes."""
    if suffix not in _PLUGINS:
        return suffix in IMAGE_SUFFIXES
    module = _PLUGINS[suffix][0]
    if find_spec(module) is None:
        return False
    plugin = importlib.import_module(module)  # pillow_jxl needs no more
    getattr(plugin, "register_heif_opener", lambda: None)()
    return True


def advice(suffix: str) -> str | None:
    """What to do about a photo that Pillow cannot read; None about all other files."""
    if suffix in _RAW_SUFFIXES:
        return "a camera's raw file; export it as JPEG or 8-bit TIFF first"
    if suffix in _PLUGINS and not is_readable(suffix):
        kind, package = suffix[1:].upper(), _PLUGINS[suffix][1]
        return f"a {kind} picture; pip install {package}, or save it as JPEG first"
    return None
