"""Downloads against a real HTTP server on this machine, and zips of all kinds."""

import contextlib
import hashlib
import http.server
import io
import re
import socket
import stat
import threading
import zipfile
from types import SimpleNamespace

import pytest
from PIL import Image

from course_lib.data import archives, download, sdnet2018
from course_lib.data.archives import extract_zip
from course_lib.data.download import DownloadError, RemoteFile, fetch, file_md5
from course_lib.data.sdnet2018 import SDNET2018, SDNET2018_FILE, download_sdnet2018

BODY = bytes(range(256)) * 4000  # 1 MB
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        wanted = self.headers["Range"]
        state.ranges.append(wanted)
        if state.codes:
            code = state.codes.pop(0)
            if code != 200:
                self.send_error(code)
                return
        body, start = state.body, 0
        if wanted and state.has_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            said = start + state.lies
            place = f"bytes {said}-{len(body) - 1}/{len(body)}"
            self.send_header("Content-Range", place)
        else:
            self.send_response(200)
        self.send_header("Content-Type", state.kind)
        if state.says_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut = state.cuts.pop(0) if state.cuts else None
        with contextlib.suppress(ConnectionError):  # a client may hang up
            self.wfile.write(body[start : None if cut is None else start + cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = SimpleNamespace(body=BODY, has_ranges=True, lies=0, says_length=True)
    state.kind, state.codes, state.cuts, state.ranges = "application/zip", [], [], []
    state.remote = RemoteFile(
        url=f"http://127.0.0.1:{httpd.server_port}/file?x=1",
        name="file.zip",
        size=len(BODY),
        md5=MD5,
        page="https://example.org/page",
        other_way="Or else.",
    )
    httpd.state = state
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def get(server, folder):
    return fetch(server.remote, folder, progress=False)


def test_whole_file_once(server, tmp_path):
    path = get(server, tmp_path / "new" / "folder")
    assert path.read_bytes() == BODY
    assert get(server, tmp_path / "new" / "folder") == path
    assert server.ranges == [None]  # the second call asked nobody
    assert [p.name for p in path.parent.iterdir()] == ["file.zip"]


def test_cut_connections_are_resumed_in_one_call(server, tmp_path):
    server.cuts = [300_000, 500_000]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=800000-"]


def test_a_later_call_goes_on(server, tmp_path):
    server.cuts = [100_000] * 4
    with pytest.raises(DownloadError, match="400,000 of 1,024,000 bytes are kept"):
        get(server, tmp_path)
    assert not (tmp_path / "file.zip").exists()
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=400000-"


@pytest.mark.parametrize("says_length", [True, False])
def test_a_server_without_ranges_starts_again(server, tmp_path, says_length):
    server.has_ranges, server.says_length = False, says_length
    server.cuts = [300_000]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-"]


def test_a_part_from_another_place_is_not_joined(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(BODY[:1000])
    server.lies = 5
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("length", [1000, len(BODY), len(BODY) + 1])
def test_an_old_part_of_another_file_is_thrown_away(server, tmp_path, length):
    (tmp_path / "file.zip.part").write_bytes(b"?" * length)
    assert get(server, tmp_path).read_bytes() == BODY


def test_passing_trouble_is_tried_again(server, tmp_path):
    server.codes = [503, 429, 200]
    assert get(server, tmp_path).read_bytes() == BODY


def check_instructions(message, folder):
    for part in (
        "file.zip",
        "https://example.org/page",
        "http://127.0.0.1",
        MD5,
        "1,024,000 bytes",
        str(folder / "file.zip"),
        "Or else.",
    ):
        assert part in message


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_refusal_is_final_and_says_what_to_do(server, tmp_path, code):
    server.codes = [code] * 9
    with pytest.raises(DownloadError, match=f"the server answered {code}") as caught:
        get(server, tmp_path)
    check_instructions(str(caught.value), tmp_path)
    assert len(server.ranges) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_network(server, tmp_path):
    with socket.socket() as free:  # a port on which nobody listens
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(DownloadError, match="no connection") as caught:
            fetch(server.remote._replace(url=url), tmp_path, progress=False)
    check_instructions(str(caught.value), tmp_path)
    remote = server.remote._replace(url="http://nowhere.invalid/")
    with pytest.raises(DownloadError, match="no connection"):
        fetch(remote, tmp_path, progress=False)


def test_wrong_content_is_thrown_away(server, tmp_path):
    server.body = BODY[:-1] + b"?"
    wrong = hashlib.md5(server.body).hexdigest()
    with pytest.raises(DownloadError, match=f"another file: MD5 {wrong}") as caught:
        get(server, tmp_path)
    check_instructions(str(caught.value), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_instead_of_the_file_is_not_fetched(server, tmp_path):
    server.body, server.kind = b"<html>are you a robot?", "text/html"
    with pytest.raises(DownloadError, match="offers 22 bytes of text/html"):
        get(server, tmp_path)
    server.says_length = False
    with pytest.raises(DownloadError, match="sends a web page, not the file"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_answer_is_stopped(server, tmp_path):
    server.body, server.says_length = BODY + b"more", False
    with pytest.raises(DownloadError, match="more bytes than the file has"):
        get(server, tmp_path)


def test_a_file_put_there_by_hand(server, tmp_path):
    (tmp_path / "file.zip").write_bytes(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    (tmp_path / "file.zip").write_bytes(b"half")
    with pytest.raises(DownloadError, match=r"4 bytes, MD5 \w+\. Delete it") as caught:
        get(server, tmp_path)
    check_instructions(str(caught.value), tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == b"half"  # never deleted by us
    assert server.ranges == []


def test_no_space(server, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(DownloadError, match="1,000 bytes free and 1,024,000 more"):
            get(server, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"Not a directory|File exists"):
        get(server, tmp_path / "file")


def test_progress_bar(server, tmp_path, capsys):
    fetch(server.remote, tmp_path, progress=True)
    assert "1.02M/1.02M" in capsys.readouterr().err


def test_file_md5(tmp_path):
    (tmp_path / "x").write_bytes(BODY)
    assert file_md5(tmp_path / "x") == MD5


# Zips


def zipped(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, body in entries:
            file.writestr(name, body)
    return path


def test_extract(tmp_path):
    entries = [("a/", b""), ("a/b/c.txt", b"hello"), ("ü.txt", b"")]
    archive = zipped(tmp_path / "x.zip", entries)
    target = extract_zip(archive, tmp_path / "out")
    assert (target / "a" / "b" / "c.txt").read_bytes() == b"hello"
    assert (target / "ü.txt").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip", "out"}


def linked(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = (mode | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "//server/evil",
        "C:/evil",
        "C:evil",
        "a\\..\\..\\evil",
        "\\evil",
        "a//b",
        "./a",
        "a:stream",
        linked("link", stat.S_IFLNK),
        linked("pipe", stat.S_IFIFO),
    ],
    ids=str,
)
def test_unsafe_entries_refuse_the_whole_archive(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = zipped(tmp_path / "x.zip", [("good.txt", b"1"), (name, b"/etc/passwd")])
    with pytest.raises(DownloadError, match=r"unsafe name|link or a device"):
        extract_zip(archive, inside / "out")
    assert list(inside.iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip", "inside"}


def test_bombs_and_repeated_names(tmp_path):
    options = {"compression": zipfile.ZIP_DEFLATED}
    bomb = zipped(tmp_path / "b.zip", [("zeros", b"\0" * 5_000_000)], **options)
    assert bomb.stat().st_size < 10_000
    with pytest.raises(DownloadError, match="5,000,000 bytes, more than 4,999,999"):
        extract_zip(bomb, tmp_path / "out", max_bytes=4_999_999)
    many = zipped(tmp_path / "m.zip", [(f"{i}", b"") for i in range(11)])
    with pytest.raises(DownloadError, match="11 entries, more than 10"):
        extract_zip(many, tmp_path / "out", max_files=10)
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(tmp_path / "t.zip", [("a", b"1"), ("a", b"2")])
    with pytest.raises(DownloadError, match="stands twice"):
        extract_zip(twice, tmp_path / "out")
    assert {p.suffix for p in tmp_path.iterdir()} == {".zip"}


def test_a_size_that_lies_is_found_out(tmp_path):
    body = b"\0" * 100_000
    archive = zipped(tmp_path / "x.zip", [("zeros", body)], compression=8)
    data = archive.read_bytes()
    archive.write_bytes(data.replace((100_000).to_bytes(4, "little"), b"\x0a\0\0\0"))
    with pytest.raises(DownloadError, match="damaged"):
        extract_zip(archive, tmp_path / "out", max_bytes=1000)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_damaged_zips(tmp_path):
    archive = zipped(tmp_path / "x.zip", [("a", BODY)])
    whole = archive.read_bytes()
    for data in (b"", b"<html>", whole[:-30], whole.replace(b"\x40\x41", b"??")):
        archive.write_bytes(data)
        with pytest.raises(DownloadError, match="damaged or no zip"):
            extract_zip(archive, tmp_path / "out")
        assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]
    with pytest.raises(DownloadError, match="No such file"):
        extract_zip(tmp_path / "y.zip", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(DownloadError, match="out exists"):
        extract_zip(archive, tmp_path / "out")


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "x.zip", [("a", BODY), ("b", BODY)])
    usage = SimpleNamespace(free=10**6)
    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(DownloadError, match="1,000,000 bytes free"):
            extract_zip(archive, tmp_path / "out")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(DownloadError, match="No space left"):
        extract_zip(archive, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


# SDNET2018's zip in a zip


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(buffer, "JPEG")
    return buffer.getvalue()


def nested(path, names):
    inner = io.BytesIO()
    zipped(inner, [(name, picture()) for name in names])
    entries = [("DATA/ReadMe.txt", b"hi"), ("DATA/SDNET2018.zip", inner.getvalue())]
    zipped(path, entries)
    return path.read_bytes()


def test_sdnet2018_from_the_server_to_items(server, tmp_path, monkeypatch):
    names = ["D/CD/7001-1.jpg", "D/UD/7001-2.jpg", "W/UW/7069-1.jpg"]
    server.body = nested(tmp_path / "made.zip", names)
    remote = server.remote._replace(
        name="DATA.zip",
        size=len(server.body),
        md5=hashlib.md5(server.body).hexdigest(),
    )
    monkeypatch.setattr(sdnet2018, "SDNET2018_FILE", remote)
    root = tmp_path / "root"
    with pytest.warns(UserWarning, match="3 of SDNET2018's 56,088"):
        data = SDNET2018(root, "train", download=True, progress=False)
    assert {p.name for p in root.iterdir()} == {"DATA.zip", "SDNET2018"}
    image, label = data[0]
    assert image.size == (8, 8) and label == 0
    assert download_sdnet2018(root) == root / "SDNET2018"
    assert len(server.ranges) == 1

    (tmp_path / "hand").mkdir()
    (root / "DATA.zip").rename(tmp_path / "hand" / "DATA.zip")
    tree = download_sdnet2018(tmp_path / "hand", progress=False)
    assert (tree / "W" / "UW" / "7069-1.jpg").is_file()
    assert len(server.ranges) == 1


def test_an_archive_without_the_inner_zip(server, tmp_path, monkeypatch):
    zipped(tmp_path / "made.zip", [("ReadMe.txt", b"hi")])
    server.body = (tmp_path / "made.zip").read_bytes()
    md5 = hashlib.md5(server.body).hexdigest()
    remote = server.remote._replace(size=len(server.body), md5=md5)
    monkeypatch.setattr(sdnet2018, "SDNET2018_FILE", remote)
    with pytest.raises(DownloadError, match=r"holds no SDNET2018\.zip"):
        download_sdnet2018(tmp_path / "root", progress=False)
    assert [p.name for p in (tmp_path / "root").iterdir()] == ["file.zip"]


def test_the_published_file():
    assert SDNET2018_FILE.size == 528_286_896
    assert SDNET2018_FILE.md5 == "677411e784f194422c90f52d9ed0d7c6"
    assert "kagglehub" in SDNET2018_FILE.other_way
