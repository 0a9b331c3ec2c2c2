"""Training, validation and test: patches of one photo and copies stay together.

Dealt out at random, they let a network recognize the photo instead of the crack, and a
test then reports more than the network can do.
"""

import hashlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SPLITS = ("train", "validation", "test")

# 7001-115.jpg is a patch of 7001; IMG_20240101_123456.jpg is one of nothing.
_PATCH = re.compile(r"(.*\d)[-_]\d{1,4}")


def split_photos(
    names: Sequence[str],
    labels: Sequence[int],
    copies: Sequence[str],
    classes: Sequence[str],
    parts: Sequence[str] = ("validation", "test"),
) -> tuple[np.ndarray, str]:
    """Take validation and test, about 15 % of each class each, out of some photos.

    Patches of one photo stay together if their names tell, by scikit-learn's
    ``StratifiedGroupKFold``, and copies always do.

    Args:
        names: of the files; ``7001-115.jpg`` is taken for a patch of 7001.
        labels: the class of each photo.
        copies: anything that is equal for copies of one picture, such as a checksum.
            Copies must have one label.
        classes: the names of the classes, for messages.
        parts: which to take; the rest is for training.

    Returns:
        The part of each photo, an index of ``SPLITS``; and a sentence that says how
        they were split.

    Raises:
        ValueError: if a class has too few different photos for all parts.
    """
    labels = np.asarray(labels)
    _, copies = np.unique(np.asarray(copies), return_inverse=True)
    for label, name in enumerate(classes):
        different = len(np.unique(copies[labels == label]))
        if different <= len(parts):
            raise ValueError(
                f"the class {name!r} has {different} different photos; it takes at "
                f"least {len(parts) + 1}: one to train on, and one each for "
                f"{' and '.join(parts)}"
            )
    stems = [Path(name).stem for name in names]
    photos = [m[1] if (m := _PATCH.fullmatch(stem)) else stem for stem in stems]
    if len(set(photos)) == len(set(stems)):
        return _by_class(names, labels, copies, parts), (
            "split class by class, by the names of the files"
        )
    groups = _joined(photos, copies)
    home = _by_group(groups, labels, parts)
    if all({*labels[home == SPLITS.index(p)]} == {*labels} for p in ("train", *parts)):
        return home, f"split by photo: {len(set(photos)):,} photos, none in two parts"
    return _by_class(names, labels, copies, parts), (
        "split class by class, because too few photos hold all classes: patches of one "
        "photo are in several parts, so the test looks better than it is"
    )


def _joined(photos: Sequence[str], copies: np.ndarray) -> np.ndarray:
    """Numbers that are equal for what shares a photo or a copy, also through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, photos = np.unique(photos, return_inverse=True)
    size = photos.max() + copies.max() + 2
    edges = (np.ones(len(photos)), (photos, photos.max() + 1 + copies))
    graph = coo_array(edges, shape=(size, size))
    return connected_components(graph, directed=False)[1][photos]


def _by_group(
    groups: np.ndarray, labels: np.ndarray, parts: Sequence[str]
) -> np.ndarray:
    """A seventh of each class, whole groups only, for each part."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(7, len(np.unique(groups)))
    home = np.zeros(len(labels), int)
    if folds <= len(parts) or np.bincount(labels).max() < folds:
        return home
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer photos than folds
        split = list(StratifiedGroupKFold(folds).split(labels, labels, groups))
    for part, (_, chosen) in zip(parts, split):
        home[chosen] = SPLITS.index(part)
    return home


def _by_class(
    names: Sequence[str], labels: np.ndarray, copies: np.ndarray, parts: Sequence[str]
) -> np.ndarray:
    """15 % of each class, at least one, in an order that the names decide."""
    home = np.zeros(len(labels), int)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label).tolist()
        mine.sort(key=lambda i: hashlib.sha256(names[i].encode()).hexdigest())
        units: dict[int, list[int]] = {}
        for index in mine:
            units.setdefault(copies[index], []).append(index)
        waiting = sorted(units.values(), key=len)  # large sets of copies go to training
        share = max(1, round(0.15 * len(mine)))
        for left, part in zip(range(len(parts), 0, -1), parts):
            taken: list[int] = []
            for unit in list(waiting):
                fits = len(taken) + len(unit) <= share or not taken
                if fits and len(waiting) > left:
                    waiting.remove(unit)
                    taken += unit
            home[taken] = SPLITS.index(part)
    return home
