"""The photos of a folder, by name: which files are data, and of which class.

``torchvision.datasets.ImageFolder`` reads a tidy folder just as well, but takes
``.ipynb_checkpoints`` for a class, and passes in silence over what it cannot read.
"""

import os
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from course_lib.data.photos import PhotoError, Skipped, advice, is_readable

NO_IMAGE = "the name has no picture's ending"

# Names of their own that systems, network drives and programs use.
_NAMES = re.compile(
    r"""
    \.  .*                                       # hidden: .git, .DS_Store, ._x.jpg
    | __macosx | __pycache__ | icon\r | network\ trash\ folder | temporary\ items
    | \$recycle\.bin | \$sysreset | \$winreagent | \$windows\.~\w+
    | system\ volume\ information | lost\+found | lost\.dir | found\.\d{3}
    | desktop\.ini | (eh)?thumbs(_vista)?\.db(:encryptable)?
    | @(__thumb|eadir|recently-snapshot|recycle|sharebin|tmp)  # QNAP, Synology
    | .* @syno(eastream|resource) | \#(recycle|sharebin|snapshot)
    | picasa\.ini | sync\.ffs_db | zbthumbnail\.info | _vti_cnf
    | .* :zone\.identifier                        # of a download on Windows
    | ~ (\$|syncthing~) .* | .* ~ | \# .* \#     # locks and backups of editors
    | .* \. (tmp|temp|part|partial|filepart|crdownload|download|opdownload|aria2
             |!ut|bak|sw[op]|lock|lnk|url|webloc)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


class PhotoFiles(NamedTuple):
    """Photos with their labels; none is opened yet."""

    root: Path
    paths: list[Path]
    labels: list[int]  # indices into classes
    classes: tuple[str, ...]
    skipped: list[Skipped]  # files that cannot be photos


def is_clutter(path: str | os.PathLike[str]) -> bool:
    """Whether a path's last part is hidden, temporary or a system's own: no data."""
    return _NAMES.fullmatch(Path(path).name) is not None


def read_folder(
    root: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> PhotoFiles:
    """List your own photos: one folder per class, with photos at any depth below.

    Args:
        root: the folder that holds the class folders.
        classes: their names in the order of the labels, which then may lack a folder.
            By default every folder is a class, in sorted order.

    Raises:
        ValueError: if there is no class folder, if one is empty, or if two look alike.
    """
    root = Path(root)
    inner = folders_in(root) if root.is_dir() else []
    found = {folder.name: folder for folder in inner}
    if not found:
        raise ValueError(
            f"{root} is no folder, or has no class folders; put the photos of each "
            "class into a folder of its own, for example cracked/ and uncracked/"
        )
    names = list(found) if classes is None else list(classes)
    if extra := sorted(set(found) - set(names)):
        raise ValueError(
            f"{root} has the folders {extra}, which are not among the classes {names}; "
            "rename or remove them"
        )
    files = PhotoFiles(root, [], [], tuple(names), [])
    for label, name in enumerate(names):
        inside = list(find_photos(found[name])) if name in found else []
        good = [path for path, reason in inside if reason is None]
        files.paths.extend(good)
        files.labels.extend([label] * len(good))
        files.skipped.extend(Skipped(*other) for other in inside if other[1])
        if classes is None and not inside:
            raise ValueError(
                f"no photo below {found[name]}: add some, or remove the folder if it "
                "is no class"
            )
    files.skipped.extend(loose_photos(root))
    return files


def loose_photos(root: Path) -> list[Skipped]:
    """The photos directly in a folder of which only the inner folders count."""
    return [
        Skipped(path, "in no class folder")
        for path in sorted(root.iterdir())
        if is_readable(path.suffix.lower()) and not path.is_dir()
        if not is_clutter(path)
    ]


def folders_in(root: Path) -> list[Path]:
    """The folders directly below one, sorted, without clutter.

    Raises:
        ValueError: if a name is not UTF-8, or two are equal but for their case.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    seen: dict[str, Path] = {}
    for folder in (folder for folder in folders if not is_clutter(folder)):
        if problem := _name_problem(folder):
            raise ValueError(f"{printable(folder)}: {problem}")
        key = unicodedata.normalize("NFC", folder.name).casefold().strip()
        if key in seen:
            raise ValueError(
                f"{root} has both {seen[key].name!r} and {folder.name!r}, which look "
                "alike; join them, or rename one"
            )
        seen[key] = folder
    return list(seen.values())


def find_photos(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Each file of a tree but clutter, and why it is no photo (None: it may be).

    Folders that cannot be read, and links to folders, are listed as well.
    """
    closed: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        for name in folders:
            if (path := Path(parent, name)).is_symlink():
                yield path, "a link to a folder, which is not followed"
        for name in sorted(name for name in names if not is_clutter(name)):
            path = Path(parent, name)
            yield path, _name_problem(path) or _file_problem(path)
    for error in closed:
        yield Path(error.filename), f"a folder that cannot be read ({error.strerror})"


def _name_problem(path: Path) -> str | None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "the name is not valid UTF-8; rename it (convmv)"
    return None


def _file_problem(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if not is_readable(suffix):
        return advice(suffix) or NO_IMAGE
    if not path.is_file():
        return "a broken link or no file"
    return None if path.stat().st_size else "the file is empty"


def printable(text: object) -> str:
    """A name or a message on one line, whatever is in it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def report_skipped(
    skipped: Sequence[Skipped], total: int, where: Path, *, skip: bool
) -> None:
    """Raise a PhotoError for files that cannot be used, or warn of them if ``skip``."""
    if not skipped:
        return
    lines = [f"  {printable(path)}: {reason}" for path, reason in skipped[:5]]
    if len(skipped) > 5:
        lines.append(f"  ... and {len(skipped) - 5:,} more")
    listed = "\n".join(lines)
    count = f"{len(skipped):,} of {total:,} files below {printable(where)}"
    if not skip:
        raise PhotoError(
            f"{count} cannot be used:\n{listed}\nRemove or mend them, or leave them "
            "out (skip_broken)"
        )
    warnings.warn(f"skipped {count}:\n{listed}", stacklevel=3)
