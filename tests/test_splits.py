"""Splits by photo: over all 56,092 names, and over drawn groups."""

import csv
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from course_lib.data.classes import SURFACES
from course_lib.data.splits import (
    CONTRADICTIONS,
    FRACTIONS,
    SPLITS,
    check_split,
    deal_groups,
    folder_label,
    parse_name,
    sdnet2018_photos,
    sdnet2018_split,
    split_by_group,
)

# Each name is <photo>-<number>[_2].jpg, and the numbers of one photo and class
# are listed here as runs: from this table all 56,092 real names come back.
NAMES = Path(__file__).parent / "data" / "sdnet2018_names.csv"
FOLDERS = {"uncracked": "U", "cracked": "C"}


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


def parse_patch(path):
    """What the loader reads off one path."""
    *_, surface, state, name = path.parts
    label = folder_label(surface, state)
    return None if label is None else parse_name(name, label)


@pytest.fixture(scope="module")
def patches():
    return [parse_patch(PurePosixPath(name)) for name in real_names()]


def test_every_real_name_is_understood(patches):
    names = real_names()
    assert len(names) == len(set(names)) == 56_092
    assert None not in patches
    for name, patch in zip(names, patches):
        surface, folder, _ = name.split("/")
        assert "UC"[patch.label % 2] == folder[0]
        assert SURFACES[patch.label // 2][0].upper() == surface
        assert patch.photo.split("/")[1] == patch.name.split("-")[0]


def test_the_photo_table_counts_the_real_names(patches):
    counted = Counter((patch.photo, patch.label) for patch in patches)
    table = sdnet2018_photos()
    assert len(table) == 230
    assert {
        (photo, label): n
        for photo, row in table.items()
        for label, n in enumerate(row)
        if n
    } == counted
    cracked = sum(n for (_, label), n in counted.items() if label % 2)
    assert (cracked, len(patches) - cracked) == (8_484, 47_608)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_photo_is_in_two_splits_and_each_split_has_its_share(patches, seed):
    split = sdnet2018_split({patch.photo for patch in patches}, seed=seed)
    photos = {name: {p for p in split if split[p] == name} for name in SPLITS}
    assert sum(map(len, photos.values())) == 230
    assert not photos["train"] & photos["validation"]
    assert not photos["train"] & photos["test"]
    assert not photos["validation"] & photos["test"]
    held = Counter((split[patch.photo], patch.label) for patch in patches)
    total = Counter(patch.label for patch in patches)
    for name, fraction in zip(SPLITS, FRACTIONS):
        for label in range(6):
            # Nearer than one photo (about 1 % of its surface) is not to be had.
            assert abs(held[name, label] / total[label] - fraction) < 0.01


def test_the_split_is_the_one_of_the_course():
    split = sdnet2018_split(sdnet2018_photos())
    assert Counter(split.values()) == {"train": 161, "validation": 34, "test": 35}
    assert [split[f"deck/70{n:02}"] for n in (1, 2, 3, 8, 10, 12)] == ["train"] * 5 + [
        "validation"
    ]
    assert split == sdnet2018_split(list(split)[::-1])
    assert split != sdnet2018_split(split, seed=1)


def test_a_part_of_the_photos_keeps_its_split():
    everything = sdnet2018_split(sdnet2018_photos())
    part = ["wall/7140", "pavement/001", "deck/7003"]
    assert sdnet2018_split(part) == {photo: everything[photo] for photo in part}


def test_unknown_photos_are_dealt_by_name():
    unknown = [f"deck/{n}" for n in range(20_000, 22_000)]
    split = sdnet2018_split(unknown)
    assert split == {photo: sdnet2018_split([photo])[photo] for photo in unknown}
    counts = Counter(split.values())
    assert 1330 < counts["train"] < 1470 and 240 < counts["validation"] < 360


def test_contradictory_names_are_real(patches):
    assert set(patches) >= CONTRADICTIONS
    assert len({patch.name.removesuffix("_2") for patch in CONTRADICTIONS}) == 2


def test_paths_of_both_layouts_and_of_windows():
    official = parse_patch(PureWindowsPath(r"C:\data\SDNET2018\P\CP\027-1_2.jpg"))
    mirror = parse_patch(PurePosixPath("/x/Pavements/Cracked/027-1_2.jpg"))
    assert official == mirror == (3, "pavement/027", "027-1_2")
    upper = parse_patch(PureWindowsPath("walls/NON-CRACKED/7069-4.JPG"))
    assert upper == (4, "wall/7069", "7069-4")


@pytest.mark.parametrize(
    "path",
    [
        "D/CW/7001-115.jpg",
        "D/CD/._7001-115.jpg",
        "D/CD/7001-115 (1).jpg",
        "D/CD/7001.jpg",
        "D/CD/Thumbs.db",
        "Decks/CD/7001-115.jpg",
    ],
)
def test_foreign_paths(path):
    assert parse_patch(PurePosixPath(path)) is None


def spread(held, total, fractions):
    """The cost that deal_groups keeps low, in floats."""
    return sum(
        (held[s][c] / total[c] - fractions[s]) ** 2
        for s in range(len(fractions))
        for c in range(len(total))
        if total[c]
    )


def drawn_groups(random):
    """Groups with three classes each, none of them rare overall."""
    while True:
        size = random.randint(5, 40)
        rows = [[random.randint(0, 30) for _ in range(3)] for _ in range(size)]
        if min(sum(column) for column in zip(*rows)) >= 5 and all(map(any, rows)):
            return rows


def test_stratification_is_scikit_learns_or_better():
    # On average: both are greedy, so either can win a single case.
    random = Random(0)
    fractions = (0.8, 0.2)
    ours, theirs = [], []
    for _ in range(60):
        rows = drawn_groups(random)
        counts = {f"g{i}": row for i, row in enumerate(rows)}
        labels, names = [], []
        for name, row in counts.items():
            for label, n in enumerate(row):
                labels += [label] * n
                names += [name] * n
        total = [sum(column) for column in zip(*rows)]
        dealt = deal_groups(counts, fractions=fractions, seed=random.randint(0, 9))
        held = [[0] * 3 for _ in fractions]
        for name, row in counts.items():
            for c, n in enumerate(row):
                held[dealt[name]][c] += n
        ours.append(spread(held, total, fractions))
        for _, test in StratifiedGroupKFold(5).split(names, labels, names):
            there = [sum(labels[i] == c for i in test) for c in range(3)]
            here = [t - n for t, n in zip(total, there)]
            theirs.append(spread([here, there], total, fractions))
    assert fmean(ours) <= fmean(theirs)


@settings(max_examples=50, deadline=None)
@given(
    data=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=80
    )
)
def test_split_by_group_is_a_partition(data):
    names, labels = zip(*data)
    parts = split_by_group(names, labels)
    assert sorted(i for part in parts for i in part) == list(range(len(data)))
    where = [{names[i] for i in part} for part in parts]
    assert not where[0] & where[1] and not where[0] & where[2]
    assert not where[1] & where[2]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"split must be one of .* got 'val'"):
        check_split("val")
    with pytest.raises(ValueError, match="add up to 1"):
        deal_groups({"a": [1]}, fractions=(0.5, 0.4))
    with pytest.raises(ValueError, match="same classes"):
        deal_groups({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="got 2 and 1"):
        split_by_group(["a", "b"], [0])
    with pytest.raises(ValueError, match="at least 1"):
        split_by_group([], [])
