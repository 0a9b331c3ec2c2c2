"""Downloads against a real HTTP server on this machine."""

import contextlib
import hashlib
import http.server
import io
import socket
import threading
import time
import zipfile
from types import SimpleNamespace

import pytest
from PIL import Image

from course_lib.data import download
from course_lib.data.download import DownloadError, download_sdnet2018, fetch
from course_lib.data.photos import PhotoError
from course_lib.data.sdnet2018 import read_sdnet2018
from course_lib.data.sources import source

BODY = bytes(range(256)) * 4000  # 1 MB
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        state.asked += 1
        if state.code != 200:
            self.send_error(state.code)
            return
        self.send_response(200)
        self.send_header("Content-Type", state.kind)
        self.send_header("Content-Length", str(len(state.body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client may hang up
            self.wfile.write(state.body[: state.cut])
            time.sleep(state.silence)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = SimpleNamespace(body=BODY, kind="application/zip", code=200, asked=0)
    state.cut, state.silence = None, 0
    state.url = f"http://127.0.0.1:{httpd.server_port}/file?x=1"
    httpd.state = state
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def get(server, folder):
    path = folder / "file.zip"
    fetch(server.url, path, MD5, "By hand: so.", progress=False)
    return path


def test_whole_file_once(server, tmp_path):
    path = get(server, tmp_path / "new" / "folder")
    assert path.read_bytes() == BODY
    asked = server.asked
    assert get(server, tmp_path / "new" / "folder") == path
    assert server.asked == asked  # the second call asked nobody
    assert [p.name for p in path.parent.iterdir()] == ["file.zip"]


@pytest.mark.parametrize("left", [b"?" * 1000, BODY[:-1]])
def test_what_a_killed_download_left_is_replaced(server, tmp_path, left):
    (tmp_path / "file.zip").write_bytes(left)
    assert get(server, tmp_path).read_bytes() == BODY
    assert [p.name for p in tmp_path.iterdir()] == ["file.zip"]


def refused(server, folder, reason):
    """The call fails for this reason, with all instructions."""
    with pytest.raises(DownloadError, match=reason) as caught:
        get(server, folder)
    assert str(caught.value).startswith("file.zip could not be fetched: ")
    assert str(caught.value).endswith(".\nBy hand: so.")
    assert socket.getdefaulttimeout() is None


def works_again(server, folder):
    server.body, server.code, server.cut, server.silence = BODY, 200, None, 0
    assert get(server, folder).read_bytes() == BODY
    assert [p.name for p in folder.iterdir()] == ["file.zip"]


@pytest.mark.parametrize("code", [403, 404, 503])
def test_a_refusal_says_what_to_do(server, tmp_path, code):
    server.code = code
    refused(server, tmp_path, f"HTTP Error {code}")
    works_again(server, tmp_path)


def test_no_network(server, tmp_path):
    with socket.socket() as free:  # a port on which nobody listens
        free.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        refused(server, tmp_path, "refused")


def test_a_connection_that_breaks_or_falls_silent(server, tmp_path, monkeypatch):
    server.cut = 300_000
    refused(server, tmp_path, "checksum mismatch")
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.silence = 1
    refused(server, tmp_path, "timed out")
    works_again(server, tmp_path)


@pytest.mark.parametrize("body", [BODY[:-1] + b"?", BODY + b"more", b"<html>robot?"])
def test_another_file_is_refused(server, tmp_path, body):
    server.body = body
    refused(server, tmp_path, "checksum mismatch: the server sent another file")
    works_again(server, tmp_path)


def test_a_file_put_there_by_hand(server, tmp_path):
    (tmp_path / "file.zip").write_bytes(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked == 0


def test_no_space(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.utils._urlretrieve", full)
        refused(server, tmp_path, "No space left on device")
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"Not a directory|File exists"):
        get(server, tmp_path / "file")


def test_progress_bar(server, tmp_path, capsys):
    fetch(server.url, tmp_path / "file.zip", MD5, "", progress=True)
    assert "1.02M/1.02M" in capsys.readouterr().err
    (tmp_path / "file.zip").unlink()
    get(server, tmp_path)
    assert capsys.readouterr().err == ""


# SDNET2018's zip in a zip


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(buffer, "JPEG")
    return buffer.getvalue()


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as file:
        for name, body in entries:
            file.writestr(name, body)


def nested(path, names):
    inner = io.BytesIO()
    zipped(inner, [(name, picture()) for name in names])
    entries = [("DATA/ReadMe.txt", b"hi"), ("DATA/SDNET2018.zip", inner.getvalue())]
    zipped(path, entries)
    return path.read_bytes()


def publish(server, monkeypatch, name):
    monkeypatch.setattr(download, "URL", server.url)
    monkeypatch.setattr(download, "ARCHIVE", name)
    monkeypatch.setattr(download, "MD5", hashlib.md5(server.body).hexdigest())


def test_sdnet2018_from_the_server_to_items(server, tmp_path, monkeypatch):
    names = ["D/CD/7001-1.jpg", "D/UD/7001-2.jpg", "W/UW/7069-1.jpg"]
    server.body = nested(tmp_path / "made.zip", names)
    publish(server, monkeypatch, "DATA.zip")
    root = tmp_path / "root"
    missing = pytest.warns(UserWarning, match="3 of SDNET2018's 56,088")
    alike = pytest.raises(PhotoError, match="the same picture is in another class")
    with missing, alike:
        source("sdnet2018", root=root, cache=tmp_path, download=True)
    assert {p.name for p in root.iterdir()} == {"DATA.zip", "SDNET2018"}
    with pytest.warns(UserWarning, match="3 of SDNET2018's 56,088"):
        files, _ = read_sdnet2018(root)
    assert files.labels == [0, 1, 4]
    asked = server.asked
    download_sdnet2018(root)
    (tmp_path / "hand").mkdir()
    (root / "DATA.zip").rename(tmp_path / "hand" / "DATA.zip")
    download_sdnet2018(tmp_path / "hand", progress=False)
    assert (tmp_path / "hand/SDNET2018/W/UW/7069-1.jpg").is_file()
    assert server.asked == asked


@pytest.fixture
def archive(server, tmp_path, monkeypatch):
    """A wrong archive on the server."""
    zipped(tmp_path / "made.zip", [("ReadMe.txt", b"hi")])
    server.body = (tmp_path / "made.zip").read_bytes()
    publish(server, monkeypatch, "file.zip")


def unpacking_fails(tmp_path, reason):
    with pytest.raises(DownloadError, match=rf"file\.zip was not unpacked: {reason}"):
        download_sdnet2018(tmp_path / "root", progress=False)
    assert [p.name for p in (tmp_path / "root").iterdir()] == ["file.zip"]


def test_an_archive_without_the_inner_zip(archive, tmp_path):
    unpacking_fails(tmp_path, "it holds no SDNET2018.zip")


def test_a_damaged_archive(server, tmp_path, monkeypatch):
    whole = nested(tmp_path / "made.zip", ["D/CD/7001-1.jpg"])
    server.body = whole[:100]
    publish(server, monkeypatch, "file.zip")
    unpacking_fails(tmp_path, "File is not a zip file")


def test_a_full_disk_leaves_nothing_but_the_archive(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    server.body = nested(tmp_path / "made.zip", ["D/CD/7001-1.jpg"])
    publish(server, monkeypatch, "file.zip")
    monkeypatch.setattr(zipfile.shutil, "copyfileobj", full)
    unpacking_fails(tmp_path, ".*No space left")


def test_a_failure_says_which_file_to_fetch_and_where_to_put_it(
    server, tmp_path, monkeypatch
):
    server.code = 403
    monkeypatch.setattr(download, "URL", server.url)
    with pytest.raises(DownloadError, match=r"_ALL\.zip could not .*403") as caught:
        download_sdnet2018(tmp_path, progress=False)
    size_and_md5 = "528,286,896 bytes, MD5 677411e784f194422c90f52d9ed0d7c6"
    for part in ("all_datasets/48/", size_and_md5, str(tmp_path)):
        assert part in str(caught.value)
