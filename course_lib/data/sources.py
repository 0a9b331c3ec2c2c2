"""All that a training needs to know of its data, from one name."""

import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from course_lib.data.cache import Decoded, decode
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.digits import digits, mnist
from course_lib.data.download import download_sdnet2018
from course_lib.data.folders import (
    PhotoFiles,
    folders_in,
    loose_photos,
    read_folder,
    report_skipped,
)
from course_lib.data.images import ByteImages
from course_lib.data.photos import Skipped
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.sdnet2018 import read_sdnet2018
from course_lib.data.splits import SPLITS, split_photos
from course_lib.synthetic import SyntheticCracks

NAMES = ("synthetic", "sdnet2018", "digits", "mnist")
SIZES = {"synthetic": 64, "sdnet2018": 224, "digits": 16, "mnist": 28}
FOLDER_SIZE = 224
COUNTS = {"train": 6000, "validation": 1000, "test": 1500}  # synthetic pictures
# Mean and deviation of digits, over all pixels of the training part.
DIGITS = {"digits": (0.305, 0.319), "mnist": (0.1307, 0.3081)}

# Folders that are parts of a data set, not classes.
_PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1}
_PARTS |= {"test": 2, "testing": 2}


class Source(NamedTuple):
    """Everything about the data that a training needs."""

    parts: tuple[ByteImages, ByteImages, ByteImages]  # train, validation, test
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    note: str  # how it was split, to print
    # Of each part, for photos from a folder: (name below it, SHA-256 of the pixels).
    files: tuple[list[tuple[str, str]], ...] = ([], [], [])


def source(
    name: str,
    *,
    size: int | None = None,
    root: Path = Path("data"),
    cache: Path | None = None,
    download: bool = False,
    skip_broken: bool = False,
    no_test: bool = False,
    progress: bool = False,
) -> Source:
    """Read, draw or decode one of the data sets.

    Args:
        name: one of ``NAMES``; or a folder with one folder per class, or with such
            folders below ``train``, ``validation`` and ``test``, of which the last
            two are taken from ``train`` if they are missing.
        size: pixels per side that the network sees; by default ``SIZES[name]``, or
            224 for a folder.
        root: folder with "sdnet2018" or "mnist".
        cache: folder for decoded photos, by default ``~/.cache/course_lib``.
        download: fetch SDNET2018 or MNIST if it is not there.
        skip_broken: leave out, with a warning, files that are no usable photos and
            pictures that are in two classes; else they are a PhotoError.
        no_test: set no test part aside; it is empty then.
        progress: show bars.

    Raises:
        ValueError: if there is no such data set, or it cannot be split.
        OSError: if it is not where it should be, cannot be fetched, or not cached.
    """
    size = size or SIZES.get(name, FOLDER_SIZE)
    if name in DIGITS:
        made = _digits(name, size, root, download)
    elif name == "synthetic":
        made = _synthetic(size)
    else:
        how = Preprocessing.for_photos(size)
        files, home, said = _find(name, root, download, progress)
        cache = cache or Path.home() / ".cache" / "course_lib"
        decoded, bad = _decode(files, cache, how, skip_broken, progress)
        chosen, note = _divide(files, home, said, decoded.pixels, bad, no_test)
        facts = decoded.path, files.labels
        parts = tuple(ByteImages(*facts, part, files.classes) for part in chosen)
        names = [path.relative_to(files.root).as_posix() for path in files.paths]
        known = [[(names[i], decoded.pixels[i]) for i in part] for part in chosen]
        return Source(parts, files.classes, how, note, tuple(known))
    if no_test:
        test = ByteImages(made.parts[2].images[:0], [], classes=made.classes)
        made = made._replace(parts=(*made.parts[:2], test))
    return made


def _digits(name: str, size: int, root: Path, download: bool) -> Source:
    if name == "digits":
        sets = [digits(split, size=size) for split in SPLITS]
        note = "stratified split; known hands write in all parts"
    elif size == 28:
        sets = [mnist(root, split, download=download) for split in SPLITS]
        note = "the official test part; a sixth of the rest is the validation part"
    else:
        raise ValueError(f"mnist has 28 pixels per side, so --size {size} is wrong")
    mean, std = DIGITS[name]
    whole = Preprocessing(size, size, (mean,), (std,))
    return Source(tuple(sets), sets[0].classes, whole, note)


def _synthetic(size: int) -> Source:
    how = Preprocessing.for_photos(size)
    workers = min(os.cpu_count() or 1, 8)
    drawn = (SyntheticCracks(split, how.resize, n) for split, n in COUNTS.items())
    parts = tuple(ByteImages(*d.arrays(workers), classes=CRACK_CLASSES) for d in drawn)
    note = "drawn cracks; no picture is in two parts"
    return Source(parts, CRACK_CLASSES, how, note)


def _find(
    name: str, root: Path, download: bool, progress: bool
) -> tuple[PhotoFiles, list[int], str]:
    """Photos, the part of each, and who says so: "" if there is only one part."""
    if name == "sdnet2018":
        if download:
            download_sdnet2018(root, progress=progress)
        files, splits = read_sdnet2018(root)
        return files, [SPLITS.index(split) for split in splits], "split by photo"
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(
            f"there is no data set and no folder {name!r}; the data sets are "
            f"{', '.join(NAMES)}, and a folder must hold one folder per class"
        )
    names = [inner.name for inner in folders_in(folder)]
    parts = [_PARTS.get(name.lower()) for name in names]
    ready = 0 in parts or (parts and None not in parts)  # else classes: valid, invalid
    if ready and (0 not in parts or None in parts or len({*parts}) < len(parts)):
        raise ValueError(
            f"{folder} has the folders {names}; a data set in parts has one train, at "
            "most one validation and one test, and no other: join, move or rename some"
        )
    places = sorted(zip(parts, names)) if ready else [(0, ".")]
    files = read_folder(folder / places[0][1])._replace(root=folder)
    files.skipped.extend(loose_photos(folder) if ready else ())
    home = [0] * len(files.paths)
    for part, name in places[1:]:
        more = read_folder(folder / name, files.classes)
        files.paths.extend(more.paths)
        files.labels.extend(more.labels)
        files.skipped.extend(more.skipped)
        home += [part] * len(more.paths)
    if len(files.classes) < 2:
        raise ValueError(
            f"{folder} has one class folder, {files.classes[0]!r}; a classifier needs "
            "two at least"
        )
    said = f"split as the folders {', '.join(n for _, n in places)} say"
    return files, home, said if ready else ""


def _decode(
    files: PhotoFiles, cache: Path, how: Preprocessing, skip: bool, progress: bool
) -> tuple[Decoded, dict[int, Skipped]]:
    """The decoded photos, and those that cannot be used, by index."""
    total = len(files.paths) + len(files.skipped)
    if not skip:  # before much time is spent
        report_skipped(files.skipped, total, files.root, skip=False)
    if not files.paths:
        raise ValueError(f"{files.root} has no usable photo")
    # One cache for each place, so that two data sets do not remove each other's.
    place = hashlib.sha256(os.fsencode(files.root.absolute())).hexdigest()[:8]
    name = f"photos-{place}"
    decoded = decode(files.paths, cache, how, name=name, progress=progress)
    bad = decoded.broken | _in_two_classes(files, decoded)
    skipped = [*files.skipped, *(bad[index] for index in sorted(bad))]
    report_skipped(skipped, total, files.root, skip=skip)
    return decoded, bad


def _divide(
    files: PhotoFiles,
    home: Sequence[int],
    said: str,
    pixels: Sequence[str],
    bad: Collection[int],
    no_test: bool,
) -> tuple[list[list[int]], str]:
    """The photos of each part, and a sentence that says how they were split."""
    good = [index for index in range(len(files.paths)) if index not in bad]
    # A copy in two parts stays in the later one: what is tested was not learned from.
    last = {pixels[i]: home[i] for i in sorted(good, key=lambda i: home[i])}
    kept = [i for i in good if home[i] == last[pixels[i]]]
    train = [i for i in kept if home[i] == 0]
    notes = [said] if said else []
    if copies := len(good) - len(kept):
        notes.append(f"left out as copies of pictures of a later part: {copies:,}")
    wanted = [SPLITS[p] for p in (1, 2)[: 2 - no_test] if p not in home]
    if wanted and train:
        facts = [(files.paths[i].name, files.labels[i], pixels[i]) for i in train]
        taken, how = split_photos(*zip(*facts), files.classes, wanted)
        notes.append(f"{' and '.join(wanted)} from train, {how}" if said else how)
        home = {**dict(enumerate(home)), **dict(zip(train, taken))}
    chosen = [[i for i in kept if home[i] == part] for part in range(3)]
    if no_test:
        chosen[2] = []
        notes.append("no test part")
    if copies := len(kept) - len({pixels[i] for i in kept}):
        notes.append(f"copies of other pictures, in the same part as those: {copies:,}")
    for split, part in zip(SPLITS[: 3 - no_test], chosen):
        held = {files.labels[i] for i in part}
        if missing := [n for i, n in enumerate(files.classes) if i not in held]:
            notes.append(f"the {split} part has no photo of {', '.join(missing)}")
            if not held or (split == "train" and files.classes != CRACK_CLASSES):
                raise ValueError(f"{files.root}: {notes[-1]}")
    return chosen, "; ".join(notes)


def _in_two_classes(files: PhotoFiles, decoded: Decoded) -> dict[int, Skipped]:
    """Copies of a picture with more than one label, by index: one must be wrong."""
    seen: dict[str, dict[int, Path]] = {}
    items = list(zip(files.paths, files.labels, decoded.pixels))
    for path, label, pixels in items:
        seen.setdefault(pixels, {}).setdefault(label, path)
    return {
        index: Skipped(path, f"the same picture is in another class: {other}")
        for index, (path, label, pixels) in enumerate(items)
        for cls, other in seen[pixels].items()
        if cls != label and index not in decoded.broken
    }
