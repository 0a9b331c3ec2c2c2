"""Fetch one published file by HTTP, with resume and checksum.

Nothing half done ever stands under the final name: a download grows in
``<name>.part`` and is renamed when its checksum is right. When a server refuses,
the message says which file is wanted, from where, its MD5 and where to put it.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

__all__ = ["DownloadError", "RemoteFile", "fetch", "file_md5"]

ATTEMPTS = 4
PAUSE = 2.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 18
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another attempt


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


class _Trouble(Exception):
    """A reason to give up, without the instructions."""


def file_md5(path: Path) -> str:
    """The MD5 of a file, in hexadecimal: against damage, not against malice."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def fetch(remote: RemoteFile, folder: Path, *, progress: bool = True) -> Path:
    """Return the path of a published file, fetching it if it is not there.

    A file that someone put there by hand is as good, if its checksum is right.
    A download that breaks off is taken up where it stopped: in this call, up to
    four attempts, and in the next.

    Args:
        remote: what to fetch.
        folder: where the file is or goes; made if missing.
        progress: show a bar.

    Returns:
        ``folder / remote.name``.

    Raises:
        DownloadError: if it cannot be had; the message says which file, from
            where, its size and MD5, and where to put it by hand.
    """
    path = Path(folder) / remote.name
    part = path.with_name(path.name + ".part")
    try:
        if path.is_file():
            found = file_md5(path)
            if found == remote.md5:
                return path
            raise _Trouble(
                f"{path} is there but damaged or another file: "
                f"{path.stat().st_size:,} bytes, MD5 {found}. Delete it first"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        _fill(remote, part, progress)
        found = file_md5(part)
        if found != remote.md5 and resumed:
            # The old part may be of another file: once more from the start.
            part.unlink()
            _fill(remote, part, progress)
            found = file_md5(part)
        if found != remote.md5:
            part.unlink()
            raise _Trouble(f"what came is damaged or another file: MD5 {found}")
        part.replace(path)
    except _Trouble as trouble:
        raise DownloadError(_instructions(remote, path, str(trouble))) from None
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror or error}"
        raise DownloadError(_instructions(remote, path, reason)) from error
    return path


def _instructions(remote: RemoteFile, path: Path, reason: str) -> str:
    return (
        f"{remote.name} could not be had: {reason}.\n"
        f"By hand: fetch it with a browser from {remote.page}\n"
        f"  (direct link {remote.url})\n"
        f"  {remote.size:,} bytes, MD5 {remote.md5}\n"
        f"and put it at {path}, then run this again. {remote.other_way}"
    ).rstrip()


def _fill(remote: RemoteFile, part: Path, progress: bool) -> None:
    """Bring ``part`` to its full size, in a few attempts."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        offset = part.stat().st_size if part.exists() else 0
        if offset > remote.size:
            part.unlink()
            offset = 0
        if offset == remote.size:
            return
        try:
            _request(remote, part, offset, progress)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answered {error.code} {error.reason}"
            if error.code == 416:  # it has no such part: start again
                part.unlink(missing_ok=True)
            elif error.code not in _PASSING:
                raise _Trouble(reason) from None
        except urllib.error.URLError as error:
            reason = f"no connection ({error.reason})"
        except (http.client.HTTPException, OSError) as error:
            reason = f"the connection broke ({error or type(error).__name__})"
        else:
            if part.stat().st_size == remote.size:
                return
            reason = "the connection broke"
    kept = part.stat().st_size if part.exists() else 0
    if kept:
        reason += (
            f"; {kept:,} of {remote.size:,} bytes are kept and the next call goes "
            "on from there"
        )
    raise _Trouble(reason)


def _request(remote: RemoteFile, part: Path, offset: int, progress: bool) -> None:
    """Append to ``part`` what one request brings; the caller looks at the size."""
    headers = {"User-Agent": "course_lib"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(remote.url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        total = response.headers["Content-Length"]
        if response.status == 206:
            found = re.match(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or ""
            )
            if found is None or int(found[1]) != offset:
                part.unlink(missing_ok=True)
                raise http.client.HTTPException("the server sent another part")
            total = found[2]
        else:
            offset = 0  # the server ignores ranges: from the start
        kind = response.headers.get_content_type()
        if total and total.isdigit() and int(total) != remote.size:
            raise _Trouble(
                f"the server offers {int(total):,} bytes of {kind}, not the file"
            )
        if kind == "text/html":  # what a refusal looks like to a browser
            raise _Trouble("the server sends a web page, not the file")
        _check_space(part.parent, remote.size - offset)
        _copy(response, part, offset, remote, progress)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _Trouble(
            f"{folder} has {free:,} bytes free and {needed:,} more are needed"
        )


def _copy(
    response: http.client.HTTPResponse,
    part: Path,
    offset: int,
    remote: RemoteFile,
    progress: bool,
) -> None:
    from tqdm.auto import tqdm

    with (
        part.open("ab" if offset else "wb") as file,
        tqdm(
            desc=remote.name,
            total=remote.size,
            initial=offset,
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        while block := response.read(_BLOCK):
            offset += len(block)
            if offset > remote.size:
                raise _Trouble("the server sends more bytes than the file has")
            try:
                file.write(block)
                file.flush()
            except OSError as error:  # else it would pass for a network's error
                raise _Trouble(f"writing {part} failed: {error.strerror}") from None
            bar.update(len(block))
