"""Fetch one published file with torchvision; a failure says how to get it by hand."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import sys
from pathlib import Path

__all__ = ["DownloadError", "fetch"]

TIMEOUT = 30.0  # seconds without a byte


class DownloadError(RuntimeError):
    """A file could not be fetched or unpacked; the message says what to do."""


def fetch(
    url: str, path: Path, md5: str, by_hand: str, *, progress: bool = True
) -> None:
    """Fetch a file, unless it is there; a part of it is replaced by the next call.

    Raises:
        DownloadError: says why it failed and, in the words of ``by_hand``, what to do.
    """
    from torchvision.datasets.utils import download_url

    usual_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision would wait for ever
    try:
        with contextlib.redirect_stderr(sys.stderr if progress else io.StringIO()):
            download_url(url, path.parent, path.name, md5)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = str(error)
        if type(error) is RuntimeError:  # torchvision's, after it compared the MD5
            reason = "checksum mismatch: the server sent another file or a part of it"
        raise DownloadError(
            f"{path.name} could not be fetched: {reason}.\n{by_hand}"
        ) from error
    finally:
        socket.setdefaulttimeout(usual_timeout)
