"""The decoded cache: right, renewed when files change, and never half there."""

import errno
import multiprocessing
import os
import pickle
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from course_lib.data import cache as cache_module
from course_lib.data.cache import CacheError, DecodedCache
from course_lib.data.folders import CrackFolder
from course_lib.data.photos import PhotoError


def make_photos(root, count=6, seed=0):
    draws = np.random.default_rng(seed)
    for i in range(count):
        folder = root / ("cracked" if i % 2 else "uncracked")
        folder.mkdir(parents=True, exist_ok=True)
        height, width = draws.integers(20, 60, 2)
        pixels = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.jpg")
    return root


@pytest.fixture
def photos(tmp_path):
    return CrackFolder(make_photos(tmp_path / "photos"))


def build(photos, folder, size=16, **options):
    return DecodedCache(photos, folder, size=size, progress=False, **options)


def test_holds_what_decoding_gives(photos, tmp_path):
    made = build(photos, tmp_path / "cache")
    assert made.images.shape == (6, 16, 16, 3) and made.images.dtype == np.uint8
    assert not made.images.flags.writeable
    for i in range(len(photos)):
        image, label = photos[i]
        fit = ImageOps.fit(image, (16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(made.images[i], np.asarray(fit))
        cached, cached_label = made[i]
        assert cached_label == label
        np.testing.assert_array_equal(np.asarray(cached), np.asarray(fit))
    assert (made.labels, made.classes) == (photos.labels, photos.classes)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [made.path.name]
    assert re.fullmatch(r"crackfolder-16px-[0-9a-f]{16}\.npy", made.path.name)


def test_threads_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_BLOCK", 4)  # so that 11 photos are 3 blocks
    photos = CrackFolder(make_photos(tmp_path / "photos", 11))
    made = build(photos, tmp_path / "cache")
    for image, (photo, _) in zip(made.images, photos, strict=True):
        fit = ImageOps.fit(photo, (16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(fit))


def test_decodes_once(photos, tmp_path, monkeypatch):
    first = build(photos, tmp_path)
    before = first.path.stat()
    monkeypatch.setattr(cache_module, "open_photo", None)  # nobody may decode now
    again = build(photos, tmp_path)
    assert again.path == first.path
    assert again.path.stat().st_mtime_ns == before.st_mtime_ns
    np.testing.assert_array_equal(again.images, first.images)


def test_is_renewed_when_a_file_changes(photos, tmp_path):
    folder = tmp_path / "cache"
    old = build(photos, folder)
    name = photos.paths[0]
    content = name.read_bytes()

    os.utime(name, ns=(1, 1))  # only the time
    touched = build(photos, folder)
    name.write_bytes(content + b"tail")  # only the length
    os.utime(name, ns=(1, 1))
    longer = build(photos, folder)
    Image.new("RGB", (30, 30), "red").save(name)
    changed = build(photos, folder)
    assert changed.images[0, 8, 8].tolist() != longer.images[0, 8, 8].tolist()

    more = CrackFolder(make_photos(tmp_path / "photos", 8))
    assert len(build(more, folder)) == 8
    paths = {c.path for c in (old, touched, longer, changed)}
    assert len(paths) == 4
    assert len(list(folder.iterdir())) == 1  # the old ones are gone
    if os.name == "posix":
        assert old.images[0].shape == (16, 16, 3)  # but still mapped
    with pytest.raises(CacheError, match="gone or damaged"):
        _ = pickle.loads(pickle.dumps(old)).images


def test_sizes_and_names_stand_side_by_side(photos, tmp_path):
    a, b = build(photos, tmp_path, 8), build(photos, tmp_path, 1)
    c = build(photos, tmp_path, 8, name="mine[1]")
    assert len({a.path, b.path, c.path}) == 3
    assert all(x.path.exists() for x in (a, b, c))
    os.utime(photos.paths[0], ns=(1, 1))
    renewed = build(photos, tmp_path, 8, name="mine[1]")
    assert a.path.exists() and renewed.path.exists() and not c.path.exists()


@pytest.mark.parametrize("damage", ["cut", "longer", "header"])
def test_a_damaged_cache_is_built_again(photos, tmp_path, damage):
    made = build(photos, tmp_path / "cache")
    whole = made.path.read_bytes()
    data = {"cut": whole[:-1], "longer": whole + b"?", "header": b"?" + whole[1:]}
    made.path.write_bytes(data[damage])
    assert build(photos, tmp_path / "cache").path.read_bytes() == whole


def test_transform_workers_and_pickling(photos, tmp_path):
    photos.transform = v2.Compose([v2.ToImage()])
    made = build(photos, tmp_path / "cache")
    assert made[0][0].shape == (3, 16, 16)
    _ = made.images
    blob = pickle.dumps(made)
    assert len(blob) < 5_000  # names, not pixels
    np.testing.assert_array_equal(pickle.loads(blob).images, made.images)
    loader = DataLoader(made, batch_size=3, num_workers=1)
    batches = [images.numpy().transpose(0, 2, 3, 1) for images, _ in loader]
    np.testing.assert_array_equal(np.concatenate(batches), made.images)


def _build_in_process(root, folder, barrier, results):
    photos = CrackFolder(root, check=False)
    barrier.wait()
    made = build(photos, folder, 48)
    results.put((made.path.name, int(made.images.astype(np.int64).sum())))


def test_two_processes_at_once(tmp_path):
    root = make_photos(tmp_path / "photos", 60)
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    barrier, results = context.Barrier(2), context.Queue()
    jobs = [
        context.Process(
            target=_build_in_process, args=(root, tmp_path / "cache", barrier, results)
        )
        for _ in range(2)
    ]
    for job in jobs:
        job.start()
    got = [results.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    assert got[0] == got[1]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [got[0][0]]
    made = build(CrackFolder(root), tmp_path / "cache", 48)
    assert int(made.images.astype(np.int64).sum()) == got[0][1]


def test_too_little_space_is_told_before_writing(photos, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=4_000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(CacheError, match=r"needs 4,736 bytes .* has 4,000 free"):
        build(photos, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def _build_with_limit(photos, folder, results):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        build(photos, folder, 64)
    except CacheError as error:
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
    assert "could not be written: File too large; nothing is left" in results.get()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fills_up_late(photos, tmp_path, monkeypatch, step):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = cache_module.os if step == "fsync" else cache_module.Path
    with monkeypatch.context() as patch:
        patch.setattr(target, step, full)
        with pytest.raises(CacheError, match="No space left on device"):
            build(photos, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert build(photos, tmp_path / "cache").path.exists()


def test_a_folder_that_is_none(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match=r"(File exists|Not a directory)"):
        build(photos, tmp_path / "file")


def test_broken_and_vanished_photos(photos, tmp_path):
    whole = photos.paths[3].read_bytes()
    photos.paths[3].write_bytes(whole[:100])
    with pytest.raises(PhotoError, match=re.escape(str(photos.paths[3]))):
        build(photos, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    photos.paths[3].unlink()
    with pytest.raises(PhotoError, match="No such file"):
        build(photos, tmp_path / "cache")


def test_an_interrupted_build_leaves_nothing(photos, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_module, "open_photo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_builder_left_is_removed(photos, tmp_path):
    old = tmp_path / "crackfolder-16px-abc.building"
    fresh = tmp_path / "crackfolder-16px-def.building"
    for path in (old, fresh):
        path.write_bytes(b"?")
    os.utime(old, (1, 1))
    build(photos, tmp_path)
    assert not old.exists() and fresh.exists()


def test_windows_does_not_replace_a_mapped_file(photos, tmp_path, monkeypatch):
    whole = build(photos, tmp_path / "cache").path.read_bytes()

    def refuse(scratch, target):
        target.write_bytes(whole)  # the other builder was faster
        raise PermissionError(errno.EACCES, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.Path, "replace", refuse)
        next((tmp_path / "cache").iterdir()).unlink()
        made = build(photos, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [made.path.name]


def test_bad_arguments(photos, tmp_path):
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        build(photos, tmp_path, 0)
    photos.paths, photos.labels = [], []
    with pytest.raises(ValueError, match="dataset is empty"):
        build(photos, tmp_path)
