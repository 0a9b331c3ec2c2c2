"""The self-checks in a real browser: by keyboard, without JavaScript, on paper."""

import pytest
from visits import visit

PAGES = [f"chapters/{name}/index" for name in ("structure", "mechanism", "code")]
PAGES.append("chapters/backprop/index")
CHECK = ".self-check .answers > li"


@pytest.mark.parametrize("name", PAGES)
def test_an_answer_is_chosen_and_explained_by_keyboard(browser, book, name):
    with visit(browser, book.as_uri(), f"{name}.html") as (page, trouble):
        answers = page.locator(CHECK)
        assert answers.count() == 15
        assert page.locator(".self-check li.question").count() == 5
        page.locator(f"{CHECK} summary").first.focus()
        for number in range(15):
            reason = answers.nth(number).locator("details > p").first
            assert not reason.is_visible()
            page.keyboard.press("Enter" if number % 2 else "Space")
            assert reason.is_visible()
            right = "right" in answers.nth(number).get_attribute("class")
            assert reason.inner_text().startswith("Right." if right else "No")
            for _ in range(6):  # past the links of an explanation
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.matches('summary')"):
                    break
        assert page.locator(".self-check li.right").count() == 5
    assert trouble.console == []


def test_a_screen_reader_hears_a_closed_or_open_answer(browser, book):
    with visit(browser, book.as_uri(), "chapters/structure/index.html") as (page, _):
        tree = page.locator(".self-check").aria_snapshot()
        assert "Overfitting." in tree and "A network that overfits" not in tree
        page.get_by_text("Overfitting.", exact=True).click()
        assert "A network that overfits" in page.locator(".self-check").aria_snapshot()


def test_without_javascript_and_on_paper_every_word_is_there(browser, book):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/chapters/structure/index.html")
    answers = page.locator(CHECK)
    reasons = page.locator(f"{CHECK} details > p")
    answers.nth(1).locator("summary").click()
    assert answers.nth(1).locator("details > p").is_visible()
    page.emulate_media(media="print")
    assert reasons.count() >= 15
    for number in range(reasons.count()):
        assert reasons.nth(number).bounding_box()["height"] > 10
    context.close()
