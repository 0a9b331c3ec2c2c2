"""Take the README's picture of the book, after `make book`: python tools/screenshot.py.

Needs a Chromium; writes docs/screenshot.png.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(book: Path) -> None:
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1180})
        page.goto((book / "index.html").resolve().as_uri())
        page.wait_for_timeout(500)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    target = ROOT / "docs" / "screenshot.png"
    target.parent.mkdir(exist_ok=True)
    # Of all palettes this one keeps the few orange pixels orange.
    palette = shot.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html")
