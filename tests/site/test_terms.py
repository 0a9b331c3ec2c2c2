"""Terms show their glossary entry: by mouse, keyboard, touch and screen reader."""

import pytest
from test_pages import DARK, axe
from visits import visit

PAGES = [f"chapters/{n}/index" for n in ("structure", "mechanism", "code", "backprop")]
TERM, TIP = ".bd-article a.term", ".term-tip"


@pytest.mark.parametrize("name", PAGES)
def test_every_term_of_a_page_has_its_entry(browser, book, name):
    with visit(browser, book.as_uri(), f"{name}.html") as (page, trouble):
        links = page.locator(".bd-article a:has(> .std-term)")
        assert links.count() == page.locator(TERM).count() >= 15
        for number in range(links.count()):
            entry = links.nth(number).get_attribute("aria-describedby")
            text = page.locator(f'[id="{entry}"]').text_content()
            assert len(text) > 30, entry
    assert trouble.console == trouble.foreign == trouble.missing == []


def test_mouse_and_keyboard(browser, book):
    with visit(browser, book.as_uri(), f"{PAGES[0]}.html") as (page, _):
        tip, term = page.locator(TIP), page.locator(TERM, has_text="bottleneck").first
        assert not tip.is_visible()
        term.hover()
        tip.wait_for()
        assert "瓶颈残差块" in tip.inner_text()
        assert tip.locator("[lang=zh]").count() == 1
        tip.hover()  # the pointer may move onto it
        page.wait_for_timeout(400)
        assert tip.is_visible()
        page.mouse.move(0, 0)
        tip.wait_for(state="hidden")
        for look in ("", DARK):
            page.evaluate(look or "0")
            term.focus()
            page.keyboard.press("Tab")
            page.keyboard.press("Shift+Tab")
            assert tip.is_visible()
            assert axe(page, "color-contrast", within=TIP) == []
            assert axe(page, "aria-valid-attr-value") == []
            page.keyboard.press("Escape")
            assert not tip.is_visible()


def test_a_tap_shows_and_a_second_one_leads_there(browser, book):
    phone = {"width": 390, "height": 844}
    context = browser.new_context(has_touch=True, viewport=phone)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/{PAGES[1]}.html")
    tip = page.locator(TIP)
    for number in range(page.locator(TERM).count()):
        term = page.locator(TERM).nth(number)
        term.scroll_into_view_if_needed()
        term.tap()
        tip.wait_for()
        box = tip.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        page.keyboard.press("Escape")
    assert page.url.endswith("mechanism/index.html")
    term.tap()
    term.tap()
    page.wait_for_url("**/glossary.html#term-*")
    context.close()


def test_without_javascript_a_term_is_a_link(browser, book):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/{PAGES[0]}.html")
    assert not page.locator(".term-definitions").is_visible()
    page.locator(".bd-article a:has(> .std-term)").first.click()
    page.wait_for_url("**/glossary.html#term-*")
    context.close()
