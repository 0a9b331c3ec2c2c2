"""The book from the disk, ``file://``, and every link and anchor in it."""

from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from visits import pages, visit


class Anchors(HTMLParser):
    """The ids of a page, and the addresses that it names."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.addresses: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if named.get("id"):
            self.ids.append(named["id"])
        for key in ("href", "src", "data"):
            if named.get(key):
                self.addresses.add(named[key])


@pytest.fixture(scope="module")
def parsed(book: Path) -> dict[Path, Anchors]:
    files = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    return {path: Anchors(path.read_text(encoding="utf-8")) for path in files}


def test_every_page_of_the_contents_is_built(book):
    assert [name for name in pages() if not (book / f"{name}.html").is_file()] == []


def test_links_and_anchors_are_alive(parsed):
    dead = defaultdict(list)
    for path, anchors in parsed.items():
        for address in anchors.addresses:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "mailto", "data", "javascript"):
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            target = path if not parts.path else target
            anchor = unquote(parts.fragment)
            missing = anchor and target in parsed and anchor not in parsed[target].ids
            if missing or not target.is_file():
                dead[path.name].append(address)
    assert dict(dead) == {}


def test_links_to_other_hosts_are_encrypted(parsed):
    plain = {
        address
        for anchors in parsed.values()
        for address in anchors.addresses
        if address.startswith("http://")
    }
    assert plain == set()


# The theme's search field, on the page of the search; sphinx-exercise's boxes.
REPEATED_BY_OTHERS = {"search-input", "exercise-content", "solution-content"}


def test_ids_are_unique(parsed):
    twice = {
        path.name: sorted(
            {name for name in anchors.ids if anchors.ids.count(name) > 1}
            - REPEATED_BY_OTHERS
        )
        for path, anchors in parsed.items()
    }
    assert {name: ids for name, ids in twice.items() if ids} == {}


def test_search_works_from_the_disk(browser, book):
    with visit(browser, book.as_uri(), "search.html?q=residual") as (page, trouble):
        page.locator("#search-results ul.search li a").first.wait_for()
        page.wait_for_timeout(300)
    assert trouble.foreign == trouble.missing == trouble.console == []


def test_the_map_leads_to_its_pages(browser, book):
    with visit(browser, book.as_uri(), "index.html") as (page, _):
        links = page.locator("svg.network-map a")
        assert links.count() >= 8
        links.first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/chapters/**")
