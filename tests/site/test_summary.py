"""Each chapter in one page, on paper too."""

import io

import pypdf
import pytest
from visits import visit


@pytest.mark.parametrize("name", ["structure", "mechanism", "code", "backprop"])
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_a_summary_fits_on_one_sheet(browser, book, name, paper):
    with visit(browser, book.as_uri(), f"chapters/{name}/summary.html") as (page, _):
        last = page.locator(".one-page > :last-child").inner_text()
        sheet = pypdf.PdfReader(io.BytesIO(page.pdf(format=paper, margin=MARGIN)))
    assert len(sheet.pages) == 1
    assert last.split()[-1] in sheet.pages[0].extract_text()


MARGIN = {"top": "13mm", "bottom": "13mm", "left": "15mm", "right": "15mm"}
