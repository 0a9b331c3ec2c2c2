"""Every page in a real browser, from the disk, with the network cut off.

What a browser lets a page do from ``file://`` is less than over HTTP, so all pages are
looked at from the disk, and one of each kind over HTTP too.
"""

import contextlib
import io
from dataclasses import dataclass
from itertools import pairwise

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from visits import ROOT, Trouble, pages, visit

AXE = Axe()
SPECIAL = ["search", "genindex"]
BUDGET = 2_200_000  # bytes of a page without its images
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
DARK = """document.documentElement.dataset.mode = "dark";
document.documentElement.dataset.theme = "dark";"""
FACTS = """() => {
    const raw = /\\\\\\(|\\\\\\[|\\\\(frac|begin|mathbf)/;
    const math = [...document.querySelectorAll(".math")];
    return {
        formulas: math.length,
        unset: math.filter(box => !box.querySelector("mjx-container")
            || raw.test(box.innerText)).map(box => box.innerText),
        wrong: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")]
            .map(box => box.getAttribute("data-mjx-error") ?? box.innerText),
        nameless: [...document.images]
            .filter(image => !image.hasAttribute("alt")
                || (!image.alt.trim() && image.closest(".bd-article")))
            .map(image => image.src),
        broken: [...document.images]
            .filter(image => image.complete && !image.naturalWidth
                && getComputedStyle(image).display !== "none")
            .map(image => image.src),
        headings: [...document.querySelectorAll(
            ".bd-article :is(h1, h2, h3, h4, h5, h6)")]
            .map(heading => Number(heading.tagName[1])),
        asleep: [...document.querySelectorAll("[data-explorer]")]
            .filter(box => box.querySelector(".explorer-still")
                || !box.querySelector(".explorer [role=status]")?.innerText.trim())
            .map(box => box.dataset.explorer),
        fonts: [...document.fonts].filter(font => font.status === "error")
            .map(font => font.family),
    };
}"""
TOO_WIDE = """() => {
    const edge = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= edge) return [];
    const boxes = [...document.querySelectorAll("body *")];
    return ["the page", ...boxes
        .filter(box => box.getBoundingClientRect().right > edge + 1
            && !box.closest("pre, mjx-container, .bd-sidebar"))
        .map(box => `${box.tagName}.${box.className}: ${box.textContent.slice(0, 40)}`)
        .slice(-4)];
}"""

# What axe asks below; book.js may need a while after a change of size.
REACHABLE = """() => [...document.querySelectorAll(".bd-article pre")]
    .every(box => box.scrollWidth <= box.clientWidth || box.tabIndex === 0
        || !/auto|scroll/.test(getComputedStyle(box).overflowX))"""


@dataclass
class Visit:
    """Everything that the tests below ask of one page."""

    trouble: Trouble
    facts: dict
    axe: dict[str, list[str]]
    too_wide: list[str]


# Half of a notebook's page is colored words and parts of formulas, which axe would
# walk one by one: an empty box of the same size stands for each formula.
THIN_OUT = """() => {
    for (const formula of document.querySelectorAll("mjx-container")) {
        const box = document.createElement("span");
        box.style.display = "inline-block";
        box.style.width = `${formula.scrollWidth}px`;
        box.style.height = `${formula.scrollHeight}px`;
        formula.replaceChildren(box);
    }
}"""
# Contrast takes most of axe's time, and it is the same for all words of one look:
# one element is marked for each combination of colors, font and place in the page.
MARK_LOOKS = """() => {
    const seen = new Set();
    for (const old of document.querySelectorAll("[data-look]"))
        delete old.dataset.look;
    const name = box => box ? `${box.tagName}.${box.className}` : "";
    for (const box of document.body.querySelectorAll("*")) {
        if (![...box.childNodes].some(part => part.nodeType === 3
            && part.data.trim())) continue;
        const style = getComputedStyle(box);
        let ground = box;
        while (ground.parentElement
            && /^rgba\\(.*, 0\\)$/.test(getComputedStyle(ground).backgroundColor))
            ground = ground.parentElement;
        const look = [style.color, style.fontSize, style.fontWeight, style.opacity,
            getComputedStyle(ground).backgroundColor, name(ground), name(box),
            name(box.parentElement)].join("|");
        if (!seen.has(look)) box.dataset.look = seen.size;
        seen.add(look);
    }
    return seen.size;
}"""
CONTRAST = ("color-contrast", "link-in-text-block")


def axe(page, *rules: str, within: str = "html") -> list[str]:
    """Serious and critical violations, of these rules or of all."""
    # Preloaded, axe would fetch style sheets from addresses of its own making.
    options = {"resultTypes": ["violations"], "preload": False}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    else:
        options["rules"] = {rule: {"enabled": False} for rule in CONTRAST}
    found = AXE.run(page, context=within, options=options).response["violations"]
    violations = [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
    return violations


def contrast(page) -> list[str]:
    """What axe says of the colors of one element of each look."""
    assert page.evaluate(MARK_LOOKS) > 0
    return axe(page, *CONTRAST, within="[data-look]")


@pytest.fixture(scope="module")
def visits(browser, book):
    seen: dict[str, Visit] = {}

    def look(name: str) -> Visit:
        if name not in seen:
            with visit(
                browser, book.as_uri(), f"{name}.html", color_scheme="light"
            ) as opened:
                page, trouble = opened
                facts = page.evaluate(FACTS)
                page.set_viewport_size(PHONE)
                page.wait_for_timeout(200)  # book.js waits 100 ms, and works then
                with contextlib.suppress(PlaywrightTimeout):
                    page.wait_for_function(REACHABLE, timeout=5000)
                too_wide = page.evaluate(TOO_WIDE)
                page.evaluate(THIN_OUT)
                violations = {"phone": axe(page, "scrollable-region-focusable")}
                page.set_viewport_size(DESKTOP)
                page.wait_for_timeout(200)  # book.js waits 100 ms
                violations["light"] = axe(page) + contrast(page)
                page.evaluate(DARK)
                page.wait_for_timeout(50)
                violations["dark"] = contrast(page)
            seen[name] = Visit(trouble, facts, violations, too_wide)
        return seen[name]

    return look


every_page = pytest.mark.parametrize("name", pages() + SPECIAL)


@every_page
def test_no_request_to_another_host(visits, name):
    assert visits(name).trouble.foreign == []


@every_page
def test_no_missing_file(visits, name):
    assert visits(name).trouble.missing == []
    assert visits(name).facts["broken"] == []


@every_page
def test_no_console_error(visits, name):
    assert visits(name).trouble.console == []


@every_page
def test_math_is_set(visits, name):
    assert visits(name).facts["unset"] == []
    assert visits(name).facts["wrong"] == []


@every_page
def test_no_sideways_scrolling_on_a_phone(visits, name):
    assert visits(name).too_wide == []


@every_page
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_serious(visits, name, look):
    assert visits(name).axe[look] == []


@every_page
def test_images_have_alt_text(visits, name):
    assert visits(name).facts["nameless"] == []


@pytest.mark.parametrize("name", pages())
def test_headings_descend_step_by_step(visits, name):
    headings = visits(name).facts["headings"]
    assert headings.count(1) == 1 and headings[0] == 1, headings
    steps = [below - above for above, below in pairwise(headings)]
    assert all(step <= 1 for step in steps), headings


@every_page
def test_its_explorers_come_alive_and_its_fonts_are_there(visits, name):
    assert visits(name).facts["asleep"] == []
    assert visits(name).facts["fonts"] == []


OVER_HTTP = [
    "index",
    "search",
    "chapters/structure/index",
    "chapters/mechanism/index",
    "chapters/mechanism/ledger",
    "chapters/code/exercises",
    "chapters/backprop/index",
    "chapters/backprop/residual_gradient",
    "chapters/reference/glossary",
]


@pytest.mark.parametrize("name", OVER_HTTP)
def test_a_page_of_each_kind_over_http(browser, http, name):
    with visit(browser, http, f"{name}.html") as (page, trouble):
        facts = page.evaluate(FACTS)
    assert trouble.foreign == trouble.missing == trouble.console == []
    for fault in ("asleep", "broken", "fonts", "unset", "wrong"):
        assert facts[fault] == []
    assert sum(trouble.sizes.values()) <= BUDGET, trouble.sizes


def test_some_page_has_math(visits):
    assert any(visits(name).facts["formulas"] for name in pages())


def test_a_figure_stands_on_the_ground_of_the_dark_page(browser, http, book):
    """White under the figures' filter equals the dark theme's ground."""
    figure = ".bd-article img[src$='.png']:not(.keep-colors, .keep-colors *)"
    for name in pages():
        html = (book / f"{name}.html").read_text(encoding="utf-8")
        if 'class="cell_output' not in html or ".png" not in html:
            continue
        with visit(browser, http, f"{name}.html", color_scheme="dark") as (page, _):
            if not page.locator(figure).count():
                continue
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            shot = page.locator(figure).first.screenshot()
        pixel = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((1, 1))
        assert ground == "rgb({}, {}, {})".format(*pixel)
        return
    pytest.skip("no page has a figure of a notebook")


@pytest.mark.parametrize("name", pages())
def test_colab_opens_the_notebook_and_no_other_page(book, name):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]["url"].removeprefix("https://github.com/")
    branch = config["repository"]["branch"]
    html = (book / f"{name}.html").read_text(encoding="utf-8")
    colab = "https://colab.research.google.com/github/"
    address = f"{colab}{repository}/blob/{branch}/{name}.ipynb"
    if name.endswith("/exercises"):  # without the solutions, on a branch of their own
        chapter = name.split("/")[-2]
        address = f"{colab}{repository}/blob/handout/{chapter}_exercises.ipynb"
    if (ROOT / f"{name}.ipynb").is_file():
        assert f'href="{address}"' in html
    else:
        assert colab not in html


def test_search_finds_a_word_and_shows_it(browser, http):
    with visit(browser, http, "search.html?q=residual") as (page, trouble):
        page.locator("#search-results ul.search li").first.wait_for()
        page.locator("#search-results p.context").first.wait_for()
    assert trouble.foreign == trouble.missing == trouble.console == []


def test_search_opens_from_the_keyboard(browser, http):
    with visit(browser, http, "index.html") as (page, _):
        page.keyboard.press("Control+k")
        box = page.locator(".search-button__search-container input[type=search]")
        box.fill("residual")
        with contextlib.suppress(TimeoutError):
            box.press("Enter")
        page.locator("#search-results ul.search li").first.wait_for()
