"""The ledger's page in a browser: from the disk, folded, on a phone, on paper."""

import io

import pypdf
import pytest
from test_pages import axe

from course_lib.ledger import ledger
from course_lib.resnet import resnet18


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "page.html"
    ledger(resnet18(), (1, 3, 230, 225)).to_html(path)
    return path.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1100])
def test_it_folds_by_keyboard_and_axe_finds_nothing(browser, address, theme, width):
    page = browser.new_page(
        viewport={"width": width, "height": 800}, color_scheme=theme
    )
    faults, asked = [], []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    layer = page.locator("summary", has_text="layer1")
    inner = page.get_by_text("BasicBlock").first
    assert not inner.is_visible()
    layer.focus()
    page.keyboard.press("Enter")
    assert inner.is_visible()
    page.get_by_role("button", name="Close all").click()
    assert not inner.is_visible()
    page.get_by_role("button", name="Open all").click()
    assert page.locator("details:not([open])").count() == 0
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults == [] and asked == [address]
    page.close()


def test_on_paper_everything_is_open(browser, address):
    page = browser.new_page()
    page.goto(address)
    paper = page.pdf(format="A4", prefer_css_page_size=True)
    page.close()
    text = "".join(
        sheet.extract_text() for sheet in pypdf.PdfReader(io.BytesIO(paper)).pages
    )
    assert text.count("BasicBlock") == 8 and "Open all" not in text
