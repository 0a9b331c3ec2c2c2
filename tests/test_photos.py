"""One photo, whatever its format, its orientation or its damage."""

import io
import os
import pickle
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from course_lib.data import photos
from course_lib.data.folders import find_photos
from course_lib.data.photos import (
    PhotoError,
    PhotoWarning,
    open_photo,
    read_photo,
)

RAMP = np.arange(24 * 40 * 3, dtype=np.uint32).reshape(24, 40, 3) % 251
RAMP = RAMP.astype(np.uint8)


def stored(array, file_format="PNG", mode=None, **options) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels(data, **options) -> np.ndarray:
    image = open_photo(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def png(width, height, depth, color, rows: bytes) -> bytes:
    """A PNG written by hand, for kinds that Pillow does not write."""
    out = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        check = zlib.crc32(kind + body)
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    return out


def test_path_bytes_and_open_file_give_the_same(tmp_path):
    path = tmp_path / "risse 裂缝.png"
    path.write_bytes(stored(RAMP))
    with path.open("rb") as file:
        from_file = open_photo(file)
    for image in (open_photo(path), open_photo(str(path)), from_file):
        np.testing.assert_array_equal(np.asarray(image), RAMP)


ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = ORIENTATIONS[orientation](RAMP)
    np.testing.assert_array_equal(pixels(stored(RAMP, exif=exif)), expected)


def test_broken_exif_costs_the_orientation_only():
    data = stored(RAMP, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\x01")
    assert pixels(data).shape == RAMP.shape


def test_gray_one_bit_and_palette():
    gray = RAMP[..., 0]
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels(stored(gray)), expected)
    bits = pixels(stored(Image.fromarray(gray > 100)))
    np.testing.assert_array_equal(bits[..., 1], (gray > 100) * np.uint8(255))
    few = np.array([[200, 10, 30], [0, 80, 250]], np.uint8)[(gray > 100) * 1]
    palette = Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(pixels(stored(palette)), few)
    np.testing.assert_array_equal(pixels(stored(palette, "GIF")), few)


def test_transparency_is_laid_over_white():
    alpha = np.linspace(0, 255, 24 * 40).reshape(24, 40, 1).astype(np.uint8)
    got = pixels(stored(np.concatenate([RAMP, alpha], axis=2)))
    share = alpha / 255.0
    np.testing.assert_allclose(got, RAMP * share + 255 * (1 - share), atol=1.01)

    gray_alpha = Image.fromarray(RAMP[..., 0]).convert("LA")
    gray_alpha.putalpha(Image.fromarray(alpha[..., 0]))
    expected = RAMP[..., :1] * share + 255 * (1 - share)
    got = pixels(stored(gray_alpha))
    np.testing.assert_allclose(got, expected.repeat(3, axis=2), atol=1.01)

    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 70, 80, 90])
    palette.putdata([0, 1])
    got = pixels(stored(palette, transparency=0))
    assert got.tolist() == [[[255, 255, 255], [70, 80, 90]]]


def test_sixteen_bits_are_scaled_by_their_range():
    deep = np.linspace(0, 65535, 24 * 40).round().reshape(24, 40).astype(np.uint16)
    expected = np.rint(deep / 257.0)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(pixels(stored(deep)), expected)
    np.testing.assert_array_equal(pixels(stored(deep, "TIFF")), expected)
    color = np.stack([deep, deep[::-1], deep[:, ::-1]], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in color)
    np.testing.assert_allclose(pixels(png(40, 24, 16, 2, rows)), color / 257, atol=1)


def tiff(array, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **{"photometric": "minisblack"} | options)
    return buffer.getvalue()


@pytest.mark.parametrize("limit", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BE", "tiles", "zlib", "int16", "I"])
def test_fewer_bits_in_a_deep_file_are_stretched_and_said(kind, limit):
    """12-bit camera data in 16 bits would be nearly black."""
    deep = np.linspace(0, limit, 32 * 48).round().reshape(32, 48).astype(np.uint16)
    write = {
        "PNG": stored,
        "TIFF": tiff,
        "BE": lambda a: tiff(a, byteorder=">"),
        "tiles": lambda a: tiff(a, tile=(16, 16)),
        "zlib": lambda a: tiff(a, compression="zlib"),
        "int16": lambda a: tiff(a.clip(max=32767).astype(np.int16)),
        "I": lambda a: tiff(a.astype(np.int32)),
    }
    image, size, notes = read_photo(write[kind](deep))
    white = 32767 if kind == "int16" and limit == 65535 else limit
    expected = np.rint(deep.clip(max=white) * (255 / limit))
    assert np.array_equal(np.asarray(image)[..., 1], expected) and size == (48, 32)
    usual = (65535,) if kind in ("PNG", "TIFF", "BE", "tiles", "zlib") else (255, 65535)
    said = [] if limit in usual else [f"values up to {limit:,}: {limit:,} is taken"]
    assert [note[: len(said[0])] for note in notes] == said


@pytest.mark.parametrize("limit", [1, 255, 65535, 1e6])
def test_floats(limit):
    values = np.linspace(0, limit, 24 * 40, dtype=np.float32).reshape(24, 40)
    image, _, notes = read_photo(stored(values, "TIFF"))
    assert len(notes) == (limit == 1e6)
    expected = np.linspace(0, 255, 24 * 40).reshape(24, 40)
    np.testing.assert_allclose(np.asarray(image)[..., 0], expected, atol=1)
    values[0, 0], values[1] = np.nan, np.inf
    image, _, notes = read_photo(stored(values, "TIFF"))
    assert "NaN or infinite, taken for black: 41" in notes[0]
    expected[1] = 0
    np.testing.assert_allclose(np.asarray(image)[..., 0], expected, atol=1)


def test_constant_and_black_pictures():
    for value in (0, 7, 65535):
        image = read_photo(stored(np.full((4, 4), value, np.uint16))).image
        assert image.getextrema()[0][0] == {0: 0, 7: 7, 65535: 255}[value]
    half = np.full((4, 4), 0.5, np.float32)
    assert pixels(stored(half, "TIFF")).tolist() == np.full((4, 4, 3), 128).tolist()
    assert pixels(stored(half * 0, "TIFF")).max() == 0


def test_white_is_zero():
    """Eight bits are turned by Pillow, sixteen by us."""
    deep = np.linspace(0, 65535, 24 * 40).round().reshape(24, 40).astype(np.uint16)
    got = pixels(tiff(deep, photometric="miniswhite"))[..., 0]
    np.testing.assert_allclose(got, 255 - deep / 257, atol=1)


@pytest.mark.parametrize(
    ("array", "options", "reason"),
    [
        (
            np.linspace(-5, 900, 64).reshape(8, 8).astype("i2"),
            {},
            "negative values, -5",
        ),
        (np.linspace(-1, 1, 64).reshape(8, 8).astype("f4"), {}, "negative values, -1"),
        (np.full((8, 8), 2**32 - 9, "u4"), {}, "negative values"),
        (RAMP[..., 0].astype("i1"), {}, "8 bits, signed"),
        (RAMP.astype("u2") * 16, {"photometric": "rgb"}, "16-bit color without"),
        (
            RAMP.transpose(2, 0, 1).astype("u2") * 257,
            {"photometric": "rgb", "planarconfig": "separate"},
            "plane by plane",
        ),
        (np.ones((8, 8, 3), "f4"), {"photometric": "rgb"}, "no picture in a format"),
    ],
)
def test_values_that_cannot_be_scaled_are_refused(array, options, reason):
    with pytest.raises(PhotoError, match=reason):
        open_photo(tiff(array, **options))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_twelve_bits_of_color_are_refused(channels):
    deep = np.random.default_rng(0).integers(0, 4096, (6, 8, channels))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    color = {2: 4, 3: 2, 4: 6}[channels]
    with pytest.raises(PhotoError, match="16-bit color without a value above"):
        open_photo(png(8, 6, 16, color, rows))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep * 16)
    assert pixels(png(8, 6, 16, color, rows)).shape == (6, 8, 3)


def test_pil_pictures_of_any_mode():
    gray = RAMP[..., 0]
    twelve = Image.fromarray(gray.astype(np.uint16) * 16)
    with pytest.warns(PhotoWarning, match="4,095 is taken for white"):
        got = pixels(twelve)
    np.testing.assert_allclose(got[..., 0], gray, atol=1)
    assert (
        pixels(Image.fromarray(gray)).tolist() == gray[..., None].repeat(3, 2).tolist()
    )


def test_cmyk_jpeg():
    red = Image.new("RGB", (16, 16), (220, 30, 40))
    got = pixels(stored(red, "JPEG", mode="CMYK", quality=95))
    np.testing.assert_allclose(got, np.asarray(red), atol=4)


def test_lab_and_first_frame_of_an_animation():
    gray = Image.merge("LAB", [Image.new("L", (4, 4), v) for v in (128, 128, 128)])
    lab = pixels(stored(gray, "TIFF"))
    assert np.ptp(lab.astype(int), axis=2).max() <= 3 and 100 < lab.mean() < 140
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2500, 1)])
def test_any_size(size):
    assert pixels(stored(np.zeros((*size, 3), np.uint8))).shape == (*size, 3)


def test_gigantic_files_are_refused_before_decoding():
    rows = b"\0" * 1000
    with pytest.raises(PhotoError, match=r"60000 × 60000 .* 178,956,970 allowed"):
        open_photo(png(60_000, 60_000, 8, 2, rows))
    with pytest.raises(PhotoError, match=r"13000 × 10000 .* 100 allowed"):
        open_photo(png(13_000, 10_000, 1, 0, rows), max_pixels=100)
    with pytest.raises(PhotoError, match=r"raise max_pixels"):
        open_photo(stored(RAMP), max_pixels=24 * 40 - 1)
    assert pixels(stored(RAMP), max_pixels=24 * 40).shape == RAMP.shape


def test_large_but_allowed_pictures_do_not_warn():
    width, height = 9500, 9500  # above Pillow's warning, below its error
    data = png(width, height, 1, 0, (b"\0" + b"\xff" * ((width + 7) // 8)) * height)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PhotoError, match="allowed"):
            open_photo(data, max_pixels=90_000_000)
        # A tenth of the rows is enough to see that only the bytes are missing.
        cut = png(width, height, 1, 0, b"\0" * 100)
        with pytest.raises(PhotoError, match="broken picture"):
            open_photo(cut)


def test_max_pixels_goes_beyond_pillows_own_limit(monkeypatch):
    """Pillow's limit is lowered here, so that the picture can be small."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert pixels(stored(RAMP)).shape == RAMP.shape
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(PhotoError, match="broken"):
        open_photo(stored(RAMP)[:20])
    assert Image.MAX_IMAGE_PIXELS == 100
    # A picture of 200 million pixels fails for its missing bytes, not for its size.
    huge = png(20_000, 10_000, 1, 0, b"\0" * 100)
    with pytest.raises(PhotoError, match="broken picture"):
        open_photo(huge, max_pixels=300_000_000)


@pytest.mark.parametrize(
    ("file_format", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("MPO", "RGB"), ("PNG", "L")],
)
def test_at_least_decodes_no_more_than_needed(file_format, mode):
    exif = Image.Exif()
    exif[0x0112] = 6
    yy, xx = np.mgrid[:403, :805]
    smooth = np.stack([xx / 4, yy / 2, (xx + yy) / 5], 2).astype(np.uint8)
    data = stored(smooth, file_format, mode=mode, exif=exif)
    full = open_photo(data)
    assert full.size == (403, 805)
    for at_least, divisor in ((100, 4), (101, 2), (202, 1), (50, 8), (1, 8)):
        image, size, _ = read_photo(data, at_least=at_least)
        divisor = 1 if file_format == "PNG" else divisor
        assert image.size == (-(-403 // divisor), -(-805 // divisor))
        assert size == (403, 805)
        small = [np.asarray(i.resize((40, 80)), float) for i in (full, image)]
        assert np.abs(small[0] - small[1]).mean() < 2
    with pytest.raises(ValueError, match="at_least must be at least 1 pixel, got 0"):
        open_photo(data, at_least=0)


def test_threads_leave_pillow_and_warnings_as_they_were():
    data = stored(np.kron(RAMP, np.ones((4, 4, 1), np.uint8)), "JPEG")
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        sizes = {image.size for image in pool.map(open_photo, [data] * 200)}
    assert sizes == {(160, 96)}
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_reasons(tmp_path):
    cases = {
        "missing.jpg": "no such file",
        "empty.jpg": "the file is empty",
        "folder.jpg": "a folder or device",
        "page.jpg": "no picture in a format",
        "cut.jpg": "broken picture",
    }
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "page.jpg").write_text("<html>403 Forbidden</html>")
    whole = stored(np.kron(RAMP, np.ones((8, 8, 1), np.uint8)), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name, reason in cases.items():
        with pytest.raises(PhotoError, match=reason) as caught:
            open_photo(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(PhotoError, match="no such file"):
        open_photo("no\u0000good.jpg")
    with pytest.raises(TypeError, match="got int"):
        open_photo(3)
    with pytest.raises(PhotoError, match="the given bytes"):
        open_photo(b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="device"):
        open_photo(tmp_path / "pipe.jpg")


WHOLE = [
    stored(RAMP, kind, **options)
    for kind, options in [
        ("JPEG", {}),
        ("PNG", {}),
        ("GIF", {"mode": "P"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("BMP", {}),
    ]
]


@settings(max_examples=150, deadline=None)
@given(
    which=st.integers(0, len(WHOLE) - 1),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
)
def test_damaged_bytes_give_a_picture_or_a_photo_error(which, cut, changes):
    data = bytearray(WHOLE[which])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        image = open_photo(bytes(data[: int(cut * len(data))]), max_pixels=10**6)
    except PhotoError:
        return
    assert image.mode == "RGB"


@pytest.mark.parametrize(
    "kind", [struct.error, SyntaxError, EOFError, ZeroDivisionError, MemoryError]
)
def test_whatever_a_decoder_raises(monkeypatch, kind):
    def fail(image):
        raise kind("deep inside")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(PhotoError, match=r"broken picture|too large for this machine"):
        open_photo(stored(RAMP))


FOREIGN = {
    "IMG_1.HEIC": (b"\0\0\0\x18ftypheic", "HEIC picture; pip install pillow-heif"),
    "really_heic.jpg": (b"\0\0\0\x18ftypmif1", "pip install pillow-heif"),
    "x.jxl": (b"\xff\x0a", "JXL picture; pip install pillow-jxl-plugin"),
    "boxed.png": (b"\0\0\0\x0cJXL \r\n\x87\n", "pip install pillow-jxl-plugin"),
    "x.CR3": (b"\0\0\0\x18ftypcrx ", "raw file; export it"),
    "x.dng": (b"II*\0", "raw file; export it"),
    "page.pdf": (b"%PDF-1.7", "no picture in a format"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_advice_fits_the_format(tmp_path, name):
    head, reason = FOREIGN[name]
    (tmp_path / name).write_bytes(head + bytes(100))
    with pytest.raises(PhotoError, match=reason):
        open_photo(tmp_path / name)


def test_a_raw_file_is_not_answered_by_its_thumbnail(tmp_path):
    """A DNG is a TIFF whose first picture is small; here its name is changed."""
    tags = [(50706, "B", 4, (1, 4, 0, 0), True)]
    thumbnail = tiff(RAMP, photometric="rgb", extratags=tags)
    with pytest.raises(PhotoError, match="raw file"):
        open_photo(thumbnail)


def test_a_plugin_is_used_where_it_is_installed(tmp_path, monkeypatch):
    """A stand-in for pillow-heif, which reads PNG."""
    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image, PngImagePlugin\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', lambda file, name: PngImagePlugin."
        "PngImageFile(file, name), lambda head: head.startswith(b'\\x89PNG'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Image, "ID", Image.ID.copy())
    monkeypatch.setattr(Image, "OPEN", Image.OPEN.copy())
    (tmp_path / "a.heic").write_bytes(stored(RAMP))
    assert next(find_photos(tmp_path)) == (tmp_path / "a.heic", None)
    np.testing.assert_array_equal(pixels(tmp_path / "a.heic"), RAMP)
    assert "HEIF" in Image.ID and photos.advice(".heic") is None
    del sys.modules["pillow_heif"]


def test_photo_error_survives_a_worker():
    error = pickle.loads(pickle.dumps(PhotoError("x.jpg: broken")))
    assert isinstance(error, ValueError) and str(error) == "x.jpg: broken"
