"""Data sets, transforms, class weights, prediction: against their oracles."""

import io
import json
import os
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import ImageFolder
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from course_book import results
from course_book.experiments import photo_leak
from course_lib.data.classes import CRACK_CLASSES, SURFACES
from course_lib.data.digits import digits, mnist
from course_lib.data.folders import read_folder, report_skipped
from course_lib.data.photos import PhotoError, open_photo
from course_lib.data.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from course_lib.data.sdnet2018 import read_sdnet2018, source_photos
from course_lib.data.splits import SPLITS

# The folder of each label.
FOLDERS = "D/UD D/CD P/UP P/CP W/UW W/CW".split()  # noqa: SIM905


def jpeg(color) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def make_tree(root: Path, photos_each: int = 12) -> dict[Path, str]:
    """A small SDNET2018: the color of a picture is made from its label."""
    homes = {name: photo.split for name, photo in source_photos().items()}
    by_surface = {}
    for photo in homes:
        surface, number = photo.split("/")
        by_surface.setdefault(surface, []).append(number)
    made = {}
    for label, name in enumerate(FOLDERS):
        folder = root / name
        folder.mkdir(parents=True)
        surface = SURFACES[label // 2]
        for number in by_surface[surface][:photos_each]:
            for patch in (1, 2):
                path = folder / f"{number}-{patch}.jpg"
                path.write_bytes(jpeg((40 * label, 10, 10)))
                made[path] = homes[f"{surface}/{number}"]
    return made


@pytest.fixture(params=["", "DATA/SDNET2018"])
def tree(request, tmp_path):
    return tmp_path, make_tree(tmp_path / request.param)


def quiet(root):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_sdnet2018(root)


def test_sdnet2018_labels_and_splits(tree):
    root, made = tree
    files, splits = quiet(root)
    assert files.classes == CRACK_CLASSES and not files.skipped
    assert dict(zip(files.paths, splits, strict=True)) == made
    for path, label in zip(files.paths, files.labels, strict=True):
        red = open_photo(path).getpixel((4, 4))[0]
        assert abs(red - 40 * label) < 8
    assert files.paths == sorted(files.paths, key=lambda p: (red_of(p), p.name))


def red_of(path: Path) -> int:
    return round(open_photo(path).getpixel((4, 4))[0] / 40)


def test_a_partial_tree_says_what_is_missing(tmp_path):
    make_tree(tmp_path, photos_each=6)
    for path in (tmp_path / "W" / "CW").iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match="60 of SDNET2018's 56,088") as caught:
        files, _ = read_sdnet2018(tmp_path)
    assert "the photo instead of the crack" in str(caught[0].message)
    (tmp_path / "W" / "CW").rmdir()
    assert quiet(tmp_path)[0].paths == files.paths


def test_the_contradictory_pictures_are_left_out(tmp_path):
    names = ["D/CD/7039-112", "D/UD/7039-112_2", "D/CD/7039-112_2", "D/UD/7039-112"]
    names += ["W/CW/7074-105", "W/UW/7074-105_2", "W/UW/7074-105"]
    for name in names:
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg("red"))
    found = quiet(tmp_path)[0].paths
    kept = {p.relative_to(tmp_path).with_suffix("").as_posix() for p in found}
    assert kept == {"D/CD/7039-112_2", "D/UD/7039-112", "W/UW/7074-105"}


def test_a_tree_with_foreign_files(tmp_path):
    made = make_tree(tmp_path)
    empty = next(iter(made))
    empty.write_bytes(b"")
    strays = ["copy of 7001-1.jpg", "9999-1.jpg", "7001-1.txt"]
    for name in strays:
        (tmp_path / "D" / "CD" / name).write_bytes(jpeg("red"))
    for name in ("Thumbs.db", "._7001-1.jpg", ".DS_Store"):
        (tmp_path / "D" / "CD" / name).write_text("x")
    (tmp_path / "D" / "CD" / "@eaDir").mkdir()
    (tmp_path / "D" / "CD" / "@eaDir" / "7001-1.jpg").write_bytes(jpeg("red"))
    files, splits = quiet(tmp_path)
    assert {path.name for path, _ in files.skipped} == {empty.name, *strays}
    assert len(files.paths) == len(files.labels) == len(splits) == len(made) - 1


def test_no_tree(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read_sdnet2018(tmp_path / "nowhere")
    assert "add --download" in str(caught.value)


def test_a_closed_folder_beside_the_tree_is_passed_over(tmp_path, monkeypatch):
    made = make_tree(tmp_path / "z", 2)
    (tmp_path / "closed").mkdir()
    closed_to_all(monkeypatch, "closed")
    assert set(quiet(tmp_path)[0].paths) == made.keys()


def closed_to_all(monkeypatch, name):
    """A folder that cannot be read, also by root."""
    for function in ("scandir", "listdir"):
        usual = getattr(os, function)

        def refuse(path=".", usual=usual):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return usual(path)

        monkeypatch.setattr(os, function, refuse)


def test_the_leak_experiment_on_cracks_that_are_easy(tmp_path):
    draws = np.random.default_rng(0)
    for photo in photo_leak.PHOTOS:
        for patch in range(16):
            pixels = draws.integers(150, 160, (32, 32, 3), dtype=np.uint8)
            if patch < 6:
                pixels[:, 15:17] = 20
            folder = tmp_path / "D" / ("CD" if patch < 6 else "UD")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{photo}-{patch}.jpg")
    rows = photo_leak.measure(tmp_path, shuffles=2)
    assert [(row["photo"], row["split"]) for row in rows] == [
        (photo, split) for photo in photo_leak.PHOTOS for split in ("random", "photo")
    ]
    assert {(row["patches"], row["cracked"]) for row in rows} == {(16, 6)}
    assert all(float(row["auc"]) == 1 for row in rows)
    shipped = {(row["photo"], row["split"]) for row in results.load("photo_leak")}
    assert len(shipped) == 6


# Folders


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a/deep", ".git", "__MACOSX"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "2.jpg").write_bytes(jpeg("red"))
    (tmp_path / "a" / "deep" / "1.jpg").write_bytes(jpeg("red"))
    (tmp_path / "b" / "3.PNG").write_bytes(jpeg("blue"))
    return tmp_path


def test_a_folder_of_photos(folder):
    files = read_folder(folder)
    assert files.classes == ("a", "b") and files.labels == [0, 0, 1]
    assert [p.name for p in files.paths] == ["2.jpg", "1.jpg", "3.PNG"]
    ordered = read_folder(folder, classes=["c", "b", "a"])
    assert ordered.labels == [1, 2, 2] and ordered.classes == ("c", "b", "a")


def test_image_folder_reads_a_tidy_one_alike(tmp_path):
    for name in ("a/1.jpg", "a/deep/2.png", "b/3.jpg", "b/0.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(path)
    usual, ours = ImageFolder(tmp_path, loader=open_photo), read_folder(tmp_path)
    assert usual.samples == [(str(p), n) for p, n in zip(ours.paths, ours.labels)]
    assert usual.classes == list(ours.classes) and usual[3][0].size == (8, 8)


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", "__MACOSX", "@eaDir", "lost+found", "~$a.jpg", "a.jpg~"],
)
def test_clutter_is_no_class_and_no_photo(folder, name):
    before = read_folder(folder)
    for place in (folder, folder / "a", folder / "a" / "deep"):
        try:
            (place / name).mkdir()
            (place / name / "1.jpg").write_bytes(jpeg("red"))
        except FileExistsError:
            continue
    (folder / "b" / f"{name}").write_bytes(jpeg("red"))
    assert read_folder(folder) == before


def test_files_that_cannot_be_photos_are_listed(folder, monkeypatch):
    (folder / "a" / "notes.txt").write_text("hi")
    (folder / "b" / "zero.jpg").touch()
    (folder / "b" / "lost.jpg").symlink_to(folder / "nowhere")
    (folder / "b" / "elsewhere").symlink_to(folder / "a")
    (folder / "b" / "closed").mkdir()
    os.mkfifo(folder / "b" / "pipe.jpg")
    (folder / "loose.jpg").write_bytes(jpeg("red"))
    (folder / "README.txt").write_text("no data, and nobody means it as some")
    Path(os.fsdecode(os.fsencode(folder) + b"/a/caf\xe9.jpg")).write_bytes(b"x")
    closed_to_all(monkeypatch, "closed")
    files = read_folder(folder)
    reasons = {path.name: reason for path, reason in files.skipped}
    assert reasons == {
        "notes.txt": "the name has no picture's ending",
        "zero.jpg": "the file is empty",
        "lost.jpg": "a broken link or no file",
        "pipe.jpg": "a broken link or no file",
        "elsewhere": "a link to a folder, which is not followed",
        "closed": "a folder that cannot be read (Permission denied)",
        "loose.jpg": "in no class folder",
        "caf\udce9.jpg": "the name is not valid UTF-8; rename it (convmv)",
    }
    with pytest.raises(PhotoError, match="8 of 11 files") as caught:
        report_skipped(files.skipped, 11, folder, skip=False)
    assert r"caf\udce9.jpg: the name" in str(caught.value)
    assert "... and 3 more" in str(caught.value)
    str(caught.value).encode()  # can be printed
    with pytest.warns(UserWarning, match="skipped 8 of 11 files"):
        report_skipped(files.skipped, 11, folder, skip=True)


def test_a_folder_without_what_it_needs(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ValueError, match="has no class folders"):
        read_folder(empty)
    with pytest.raises(ValueError, match="x is no folder"):
        read_folder(empty / "x")
    (folder / "c").mkdir()
    with pytest.raises(ValueError, match=r"no photo below .*c: add some, or remove"):
        read_folder(folder)
    assert len(read_folder(folder, classes=["a", "b", "c"]).paths) == 3
    with pytest.raises(ValueError, match=r"folders \['c'\], which are not among"):
        read_folder(folder, classes=["a", "b"])


@pytest.mark.parametrize("name", ["A", "a "])
def test_classes_that_look_alike(folder, name):
    (folder / name).mkdir(exist_ok=True)
    if len(list(folder.glob("[aA]*"))) == 1:
        pytest.skip("this file system does not tell them apart")
    with pytest.raises(ValueError, match=r"has both .* which look alike"):
        read_folder(folder)


def test_a_class_whose_name_is_not_utf8_is_named(folder):
    (folder / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(ValueError, match=r"caf\\udce9: the name is not valid UTF-8"):
        read_folder(folder)


# Digits


def test_digits_are_the_real_ones_each_in_one_split():
    parts = [digits(split, size=8) for split in SPLITS]
    assert [len(part) for part in parts] == [1258, 270, 269]
    source = load_digits()
    known = Counter(
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(source.images, source.target)
    )
    got = Counter(
        (image.tobytes(), label)
        for part in parts
        for image, label in zip(part.images, part.labels)
    )
    assert got == known and sum(got.values()) == 1797
    for part in parts:
        counts = np.bincount(part.labels)
        assert counts.max() - counts.min() <= 0.12 * counts.mean() + 1
    assert digits("test", size=8).images.tobytes() == parts[2].images.tobytes()


def test_digits_items():
    part = digits("validation")
    image, label = part[5]
    assert image.shape == (1, 32, 32) and image.dtype == torch.uint8
    assert part.classes[label] == str(label)
    with pytest.raises(ValueError, match="at least 8 pixels, got 4"):
        digits("train", size=4)
    with pytest.raises(ValueError, match="got 'all'"):
        digits("all")


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim])
    return head + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def small_mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name, n in (("train", 600), ("t10k", 50)):
        images = draws.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_mnist_splits(small_mnist):
    parts = [mnist(small_mnist, split) for split in SPLITS]
    assert [len(part) for part in parts] == [500, 100, 50]
    assert set(np.bincount(parts[1].labels)) <= {9, 10, 11}
    train, validation = ({im.tobytes() for im in part.images} for part in parts[:2])
    assert len(train) == 500 and not train & validation
    image, label = parts[2][13]
    assert image.shape == (1, 28, 28) and label == 3


def test_mnist_without_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as caught:
        mnist(tmp_path, "train")
    for part in ("--download", "train-images-idx3-ubyte.gz", "MD5", '"digits"'):
        assert part in str(caught.value)

    def refuse(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    target = "torchvision.datasets.mnist.download_and_extract_archive"
    monkeypatch.setattr(target, refuse)
    with pytest.raises(FileNotFoundError, match="Error downloading"):
        mnist(tmp_path, "train", download=True)


# Preprocessing


def test_preprocessing_of_photos_is_torchvisions():
    ours, theirs = Preprocessing.for_photos(), ResNet18_Weights.DEFAULT.transforms()
    assert (tuple(theirs.mean), tuple(theirs.std)) == (ours.mean, ours.std)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    torch.testing.assert_close(ours(image), theirs(image), atol=1e-6, rtol=0)
    # Where the crop falls between pixels, torchvision rounds it.
    y, x = np.mgrid[:300, :401]
    waves = np.stack([np.sin(y / 30), np.sin(x / 25), np.cos((x + y) / 40)], 2)
    image = Image.fromarray((127 + 100 * waves).astype(np.uint8))
    step = 1 / 255 / min(ours.std)  # of a byte, after normalization
    assert (ours(image) - theirs(image)).abs().max() < 6 * step


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_of_gray_and_color(mode, channels):
    prepare = Preprocessing(20, 23, (0.5,) * channels, (0.25,) * channels)
    out = prepare(Image.new(mode, (50, 31), "white"))
    assert out.shape == (channels, 20, 20) and out.dtype == torch.float32
    assert out.min() == out.max() == 2


@settings(max_examples=25, deadline=None)
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(*[st.integers(2, 9)] * 2, st.just(3))),
    gray=st.booleans(),
)
def test_normalization_is_torchvisions_and_is_undone(pixels, gray):
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if not gray else ((0.3,), (0.2,))
    prepare = Preprocessing(2, 2, mean, std)
    image = torch.from_numpy(pixels.transpose(2, 0, 1)[: len(mean)].copy())
    x = prepare.normalize(image[None])
    expected = v2.Normalize(list(mean), list(std))(image.float() / 255)
    torch.testing.assert_close(x[0], expected)
    assert torch.equal((prepare.denormalize(x) * 255).round().byte()[0], image)
    assert prepare.denormalize(x * 100).max() <= 1


def test_windows_are_the_middle_or_random():
    prepare = Preprocessing(3, 5)
    x = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).repeat(200, 1, 1, 1)
    assert torch.equal(prepare.windows(x), x[:, :, 1:4, 1:4])
    corners = prepare.windows(x, torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert set(corners.tolist()) == {0, 1, 2, 5, 6, 7, 10, 11, 12}
    with pytest.raises(ValueError, match="2 × 5 pixels are smaller than the size"):
        prepare.windows(x[:, :, :2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5), "got size=0 and resize=5"),
        ((6, 5), "got size=6 and resize=5"),
        ((5, 10**7), "resize be at most 4,096"),
        ((5, 5, (0.1, 0.2)), r"1 or 3 finite numbers .* got mean=\(0.1, 0.2\)"),
        ((5, 5, (0.1,), (0.0,)), "std positive"),
        ((5, 5, (np.inf,), (1.0,)), r"finite .* mean=\(inf,\)"),
        ((5, 5, (0.1,), (np.nan,)), "std positive"),
    ],
)
def test_bad_preprocessing_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(*arguments)


def test_preprocessing_is_stored_and_read():
    whole = Preprocessing(28, 28, (0.1,), (0.3,))
    for prepare in (Preprocessing.for_photos(96), whole):
        text = json.dumps(asdict(prepare))
        assert Preprocessing.from_dict(json.loads(text)) == prepare
    # Version 1 stored no resize: digits were shown whole.
    old = {"size": 28, "mean": [0.1], "std": [0.3], "channels": 1}
    assert Preprocessing.from_dict(old) == whole
    for wrong in (None, {}, {"size": 3}, old | {"size": "x"}, old | {"mean": 0.1}):
        with pytest.raises(ValueError):
            Preprocessing.from_dict(wrong)


def test_the_classes_of_the_course():
    """Their order is that of the stored weights; rename one here and there."""
    states = ("uncracked", "cracked")
    names = [f"{state} {surface}" for surface in SURFACES for state in states]
    assert list(CRACK_CLASSES) == names
