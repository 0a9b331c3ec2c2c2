"""Unpack a zip of unknown origin without letting it harm the machine."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from course_lib.data.download import DownloadError
from course_lib.data.photos import show_progress

__all__ = ["extract_zip"]

MAX_BYTES = 4 << 30  # SDNET2018 unpacks to about 0.5 GB
MAX_FILES = 200_000


def extract_zip(
    archive: Path,
    target: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    progress: bool = False,
) -> Path:
    """Unpack a zip into a new folder: all of it, or nothing.

    The whole archive is refused if one entry has an absolute name, a drive, a
    ``..``, stands twice, or is a link, a device or encrypted, or if it would
    unpack to more than the bounds. Checksums of the entries are verified.

    Args:
        archive: the zip.
        target: folder to make; must not exist, its parent must.
        max_bytes: bound on the sum of the unpacked files.
        max_files: bound on their number.
        progress: show a bar.

    Returns:
        ``target``.

    Raises:
        DownloadError: names the archive and the reason; ``target`` is not there
            then, and no temporary folder is left.
    """
    archive, target = Path(archive), Path(target)
    if target.exists():
        raise DownloadError(f"{target} exists; remove it, or unpack elsewhere")
    scratch = None
    try:
        with zipfile.ZipFile(archive) as zipped:
            entries = _check_entries(zipped.infolist(), max_bytes, max_files)
            total = sum(info.file_size for info in zipped.infolist())
            free = shutil.disk_usage(target.parent).free
            if free < total:
                raise ValueError(
                    f"it unpacks to {total:,} bytes, and {target.parent} has {free:,} "
                    "bytes free"
                )
            scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
            title = f"Unpacking {archive.name}"
            for info, name, is_folder in show_progress(entries, title, progress):
                path = scratch.joinpath(*name.parts)
                if is_folder:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                # zipfile never yields more than the size checked above.
                with zipped.open(info) as packed, path.open("xb") as file:
                    shutil.copyfileobj(packed, file, 1 << 18)
        scratch.chmod(0o755)  # mkdtemp's folders are closed to other users
        scratch.rename(target)
        scratch = None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(f"{archive} is damaged or no zip ({error})") from error
    except ValueError as error:
        raise DownloadError(f"{archive} was not unpacked: {error}") from error
    except FileExistsError as error:
        raise DownloadError(
            f"{archive} was not unpacked: {error.filename} stands twice in it"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{archive} was not unpacked: {error.filename or target}: "
            f"{error.strerror or error}"
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def _check_entries(
    infos: list[zipfile.ZipInfo], max_bytes: int, max_files: int
) -> list[tuple[zipfile.ZipInfo, PurePosixPath, bool]]:
    if len(infos) > max_files:
        raise ValueError(f"it has {len(infos):,} entries, more than {max_files:,}")
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise ValueError(f"it unpacks to {total:,} bytes, more than {max_bytes:,}")
    return [(info, *_safe_name(info)) for info in infos]


def _safe_name(info: zipfile.ZipInfo) -> tuple[PurePosixPath, bool]:
    """The entry's relative path, and whether it is a folder."""
    raw = info.orig_filename.replace("\\", "/")  # some Windows tools write these
    parts = raw.rstrip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or ":" in raw or "\0" in raw:
        raise ValueError(f"the entry {info.orig_filename!r} has an unsafe name")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"the entry {info.orig_filename!r} is a link or a device")
    if info.flag_bits & 1:
        raise ValueError(f"the entry {info.orig_filename!r} is encrypted")
    return PurePosixPath(*parts), raw.endswith("/")
