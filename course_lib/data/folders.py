"""Data sets whose items are photos on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from course_lib.data.photos import (
    OnError,
    Skipped,
    check_photos,
    find_photos,
    open_photo,
    report_skipped,
)

__all__ = ["CrackFolder", "PhotoDataset"]


class PhotoDataset(Dataset):
    """Photos with labels; each is opened when it is asked for.

    Holds names only, so that it goes to a ``DataLoader``'s workers cheaply.

    Attributes:
        paths: the files, in a fixed order.
        labels: the class of each file, an index into ``classes``.
        classes: the names of the classes.
        skipped: the files that were left out, each with its reason.
        transform: applied to each PIL picture in mode "RGB"; None leaves it so.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Sequence[int],
        classes: Sequence[str],
        *,
        transform: Callable | None = None,
        skipped: Sequence[Skipped] = (),
    ) -> None:
        self.paths = list(paths)
        self.labels = list(labels)
        self.classes = tuple(classes)
        self.skipped = list(skipped)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple:
        """Return (picture, label); raise PhotoError for a broken file."""
        image = open_photo(self.paths[index])
        if self.transform is not None:
            image = self.transform(image)
        return image, self.labels[index]


class CrackFolder(PhotoDataset):
    """Your own photos: one folder per class, with photos at any depth below.

    Args:
        root: the folder that holds the class folders.
        classes: names of the class folders in the order of the labels, for
            example ``CRACK_CLASSES``; a class without a folder has no photos
            then. By default every folder below ``root`` is a class, in sorted
            order.
        transform: applied to each PIL picture in mode "RGB".
        on_error: what to do about broken, empty and other files: "raise", or
            "skip" with a warning that counts them and a list in ``skipped``.
        check: decode each photo now (about 1 ms for 256 px, more for a phone's),
            so that training does not stop at a broken one later.
        progress: show a bar while checking.

    Raises:
        PhotoError: with "raise", if a file is no usable photo.
        ValueError: if there is no class folder, or a class has no usable photo.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        *,
        classes: Sequence[str] | None = None,
        transform: Callable | None = None,
        on_error: OnError = "raise",
        check: bool = True,
        progress: bool = False,
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise ValueError(f"root must be a folder with class folders, got {root}")
        report_skipped([], 0, on_error, str(root))  # a wrong word is told at once
        found = _class_folders(root)
        if not found:
            raise ValueError(
                f"{root} has no class folders; put the photos of each class into a "
                "folder of its own, for example cracked/ and uncracked/"
            )
        names = found if classes is None else list(classes)
        if extra := sorted(set(found) - set(names)):
            raise ValueError(
                f"{root} has the folders {extra}, which are not among the classes "
                f"{names}; rename or remove them"
            )
        paths, labels, skipped = [], [], []
        for label, name in enumerate(names):
            if name not in found:
                continue
            for path, reason in find_photos(root / name):
                if reason is None:
                    paths.append(path)
                    labels.append(label)
                else:
                    skipped.append(Skipped(path, reason))
        skipped += [
            Skipped(path, "in no class folder")
            for path, _ in find_photos(root)
            if path.parent == root
        ]
        total = len(paths) + len(skipped)
        if check:
            good, broken = check_photos(paths, progress=progress)
            paths = [paths[i] for i in good]
            labels = [labels[i] for i in good]
            skipped += broken
        report_skipped(skipped, total, on_error, str(root))
        without = [name for i, name in enumerate(names) if i not in set(labels)]
        if without and (classes is None or not paths):
            raise ValueError(
                f"no usable photo below {root} for the classes {without}; add some "
                "or remove their folders"
            )
        super().__init__(paths, labels, names, transform=transform, skipped=skipped)
        self.root = root


def _class_folders(root: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in os.scandir(root)
        if entry.is_dir() and not entry.name.startswith((".", "__"))
    )
