"""One photo, whatever its format, its orientation or its damage."""

import io
import os
import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from course_lib.data.photos import (
    PhotoError,
    check_photos,
    find_photos,
    open_photo,
    report_skipped,
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
    # A dark picture stays dark: it is not stretched.
    assert pixels(stored(np.full((4, 4), 200, np.uint16))).max() == 1

    color = np.stack([deep, deep[::-1], deep[:, ::-1]], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in color)
    np.testing.assert_allclose(pixels(png(40, 24, 16, 2, rows)), color / 257, atol=1)


@pytest.mark.parametrize("limit", [1, 255, 65535, 1e6])
def test_floats(limit):
    values = np.linspace(0, limit, 24 * 40, dtype=np.float32).reshape(24, 40)
    values[0, 0] = np.nan
    got = pixels(stored(values, "TIFF"))[..., 0]
    expected = np.linspace(0, 255, 24 * 40).reshape(24, 40)
    np.testing.assert_allclose(got, expected, atol=1)


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
    assert full.size == full.info["original_size"] == (403, 805)
    for at_least, divisor in ((100, 4), (101, 2), (202, 1), (50, 8), (1, 8)):
        image = open_photo(data, at_least=at_least)
        divisor = 1 if file_format == "PNG" else divisor
        assert image.size == (-(-403 // divisor), -(-805 // divisor))
        assert image.info["original_size"] == (403, 805)
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


def test_photo_error_survives_a_worker():
    error = pickle.loads(pickle.dumps(PhotoError("x.jpg: broken")))
    assert isinstance(error, ValueError) and str(error) == "x.jpg: broken"


def test_find_and_check(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b/2.PNG", "a.jpeg", ".hidden/3.png", "._a.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(stored(RAMP))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "zero.png").touch()
    (tmp_path / "b" / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    found = {p.relative_to(tmp_path).as_posix(): r for p, r in find_photos(tmp_path)}
    assert found == {
        "a.jpeg": None,
        "notes.txt": "the name has no picture's ending",
        "zero.png": "the file is empty",
        "b/2.PNG": None,
        "b/bad.jpg": None,
    }
    paths = [tmp_path / name for name, reason in found.items() if reason is None]
    good, skipped = check_photos(paths)
    assert [paths[i].name for i in good] == ["a.jpeg", "2.PNG"]
    assert [path.name for path, _ in skipped] == ["bad.jpg"]
    with pytest.warns(UserWarning, match=r"skipped 1 of 3 files.*\n.*bad.jpg"):
        report_skipped(skipped, 3, "skip", "here")
    with pytest.raises(PhotoError, match=r'(?s)1 of 3 files.*on_error="skip"'):
        report_skipped(skipped, 3, "raise", "here")
    with pytest.raises(ValueError, match="got 'ignore'"):
        report_skipped([], 3, "ignore", "here")
    many = skipped * 8
    with pytest.raises(PhotoError, match="and 3 more"):
        report_skipped(many, 9, "raise", "here")
