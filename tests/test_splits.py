"""Splits: SDNET2018's over all 56,092 names, those of own photos over drawn ones."""

import csv
import hashlib
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import sdnet2018
from course_lib.data.classes import SURFACES
from course_lib.data.sdnet2018 import CONTRADICTIONS, source_photos
from course_lib.data.splits import SPLITS, split_photos

# Each name is <photo>-<number>[_2].jpg, and the numbers of one photo and class
# are listed here as runs: from this table all 56,092 real names come back.
NAMES = Path(__file__).parent / "data" / "sdnet2018_names.csv"
VERSION_1 = "6935bac17380e4b3b5dfa5ba105241673887719e378fe8680c9384f1fc5aaf69"
FOLDERS = ["D/UD", "D/CD", "P/UP", "P/CP", "W/UW", "W/CW"]


def real_names() -> list[str]:
    names = []
    with NAMES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for run in row["patches"].split():
                number, _, suffix = run.partition("_")
                first, _, last = number.partition("-")
                for patch in range(int(first), int(last or first) + 1):
                    tail = f"_{suffix}" if suffix else ""
                    names.append(f"{row['folder']}/{row['photo']}-{patch}{tail}.jpg")
    return names


@pytest.fixture(scope="module")
def patches():
    """(label, photo, patch) of every real file."""
    found = []
    for name in real_names():
        folder, _, file = name.rpartition("/")
        label = FOLDERS.index(folder)
        match = sdnet2018._NAME.fullmatch(file)
        found.append((label, f"{SURFACES[label // 2]}/{match[2]}", match[1]))
    return found


def test_the_photo_table_counts_the_real_names(patches):
    assert len(patches) == len(set(patches)) == 56_092
    counted = Counter((photo, label) for label, photo, _ in patches)
    assert len(source_photos()) == 230
    assert {
        (name, label): n
        for name, photo in source_photos().items()
        for label, n in enumerate(photo.patches)
        if n
    } == counted
    assert sum(n for (_, label), n in counted.items() if label % 2) == 8_484


def test_each_split_has_its_share_of_each_class(patches):
    photos = source_photos()
    held = Counter((photos[photo].split, label) for label, photo, _ in patches)
    total = Counter(label for label, *_ in patches)
    for name, fraction in zip(SPLITS, (0.7, 0.15, 0.15)):
        for label in range(6):
            # Nearer than one photo (about 1 % of its surface) is not to be had.
            assert abs(held[name, label] / total[label] - fraction) < 0.01


def test_the_split_is_the_one_of_version_1():
    """The column holds what ``sdnet2018_split(..., seed=0)`` of 1.0.0 computed."""
    split = {name: photo.split for name, photo in source_photos().items()}
    assert Counter(split.values()) == {"train": 161, "validation": 34, "test": 35}
    text = "\n".join(f"{name} {split[name]}" for name in sorted(split))
    assert hashlib.sha256(text.encode()).hexdigest() == VERSION_1


def test_contradictory_names_are_real(patches):
    assert {f"{FOLDERS[label]}/{name}" for label, _, name in patches} >= CONTRADICTIONS
    names = {name.rpartition("/")[2] for name in CONTRADICTIONS}
    assert len({name.removesuffix("_2") for name in names}) == 2


@pytest.mark.parametrize(
    "name",
    ["._7001-115.jpg", "7001-115 (1).jpg", "7001.jpg", "Thumbs.db", "x7001-1.jpg"],
)
def test_foreign_names(name):
    assert sdnet2018._NAME.fullmatch(name) is None


# ------------------------------------------------------------------------ own photos


def split(names, classes="ab", copies=None, parts=SPLITS[1:]):
    """Split photos given as (class, file name); each is a picture of its own."""
    labels = [classes.index(cls) for cls, _ in names]
    copies = range(len(names)) if copies is None else copies
    home, note = split_photos([n for _, n in names], labels, copies, classes, parts)
    return [[i for i, p in enumerate(home) if p == part] for part in range(3)], note


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=8, max_size=25)
)
def test_patches_of_a_photo_stay_together(counts):
    names = [
        (cls, f"70{photo:02}-{cls}{patch}.jpg".replace("a", "1").replace("b", "2"))
        for photo, (a, b) in enumerate(counts)
        for cls, n in (("a", a), ("b", b))
        for patch in range(n)
    ]
    parts, note = split(names)
    assert sorted(chain(*parts)) == list(range(len(names)))
    if "looks better" in note:  # greedy folds may miss a class, and that is said
        return
    assert note == f"split by photo: {len(counts)} photos, none in two parts"
    homes = [{names[i][1][:4] for i in part} for part in parts]
    assert all(homes) and sum(map(len, homes)) == len(counts)


def test_patches_are_dealt_in_sevenths():
    names = [("ab"[i % 2], f"7{i // 6:03}-{i}.jpg") for i in range(42 * 6)]
    parts, note = split(names)
    assert note == "split by photo: 42 photos, none in two parts"
    assert [len(part) for part in parts] == [180, 36, 36]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(3, 40), min_size=2, max_size=4))
def test_photos_of_their_own_are_split_class_by_class(counts):
    names = [
        ("abcd"[label], f"IMG_{label}_{i:06}.jpg")
        for label, count in enumerate(counts)
        for i in range(count)
    ]
    classes = "abcd"[: len(counts)]
    parts, note = split(names, classes)
    assert note.startswith("split class by class")
    assert sorted(chain(*parts)) == list(range(len(names)))
    for cls, count in zip(classes, counts):
        mine = [sum(names[i][0] == cls for i in part) for part in parts]
        assert mine[1] == mine[2] == max(1, round(0.15 * count))
    # the order of the files decides nothing
    again, _ = split(names[::-1], classes)
    for part, other in zip(parts, again):
        assert {names[i] for i in part} == {names[::-1][i] for i in other}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_copies_stay_together(data):
    """Also copies of patches, through which photos of one part are joined."""
    kind = data.draw(st.sampled_from(["IMG_{:06}.jpg", "{}-{}.jpg"]))
    names, copies = [], []
    for cls in "ab":
        for picture in range(data.draw(st.integers(3, 9))):
            for _ in range(data.draw(st.integers(1, 3))):
                photo = len(names) if "06" in kind else data.draw(st.integers(0, 9))
                names.append((cls, kind.format(photo, len(names))))
                copies.append(f"{cls}{picture}")
    for parts in (SPLITS[1:], SPLITS[1:2], SPLITS[2:]):
        home, note = split(names, copies=copies, parts=parts)
        assert sorted(chain(*home)) == list(range(len(names)))
        held = [{copies[i] for i in part} for part in home]
        assert sum(map(len, held)) == len(set(copies)), note
        taken = ("train", *parts)
        for name, part in zip(SPLITS, home):
            assert {names[i][0] for i in part} == (
                set("ab") if name in taken else set()
            )


def test_many_copies_do_not_fill_a_small_part():
    names = [("a", f"a{i}.jpg") for i in range(16)] + [("b", "b.jpg")] * 4
    copies = [min(i, 3) for i in range(16)] + [20, 21, 22, 23]
    home, _ = split(names, copies=copies)
    assert [len(part) for part in home] == [13 + 2, 2 + 1, 1 + 1]


def test_too_few_photos_with_all_classes_are_split_with_a_warning():
    names = [(cls, f"{n}-{i}.jpg") for cls, n in (("a", 1), ("b", 2)) for i in range(5)]
    parts, note = split(names)
    assert "looks better than it is" in note
    assert all({names[i][0] for i in part} == {"a", "b"} for part in parts)


def test_bad_input_is_named():
    names = [("a", "1.jpg"), ("a", "2.jpg"), ("a", "3.jpg"), ("b", "4.jpg")]
    with pytest.raises(
        ValueError, match="'b' has 1 different photos; it takes at least 3"
    ):
        split(names)
    with pytest.raises(ValueError, match="'a' has 2 different photos"):
        split(names, copies=["x", "x", "y", "z"])
