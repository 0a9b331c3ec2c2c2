"""What a line must not break, and the labels of the bibliography."""

import re

import pytest
from bs4 import BeautifulSoup, NavigableString
from visits import pages

CODE = "pre, code, script, style, svg, .math, .cell_output, .term-definitions"


def article(book, name):
    text = (book / f"{name}.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser").select_one("article.bd-article")


@pytest.mark.parametrize("name", pages())
def test_numbers_keep_their_units_and_formulas_their_commas(book, name):
    body = article(book, name)
    for formula in body.select("span.math"):
        after = formula.next_sibling
        if isinstance(after, NavigableString) and re.match(r"[.,;:!?)\]]", after):
            assert "together" in formula.parent["class"], (formula, after)
    for part in body.select(CODE):
        part.decompose()
    text = body.get_text()
    loose = re.findall(r".{20}\d (?:%|px|mm|MB|GB|MiB|GiB)(?!\w)|.{20}\d × \d", text)
    assert loose == []


def test_a_citation_and_its_entry_have_one_name(book):
    entries = article(book, "chapters/reference/bibliography").select(".citation")
    labels = {e["id"]: e.select_one(".label").get_text().strip("[]") for e in entries}
    assert len(set(labels.values())) == len(labels) > 30
    found = set()
    for name in pages():
        for link in article(book, name).select('a[href*="bibliography.html#"]'):
            anchor = link["href"].partition("#")[2]
            said = " ".join(link.get_text().split())
            if re.search(r"\d{4}", said):  # a textual citation links its year only
                found.add(anchor)
                assert labels[anchor].endswith(said), name
    assert len(found) > 30
