"""SDNET2018: 56,092 real patches of 230 photos of concrete, cracked or not.

Dorafshan, Thomas, Maguire: SDNET2018: An annotated image dataset for non-contact
concrete crack detection using deep convolutional neural networks, Data in Brief
21 (2018), https://doi.org/10.1016/j.dib.2018.11.015. The data are CC BY 4.0,
https://doi.org/10.15142/T3TD19. Each patch has 256 × 256 px.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from course_lib.data.archives import extract_zip
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.download import DownloadError, RemoteFile, fetch
from course_lib.data.folders import PhotoDataset
from course_lib.data.photos import (
    OnError,
    Skipped,
    check_photos,
    is_litter,
    report_skipped,
)
from course_lib.data.splits import (
    CONTRADICTIONS,
    SPLITS,
    Patch,
    check_split,
    folder_label,
    parse_name,
    sdnet2018_photos,
    sdnet2018_split,
)

__all__ = ["SDNET2018", "SDNET2018_FILE", "download_sdnet2018"]

SDNET2018_FILE = RemoteFile(
    url="https://digitalcommons.usu.edu/cgi/viewcontent.cgi"
    "?filename=2&article=1047&context=all_datasets&type=additional",
    name="DATA_Maguire_20180517_ALL.zip",
    size=528_286_896,
    md5="677411e784f194422c90f52d9ed0d7c6",
    page="https://digitalcommons.usu.edu/all_datasets/48/",
    other_way="Another way is the package kagglehub: "
    'kagglehub.dataset_download("aniruddhsharma/'
    'structural-defects-network-concrete-crack-images") returns a folder that '
    "SDNET2018 reads as its root.",
)
_LAYOUTS = (
    (("D", ("UD", "CD")), ("P", ("UP", "CP")), ("W", ("UW", "CW"))),
    tuple((s, ("Non-cracked", "Cracked")) for s in ("Decks", "Pavements", "Walls")),
)
_DEPTH = 3  # an archive may bring folders of its own around the tree


class SDNET2018(PhotoDataset):
    """The six classes of SDNET2018, split by source photo.

    No photo has patches in two splits, and each split holds its share (70, 15,
    15 %) of each class to within one photo. The split is fixed: it does not
    depend on which files are there. Two pictures that stand under both labels
    are left out (four files), so 56,088 remain.

    Args:
        root: a folder with the official tree (``D/CD`` ...) or the Kaggle
            mirror's (``Decks/Cracked`` ...), up to three folders down.
        split: "train", "validation" or "test".
        transform: applied to each PIL picture in mode "RGB".
        download: fetch the published file (528 MB) into ``root`` and unpack it,
            if no tree is there.
        on_error: what to do about broken, empty and foreign files: "raise", or
            "skip" with a warning that counts them and a list in ``skipped``.
        check: decode each photo now; by default only when skipping. Without it
            a file with damaged contents raises PhotoError when it is read.
        seed: another seed gives another split; 0 is the course's.
        progress: show bars.

    Attributes:
        photos: the source photo of each item, for example "deck/7001".
        notice: what is missing from the tree, "" if nothing is. A partial tree
            works, with this text as a warning.

    Raises:
        FileNotFoundError: if no tree is there; says how to get it.
        DownloadError: if the file could not be fetched or unpacked.
        PhotoError: with "raise", if files cannot be used.
        ValueError: for an unknown split, or one without any photo in the tree.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        split: str,
        *,
        transform: Callable | None = None,
        download: bool = False,
        on_error: OnError = "raise",
        check: bool | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        check_split(split)
        report_skipped([], 0, on_error, str(root))  # a wrong word is told at once
        root = Path(root)
        if download:
            download_sdnet2018(root, progress=progress)
        self.tree = _find_tree(root)
        if self.tree is None:
            raise FileNotFoundError(_how_to_get(root))
        self.split = split

        items, skipped = _read_tree(self.tree)
        self.notice = _describe_gaps([patch for _, patch in items], self.tree)
        if self.notice:
            warnings.warn(self.notice, stacklevel=2)
        homes = sdnet2018_split({patch.photo for _, patch in items}, seed=seed)
        mine = [(entry, p) for entry, p in items if homes[p.photo] == split]
        if not mine:
            there = sorted(set(homes.values()), key=SPLITS.index)
            raise ValueError(
                f"no photo of split {split!r} is below {self.tree}; its "
                f"{len(homes)} photos belong to {', '.join(there) or 'no split'}"
            )
        total = len(mine) + len(skipped)
        chosen = []
        for entry, patch in mine:
            path = Path(entry.path)
            if entry.stat().st_size:
                chosen.append((path, patch))
            else:
                skipped.append(Skipped(path, "the file is empty"))
        if check if check is not None else on_error == "skip":
            good, broken = check_photos([p for p, _ in chosen], progress=progress)
            chosen = [chosen[i] for i in good]
            skipped += broken
        report_skipped(skipped, total, on_error, str(self.tree))
        super().__init__(
            [path for path, _ in chosen],
            [patch.label for _, patch in chosen],
            CRACK_CLASSES,
            transform=transform,
            skipped=skipped,
        )
        self.photos = [patch.photo for _, patch in chosen]


def download_sdnet2018(root: str | os.PathLike, *, progress: bool = True) -> Path:
    """Fetch and unpack SDNET2018 below a folder, unless a tree is there.

    Args:
        root: where the archive goes, or already lies, and ``SDNET2018`` with it.
        progress: show bars.

    Returns:
        The folder that holds D, P and W.

    Raises:
        DownloadError: which file, from where, its MD5, where to put it.
    """
    root = Path(root)
    if tree := _find_tree(root):
        return tree
    archive = fetch(SDNET2018_FILE, root, progress=progress)
    target = root / "SDNET2018"
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as scratch:
        outer = extract_zip(archive, Path(scratch) / "outer")
        inner = sorted(outer.rglob("SDNET2018.zip"))
        if not inner:
            raise DownloadError(f"{archive} holds no SDNET2018.zip")
        extract_zip(inner[0], target, progress=progress)
    tree = _find_tree(target)
    if tree is None:
        raise DownloadError(f"{archive} holds no folders D, P and W")
    return tree


def _how_to_get(root: Path) -> str:
    return (
        f"no SDNET2018 tree (D/CD, D/UD, P/CP, ... or Decks/Cracked, ...) below "
        f"{root}. Pass download=True to fetch {SDNET2018_FILE.name} (528 MB) and "
        f"unpack it there, or put the file there yourself, from "
        f"{SDNET2018_FILE.page}. {SDNET2018_FILE.other_way} Without it, "
        "course_lib.synthetic.SyntheticCracks has the same six classes."
    )


def _find_tree(root: Path) -> Path | None:
    """The first folder, breadth first, that holds surfaces' folders."""
    level = [root]
    for _ in range(_DEPTH + 1):
        for folder in level:
            present = [any(_label_folders(folder, layout)) for layout in _LAYOUTS]
            if all(present):
                raise ValueError(
                    f"{folder} holds both the official tree and the Kaggle mirror's; "
                    "give a root with one of them"
                )
            if any(present):
                return folder
        level = [inner for folder in level for inner in _subfolders(folder)]
    return None


def _subfolders(folder: Path) -> list[Path]:
    try:
        inner = [entry for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:  # no folder, or a closed one
        return []
    names = sorted(entry.name for entry in inner if not is_litter(entry.name))
    return [folder / name for name in names]


def _label_folders(folder: Path, layout: tuple) -> Iterator[Path]:
    for surface, states in layout:
        for state in states:
            if (folder / surface / state).is_dir():
                yield folder / surface / state


def _read_tree(tree: Path) -> tuple[list[tuple[os.DirEntry, Patch]], list[Skipped]]:
    """All patches, sorted by class and name, and the files that are none."""
    items, skipped = [], []
    for layout in _LAYOUTS:
        for folder in _label_folders(tree, layout):
            label = folder_label(*folder.parts[-2:])
            for entry in os.scandir(folder):
                if is_litter(entry.name):
                    continue
                patch = parse_name(entry.name, label)
                if patch is None or not entry.is_file():
                    path = Path(entry.path)
                    skipped.append(Skipped(path, "no file name of SDNET2018"))
                elif patch not in CONTRADICTIONS:
                    items.append((entry, patch))
    items.sort(key=lambda item: (item[1].label, item[1].name))
    return items, sorted(skipped)


def _describe_gaps(patches: list[Patch], tree: Path) -> str:
    """Compare a tree with the published set; "" if it is all there."""
    published = {
        (photo, label): n
        for photo, row in sdnet2018_photos().items()
        for label, n in enumerate(row)
        if n
    }
    # The contradictory patches are left out of the tree, so of the count as well.
    for patch in CONTRADICTIONS:
        published[patch.photo, patch.label] -= 1
    found = Counter((patch.photo, patch.label) for patch in patches)
    if found == published:
        return ""
    expected = sum(published.values())
    photos = {photo for photo, _ in found}
    lines = [
        f"{tree} holds {len(patches):,} of SDNET2018's {expected:,} patches, of "
        f"{len(photos)} of its {len(sdnet2018_photos())} photos."
    ]
    present = Counter(patch.label for patch in patches)
    if absent := [n for i, n in enumerate(CRACK_CLASSES) if not present[i]]:
        lines.append(f"No patch of the classes: {', '.join(absent)}.")
    one_sided = {p for p, label in published if p in photos and not found[p, label]}
    if one_sided:
        lines.append(
            f"Of {len(one_sided)} photos one label is missing altogether "
            f"({', '.join(sorted(one_sided)[:6])}{', ...' * (len(one_sided) > 6)}): a "
            "network can learn the photo there instead of the crack."
        )
    if unknown := found.keys() - published.keys():
        lines.append(f"{sum(found[k] for k in unknown)} patches are not among them.")
    return " ".join(lines)
