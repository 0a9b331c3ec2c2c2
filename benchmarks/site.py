"""The project's own time: its tests, the book's build, and until a page is ready."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.racing import Measurement, Settings, peer

ROOT = Path(__file__).parent.parent
CHAPTERS = ("structure", "mechanism", "code", "backprop")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox"]  # pages of our own, and containers have no sandbox
SLOWER = 4  # times, how much slower Chromium makes its processor

# Milliseconds from the click until what is on the screen stands: pictures, fonts,
# explorers, formulas, and two frames drawn. Formulas below the screen are set later.
READY = """async () => {
    const seen = [...document.querySelectorAll(".math")].some(formula => {
        const box = formula.getBoundingClientRect();
        return box.width > 0 && box.bottom > 0 && box.top < innerHeight;
    });
    while (document.readyState !== "complete"
           || seen && document.documentElement.dataset.math !== "set")
        await new Promise(done => setTimeout(done, 5));
    await document.fonts.ready;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    return performance.now();
}"""


def rows(settings: Settings) -> Iterator[Measurement]:
    """Two builds of a fresh copy, and a page from the disk for each chapter."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        for case, goal in (
            ("first, its environment included", "<= 120"),
            ("again", "<= 15"),
        ):
            seconds = build(copy)
            yield plain("make book", case, "seconds", [seconds], goal, "it is built")
        if peer("playwright"):
            yield from pages(copy / "_build" / "html", settings)


def plain(
    subject: str, case: str, measure: str, values: list[float], goal: str, equal: str
) -> Measurement:
    """A row of one side."""
    low = high = None
    if len(values) > 1:
        low, _, high = (round(v, 3) for v in statistics.quantiles(values, n=4))
    middle = round(statistics.median(values), 3)
    return Measurement(
        subject,
        case,
        "",
        measure,
        middle,
        low,
        high,
        goal,
        middle,
        None,
        "s",
        len(values),
        equal,
    )


def tests(settings: Settings) -> Iterator[Measurement]:
    """Every notebook and every unit test, as ``make test`` runs them."""
    python = ROOT / ".venv" / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "--nbval", "--ignore=tests/site", "-q"]
        start = time.perf_counter()
        command.append(f"--junitxml={report}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:])
        seconds = time.perf_counter() - start
        cells = ElementTree.parse(report).iter("testcase")
    notebooks: dict[str, float] = {}
    for cell in cells:
        name = cell.get("classname", "")
        if name.endswith(".ipynb"):
            notebooks[name] = notebooks.get(name, 0.0) + float(cell.get("time", 0))
    longest = max(notebooks, key=lambda name: notebooks[name])
    found = f"{len(notebooks)} notebooks and all unit tests pass"
    case = "every notebook and unit test, two at a time"
    yield plain("pytest --nbval", case, "seconds", [seconds], "<= 360", found)
    case = f"the longest notebook, {longest.removesuffix('.ipynb').split('.')[-1]}"
    values = [notebooks[longest]]
    yield plain("pytest --nbval", case, "seconds", values, "<= 60", "it passes")


def build(copy: Path) -> float:
    """Seconds of ``make book``."""
    # Without the variables of the make that runs this.
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))
    }
    start = time.perf_counter()
    done = subprocess.run(
        ["make", "book"], cwd=copy, env=clean, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - start


def pages(html: Path, settings: Settings) -> Iterator[Measurement]:
    """Seconds until a chapter's page is ready, each time in a browser that is new."""
    from playwright.sync_api import sync_playwright

    seconds: dict[str, list[float]] = {name: [] for name in CHAPTERS}
    with sync_playwright() as play:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        for _ in range(settings.repetitions):
            for name in CHAPTERS:
                browser = play.chromium.launch(executable_path=path, args=FLAGS)
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                slow = page.context.new_cdp_session(page)
                slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
                page.goto((html / "chapters" / name / "index.html").as_uri())
                seconds[name].append(page.evaluate(READY) / 1000)
                browser.close()
    for name, values in seconds.items():
        case = f"chapter {name}, from the disk, a processor {SLOWER} times slower"
        yield plain("page ready", case, "seconds", values, "<= 1.5", "formulas are set")
