"""Fetch SDNET2018 and unpack it; ``course_lib.data.sdnet2018`` reads it."""

import contextlib
import http.client
import io
import socket
import sys
import tempfile
import zipfile
from pathlib import Path

from course_lib.data.sdnet2018 import find_tree

URL = (
    "https://digitalcommons.usu.edu/cgi/viewcontent.cgi"
    "?filename=2&article=1047&context=all_datasets&type=additional"
)
MD5 = "677411e784f194422c90f52d9ed0d7c6"
ARCHIVE = "DATA_Maguire_20180517_ALL.zip"
_BY_HAND = (
    f"By hand: fetch {ARCHIVE} (528,286,896 bytes, MD5 {MD5}) with a browser from "
    "https://digitalcommons.usu.edu/all_datasets/48/, put it into {root}, and run this "
    "again."
)
TIMEOUT = 30.0  # seconds without a byte


class DownloadError(OSError):
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


def download_sdnet2018(root: Path, *, progress: bool = True) -> None:
    """Fetch SDNET2018 into a folder and unpack it there, unless a tree is there.

    Raises:
        DownloadError: why, and which file to fetch by hand, from where.
    """
    if find_tree(root):
        return
    archive = root / ARCHIVE
    fetch(URL, archive, MD5, _BY_HAND.format(root=root), progress=progress)
    try:  # a zip in a zip; the tree gets its name when it is whole
        with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as scratch:
            with zipfile.ZipFile(archive) as outer:
                names = [n for n in outer.namelist() if n.endswith("SDNET2018.zip")]
                if not names:
                    raise ValueError("it holds no SDNET2018.zip")
                with zipfile.ZipFile(outer.extract(names[0], scratch)) as inner:
                    inner.extractall(Path(scratch, "tree"))
            Path(scratch, "tree").replace(root / "SDNET2018")
    except Exception as error:  # each way to pack has errors of its own
        raise DownloadError(f"{archive} was not unpacked: {error}") from error
