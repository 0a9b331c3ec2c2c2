"""Fetch one published file and unpack it: torchvision's and zipfile's work.

What is added here: nothing half done is ever under the final name, and a failure says
how to get the file by hand.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["DownloadError", "RemoteFile", "extract_zip", "fetch"]

TIMEOUT = 30.0  # seconds without a byte


class DownloadError(RuntimeError):
    """A file could not be fetched or unpacked; the message says what to do."""


class RemoteFile(NamedTuple):
    """A published file, and how to know that one has it whole."""

    url: str
    name: str
    size: int  # bytes
    md5: str
    page: str  # where a person finds the file with a browser
    other_way: str = ""  # a closing sentence of the message


def fetch(remote: RemoteFile, folder: Path, *, progress: bool = True) -> Path:
    """Return the path of a file, fetching it if nobody put it there by hand.

    Raises:
        DownloadError: says why it failed, which file is wanted, from where, its size
            and MD5, and where to put it by hand. No part of it is left.
    """
    from torchvision.datasets.utils import check_md5, download_url

    path = folder / remote.name
    part = path.with_name(path.name + ".part")
    usual_timeout = socket.getdefaulttimeout()
    try:
        if path.is_file():
            if check_md5(path, remote.md5):
                return path
            raise RuntimeError(f"checksum mismatch: {path} is another file, delete it")
        part.unlink(missing_ok=True)  # of a process that was killed
        socket.setdefaulttimeout(TIMEOUT)  # torchvision would wait for ever
        with contextlib.redirect_stderr(sys.stderr if progress else io.StringIO()):
            download_url(remote.url, folder, part.name)
        if not check_md5(part, remote.md5):
            raise RuntimeError("checksum mismatch: the server sent another file")
        part.replace(path)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DownloadError(
            f"{remote.name} could not be fetched: {error}.\n"
            f"By hand: fetch it with a browser from {remote.page}\n"
            f"  (direct link {remote.url})\n"
            f"  {remote.size:,} bytes, MD5 {remote.md5}\n"
            f"and put it at {path}, then run this again. {remote.other_way}".rstrip()
        ) from error
    finally:
        socket.setdefaulttimeout(usual_timeout)
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def extract_zip(archive: Path, target: Path) -> None:
    """Unpack a zip, of which the checksum was verified, into a folder.

    Entries cannot leave it: zipfile drops drives, roots and ".." from their names, and
    makes files of links.

    Raises:
        DownloadError: names the archive and the reason.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(target)
    except Exception as error:  # each way to pack has errors of its own
        raise DownloadError(f"{archive} was not unpacked: {error}") from error
