"""The decoded cache: right, renewed when files change, and never half there."""

import errno
import hashlib
import multiprocessing
import os
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from course_lib.data import cache as cache_module
from course_lib.data.cache import decode
from course_lib.data.photos import PhotoError, PhotoWarning, open_photo
from course_lib.data.preprocessing import Preprocessing


def make_photos(root, count=6, seed=0):
    draws = np.random.default_rng(seed)
    paths = []
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        height, width = draws.integers(20, 60, 2)
        pixels = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(root / f"{i:03}.jpg")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


def build(paths, folder, size=16, **options):
    return decode(paths, folder, Preprocessing(size, size), **options)


def left(folder):
    return [p.name for p in folder.iterdir()]


def stored(made):
    return np.load(made.path, mmap_mode="r")


def check(made, paths, how):
    for path, image, pixels in zip(paths, stored(made), made.pixels, strict=True):
        np.testing.assert_array_equal(
            image, how.fit(open_photo(path, at_least=how.resize))
        )
        assert pixels == hashlib.sha256(image.tobytes()).hexdigest()


@pytest.mark.parametrize(
    "how", [Preprocessing(16, 16), Preprocessing(8, 9, (0,), (1,))]
)
def test_holds_what_decoding_gives(photos, tmp_path, how):
    made = decode(photos, tmp_path / "cache", how)
    assert not made.broken and stored(made).dtype == np.uint8
    check(made, photos, how)
    assert left(tmp_path / "cache") == [made.path.name]
    assert re.fullmatch(rf"photos-{how.resize}px-[0-9a-f]{{16}}\.npy", made.path.name)


def test_large_jpegs_are_the_same_in_the_cache_and_in_an_answer(tmp_path):
    """Both decode them at the size that is needed, not whole."""
    draws = np.random.default_rng(0)
    path = tmp_path / "large.jpg"
    pixels = draws.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((1600, 1200)).save(path, quality=95)
    how = Preprocessing(32, 36)
    made = decode([path], tmp_path, how)
    answered = how.fit(open_photo(path, at_least=how.resize))
    np.testing.assert_array_equal(stored(made)[0], answered)


def test_threads_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_BLOCK", 4)  # so that 11 photos are 3 blocks
    photos = make_photos(tmp_path / "photos", 11)
    check(build(photos, tmp_path / "cache"), photos, Preprocessing(16, 16))


def test_decodes_once(photos, tmp_path, monkeypatch):
    first = build(photos, tmp_path)
    before = first.path.stat()
    monkeypatch.setattr(cache_module, "read_photo", None)  # nobody may decode now
    assert build(photos, tmp_path) == first
    assert first.path.stat().st_mtime_ns == before.st_mtime_ns


def test_is_renewed_when_a_file_changes(photos, tmp_path):
    folder = tmp_path / "cache"
    old = build(photos, folder)
    mapped = stored(old)
    content = photos[0].read_bytes()

    os.utime(photos[0], ns=(1, 1))  # only the time
    touched = build(photos, folder)
    photos[0].write_bytes(content + b"tail")  # only the length
    os.utime(photos[0], ns=(1, 1))
    longer = build(photos, folder)
    assert touched.pixels == longer.pixels
    Image.new("RGB", (30, 30), "red").save(photos[0])
    changed = build(photos, folder)
    assert changed.pixels[0] != longer.pixels[0]
    more = build(make_photos(tmp_path / "photos", 8), folder)
    assert len({c.path for c in (old, touched, longer, changed, more)}) == 5
    assert len(left(folder)) == 1  # the old ones are gone
    if os.name == "posix":
        assert mapped[0].shape == (16, 16, 3)  # but still mapped


def test_sizes_and_names_stand_side_by_side(photos, tmp_path):
    a, b = build(photos, tmp_path, 8), build(photos, tmp_path, 1)
    c = build(photos, tmp_path, 8, name="mine[1]")
    assert len({a.path, b.path, c.path}) == 3
    assert all(x.path.exists() for x in (a, b, c))
    os.utime(photos[0], ns=(1, 1))
    renewed = build(photos, tmp_path, 8, name="mine[1]")
    assert a.path.exists() and renewed.path.exists() and not c.path.exists()


@pytest.mark.parametrize("damage", ["cut", "longer"])
def test_a_damaged_cache_is_built_again(photos, tmp_path, damage):
    made = build(photos, tmp_path / "cache")
    whole = made.path.read_bytes()
    data = {"cut": whole[:-1], "longer": whole + b"?"}
    made.path.write_bytes(data[damage])
    assert build(photos, tmp_path / "cache").path.read_bytes() == whole


def _build_in_process(photos, folder, barrier, results):
    barrier.wait()
    results.put(build(photos, folder, 48))


def test_two_processes_at_once(tmp_path):
    photos = make_photos(tmp_path / "photos", 60)
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    barrier, results = context.Barrier(2), context.Queue()
    args = (photos, tmp_path / "cache", barrier, results)
    jobs = [context.Process(target=_build_in_process, args=args) for _ in range(2)]
    for job in jobs:
        job.start()
    got = [results.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    assert got[0] == got[1]
    assert left(tmp_path / "cache") == [got[0].path.name]
    check(got[0], photos, Preprocessing(48, 48))


def test_too_little_space_is_told_before_writing(photos, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=4_000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"needs 4,928 bytes and there are 4,000 free"):
        build(photos, tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def _build_with_limit(photos, folder, results):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        build(photos, folder, 64)
    except OSError as error:
        results.put(str(error))


@pytest.mark.skipif(os.name != "posix", reason="no limit on a file's length here")
def test_the_system_refuses_in_the_middle_of_writing(photos, tmp_path):
    """A real refused write: the limit on a file's length acts as a full disk."""
    (tmp_path / "cache").mkdir()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    args = (photos, tmp_path / "cache", results)
    job = context.Process(target=_build_with_limit, args=args)
    job.start()
    job.join()
    assert job.exitcode == 0
    assert re.search(r"cache .*\.npy could not be written: File too", results.get())
    assert left(tmp_path / "cache") == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fills_up_late(photos, tmp_path, monkeypatch, step):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = cache_module.os if step == "fsync" else cache_module.Path
    with monkeypatch.context() as patch:
        patch.setattr(target, step, full)
        with pytest.raises(OSError, match=r"\.npy .* No space left on device"):
            build(photos, tmp_path / "cache")
    assert left(tmp_path / "cache") == []
    assert build(photos, tmp_path / "cache").path.exists()


def test_a_folder_that_is_none(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"could not be written: (File exists|Not a d)"):
        build(photos, tmp_path / "file")


def test_broken_and_vanished_photos(photos, tmp_path):
    whole = photos[3].read_bytes()
    photos[3].write_bytes(whole[:100])
    for _ in range(2):  # decoded, and found decoded
        made = build(photos, tmp_path / "cache")
        assert made.broken.keys() == {3} and "broken picture" in made.broken[3].reason
        assert not stored(made)[3].any() and stored(made)[2].any()
    photos[3].unlink()
    with pytest.raises(FileNotFoundError, match=r"No such file.*003\.jpg"):
        build(photos, tmp_path / "cache")


def test_a_photo_that_could_not_be_read_for_a_while(photos, tmp_path, monkeypatch):
    def away(*args, **options):
        raise PhotoError("the drive is away")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "read_photo", away)
        assert len(build(photos, tmp_path).broken) == 6
    made = build(photos, tmp_path)
    assert "start again" in made.broken[0].reason
    assert not build(photos, tmp_path).broken


def test_an_interrupted_build_leaves_nothing(photos, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_module, "read_photo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def test_what_a_killed_builder_left_is_removed_and_a_living_one_is_left_alone(
    photos, tmp_path
):
    (tmp_path / "cache").mkdir()
    dead, alive = (tmp_path / "cache" / f"x.{i}.building" for i in "12")
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (0, 0))
    made = build(photos, tmp_path / "cache")  # also another data set's
    assert set(left(tmp_path / "cache")) == {made.path.name, alive.name}


def test_windows_does_not_replace_a_mapped_file(photos, tmp_path, monkeypatch):
    whole = build(photos, tmp_path / "cache").path.read_bytes()

    def refuse(scratch, target):
        target.write_bytes(whole)  # the other builder was faster
        raise PermissionError(errno.EACCES, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.Path, "replace", refuse)
        next((tmp_path / "cache").glob("*.npy")).unlink()
        made = build(photos, tmp_path / "cache")
    assert left(tmp_path / "cache") == [made.path.name]


def test_what_was_guessed_is_said_once(tmp_path):
    for i in range(7):
        deep = np.arange(1600, dtype=np.uint16).reshape(40, 40) + i
        Image.fromarray(deep).save(tmp_path / f"{i}.png")
    paths = sorted(tmp_path.glob("*.png"))
    with pytest.warns(PhotoWarning) as told:
        build(paths, tmp_path / "cache")
    assert len(told) == 1 and "... and 2 more" in str(told[0].message)
    assert f"{paths[0]}: values up to 1,599" in str(told[0].message)
    build(paths, tmp_path / "cache")  # a warning would be an error
