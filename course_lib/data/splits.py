"""Training, validation and test split by source photo.

SDNET2018's 56,092 pictures are patches of 230 photos, and 225 of those hold
both labels. Patches of one photo share its light, its concrete and its camera:
dealt out at random they let a network recognize the photo instead of the crack.
So whole photos are dealt out. The published set's photos and their counts stand
in ``results/sdnet2018_photos.csv`` (taken from the names of all 56,092 files),
and the split is computed from that table alone: a patch belongs to the same
split whichever files are on the disk, with any version of any library.

The greedy rule is the idea of scikit-learn's ``StratifiedGroupKFold``; that
class itself is not used because its result may change between releases.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from course_lib.data.classes import SURFACES

__all__ = [
    "CONTRADICTIONS",
    "FRACTIONS",
    "SPLITS",
    "Patch",
    "check_split",
    "deal_groups",
    "folder_label",
    "parse_name",
    "sdnet2018_photos",
    "sdnet2018_split",
    "split_by_group",
]

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)

# Folders of the published archive and of the Kaggle mirror, lower case, and labels.
_FOLDERS = {
    ("d", "ud"): 0,
    ("d", "cd"): 1,
    ("p", "up"): 2,
    ("p", "cp"): 3,
    ("w", "uw"): 4,
    ("w", "cw"): 5,
    ("decks", "non-cracked"): 0,
    ("decks", "cracked"): 1,
    ("pavements", "non-cracked"): 2,
    ("pavements", "cracked"): 3,
    ("walls", "non-cracked"): 4,
    ("walls", "cracked"): 5,
}
_NAME = re.compile(r"(?P<name>(?P<photo>\d+)-\d+(?:_\d+)?)\.jpe?g", re.IGNORECASE)


class Patch(NamedTuple):
    """What the path of one SDNET2018 file says about it."""

    label: int  # index into CRACK_CLASSES
    photo: str  # the source photo, for example "deck/7001"
    name: str  # the file's name without its ending, for example "7001-115"


# Byte for byte the same picture, once as cracked and once as not. Nobody knows
# which label is right, so all four files are left out.
CONTRADICTIONS = frozenset(
    {
        Patch(1, "deck/7039", "7039-112"),
        Patch(0, "deck/7039", "7039-112_2"),
        Patch(5, "wall/7074", "7074-105"),
        Patch(4, "wall/7074", "7074-105_2"),
    }
)


def folder_label(surface_folder: str, state_folder: str) -> int | None:
    """The class of the files in, for example, ``D`` / ``CD``; None if it is none."""
    return _FOLDERS.get((surface_folder.lower(), state_folder.lower()))


def parse_name(file_name: str, label: int) -> Patch | None:
    """What ``7001-115.jpg`` in the folder of a class says; None if nothing."""
    match = _NAME.fullmatch(file_name)
    if match is None:
        return None
    return Patch(label, f"{SURFACES[label // 2]}/{match['photo']}", match["name"])


def check_split(split: str) -> str:
    """Return ``split`` if it names one, else say which names there are.

    Raises:
        ValueError: for any name that is not in ``SPLITS``.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    return split


def _rank(seed: int, key: Hashable) -> str:
    """A shuffle that depends on nothing but its input: order by SHA-256."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def deal_groups(
    counts: Mapping[str, Sequence[int]],
    *,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> dict[str, int]:
    """Deal whole groups to splits so that each split gets its share of each class.

    The cost of a deal is the sum over splits and classes of (items held / all
    items of the class - fraction)². In an order shuffled by the seed, each group
    goes where the cost is least; then groups move or change places for as long
    as that lowers the cost (above 1,000 groups there is nothing left to gain).
    Integers only, so the result is the same everywhere.

    Args:
        counts: items per class of each group; all the same length.
        fractions: share of each split; positive, with sum 1 (to 1e-9), counted
            in millionths.
        seed: any integer; another seed gives another split of the same quality.

    Returns:
        The index of the split of each group.

    Raises:
        ValueError: if the fractions do not add up to 1 or the counts differ in
            length.
    """
    if any(f <= 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(
            f"fractions must be positive and add up to 1, got {tuple(fractions)}"
        )
    if len({len(row) for row in counts.values()}) > 1:
        raise ValueError("counts must list the same classes for each group")
    unit = 10**6
    totals = [sum(column) for column in zip(*counts.values())]
    # Over a common denominator the cost is an integer.
    product = 1
    for total in totals:
        product *= total or 1
    scales = [(product // (total or 1)) ** 2 for total in totals]
    # gaps[split][class]: items held above the split's share, in millionths.
    gaps = [[-round(f * unit) * total for total in totals] for f in fractions]

    def cost_change(split: int, row: Sequence[int], sign: int = 1) -> int:
        gap = gaps[split]
        change = 0
        for c, n in enumerate(row):
            if n:
                step = sign * n * unit
                change += (2 * gap[c] + step) * step * scales[c]
        return change

    def hold(split: int, row: Sequence[int], sign: int = 1) -> None:
        for c, n in enumerate(row):
            gaps[split][c] += sign * n * unit

    dealt: dict[str, int] = {}
    order = sorted(counts, key=lambda key: _rank(seed, key))
    for group in order:
        row = counts[group]
        dealt[group] = min(range(len(gaps)), key=lambda split: cost_change(split, row))
        hold(dealt[group], row)

    # A group that moves alone trades places with one that is empty.
    empty = [0] * len(totals)
    improved = len(order) <= 1000
    while improved:
        improved = False
        for a, b in itertools.combinations(order, 2):
            here, there = dealt[a], dealt[b]
            if here == there:
                continue
            for gives, takes in ((a, b), (a, None), (None, b)):
                row_a = counts[gives] if gives is not None else empty
                row_b = counts[takes] if takes is not None else empty
                swap = [n - m for n, m in zip(row_b, row_a)]
                if cost_change(here, swap) + cost_change(there, swap, -1) < 0:
                    hold(here, swap)
                    hold(there, swap, -1)
                    if gives is not None:
                        dealt[gives] = there
                    if takes is not None:
                        dealt[takes] = here
                    improved = True
                    break
    return dealt


def split_by_group(
    groups: Sequence[str],
    labels: Sequence[int],
    *,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> list[list[int]]:
    """Split items so that no group is in two splits, stratified over the labels.

    Args:
        groups: for each item the name of its group (its photo, its writer, ...).
        labels: for each item its class, 0, 1, 2, ...
        fractions: share of each split, see :func:`deal_groups`.
        seed: any integer.

    Returns:
        For each split the indices of its items, ascending.

    Raises:
        ValueError: if the arguments differ in length or nothing is to be split.
    """
    groups, labels = list(map(str, groups)), list(map(int, labels))
    if len(groups) != len(labels) or not groups:
        raise ValueError(
            f"groups and labels must have the same length, at least 1; "
            f"got {len(groups)} and {len(labels)}"
        )
    counts: dict[str, list[int]] = {g: [0] * (max(labels) + 1) for g in groups}
    for group, label in zip(groups, labels):
        counts[group][label] += 1
    dealt = deal_groups(counts, fractions=fractions, seed=seed)
    parts: list[list[int]] = [[] for _ in fractions]
    for index, group in enumerate(groups):
        parts[dealt[group]].append(index)
    return parts


@cache
def sdnet2018_photos() -> Mapping[str, tuple[int, ...]]:
    """The 230 photos of SDNET2018 and their patches in each of the six classes."""
    table = files("course_lib") / "data" / "sdnet2018_photos.csv"
    photos = {}
    lines = table.read_text(encoding="utf-8").splitlines()
    for row in csv.DictReader(line for line in lines if line[0] != "#"):
        counts = [0] * (2 * len(SURFACES))
        surface = SURFACES.index(row["surface"])
        counts[2 * surface] = int(row["uncracked"])
        counts[2 * surface + 1] = int(row["cracked"])
        photos[f"{row['surface']}/{row['photo']}"] = tuple(counts)
    return photos


@cache
def _sdnet2018_dealt(seed: int) -> Mapping[str, int]:
    return deal_groups(sdnet2018_photos(), seed=seed)


def sdnet2018_split(photos: Iterable[str], *, seed: int = 0) -> dict[str, str]:
    """The split of each of some photos, the same whichever others are there.

    Args:
        photos: such as "deck/7001". One that the published set does not have is
            dealt by its name alone, 70 : 15 : 15 on average.
        seed: 0 is the split of this course.

    Returns:
        "train", "validation" or "test" for each photo.
    """
    dealt = _sdnet2018_dealt(seed)
    result = {}
    for photo in photos:
        if photo in dealt:
            result[photo] = SPLITS[dealt[photo]]
        else:
            place = int(_rank(seed, photo)[:8], 16) % 100
            result[photo] = SPLITS[(place >= 70) + (place >= 85)]
    return result
