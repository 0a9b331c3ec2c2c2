"""SDNET2018: 56,092 real patches of 230 photos of concrete, cracked or not.

Dorafshan, Thomas, Maguire: SDNET2018, Data in Brief 21 (2018),
https://doi.org/10.1016/j.dib.2018.11.015; data CC BY 4.0,
https://doi.org/10.15142/T3TD19. Each patch has 256 × 256 px. Of the 230 photos 225 have
patches of both labels, so whole photos are split: ``sdnet2018_photos.csv`` says how.
"""

import csv
import re
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

from course_lib.data.classes import CRACK_CLASSES, SURFACES
from course_lib.data.folders import PhotoFiles, find_photos, is_clutter
from course_lib.data.photos import Skipped

_FOLDERS = ("D/UD", "D/CD", "P/UP", "P/CP", "W/UW", "W/CW")  # by label
_NAME = re.compile(r"((\d+)-\d+(?:_\d+)?)\.jpe?g", re.IGNORECASE)

# Byte for byte the same picture, once as cracked and once as not. Nobody knows which
# label is right, so all four files are left out.
CONTRADICTIONS = {"D/CD/7039-112", "D/UD/7039-112_2"}
CONTRADICTIONS |= {"W/CW/7074-105", "W/UW/7074-105_2"}


class SourcePhoto(NamedTuple):
    """A photo that SDNET2018's patches were cut from."""

    patches: tuple[int, ...]  # of each of the six classes
    split: str  # one of SPLITS


@cache
def source_photos() -> dict[str, SourcePhoto]:
    """The 230 photos by name, such as "deck/7001"."""
    table = Path(__file__).with_name("sdnet2018_photos.csv")
    lines = table.read_text(encoding="utf-8").splitlines()
    photos = {}
    for row in csv.DictReader(line for line in lines if line[0] != "#"):
        counts = [0] * len(CRACK_CLASSES)
        first = 2 * SURFACES.index(row["surface"])
        counts[first : first + 2] = int(row["uncracked"]), int(row["cracked"])
        name = f"{row['surface']}/{row['photo']}"
        photos[name] = SourcePhoto(tuple(counts), row["split"])
    return photos


def read_sdnet2018(root: Path) -> tuple[PhotoFiles, list[str]]:
    """List the patches below a folder by class and name, and the split of each.

    A tree with gaps works, with a warning.

    Args:
        root: holds the official tree (``D/CD`` ...), up to three folders down.

    Raises:
        FileNotFoundError: if no tree is there; says how to get it.
    """
    tree = find_tree(root)
    if tree is None:
        raise FileNotFoundError(
            f"no SDNET2018 tree (D/CD, D/UD, P/CP, ...) below {root}; add "
            "--download (in Python download=True) to fetch its 528 MB. Without it, the "
            'data set "synthetic" has the same six classes.'
        )
    files, splits = PhotoFiles(tree, [], [], CRACK_CLASSES, []), []
    there = [(i, tree / name) for i, name in enumerate(_FOLDERS)]
    for label, folder in (pair for pair in there if pair[1].is_dir()):
        for path, reason in find_photos(folder):
            match = _NAME.fullmatch(path.name)
            photo = f"{SURFACES[label // 2]}/{match[2]}" if match else None
            if photo not in source_photos():
                reason = "no file name of SDNET2018"
            if reason is not None:
                files.skipped.append(Skipped(path, reason))
            elif f"{_FOLDERS[label]}/{match[1]}" not in CONTRADICTIONS:
                files.paths.append(path)
                files.labels.append(label)
                splits.append(source_photos()[photo].split)
    counts = [sum(photo.patches) for photo in source_photos().values()]
    if len(files.paths) < (total := sum(counts) - len(CONTRADICTIONS)):
        warnings.warn(
            f"{tree} has {len(files.paths):,} of SDNET2018's {total:,} patches; where "
            "a photo has only cracked or only uncracked ones, a network can learn the "
            "photo instead of the crack",
            stacklevel=2,
        )
    return files, splits


def find_tree(root: Path) -> Path | None:
    """The first folder, breadth first, that holds one of the class folders."""
    for depth in range(4):  # an archive may bring folders of its own around the tree
        for tree in sorted(root.glob("*/" * depth)) if depth else [root]:
            hidden = any(map(is_clutter, tree.relative_to(root).parts))
            if not hidden and any((tree / folder).is_dir() for folder in _FOLDERS):
                return tree
    return None
