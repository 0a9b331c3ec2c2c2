"""The data that the command trains on: pictures as bytes, split, ready to normalize."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.data.augment import digit_views, photo_views
from course_lib.data.cache import DecodedCache
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.digits import digits, mnist
from course_lib.data.folders import CrackFolder, PhotoDataset
from course_lib.data.images import ByteImages
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.sdnet2018 import SDNET2018
from course_lib.data.splits import SPLITS, split_by_group
from course_lib.synthetic import SyntheticCracks

__all__ = ["NAMES", "SIZES", "Source", "source"]

NAMES = ("synthetic", "sdnet2018", "digits", "mnist")
SIZES = {"synthetic": 64, "sdnet2018": 224, "digits": 16, "mnist": 28}
FOLDER_SIZE = 224
COUNTS = {"train": 6000, "validation": 1000, "test": 1500}  # synthetic pictures
# Mean and deviation of digits, over all pixels of the training part.
DIGITS = {"digits": (0.305, 0.319), "mnist": (0.1307, 0.3081)}

# 7001-115.jpg is a patch of 7001; IMG_20240101_123456.jpg is one of nothing.
_PATCH = re.compile(r"(.*\d)[-_]\d{1,4}")
_FOLDERS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}


class Source(NamedTuple):
    """Everything about the data that a training needs."""

    parts: tuple[ByteImages, ByteImages, ByteImages]  # train, validation, test
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    augment: Callable[[Tensor, torch.Generator], Tensor]
    note: str  # one line about the split, to print


def source(
    name: str,
    *,
    size: int,
    root: Path,
    cache: Path,
    download: bool = False,
    skip_broken: bool = False,
    progress: bool = False,
) -> Source:
    """Read, draw or decode one of the data sets.

    Args:
        name: one of ``NAMES``, or a folder with one folder per class.
        size: pixels per side that the network sees.
        root: where "sdnet2018" and "mnist" lie.
        cache: folder for decoded photos.
        download: fetch those two if they are not there.
        skip_broken: leave out files that are no usable photos.
        progress: show bars while photos are decoded.

    Raises:
        ValueError: if there is no such data set, or it cannot be split.
        OSError: if it is not where it should be, or cannot be cached.
    """
    if name in DIGITS:
        return _digits(name, size, root, download)
    # Photos are kept a little larger than the network sees them: see Preprocessing.
    preprocessing = Preprocessing.for_photos(size)
    resize = preprocessing.resize
    keep = _Keeper(cache, resize, progress)
    wrong = "skip" if skip_broken else "raise"
    if name == "synthetic":
        workers = min(os.cpu_count() or 1, 8)
        parts = [
            ByteImages(*SyntheticCracks(split, resize, n).arrays(workers))
            for split, n in COUNTS.items()
        ]
        classes, note = CRACK_CLASSES, "drawn cracks; no picture is in two parts"
    elif name == "sdnet2018":
        options = {"download": download, "on_error": wrong, "progress": progress}
        photos = [SDNET2018(root, split, **options) for split in SPLITS]
        parts = [keep(part, split) for part, split in zip(photos, SPLITS)]
        classes, note = CRACK_CLASSES, "split by photo: none is in two parts"
    else:
        folder = Path(name)
        if not folder.is_dir():
            raise ValueError(
                f"there is no data set and no folder {name!r}; the data sets are "
                f"{', '.join(NAMES)}, and a folder must hold one folder per class"
            )
        parts, classes, note = _folder(folder, keep, wrong)
    return Source(tuple(parts), tuple(classes), preprocessing, photo_views, note)


def _digits(name: str, size: int, root: Path, download: bool) -> Source:
    if name == "digits":
        sets = [digits(split, size=size) for split in SPLITS]
        note = "stratified split; known hands write in all parts"
    else:
        if size != 28:
            raise ValueError(f"mnist has 28 pixels per side, so --size {size} is wrong")
        sets = [mnist(root, split, download=download) for split in SPLITS]
        note = "the official test part; a sixth of the rest is the validation part"
    mean, std = DIGITS[name]
    whole = Preprocessing(size, size, (mean,), (std,))
    return Source(tuple(sets), sets[0].classes, whole, digit_views, note)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


class _Keeper:
    """Decodes photos once and keeps them, see ``DecodedCache``."""

    def __init__(self, folder: Path, size: int, progress: bool) -> None:
        self.folder, self.size, self.progress = folder, size, progress

    def __call__(
        self, photos: PhotoDataset, split: str, chosen: Sequence[int] | None = None
    ) -> ByteImages:
        # One cache for each place, so that two data sets do not remove each other's.
        place = os.path.commonpath([path.absolute().parent for path in photos.paths])
        key = _hash(place)[:8]
        kept = DecodedCache(
            photos,
            self.folder,
            size=self.size,
            name=f"{split}-{key}",
            progress=self.progress,
        )
        return ByteImages(kept.images, kept.labels, chosen)


def _folder(folder: Path, keep: Callable, wrong: str) -> tuple:
    """Parts, classes and a note: of ready-made parts, or of one tree to split."""
    inner = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    known = sorted(set(inner) & set(_FOLDERS))
    ready = {_FOLDERS[name]: inner[name] for name in known}
    options = {"check": wrong == "skip", "on_error": wrong}
    if ready:
        if len(ready) < 3:
            raise ValueError(
                f"{folder} holds {', '.join(sorted(p.name for p in ready.values()))} "
                "but not all of train, validation and test; add what is missing, or "
                "give a folder that holds the class folders"
            )
        classes = sorted(p.name for p in ready[0].iterdir() if p.is_dir())
        parts = [
            keep(CrackFolder(ready[i], classes=classes, **options), split)
            for i, split in enumerate(SPLITS)
        ]
        return parts, classes, "split as the folders train, validation and test say"
    photos = CrackFolder(folder, **options)
    if len(photos.classes) < 2:
        raise ValueError(
            f"{folder} has one class folder, {photos.classes[0]!r}; a classifier needs "
            "two at least"
        )
    chosen, note = split_photos(photos)
    return [keep(photos, "all", part) for part in chosen], photos.classes, note


def split_photos(photos: PhotoDataset) -> tuple[list[list[int]], str]:
    """Split photos 70 : 15 : 15, patches of one photo together, if names tell.

    Args:
        photos: names such as ``7001-115.jpg`` are taken for patches of 7001.

    Returns:
        The indices of each part, and a sentence that says how they were split.

    Raises:
        ValueError: if a class has less than three photos.
    """
    labels = np.asarray(photos.labels)
    counts = np.bincount(labels, minlength=len(photos.classes))
    if counts.min() < 3:
        name, n = photos.classes[counts.argmin()], counts.min()
        raise ValueError(
            f"the class {name!r} has {n} photos; it takes at least three: one to train "
            "on, one for validation and one for the test"
        )
    stems = [path.stem for path in photos.paths]
    groups = [match[1] if (match := _PATCH.fullmatch(s)) else s for s in stems]
    if len(set(groups)) < len(set(stems)):
        parts = split_by_group(groups, labels.tolist())
        if all(len({*labels[part]}) == len(photos.classes) for part in parts):
            return (
                parts,
                f"split by photo: {len({*groups}):,} photos, none in two parts",
            )
        warning = (
            "split class by class, because too few photos hold all classes: patches of "
            "one photo are in several parts, so the test looks better than it is"
        )
        return _by_class(photos, labels), warning
    return _by_class(photos, labels), "split class by class, by the names of the files"


def _by_class(photos: PhotoDataset, labels: np.ndarray) -> list[list[int]]:
    """70 : 15 : 15 of each class, at least one, in an order that the names decide."""
    parts: list[list[int]] = [[], [], []]
    for label in range(len(photos.classes)):
        mine = np.flatnonzero(labels == label).tolist()
        mine.sort(key=lambda i: _hash(photos.paths[i].name))
        share = max(1, round(0.15 * len(mine)))
        parts[1] += mine[:share]
        parts[2] += mine[share : 2 * share]
        parts[0] += mine[2 * share :]
    return [sorted(part) for part in parts]
