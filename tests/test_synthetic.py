import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_lib.data.classes import CRACK_CLASSES
from course_lib.synthetic import COUNTS, SyntheticCracks, scene
from course_lib.synthetic.draws import Draws
from course_lib.synthetic.strokes import stroke


def test_items_and_labels():
    data = SyntheticCracks("validation", size=32, count=12)
    assert len(data) == 12
    assert data.classes == CRACK_CLASSES
    image, label = data[3]
    assert isinstance(image, Image.Image)
    assert (image.size, image.mode) == ((32, 32), "RGB")
    assert isinstance(label, int)
    assert [data[i][1] for i in range(12)] == data.labels.tolist()
    assert np.bincount(data.labels).tolist() == [2] * 6
    assert data[-1][1] == data[11][1]
    with pytest.raises(IndexError):
        data[12]


def test_a_picture_depends_on_seed_split_and_index_only():
    few, many = SyntheticCracks(size=32, count=3), SyntheticCracks(size=32, count=9)
    last = np.asarray(many[2][0])  # first access of `many`, out of order
    pictures, _ = few.arrays()
    np.testing.assert_array_equal(pictures[2], last)
    for other in (
        SyntheticCracks("validation", size=32, count=9),
        SyntheticCracks("test", size=32, count=9),
        SyntheticCracks(size=32, count=9, seed=1),
    ):
        assert np.abs(np.asarray(other[2][0], int) - last).mean() > 3


@pytest.mark.parametrize("index", range(8))
def test_a_larger_size_shows_the_same_scene(index):
    def coarse(size):
        image = SyntheticCracks(size=size, count=8, clear=index < 4)[index][0]
        small = image.convert("L").resize((12, 12), Image.Resampling.BOX)
        return np.asarray(small, float).ravel()

    alike = np.corrcoef(coarse(64), coarse(160))[0, 1]
    assert alike > 0.9


def test_splits_share_no_picture():
    seen = set()
    for split in COUNTS:
        pictures, _ = SyntheticCracks(split, size=16, count=60).arrays()
        seen |= {picture.tobytes() for picture in pictures}
    assert len(seen) == 180


def test_two_processes_draw_what_one_draws():
    one, labels = SyntheticCracks(size=32, count=40).arrays()
    two, same = SyntheticCracks(size=32, count=40).arrays(workers=2)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(labels, same)


def test_a_picture_takes_at_most_ten_milliseconds():
    SyntheticCracks(count=1)[0]
    start = time.process_time()
    SyntheticCracks(count=120).arrays()
    assert time.process_time() - start < 120 * 0.010


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"split": "val"}, "validation"),
        ({"size": 8}, "16"),
        ({"count": 0}, "count"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        SyntheticCracks(**arguments)


def test_draws_keep_their_promise():
    # PCG64's words are fixed by NumPy (NEP 19); so are these numbers.
    first = Draws(0, 1, 2).random(3)
    np.testing.assert_array_equal(first, Draws(0, 1, 2).random(3))
    sample = Draws(5).normal(40_000)
    assert abs(sample.mean()) < 0.02
    assert abs(sample.std() - 1) < 0.02
    assert {Draws(i).integer(4) for i in range(60)} == {0, 1, 2, 3}


def test_a_stroke_covers_its_area():
    start, end = np.array([[0.2, 0.3]]), np.array([[0.8, 0.6]])
    for width in (0.005, 0.02, 0.1):
        w = np.array([width])
        cover = stroke(64, start, end, w, w, np.ones(1))
        length = np.hypot(0.6, 0.3)
        area = length * width + np.pi * width**2 / 4
        assert cover.sum() / 64**2 == pytest.approx(area, rel=0.12, abs=4e-4)


@pytest.mark.parametrize("size", [24, 61, 64])
def test_jpeg_follows_libjpeg(size):
    # Gray in, so that libjpeg's rounding of the colors stays out of it.
    picture = scene.picture((7,), 1, size)[..., :1].repeat(3, axis=2)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=60, subsampling=0)
    oracle = np.asarray(Image.open(file), float)
    ours = np.clip(scene.jpeg(picture.astype(float), 60), 0, 255)
    assert np.abs(ours - oracle).mean() < 0.6
    # A wave on the edge between two steps may fall to either side.
    assert np.percentile(np.abs(ours - oracle), 80) < 0.6
    assert np.abs(ours - picture).mean() > 1


def test_blur_is_a_gaussian_blur():
    from scipy.ndimage import gaussian_filter

    image = np.random.default_rng(0).random((40, 33))
    oracle = gaussian_filter(image, 1.5, mode="nearest", truncate=2.6)
    np.testing.assert_allclose(scene.blur(image, 1.5), oracle, atol=2e-3)


THUMBNAILS = Path(__file__).with_name("synthetic_thumbnails.png")


@pytest.mark.parametrize("clear", [False, True])
def test_pictures_equal_the_stored_ones_within_two_levels(clear):
    # The first twelve of the validation split at 48 px, in two rows of six; below
    # them the same with clear=True.
    with Image.open(THUMBNAILS) as image:
        stored = np.asarray(image).astype(int)[96 * clear :]
    data = SyntheticCracks("validation", size=48, count=12, clear=clear)
    for index in range(12):
        row, column = divmod(index, 6)
        tile = stored[48 * row : 48 * (row + 1), 48 * column : 48 * (column + 1)]
        assert np.abs(np.asarray(data[index][0], int) - tile).max() <= 2


def test_small_pictures_are_clear_unless_told():
    assert [SyntheticCracks(size=size).clear for size in (95, 96)] == [True, False]
    assert not SyntheticCracks(size=32, clear=False).clear
    for index in range(6):  # concrete and asphalt without a crack are as they were
        one, other = (
            SyntheticCracks(size=32, count=6, clear=clear)[index][0]
            for clear in (False, True)
        )
        assert (one.tobytes() == other.tobytes()) == (index in (0, 2))


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("label", range(6))
def test_a_crack_darkens_a_cracked_picture_and_no_other(label, clear, monkeypatch):
    # Draw every picture twice, the second time with cracks left out.
    changed = []
    for index in range(10):
        whole = scene.picture((index,), label, 64, clear).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(scene, "_open", lambda *arguments: None)
            without = scene.picture((index,), label, 64, clear).astype(int)
        darker = (without - whole).max(2)
        changed.append((darker > 8).sum())
    if label % 2:
        assert min(changed) >= (100 if clear else 8)
        assert np.median(changed) > (200 if clear else 40)
    else:
        assert max(changed) == 0


def test_what_is_left_out_changes_nothing_else():
    # The wall of the forward pass: a crack, a cable, a hollow.
    key, label, size = (0, 2, 5), 5, 128
    steps = dict(scene.stages(key, label, size))
    bare = dict(scene.stages(key, label, size, without=("crack",)))
    np.testing.assert_array_equal(bare["crack"], steps["surface"])
    crack = (steps["crack"] != steps["surface"]).any(2)
    both = dict(scene.stages(key, label, size, without=("crack", "cable")))
    cable = (both["clutter"] != bare["clutter"]).any(2)
    assert crack.any() and cable.any()
    # Where neither lies, light and clutter are as they were, to the last bit.
    rest = ~(crack | cable)
    np.testing.assert_array_equal(both["light"][rest], steps["light"][rest])
    whole = scene.picture(key, label, size, without=("grass", "joint"))
    np.testing.assert_array_equal(whole, steps["camera"])
    with pytest.raises(ValueError, match=r"without names \['cabel'\].*'cable'"):
        scene.picture(key, label, size, without=("cabel",))
