"""What a page makes the reader load: bytes, not time, which depends on the machine."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from visits import ROOT, pages, settle, visit

# Bytes of a page's HTML, scripts, style sheets and icons: 10 % above the heaviest.
PLAIN, MATH = 740_000, 1_580_000
ASSET = re.compile(r'<(?:script|link)\b[^>]*\b(?:src|href)="([^"]+)"[^>]*>')
ICON = re.compile(r'class="[^"]*\bfa[bs]?(?:-solid|-brands)? (fa-[a-z-]+)')
LATE = """() => {
    const pictures = [...document.querySelectorAll(".bd-article img[src*=_images]")];
    return pictures.slice(1).filter(picture => picture.loading !== "lazy").length;
}"""


def assets(path: Path) -> list[Path]:
    """The files that a page's scripts and style sheets come from."""
    found = ASSET.findall(path.read_text(encoding="utf-8"))
    local = [urlsplit(address).path for address in found if "://" not in address]
    return [
        (path.parent / name).resolve()
        for name in local
        if name.endswith((".js", ".css"))
    ]


@pytest.fixture(scope="module")
def all_pages(book):
    files = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    return {path: path.read_text(encoding="utf-8") for path in files}


def test_bytes_of_every_page(book):
    for name in [*pages(), "search", "genindex"]:
        path = book / f"{name}.html"
        files = assets(path)
        math = any(file.name == "math.js" for file in files)
        size = sum(file.stat().st_size for file in [path, *files])
        assert size <= (MATH if math else PLAIN), (name, size)


def test_math_is_loaded_only_where_there_is_math(book):
    with_math = 0
    for name in pages():
        path = book / f"{name}.html"
        body = path.read_text(encoding="utf-8").split("<article", 1)[1]
        has_math = bool(re.search(r'class="math[ "]', body))
        named = any("mathjax" in file.parts for file in assets(path))
        assert named == has_math, name
        with_math += has_math
    assert with_math > 0


def test_no_page_loads_font_awesome(all_pages):
    assert all_pages
    for path, html in all_pages.items():
        loaded = " ".join(ASSET.findall(html))
        assert "fontawesome/6" not in loaded and "all.min" not in loaded, path.name


def test_every_icon_is_in_the_small_font(all_pages, book):
    sheet = (ROOT / "_vendor" / "fontawesome" / "icons.css").read_text(encoding="utf-8")
    ours = dict(re.findall(r'\.(fa-[a-z-]+)::before \{ content: "\\(\w+)"', sheet))
    used = {name for html in all_pages.values() for name in ICON.findall(html)}
    assert used and used - {"fa-lg"} <= set(ours)
    # The theme names further icons by their code points.
    theme = "".join(
        path.read_text(encoding="utf-8")
        for path in (book / "_static" / "styles").glob("*.css")
    )
    points = re.findall(r'(?:content|--pst-icon[\w-]*):\s*"\\([ef]\w{3})"', theme)
    points += [
        f"{ord(point):x}" for point in re.findall(r':"([\ue000-\uf8ff])"', theme)
    ]
    assert points and set(points) <= set(ours.values())


@pytest.mark.parametrize("name", ["index", "chapters/structure/index"])
def test_the_icons_are_drawn(browser, book, name):
    with visit(browser, book.as_uri(), f"{name}.html") as (page, trouble):
        loaded = page.evaluate(
            "[...document.fonts].filter(font => font.status === 'loaded')"
            ".map(font => font.family.replaceAll('\"', ''))"
        )
        nameless = page.evaluate(
            "[...document.querySelectorAll('i[class*=fa-]')].filter(icon =>"
            " getComputedStyle(icon, '::before').content === 'none').length"
        )
    assert {"Font Awesome 6 Free", "Font Awesome 6 Brands"} <= set(loaded)
    assert nameless == 0
    assert trouble.missing == trouble.foreign == []


def test_formulas_far_down_do_not_hold_up_the_page(browser, book):
    """Math is set after the page is loaded, unless a formula is on the screen."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(
        "addEventListener('load', () => {"
        " window.early = [...document.scripts].some(s => s.src.includes('math.js')"
        " && s.type !== 'text/x-math'); })"
    )
    page.goto(f"{book.as_uri()}/chapters/structure/index.html")
    assert page.evaluate("window.early") is False
    settle(page)
    assert page.locator(".bd-article mjx-container").count() > 0
    assert page.evaluate(LATE) == 0
    # Each has its place kept free before it is there.
    assert page.locator(".bd-article img[loading=lazy]:not([height])").count() == 0
    page.goto(f"{book.as_uri()}/chapters/backprop/bn_gradient.html")
    assert page.evaluate("window.early") is True
    settle(page)
    context.close()
