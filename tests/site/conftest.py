"""A built book, a local server and a browser without a network.

``BOOK_HTML`` names a built book (`make test` sets it); else one is built, once
for all workers. Without a Chromium these tests are skipped; in CI, where the
variable ``CI`` is set, they must run.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BUILD = "import sys; from jupyter_book.cli.main import main; main()"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def build(place: Path) -> None:
    """Build the book below ``place``; a warning fails the build."""
    source = place / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns("_build", ".*", "*.egg-info", "__pycache__"),
    )
    command = [
        sys.executable,
        "-c",
        BUILD,
        "build",
        str(source),
        "-W",
        "--keep-going",
        "-q",
    ]
    done = subprocess.run(
        [*command, "--path-output", str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    (place / "log.txt").write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the built pages."""
    if given := os.environ.get("BOOK_HTML"):
        html = Path(given).resolve()
        assert (html / "index.html").is_file(), f"BOOK_HTML={given} holds no book"
        return html
    base = tmp_path_factory.getbasetemp()
    place = (base if worker_id == "master" else base.parent) / "book"
    html, ready = place / "_build" / "html", place / "ready"
    try:
        place.mkdir()  # succeeds in one worker only
    except FileExistsError:
        for _ in range(600):
            if ready.exists():
                break
            time.sleep(0.2)
    else:
        try:
            build(place)
            (place / "good").touch()
        finally:
            ready.touch()
    assert (place / "good").exists(), f"the book did not build: {place / 'log.txt'}"
    return html


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing: the browser reports what is missing."""


@pytest.fixture(scope="session")
def http(book: Path):
    """The address of the book on a local server."""
    handler = partial(Handler, directory=str(book))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = f"no browser found: install one of {', '.join(BROWSERS)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()
