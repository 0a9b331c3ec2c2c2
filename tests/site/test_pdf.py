"""The printed book: a few pages printed, and all of them put together."""

import importlib.util
import re
import subprocess
import sys
import unicodedata

import pytest
import yaml
from pypdf import PdfReader
from visits import ROOT, pages

TOC = {
    "root": "index",
    "parts": [
        {
            "caption": "The course",
            "chapters": [
                {
                    "file": "chapters/structure/index",
                    "sections": [
                        {"file": "chapters/structure/family"},
                        {"file": "chapters/structure/exercises"},
                    ],
                },
                {"file": "chapters/reference/claims"},
            ],
        }
    ],
}


def load():
    spec = importlib.util.spec_from_file_location("pdf", ROOT / "tools" / "pdf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pdf = load()


@pytest.fixture(scope="module")
def printed(book, browser, tmp_path_factory):
    """A PDF of four pages of the book; without a browser it is skipped."""
    place = tmp_path_factory.mktemp("pdf")
    toc, target = place / "toc.yml", place / "book.pdf"
    toc.write_text(yaml.safe_dump(TOC))
    script = ROOT / "tools" / "pdf.py"
    command = [sys.executable, script, book, target, "--toc", toc]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(PdfReader(target).pages)} pages in")
    assert [path.name for path in place.iterdir() if path.suffix == ".html"] == []
    return PdfReader(target), pdf.assemble(book, place, TOC)[1]


def squeezed(text: str) -> str:
    # Fonts write "fi" as one sign.
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def test_every_page_is_in_the_whole_book(book, tmp_path):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    text, entries = pdf.assemble(book, tmp_path, toc)
    assert [entry.name for entry in entries] == pages()
    assert all(entry.title for entry in entries)
    assert ' loading="' not in text
    assert not re.search(r'(src|href|data)="http:', text)
    assert not re.search(r'src="https?:', text)
    ids = re.findall(r'<section class="page" id="([^"]+)"', text)
    assert ids == [entry.anchor for entry in entries]
    assert not re.search(r"<script(?! data-math|>window\.MathJax)", text)
    # Links between pages stay within the one long page, and find their place.
    known = set(re.findall(r'\bid="([^"]+)"', text))
    inside = set(re.findall(r'<a [^>]*href="#([^"]+)"', text))
    assert len(inside) > 300 and inside <= known
    assert not re.search(r'<a [^>]*href="(?!#|https://|mailto:)', text)


def test_nothing_moves_while_it_is_printed(book, browser, tmp_path):
    """A solution that fades in would be printed pale, now and then."""
    page = browser.new_page()
    page.emulate_media(media="print")
    source = tmp_path / "book.html"
    source.write_text(pdf.assemble(book, tmp_path, TOC)[0], encoding="utf-8")
    page.goto(source.as_uri())
    assert page.locator("details[open]").count() > 10
    moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter(
        part => getComputedStyle(part).animationName !== "none"
             || getComputedStyle(part).transitionDuration !== "0s").length""")
    assert moving == 0
    page.close()


def test_titles_stand_where_the_contents_say(printed):
    reader, entries = printed
    text = [squeezed(page.extract_text()) for page in reader.pages]
    (contents,) = [t for t in text if t.startswith("Contents")]
    sheets = pdf.sheets_of(reader.stream, entries)
    assert {entry.anchor for entry in entries[1:]} <= set(sheets)
    for entry in entries[1:]:
        number = sheets[entry.anchor]
        title = squeezed(entry.title)
        assert f"{title}{number}" in contents
        assert title in text[number - 1], entry.title
        assert text[number - 1].endswith(str(number))


def test_bookmarks_name_every_page(printed):
    reader, entries = printed

    def titles(outline):
        for item in outline:
            if isinstance(item, list):
                yield from titles(item)
            else:
                yield item.title

    names = list(titles(reader.outline))
    for entry in entries:
        assert any(squeezed(entry.title) == squeezed(name) for name in names)
    assert "Structure: why does a shortcut let a network grow deep?" in names


def test_folded_parts_are_open_and_nothing_is_cut(printed):
    reader, _ = printed
    text = squeezed("".join(page.extract_text() for page in reader.pages))
    page = (ROOT / "chapters" / "structure" / "index.md").read_text(encoding="utf-8")
    check = page.split("```{self-check}")[1]
    reasons = re.findall(r"^     (\w.{20,60})", check, flags=re.MULTILINE)
    plain = [r.replace("'", "’") for r in reasons if not re.search(r"[`$*\[({]", r)]
    assert len(plain) >= 12
    assert [reason for reason in plain if squeezed(reason) not in text] == []
    width = float(reader.pages[0].mediabox.width)
    assert width == pytest.approx(595, abs=1)

    edges = []
    for sheet in reader.pages:  # every piece of text begins on the sheet

        def note(words, outer, inner, font, size):
            if words.strip():
                edges.append(outer[0] * inner[4] + outer[4])

        sheet.extract_text(visitor_text=note)
    assert len(edges) > 500
    assert min(edges) > 30 and max(edges) < width - 30
