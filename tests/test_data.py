"""Data sets, transforms, class weights, prediction: against their oracles."""

import io
import os
import pickle
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from course_book import results
from course_book.experiments import photo_leak
from course_lib.data.balance import balanced_sampler, class_weights
from course_lib.data.classes import CRACK_CLASSES, SURFACES
from course_lib.data.digits import digits, mnist
from course_lib.data.download import DownloadError
from course_lib.data.folders import CrackFolder
from course_lib.data.photos import PhotoError
from course_lib.data.prediction import predict, predict_all
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.data.sdnet2018 import SDNET2018
from course_lib.data.splits import SPLITS, sdnet2018_photos, sdnet2018_split
from course_lib.data.transforms import (
    channel_statistics,
    denormalize,
    evaluation_transform,
    training_transform,
)

# The folder of each label.
OFFICIAL = "D/UD D/CD P/UP P/CP W/UW W/CW".split()  # noqa: SIM905
KAGGLE = """Decks/Non-cracked Decks/Cracked Pavements/Non-cracked Pavements/Cracked
Walls/Non-cracked Walls/Cracked""".split()  # noqa: SIM905


def jpeg(color) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def make_tree(root: Path, layout: list, photos_each: int = 12) -> dict[Path, str]:
    """A small SDNET2018: the color of a picture is made from its label."""
    homes = sdnet2018_split(sdnet2018_photos())
    by_surface = {}
    for photo in homes:
        surface, number = photo.split("/")
        by_surface.setdefault(surface, []).append(number)
    made = {}
    for label, name in enumerate(layout):
        folder = root / name
        folder.mkdir(parents=True)
        surface = SURFACES[label // 2]
        for number in by_surface[surface][:photos_each]:
            for patch in (1, 2):
                path = folder / f"{number}-{patch}.jpg"
                path.write_bytes(jpeg((40 * label, 10, 10)))
                made[path] = homes[f"{surface}/{number}"]
    return made


@pytest.fixture(params=["official", "kaggle", "wrapped"])
def tree(request, tmp_path):
    layout = KAGGLE if request.param == "kaggle" else OFFICIAL
    inner = {"wrapped": "DATA/SDNET2018"}.get(request.param, "")
    return tmp_path, make_tree(tmp_path / inner, layout)


def quiet(root, split, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SDNET2018(root, split, progress=False, **options)


def test_sdnet2018_items_labels_and_splits(tree):
    root, made = tree
    seen = []
    for split in SPLITS:
        part = quiet(root, split)
        assert part.classes == CRACK_CLASSES and part.split == split
        assert set(part.paths) == {p for p, home in made.items() if home == split}
        for index in range(0, len(part), 7):
            image, label = part[index]
            assert image.mode == "RGB" and image.size == (8, 8)
            assert abs(image.getpixel((4, 4))[0] - 40 * label) < 8
            assert part.labels[index] == label
            number = part.paths[index].name.split("-")[0]
            assert part.photos[index] == f"{SURFACES[label // 2]}/{number}"
        seen += part.paths
    assert sorted(seen) == sorted(made)
    assert len(quiet(root, "train", seed=1)) != len(quiet(root, "train"))


def test_sdnet2018_goes_to_workers(tree):
    root, _ = tree
    part = quiet(root, "train", transform=evaluation_transform(16))
    assert pickle.loads(pickle.dumps(part)).paths == part.paths
    loader = DataLoader(part, batch_size=16, num_workers=1)
    labels = torch.cat([labels for _, labels in loader])
    assert labels.tolist() == part.labels
    assert next(iter(loader))[0].shape == (16, 3, 16, 16)


def test_a_partial_tree_says_what_is_missing(tmp_path):
    make_tree(tmp_path, OFFICIAL, photos_each=6)
    for path in (tmp_path / "W" / "CW").iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match="60 of SDNET2018's 56,088") as caught:
        part = SDNET2018(tmp_path, "train", progress=False)
    message = str(caught[0].message)
    assert "18 of its 230 photos" in message and message == part.notice
    assert f"No patch of the classes: {CRACK_CLASSES[5]}." in message
    assert "Of 6 photos one label is missing altogether (wall/7069" in message
    assert "the photo there instead of the crack" in message
    (tmp_path / "W" / "CW").rmdir()
    assert quiet(tmp_path, "train").paths == part.paths


def test_a_split_without_photos(tmp_path):
    homes = sdnet2018_split(sdnet2018_photos())
    deck = next(p for p in homes if p.startswith("deck") and homes[p] == "train")
    folder = tmp_path / "D" / "CD"
    folder.mkdir(parents=True)
    (folder / f"{deck.split('/')[1]}-1.jpg").write_bytes(jpeg("red"))
    assert len(quiet(tmp_path, "train")) == 1
    with pytest.raises(
        ValueError, match=r"no photo of split 'test' .* belong to train"
    ):
        quiet(tmp_path, "test")


def test_the_contradictory_pictures_are_left_out(tmp_path):
    names = ["D/CD/7039-112", "D/UD/7039-112_2", "D/CD/7039-112_2", "D/UD/7039-112"]
    names += ["W/CW/7074-105", "W/UW/7074-105_2", "W/UW/7074-105"]
    for name in names:
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg("red"))
    found = []
    for split in SPLITS:
        try:
            found += quiet(tmp_path, split).paths
        except ValueError:
            continue
    kept = {p.relative_to(tmp_path).with_suffix("").as_posix() for p in found}
    assert kept == {"D/CD/7039-112_2", "D/UD/7039-112", "W/UW/7074-105"}


def test_a_damaged_tree(tmp_path):
    made = make_tree(tmp_path, OFFICIAL)
    train = sorted(path for path, home in made.items() if home == "train")
    test = next(path for path, home in made.items() if home == "test")
    train[0].write_bytes(b"")
    train[1].write_bytes(train[1].read_bytes()[:200])
    train[2].write_text("<html>")
    test.write_bytes(b"")
    stray = tmp_path / "D" / "CD" / "copy of 7001-1.jpg"
    stray.write_bytes(jpeg("red"))
    for name in ("Thumbs.db", "._7001-1.jpg", ".DS_Store"):
        (tmp_path / "D" / "CD" / name).write_text("x")
    count = sum(home == "train" for home in made.values())

    with pytest.raises(PhotoError, match=rf"2 of {count + 1} files .*\n.*copy of"):
        quiet(tmp_path, "train")
    with pytest.warns(UserWarning) as caught:
        part = SDNET2018(tmp_path, "train", on_error="skip", progress=False)
    messages = [str(warning.message) for warning in caught]
    assert messages[0] == part.notice and len(messages) == 2
    assert messages[1].startswith(f"skipped 4 of {count + 1} files")
    assert {path for path, _ in part.skipped} == {*train[:3], stray}
    assert len(part) == len(part.labels) == len(part.photos) == count - 3
    for index in range(len(part)):
        assert part[index][1] == part.labels[index]

    stray.unlink()
    train[0].unlink()
    lazy = quiet(tmp_path, "train")  # contents are looked at when they are read
    with pytest.raises(PhotoError, match="broken picture"):
        lazy[lazy.paths.index(train[1])]
    with pytest.raises(PhotoError, match=r"(?s)2 of .* broken picture"):
        quiet(tmp_path, "train", check=True)


def test_a_broken_photo_in_a_worker_names_itself(tmp_path):
    for index in range(4):
        folder = tmp_path / "a"
        folder.mkdir(exist_ok=True)
        (folder / f"{index}.jpg").write_bytes(jpeg("red") if index != 2 else b"no")
    photos = CrackFolder(tmp_path, check=False, transform=v2.ToImage())
    with pytest.raises(PhotoError, match=r"2\.jpg: no picture"):
        list(DataLoader(photos, batch_size=2, num_workers=1))


def test_no_tree_and_two_trees(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        SDNET2018(tmp_path / "nowhere", "train")
    for part in ("download=True", "DATA_Maguire_20180517_ALL.zip", "kagglehub"):
        assert part in str(caught.value)
    make_tree(tmp_path, OFFICIAL, 1)
    make_tree(tmp_path, KAGGLE, 1)
    with pytest.raises(ValueError, match="holds both"):
        SDNET2018(tmp_path, "train")
    with pytest.raises(ValueError, match="got 'val'"):
        SDNET2018(tmp_path, "val")
    with pytest.raises(ValueError, match="got 'ignore'"):
        SDNET2018(tmp_path, "train", on_error="ignore")


def test_a_closed_folder_is_passed_over(tmp_path, monkeypatch):
    made = make_tree(tmp_path / "z", OFFICIAL, 2)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert set(quiet(tmp_path, "train").paths) <= made.keys()


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


def test_crack_folder(folder):
    photos = CrackFolder(folder)
    assert photos.classes == ("a", "b") and photos.labels == [0, 0, 1]
    assert [p.name for p in photos.paths] == ["2.jpg", "1.jpg", "3.PNG"]
    image, label = photos[2]
    assert label == 1 and image.getpixel((0, 0))[2] > 240
    ordered = CrackFolder(folder, classes=["c", "b", "a"])
    assert ordered.labels == [1, 2, 2] and ordered.classes == ("c", "b", "a")
    assert CrackFolder(folder, transform=lambda image: image.size)[0][0] == (8, 8)


def test_crack_folder_with_unusable_files(folder):
    (folder / "a" / "notes.txt").write_text("hi")
    (folder / "b" / "zero.jpg").touch()
    (folder / "b" / "cut.jpg").write_bytes(jpeg("red")[:150])
    (folder / "loose.jpg").write_bytes(jpeg("red"))
    with pytest.raises(PhotoError, match=r"4 of 7 files .*"):
        CrackFolder(folder)
    with pytest.warns(UserWarning, match="skipped 4 of 7 files"):
        photos = CrackFolder(folder, on_error="skip")
    reasons = {path.name: reason for path, reason in photos.skipped}
    assert reasons.keys() == {"notes.txt", "zero.jpg", "cut.jpg", "loose.jpg"}
    assert reasons["loose.jpg"] == "in no class folder" and len(photos) == 3


def test_crack_folder_without_what_it_needs(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ValueError, match="has no class folders"):
        CrackFolder(empty)
    with pytest.raises(ValueError, match="root must be a folder"):
        CrackFolder(empty / "x")
    (folder / "c").mkdir()
    with pytest.raises(ValueError, match=r"no usable photo .* classes \['c'\]"):
        CrackFolder(folder)
    assert len(CrackFolder(folder, classes=["a", "b", "c"])) == 3
    with pytest.raises(ValueError, match=r"folders \['c'\], which are not among"):
        CrackFolder(folder, classes=["a", "b"])
    with pytest.raises(ValueError, match="got 'maybe'"):
        CrackFolder(folder, on_error="maybe")


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
    for part in ("download=True", "train-images-idx3-ubyte.gz", "MD5", "digits(split)"):
        assert part in str(caught.value)

    def refuse(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    target = "torchvision.datasets.mnist.download_and_extract_archive"
    monkeypatch.setattr(target, refuse)
    with pytest.raises(DownloadError, match="Error downloading"):
        mnist(tmp_path, "train", download=True)


# Transforms


def test_the_evaluation_transform_is_torchvisions():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    ours, theirs = evaluation_transform(), ResNet18_Weights.DEFAULT.transforms()
    assert (tuple(theirs.mean), tuple(theirs.std)) == (IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(ours(image), theirs(image), atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [evaluation_transform, training_transform])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transforms_of_gray_and_color(make, mode, channels):
    transform = make(20, mean=[0.5] * channels, std=[0.25] * channels)
    image = Image.new(mode, (50, 31), "white")
    for source in (image, v2.functional.to_image(image)):
        out = transform(source)
        assert out.shape == (channels, 20, 20) and out.dtype == torch.float32
        assert out.max() <= 2.0 + 1e-6 and out.min() > 0
    assert pickle.loads(pickle.dumps(transform))(image).shape == out.shape


def test_the_training_transform_is_random_and_seeded():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image, transform = Image.fromarray(pixels), training_transform(32)
    torch.manual_seed(0)
    first, second = transform(image), transform(image)
    torch.manual_seed(0)
    torch.testing.assert_close(transform(image), first, atol=0, rtol=0)
    assert (first - second).abs().max() > 0.5
    still = {"scale": (1.0, 1.0), "flips": False, "brightness": 0.0}
    left = Image.fromarray(np.repeat(np.arange(0, 256, 4, np.uint8)[None], 64, 0))
    for _ in range(4):  # nothing turns a ramp around when flips are off
        out = training_transform(32, **still)(left)
        assert (out.diff(dim=2) > -0.1).all()


@settings(max_examples=25, deadline=None)
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(*[st.integers(2, 9)] * 2, st.just(3))),
    gray=st.booleans(),
)
def test_denormalize_undoes_normalization(pixels, gray):
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if not gray else ((0.3,), (0.2,))
    image = torch.from_numpy(pixels.transpose(2, 0, 1)[: len(mean)].copy())
    x = v2.Normalize(list(mean), list(std))(image.float() / 255)
    back = denormalize(torch.stack([x, x]), mean=mean, std=std)
    assert torch.equal((back * 255).round().to(torch.uint8)[1], image)
    assert denormalize(x * 100, mean=mean, std=std).max() <= 1


def test_bad_arguments_of_transforms():
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        evaluation_transform(0)
    with pytest.raises(ValueError, match="1 or 3 numbers, got 2 and 3"):
        evaluation_transform(mean=(0.1, 0.2))
    with pytest.raises(ValueError, match="std must be positive"):
        training_transform(std=(0.1, 0.0, 0.1))
    with pytest.raises(ValueError, match="scale must satisfy"):
        training_transform(scale=(0.5, 1.5))
    with pytest.raises(ValueError, match="brightness"):
        training_transform(brightness=1.0)
    with pytest.raises(ValueError, match=r"\[\.\.\., 3, H, W\].* got \[1, 4, 4\]"):
        denormalize(torch.zeros(1, 4, 4))


pictures = st.integers(1, 6).flatmap(
    lambda n: st.lists(
        hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 7)] * 2, st.just(3))),
        min_size=n,
        max_size=n,
    )
)


@settings(max_examples=60, deadline=None)
@given(arrays=pictures, kind=st.sampled_from(["pil", "array", "tensor", "items"]))
def test_channel_statistics_equal_numpys(arrays, kind):
    make = {
        "pil": Image.fromarray,
        "array": lambda a: a,
        "tensor": lambda a: torch.from_numpy(a.transpose(2, 0, 1).copy()),
        "items": lambda a: (Image.fromarray(a), 3),
    }[kind]
    got = channel_statistics([make(a) for a in arrays])
    stacked = np.concatenate([a.reshape(-1, 3) for a in arrays]) / 255
    np.testing.assert_allclose(got.mean, stacked.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(got.std, stacked.std(axis=0), atol=1e-7)
    within = np.mean([a.reshape(-1, 3).std(axis=0) for a in arrays], axis=0) / 255
    np.testing.assert_allclose(got.std_within, within, atol=1e-7)
    assert got.pictures == len(arrays)


def test_channel_statistics_are_exact_and_say_no():
    nearly_white = [np.full((300, 300), 255, np.uint8) for _ in range(40)]
    nearly_white[0][0, 0] = 254
    got = channel_statistics(nearly_white)
    n = 40 * 90_000
    assert got.mean == pytest.approx((1 - 1 / n / 255,), abs=1e-15)
    assert got.std == pytest.approx(((n - 1) ** 0.5 / n / 255,), rel=1e-12)
    with pytest.raises(ValueError, match="dataset is empty"):
        channel_statistics([])
    with pytest.raises(ValueError, match=r"picture 1 has 3 channels, .* 1"):
        channel_statistics([nearly_white[0], np.zeros((2, 2, 3), np.uint8)])
    with pytest.raises(TypeError, match="uint8 numbers, got float32"):
        channel_statistics([torch.zeros(3, 4, 4)])


# Imbalance


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 7), min_size=1, max_size=200))
def test_class_weights_are_scikit_learns(labels):
    weights = class_weights(labels, 8)
    present = np.unique(labels)
    expected = compute_class_weight("balanced", classes=present, y=labels)
    np.testing.assert_allclose(weights[present], expected, rtol=1e-6)
    absent = [c for c in range(8) if c not in present]
    assert (weights[absent] == 1).all() and len(weights) == 8
    np.testing.assert_allclose(weights[labels].double().mean(), 1, rtol=1e-6)


def test_the_sampler_draws_each_class_equally_often():
    labels = [0] * 900 + [1] * 90 + [2] * 10
    sampler = balanced_sampler(torch.tensor(labels), num_samples=9000, seed=3)
    drawn = list(sampler)
    counts = np.bincount([labels[i] for i in drawn])
    assert (abs(counts - 3000) < 200).all()  # more than four standard deviations
    again = list(balanced_sampler(labels, num_samples=9000, seed=3))
    assert drawn == again != list(sampler)
    assert len(balanced_sampler(labels)) == 1000


@pytest.mark.parametrize("labels", [[], [[0, 1]], [0.5], [-1, 0]])
def test_labels_that_are_none(labels):
    with pytest.raises(ValueError, match="labels must"):
        class_weights(labels)
    with pytest.raises(ValueError, match="labels must"):
        balanced_sampler(labels)


def test_labels_beyond_the_classes():
    with pytest.raises(ValueError, match="up to 6, too high for num_classes=6"):
        class_weights([0, 6], 6)


# Prediction


class Mean(nn.Module):
    """Logits from the mean red, so that the right answer is known."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0, dtype=torch.float64))
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(3).eval()

    def forward(self, x):
        assert not self.training and not self.drop.training
        assert not torch.is_grad_enabled() and x.dtype == torch.float64
        red = x[:, 0].mean(dim=(1, 2)) * self.scale
        return torch.stack([red, -red], dim=1)


def test_predict(tmp_path):
    model = Mean().train()
    model.frozen.eval()
    path = tmp_path / "x.png"
    Image.new("RGBA", (30, 90), (255, 0, 0, 255)).save(path)
    transform = evaluation_transform(16, mean=(0.5,) * 3, std=(10.0,) * 3)
    for photo in (path, str(path), path.read_bytes(), Image.open(path)):
        got = predict(model, photo, classes=["red", "not"], transform=transform)
        expected = torch.tensor([0.5, -0.5]).softmax(0)
        assert list(got) == ["red", "not"]
        assert list(got.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert model.training and model.drop.training and not model.frozen.training
    with pytest.raises(ValueError, match=r"shape \[1, 2\].* classes has 6 names"):
        predict(model, path)


def test_predict_all(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("L", (9, 9)).save(good)
    bad.write_text("no")
    model, names = Mean(), ["red", "not"]
    with pytest.raises(PhotoError, match=r"bad\.png"):
        predict_all(model, [good, bad], classes=names)
    with pytest.warns(UserWarning, match="skipped 1 of 2"):
        results, skipped = predict_all(
            model, [str(good), bad], classes=names, on_error="skip"
        )
    assert list(results) == [good] and skipped[0].path == bad
    with pytest.raises(ValueError, match="got 'never'"):
        predict_all(model, [], on_error="never")


def test_the_classes_of_the_course():
    """Their order is that of the stored weights; rename one here and there."""
    states = ("uncracked", "cracked")
    names = [f"{state} {surface}" for surface in SURFACES for state in states]
    assert list(CRACK_CLASSES) == names
