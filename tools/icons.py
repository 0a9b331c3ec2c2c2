"""Cut Font Awesome down to the icons that the theme of this book shows.

Font Awesome's style sheet and fonts are 380 KB a page for some thirty icons. This
takes those out of the copy that the theme brings, into ``_vendor/fontawesome``.
It is needed again only when the theme changes or an icon is added (a test says
so), and wants two packages that nothing else here needs::

    python -m pip install fonttools brotli
    python tools/icons.py _build/html/_static/vendor/fontawesome/6.5.2
"""

import argparse
import io
import re
from pathlib import Path

from fontTools import subset

PLACE = Path(__file__).parents[1] / "_vendor" / "fontawesome"
SOLID = """angle-down angle-left angle-right arrow-up bars bell chevron-down
chevron-left chevron-right chevron-up circle-check circle-exclamation
circle-half-stroke circle-info circle-xmark download expand file file-code file-pdf
lightbulb list magnifying-glass magnifying-glass-minus moon pencil print rocket share
square-up-right sun triangle-exclamation up-right-from-square xmark"""
BRANDS = "github gitlab"
HEAD = """/* Font Awesome Free 6.5.2, by @fontawesome, https://fontawesome.com:
 * the icons of this book and no others, written by tools/icons.py.
 * License: https://fontawesome.com/license/free (icons CC BY 4.0, fonts
 * SIL OFL 1.1, code MIT). Copyright 2024 Fonticons, Inc. */

:root {
  --fa-font-solid: normal 900 1em/1 "Font Awesome 6 Free";
  --fa-font-brands: normal 400 1em/1 "Font Awesome 6 Brands";
}
@font-face {
  font-family: "Font Awesome 6 Free";
  font-weight: 900;
  font-display: block;
  src: url("solid.woff2") format("woff2");
}
@font-face {
  font-family: "Font Awesome 5 Free";
  font-weight: 900;
  font-display: block;
  src: url("solid.woff2") format("woff2");
}
@font-face {
  font-family: "Font Awesome 6 Brands";
  font-weight: 400;
  font-display: block;
  src: url("brands.woff2") format("woff2");
}
.fa, .fas, .fa-solid, .fab, .fa-brands {
  display: inline-block;
  font-style: normal;
  font-variant: normal;
  line-height: 1;
  text-rendering: auto;
  -webkit-font-smoothing: antialiased;
}
.fa, .fas, .fa-solid { font-family: "Font Awesome 6 Free"; font-weight: 900; }
.fab, .fa-brands { font-family: "Font Awesome 6 Brands"; font-weight: 400; }
.fa-lg { font-size: 1.25em; line-height: 0.05em; vertical-align: -0.075em; }
"""


def cut(font: Path, points: list[int]) -> bytes:
    """A WOFF2 font with these code points alone."""
    options = subset.Options(flavor="woff2", layout_features=[], hinting=False)
    loaded = subset.load_font(str(font), options)
    worker = subset.Subsetter(options)
    worker.populate(unicodes=points)
    worker.subset(loaded)
    out = io.BytesIO()
    subset.save_font(loaded, out, options)
    return out.getvalue()


def main() -> None:
    """Write fonts and style sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="Font Awesome in a built book")
    folder = parser.parse_args().folder
    sheet = (folder / "css" / "all.min.css").read_text(encoding="utf-8")

    def code(name: str) -> str:
        rule = re.search(
            rf'\.fa-{name}:before[^{{}}]*{{content:"\\([0-9a-f]+)"}}', sheet
        )
        if not rule:
            raise SystemExit(f"no icon {name!r} in {folder}")
        return rule[1]

    PLACE.mkdir(parents=True, exist_ok=True)
    rules = ""
    for file, font, names in (
        ("solid", "fa-solid-900", SOLID),
        ("brands", "fa-brands-400", BRANDS),
    ):
        codes = {name: code(name) for name in names.split()}
        data = cut(
            folder / "webfonts" / f"{font}.ttf", [int(c, 16) for c in codes.values()]
        )
        (PLACE / f"{file}.woff2").write_bytes(data)
        rules += "".join(
            f'.fa-{name}::before {{ content: "\\{c}"; }}\n' for name, c in codes.items()
        )
    (PLACE / "icons.css").write_text(HEAD + rules, encoding="utf-8")
    license_text = (folder / "LICENSE.txt").read_text(encoding="utf-8")
    (PLACE / "LICENSE.txt").write_text(license_text, encoding="utf-8")


if __name__ == "__main__":
    main()
