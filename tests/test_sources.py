"""The train command's data: from a folder or a name to three parts, nothing unsaid."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from course_lib.data import sources
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.digits import digits
from course_lib.data.images import ByteImages
from course_lib.data.photos import PhotoError, open_photo
from course_lib.data.sources import source

DRAWN = np.random.default_rng(0)


def photos(folder, counts, name="{cls}{i:02}.png"):
    """Pictures of noise, none like another."""
    for cls, count in counts.items():
        (folder / cls).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = DRAWN.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / cls / name.format(cls=cls, i=i))
    return folder


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path / "photos", {"a": 10, "b": 8})


def load(folder, **options):
    return source(str(folder), size=32, cache=folder.parent / "cache", **options)


def sizes(data):
    return [len(part) for part in data.parts]


def names(data, part):
    return {name for name, _ in data.files[part]}


def test_a_folder(folder):
    data = load(folder)
    assert sizes(data) == [12, 3, 3] and data.classes == ("a", "b")
    assert data.note == "split class by class, by the names of the files"
    for part, files in zip(data.parts, data.files):
        x, y = part.batch(range(len(part)))
        assert part.classes == data.classes and len(files) == len(part)
        for image, label, (name, digest) in zip(x, y, files):
            assert name.startswith(f"{data.classes[label]}/")
            whole = data.preprocessing.fit(open_photo(folder / name))
            assert digest == sha256(whole.tobytes()).hexdigest()
            shown = data.preprocessing(open_photo(folder / name))
            window = data.preprocessing.windows(image[None])
            assert shown.equal(data.preprocessing.normalize(window)[0])
    assert load(folder).files == data.files


def test_clutter_never_becomes_data(folder):
    before = load(folder)
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", "a/.hidden", "b/@eaDir"):
        photos(folder / name, {"x": 1})
    (folder / "a" / "._a01.png").write_bytes(b"x")
    (folder / "b" / "Thumbs.db").write_bytes(b"x")
    after = load(folder)
    assert (after.files, after.classes) == (before.files, before.classes)


# ------------------------------------------------------------------------ copies


def copy(folder, old, new):
    (folder / new).parent.mkdir(parents=True, exist_ok=True)
    (folder / new).write_bytes((folder / old).read_bytes())


@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=8))
def test_copies_stay_in_one_part(tmp_path_factory, copied):
    folder = photos(tmp_path_factory.mktemp("x") / "photos", {"a": 10, "b": 3})
    for original, number in copied:
        copy(folder, f"a/a{original:02}.png", f"a/deep/a{original:02} ({number}).png")
    # Equal pixels in another file are a copy as well.
    Image.open(folder / "a" / "a00.png").save(
        folder / "a" / "other name.webp", lossless=True
    )
    data = load(folder)
    for original in range(10):
        key = f"a{original:02}"
        where = [any(key in name for name in names(data, part)) for part in range(3)]
        assert sum(where) == 1
    count = len(set(copied)) + 1
    assert data.note.endswith(f"in the same part as those: {count}")
    home = next(p for p in range(3) if "a/a00.png" in names(data, p))
    assert "a/other name.webp" in names(data, home)


def test_one_picture_in_two_classes(folder):
    copy(folder, "a/a03.png", "b/copy.png")
    copy(folder, "a/a03.png", "a/copy too.png")
    with pytest.raises(PhotoError, match="3 of 20 files") as caught:
        load(folder)
    for name in ("a03.png", "copy too.png", "copy.png", "same picture is in another"):
        assert name in str(caught.value)
    with pytest.warns(UserWarning, match=r"skipped 3 of 20 .*"):
        data = load(folder, skip_broken=True)
    assert sum(sizes(data)) == 17
    assert not any("copy" in n or "a03" in n for p in range(3) for n in names(data, p))


def test_too_few_different_pictures(folder):
    for i in range(3):
        copy(folder, "a/a00.png", f"c/{i}.png")
        (folder / "a" / "a00.png").rename(folder / "a" / "a00.png")
    (folder / "a" / "a00.png").unlink()
    with pytest.raises(ValueError, match="'c' has 1 different photos"):
        load(folder)


# ------------------------------------------------------------------- parts, ready-made


def test_parts_that_are_there_are_taken_as_they_are(tmp_path):
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        photos(tmp_path / "all" / part, {"a": count, "b": count})
    (tmp_path / "all" / "data.yaml").write_text("names: [a, b]")
    (tmp_path / "all" / "train" / ".ipynb_checkpoints").mkdir()
    data = load(tmp_path / "all")
    assert sizes(data) == [8, 4, 6] and data.classes == ("a", "b")
    assert data.note == "split as the folders train, val, test say"
    assert all(name.startswith("val/") for name in names(data, 1))
    assert sizes(load(tmp_path / "all", no_test=True)) == [8, 4, 0]


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        (("train", "val"), {}, "test from train, split class by class"),
        (("train", "test"), {}, "validation from train, split class by class"),
        (("Training",), {}, "validation and test from train, split"),
        (("train", "val"), {"no_test": True}, "no test part"),
        (("train",), {"no_test": True}, "validation from train, split"),
    ],
)
def test_what_is_missing_is_taken_from_train_and_said(
    tmp_path, given, options, expected
):
    for part in given:
        photos(tmp_path / "all" / part, {"a": 10, "b": 10})
    data = load(tmp_path / "all", **options)
    assert expected in data.note
    assert sum(sizes(data)) == 20 * len(given)
    assert [bool(n) for n in sizes(data)] == [True, True, not options]
    if "val" in given:
        assert all(name.startswith("val/") for name in names(data, 1))


def test_a_missing_part_is_taken_by_photo(tmp_path):
    for part in ("train", "val"):
        for photo in range(8):
            counts = {"a": 3, "b": 3}
            photos(tmp_path / "all" / part, counts, f"7{photo}-{{cls}}{{i}}.png")
    for path in (tmp_path / "all").rglob("*.png"):
        number = path.stem.replace("-a", "-1").replace("-b", "-2")
        path.rename(path.with_stem(number))
    data = load(tmp_path / "all")
    assert "test from train, split by photo: 8 photos" in data.note
    homes = [{Path(n).name[:2] for n in names(data, part)} for part in (0, 2)]
    assert all(homes) and not homes[0] & homes[1]


def test_copies_across_parts_are_tested_on_and_not_learned(tmp_path):
    for part in ("train", "val", "test"):
        photos(tmp_path / "all" / part, {"a": 4, "b": 4}, f"{part}{{cls}}{{i}}.png")
    copy(tmp_path / "all", "test/a/testa1.png", "train/a/leak.png")
    copy(tmp_path / "all", "val/b/valb1.png", "train/b/leak.png")
    copy(tmp_path / "all", "test/b/testb1.png", "val/b/leak.png")
    data = load(tmp_path / "all")
    assert sizes(data) == [8, 8, 8] and "of a later part: 3" in data.note
    assert not any("leak" in name for part in range(3) for name in names(data, part))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("train", "training", "val"), "'train', 'training', 'val'.*; a data set in"),
        (("train", "val", "Validation"), "has one train, at most one validation"),
        (
            ("val", "test"),
            r"folders \['test', 'val'\]; a data set in parts has one train",
        ),
        (("train", "val", "extra"), r"folders \['extra', .* and no other: join, move"),
    ],
)
def test_parts_that_cannot_be_meant(tmp_path, parts, message):
    for part in parts:
        photos(tmp_path / "all" / part, {"a": 3, "b": 3})
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "all")


def test_classes_that_are_named_like_parts(tmp_path):
    data = load(photos(tmp_path / "all", {"valid": 4, "invalid": 4}))
    assert data.classes == ("invalid", "valid") and sizes(data) == [4, 2, 2]


def test_a_photo_beside_the_parts_is_named(tmp_path):
    for part in ("train", "val"):
        photos(tmp_path / "all" / part, {"a": 4, "b": 4})
    (tmp_path / "all" / "loose.jpg").write_bytes(b"x")
    with pytest.raises(PhotoError, match=r"loose\.jpg: in no class folder"):
        load(tmp_path / "all")


def test_a_class_without_one_usable_file_says_why(folder):
    (folder / "c").mkdir()
    (folder / "c" / "IMG_1.dng").write_bytes(b"x")
    with pytest.raises(PhotoError, match=r"IMG_1\.dng: a camera's raw file; export"):
        load(folder)
    with (
        pytest.warns(UserWarning, match="skipped 1 of 19"),
        pytest.raises(ValueError, match="'c' has 0 different photos"),
    ):
        load(folder, skip_broken=True)


def test_classes_without_photos(tmp_path):
    for part in ("train", "val", "test"):
        photos(tmp_path / "all" / part, {"a": 3, "b": 3})
    for path in (tmp_path / "all" / "val" / "b").iterdir():
        path.unlink()
    assert "the validation part has no photo of b" in load(tmp_path / "all").note
    (tmp_path / "all" / "val" / "c").mkdir()
    with pytest.raises(ValueError, match=r"folders \['c'\], which are not among"):
        load(tmp_path / "all")
    (tmp_path / "all" / "val" / "c").rmdir()
    (tmp_path / "all" / "train" / "c").mkdir()
    with pytest.raises(ValueError, match="no photo below"):
        load(tmp_path / "all")


@pytest.mark.parametrize("broken", [range(8), range(6, 8)])
def test_broken_photos_are_refused_or_left_out(folder, broken):
    for i in broken:
        (folder / "b" / f"b{i:02}.png").write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=f"{len(broken)} of 18 files"):
        load(folder)
    with pytest.warns(UserWarning, match=f"skipped {len(broken)} of 18 files"):
        if len(broken) == 8:
            with pytest.raises(ValueError, match="'b' has 0 different photos"):
                load(folder, skip_broken=True)
        else:
            assert sum(sizes(load(folder, skip_broken=True))) == 16


def test_what_cannot_be_a_photo_is_refused_before_decoding(folder, monkeypatch):
    (folder / "a" / "scan.dcm").write_bytes(b"x")
    monkeypatch.setattr(sources, "decode", None)
    with pytest.raises(PhotoError, match=r"scan\.dcm"):
        load(folder)


def test_no_data(tmp_path):
    with pytest.raises(ValueError, match="no data set and no folder 'nowhere'"):
        source("nowhere")
    with pytest.raises(ValueError, match="one class folder, 'only'"):
        load(photos(tmp_path / "x", {"only": 3}))


# --------------------------------------------------------------------- named data sets


def test_digits_are_shown_whole():
    data = source("digits", size=16)
    assert sizes(data) == [1258, 270, 269] and data.files == ([], [], [])
    assert data.parts[0].images.tobytes() == digits("train", size=16).images.tobytes()
    assert data.preprocessing.resize == data.preprocessing.size == 16
    x, _ = data.parts[0].batch(range(1258))
    x = data.preprocessing.normalize(data.preprocessing.windows(x))
    assert abs(x.mean().item()) < 0.02 and abs(x.std().item() - 1) < 0.02
    assert sizes(source("digits", no_test=True)) == [1258, 270, 0]
    with pytest.raises(ValueError, match="mnist has 28 pixels"):
        source("mnist", size=32)


def test_drawn_cracks_are_a_little_larger_than_the_network_sees(monkeypatch):
    monkeypatch.setattr(sources, "COUNTS", {"train": 6, "validation": 7, "test": 8})
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    data = source("synthetic", size=28)
    assert [part.images.shape for part in data.parts] == [
        (count, 32, 32, 3) for count in (6, 7, 8)
    ]
    assert data.classes == CRACK_CLASSES and data.preprocessing.size == 28


def test_sdnet2018(tmp_path):
    folders = "D/UD D/CD P/UP P/CP W/UW W/CW".split()  # noqa: SIM905
    by_surface = {"D": (7001, 7012), "P": ("001", "002"), "W": (7069, 7070)}
    for name in folders:
        for photo in by_surface[name[0]]:
            photos(tmp_path / "tree", {name: 5}, f"{photo}-1{{i}}.jpg")
    with pytest.warns(UserWarning, match="60 of SDNET2018's 56,088"):
        data = source("sdnet2018", root=tmp_path, cache=tmp_path, size=32)
    assert sum(sizes(data)) == 60 and data.note.startswith("split by photo")
    assert [len(part) for part in data.files] == sizes(data)
    assert data.files[0][0][0].startswith("D/UD/70") and data.classes == CRACK_CLASSES


# ----------------------------------------------------------------------- byte images


def test_byte_images_of_a_file(tmp_path):
    array = DRAWN.integers(0, 256, (9, 4, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", array)
    mapped = ByteImages(tmp_path / "x.npy", range(9), [7, 2, 2], "abcdefghi")
    memory = ByteImages(array, range(9), [7, 2, 2])
    for data in (mapped, memory, pickle.loads(pickle.dumps(mapped))):
        x, y = data.batch([2, 0])
        assert x.shape == (2, 3, 4, 5) and y.tolist() == [2, 7]
        np.testing.assert_array_equal(x.permute(0, 2, 3, 1), array[[2, 7]])
        np.testing.assert_array_equal(data.images, array[[7, 2, 2]])
        assert data[1][0].equal(x[0]) and len(data) == 3
    assert isinstance(ByteImages(tmp_path / "x.npy", range(9)).images, np.memmap)
    reversed_ = ByteImages(array, range(9), range(8, -1, -1))  # all, in another order
    np.testing.assert_array_equal(reversed_.images, array[::-1])
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(OSError, match=r"x\.npy are gone or damaged"):
        pickle.loads(pickle.dumps(mapped))


def test_byte_images_that_are_none():
    with pytest.raises(ValueError, match=r"must be uint8 .* got float64 \[2, 3\]"):
        ByteImages(np.zeros((2, 3)), [0, 0])
    with pytest.raises(ValueError, match="2 images have 1 labels"):
        ByteImages(np.zeros((2, 3, 3), np.uint8), [0])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_map_the_file_instead_of_copying_it(folder, method):
    part = load(folder).parts[0]
    assert len(pickle.dumps(part)) < 2_000
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    loader = DataLoader(part, 5, num_workers=1, multiprocessing_context=method)
    seen = np.concatenate([x.permute(0, 2, 3, 1) for x, _ in loader])
    np.testing.assert_array_equal(seen, part.images)


# --------------------------------------------------------------------------- imports


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("course_lib.data", "numpy"),
        ("course_lib.data.classes", "numpy"),
        ("course_lib.data.folders", "torch"),
        ("course_lib.data.sdnet2018", "torch"),
        ("course_lib.data.splits", "sklearn"),
        ("course_lib.data.sources", "torchvision"),
        ("course_lib.data.sources", "sklearn"),
    ],
)
def test_imports_are_light(module, absent):
    code = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
