"""Write the whole book as one PDF, from its built pages, in a headless browser.

``make pdf`` runs this. All articles go into one long page, in the order of the table
of contents: links between pages become links within it, scripts go (so explorers show
their still pictures), folded parts open, and anything wider than the paper is scaled
down. Chromium prints that page twice: the first time tells on which sheet each title
stands, the second has these numbers in the table of contents. Headings become
bookmarks. Nothing is fetched from a network.
"""

import argparse
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, TextStringObject

# Chromium's trailer counts its objects differently; nothing is lost by it.
logging.getLogger("pypdf").setLevel(logging.ERROR)

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
USELESS = ".headerlink, .term-definitions, .copybtn, .only-dark, .toctree-wrapper"
STYLE = (ROOT / "tools" / "pdf.css").read_text(encoding="utf-8")
FOOTER = """<div style="width: 100%; padding: 0 16mm; font: 8pt sans-serif;
 color: #57606a; display: flex; justify-content: space-between;">
 <span class="title"></span><span class="pageNumber"></span></div>"""
# Scale down what is wider than the paper.
FIT = """() => {
    const kinds = "table, mjx-container[display=true], .cell_output svg, pre";
    for (const box of document.querySelectorAll(`.bd-article :is(${kinds})`)) {
        const room = box.parentElement.clientWidth;
        const wide = Math.max(box.scrollWidth, box.offsetWidth);
        if (room && wide > room + 1) box.style.zoom = room / wide;
    }
}"""
SET = """async () => {
    const source = document.querySelector('script[data-math]');
    if (source) await MathJax.startup.promise;
    await document.fonts.ready;
    for (const image of document.images) await image.decode().catch(() => {});
    return [...document.images].filter(image => !image.naturalWidth).length;
}"""


@dataclass
class Entry:
    """A page of the book, and where it stands in the table of contents."""

    name: str
    depth: int
    part: str  # caption above it, of the first page of a part only
    title: str = ""

    @property
    def anchor(self) -> str:
        """The id of the page in the one long page."""
        return self.name.replace("/", "-")


def contents(toc: dict) -> Iterator[Entry]:
    """The pages of ``_toc.yml`` in reading order."""
    yield Entry(toc["root"], 0, "")
    for part in toc.get("parts", []):
        caption = part.get("caption", "")
        for chapter in part["chapters"]:
            yield Entry(chapter["file"], 0, caption)
            caption = ""
            for section in chapter.get("sections", []):
                yield Entry(section["file"], 1, "")


def address(link: str, here: Path, html: Path, known: dict[Path, str]) -> str:
    """Where a link of the page ``here`` leads in the one long page."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return link
    target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
    anchor = known.get(target)
    if anchor is None:  # a file beside the pages, such as a notebook
        return ""
    return f"#{anchor}--{parts.fragment}" if parts.fragment else f"#{anchor}"


def article(entry: Entry, html: Path, place: Path, known: dict[Path, str]) -> str:
    """A page's article, made ready to stand among the others."""
    here = html / f"{entry.name}.html"
    soup = BeautifulSoup(here.read_text(encoding="utf-8"), "html.parser")
    body = soup.select_one("article.bd-article")
    for useless in body.select(f"script, noscript, {USELESS}"):
        useless.decompose()
    for tag in body.find_all(True):
        if tag.get("id") and not tag.find_parent("svg"):
            tag["id"] = f"{entry.anchor}--{tag['id']}"
        if tag.name == "a" and tag.get("href"):
            tag["href"] = address(tag["href"], here, html, known)
            if not tag["href"]:
                del tag["href"]
        for key in ("src", "data"):
            if tag.get(key) and not tag[key].startswith("data:"):
                file = (here.parent / unquote(urlsplit(tag[key]).path)).resolve()
                tag[key] = Path(os.path.relpath(file, place)).as_posix()
        if tag.name == "img":
            tag.attrs.pop("loading", None)
        if tag.name == "details":
            tag["open"] = ""
        if tag.name == "summary" and tag.select(".expanded"):  # "Hide the solution"
            words = tag.select_one(".expanded").get_text().split()
            tag.string = " ".join(words[2:] or words).capitalize()
        if re.fullmatch(r"h[1-6]", tag.name):
            entry.title = entry.title or tag.get_text(" ", strip=True)
            tag.name = f"h{min(6, int(tag.name[1]) + entry.depth)}"
    return f'<section class="page" id="{entry.anchor}">{body}</section>\n'


def styles(html: Path, place: Path) -> tuple[list[str], str]:
    """Every style sheet of the book, and the settings of its MathJax."""
    found, settings = [], ""
    for path in sorted(html.rglob("*.html")):
        if "_static" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r'<link\b[^>]*?href="([^"]+\.css)[^"]*"', text):
            file = (path.parent / link).resolve()
            if file not in found:
                found.append(file)
        if not settings:
            match = re.search(r"<script>(window\.MathJax = .*?)</script>", text)
            settings = match[1] if match else ""
    # The book's own sheet has the last word.
    found.sort(key=lambda file: file.name == "book.css")
    return [Path(os.path.relpath(f, place)).as_posix() for f in found], settings


def table(entries: list[Entry], numbers: dict[str, int]) -> str:
    """The table of contents; without numbers in the first printing."""
    lines = []
    for entry in entries[1:]:
        if entry.part:
            lines.append(f'<li class="part">{entry.part}</li>')
        number = numbers.get(entry.anchor, 999)
        lines.append(
            f'<li class="depth-{entry.depth}"><a href="#{entry.anchor}">'
            f"<span>{entry.title}</span><span>{number}</span></a></li>"
        )
    rows = "\n".join(lines)
    return f'<nav class="book-contents"><p>Contents</p><ol>\n{rows}\n</ol></nav>\n'


def assemble(html: Path, place: Path, toc: dict) -> tuple[str, list[Entry]]:
    """The one long page, with ``<!--contents-->`` where these belong."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    entries = list(contents(toc))
    known = {(html / f"{e.name}.html").resolve(): e.anchor for e in entries}
    pages = [article(entry, html, place, known) for entry in entries]
    sheets, settings = styles(html, place)
    links = "\n".join(f'<link rel="stylesheet" href="{sheet}">' for sheet in sheets)
    math = html / "_static" / "mathjax" / "math.js"
    script = Path(os.path.relpath(math, place)).as_posix()
    first, rest = pages[0], "".join(pages[1:])
    text = f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>{config["title"]}</title>
{links}
<style>{STYLE}</style>
<script>{settings}</script><script data-math defer src="{script}"></script>
</head><body><main class="bd-main"><div class="bd-content">
<div class="bd-article-container">
{first}<!--contents-->{rest}</div></div></main></body></html>
"""
    return text, entries


def sheets_of(file: Path | IO[bytes], entries: list[Entry]) -> dict[str, int]:
    """On which sheet each page of the book begins."""
    reader = PdfReader(file)
    places = reader.named_destinations
    return {
        entry.anchor: reader.get_destination_page_number(places[f"/{entry.anchor}"]) + 1
        for entry in entries
        if f"/{entry.anchor}" in places
    }


def print_to(page: Page, source: Path, target: Path) -> None:
    """Load the long page, wait until it stands, and print it."""
    page.goto(source.as_uri(), wait_until="load", timeout=300_000)
    broken = page.evaluate(SET)
    if broken:
        raise SystemExit(f"{broken} pictures of the book are missing")
    page.evaluate(FIT)
    page.pdf(
        path=target,
        format="A4",
        margin={"top": "15mm", "bottom": "17mm", "left": "16mm", "right": "16mm"},
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        tagged=True,
        outline=True,
    )


def mend_bookmarks(file: Path, text: str) -> None:
    """Give bookmarks the spaces back that Chromium drops where a title breaks."""
    soup = BeautifulSoup(text, "html.parser")
    titles = [" ".join(h.get_text().split()) for h in soup.select("h1, h2, h3, h4, h5")]
    known = {title.replace(" ", ""): title for title in titles}
    writer = PdfWriter(clone_from=file)
    waiting = [writer.root_object.get("/Outlines")]
    while waiting:
        item = waiting.pop()
        if item is None:
            continue
        item = item.get_object()
        if "/Title" in item:
            title = "".join(str(item["/Title"]).split())
            item[NameObject("/Title")] = TextStringObject(known.get(title, title))
        waiting += [item.get("/First"), item.get("/Next")]
    writer.add_metadata({"/Title": soup.title.get_text()})
    writer.write(file)


def write(html: Path, target: Path, toc: dict) -> list[Entry]:
    """Print the pages of ``toc`` from the book below ``html`` into ``target``."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit(f"a browser prints the book: install {', '.join(BROWSERS)}")
    place = target.parent
    place.mkdir(parents=True, exist_ok=True)
    text, entries = assemble(html, place, toc)
    source = target.with_suffix(".html")
    foreign: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        # As wide as the paper between its margins, so that FIT measures what prints.
        page = browser.new_page(viewport={"width": 672, "height": 950})
        page.set_default_timeout(300_000)
        page.emulate_media(media="print", color_scheme="light")
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:", "blob:"))
                else foreign.append(request.url)
            ),
        )
        numbers: dict[str, int] = {}
        for _ in range(2):
            filled = text.replace("<!--contents-->", table(entries, numbers))
            source.write_text(filled, encoding="utf-8")
            print_to(page, source, target)
            numbers = sheets_of(target, entries)
        browser.close()
    source.unlink()
    mend_bookmarks(target, text)
    if foreign:
        raise SystemExit(f"the book asked another host: {foreign[:3]}")
    return entries


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path, help="the built pages")
    parser.add_argument("target", type=Path, help="the PDF to write")
    parser.add_argument("--toc", type=Path, default=ROOT / "_toc.yml")
    options = parser.parse_args()
    if not (options.html / "index.html").is_file():
        sys.exit(f"{options.html} holds no book: run make book first")
    target = options.target.resolve()
    toc = yaml.safe_load(options.toc.read_text(encoding="utf-8"))
    write(options.html.resolve(), target, toc)
    print(f"{len(PdfReader(target).pages)} pages in {target}")


if __name__ == "__main__":
    main()
