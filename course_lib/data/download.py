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

__all__ = ["DownloadError", "extract_zip", "fetch"]

TIMEOUT = 30.0  # seconds without a byte


class DownloadError(RuntimeError):
    """A file could not be fetched or unpacked; the message says what to do."""


def fetch(
    url: str, path: Path, md5: str, by_hand: str, *, progress: bool = True
) -> None:
    """Fetch a file, unless somebody put it there by hand.

    Raises:
        DownloadError: says why it failed and, in the words of ``by_hand``, what to do.
            No part of the file is left.
    """
    from torchvision.datasets.utils import check_md5, download_url

    part = path.with_name(path.name + ".part")
    usual_timeout = socket.getdefaulttimeout()
    try:
        if path.is_file():
            if check_md5(path, md5):
                return
            raise RuntimeError(f"checksum mismatch: {path} is another file, delete it")
        part.unlink(missing_ok=True)  # of a process that was killed
        socket.setdefaulttimeout(TIMEOUT)  # torchvision would wait for ever
        with contextlib.redirect_stderr(sys.stderr if progress else io.StringIO()):
            download_url(url, path.parent, part.name)
        if not check_md5(part, md5):
            raise RuntimeError("checksum mismatch: the server sent another file")
        part.replace(path)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DownloadError(
            f"{path.name} could not be fetched: {error}.\n{by_hand}"
        ) from error
    finally:
        socket.setdefaulttimeout(usual_timeout)
        with contextlib.suppress(OSError):
            part.unlink()


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
