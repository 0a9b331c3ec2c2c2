"""Open a page, note everything that goes wrong, wait until it stands still."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def pages() -> list[str]:
    """The pages of the table of contents, without suffix."""

    def walk(entry):
        if isinstance(entry, dict):
            for key, value in entry.items():
                if key in ("file", "root"):
                    yield value
                else:
                    yield from walk(value)
        elif isinstance(entry, list):
            for value in entry:
                yield from walk(value)

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


@dataclass
class Trouble:
    """What a page asked for and could not have, and what it complained about."""

    foreign: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)


@contextmanager
def visit(browser, base: str, name: str, *, look: bool = True, **options):
    """A page of the book at ``base`` and its troubles, with the network cut off.

    ``look``: scroll to its explorers once, which come alive only then.
    """
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", **options
    )
    page, trouble = context.new_page(), Trouble()

    def route(found):
        url = found.request.url
        if url.startswith((base, "data:", "blob:", "about:")):
            found.continue_()
        else:
            trouble.foreign.append(url)
            found.abort()

    def answered(response):
        if response.status >= 400:
            trouble.missing.append(response.url)
        if "image" not in response.headers.get("content-type", ""):
            size = int(response.headers.get("content-length", 0))
            trouble.sizes[response.url] = size

    context.route("**/*", route)
    page.on("response", answered)
    page.on("requestfailed", lambda request: trouble.missing.append(request.url))
    page.on("pageerror", lambda error: trouble.console.append(str(error)))
    page.on(
        "console",
        lambda message: (
            trouble.console.append(message.text)
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.goto(f"{base}/{name}", wait_until="load")
    settle(page, look)
    try:
        yield page, trouble
    finally:
        context.close()


def settle(page, look: bool = True) -> None:
    """Wait for math, fonts, book.js after them, and explorers if they are looked at."""
    page.evaluate(
        """async (look) => {
            const math = document.querySelector('script[type="text/x-math"]');
            while (math && document.documentElement.dataset.math !== "set")
                await new Promise(done => setTimeout(done, 20));
            await document.fonts.ready;
            const frames = [...document.querySelectorAll("[data-explorer]")];
            if (look && !location.hash) {
                for (const frame of frames) {
                    frame.scrollIntoView({behavior: "instant"});
                    await new Promise(done => setTimeout(done, 100));
                }
                if (frames.length) scrollTo({top: 0, behavior: "instant"});
            }
            await new Promise(done => setTimeout(done, 150));
        }""",
        look,
    )
