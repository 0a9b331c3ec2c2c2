"""The shapes that :mod:`.network_map` composes: SVG, without torch.

Colors are CSS variables with the light theme's as a fallback, so that the drawing
follows the theme of the page that inlines it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

__all__ = ["AXIS", "BOX", "CHANNEL", "PIXEL", "STYLE", "Drawing", "element", "n"]

PIXEL = 92 / 224  # side of a feature map's pixel in the drawing
CHANNEL = 1 / 8  # depth of one channel
BOX = 23  # height of a box
AXIS = 188  # x of the main path

STYLE = """
.network-map { font-family: system-ui, -apple-system, "Segoe UI", Roboto,
  "Noto Sans", "DejaVu Sans", sans-serif; font-size: 13px; }
.network-map text { fill: var(--map-ink, #1f2328); }
.network-map text.quiet { fill: var(--map-muted, #59636e); }
.network-map .mid { text-anchor: middle; }
.network-map .bold { font-weight: 650; }
.network-map .panel { fill: var(--map-panel, #f4f6f8); }
.network-map .front { fill: var(--map-front, #b9cfe0); }
.network-map .top { fill: var(--map-top, #d9e5ee); }
.network-map .side { fill: var(--map-side, #7fa3bf); }
.network-map .bricks { fill: none; stroke: var(--map-side, #7fa3bf); }
.network-map .wire { fill: none; stroke: var(--map-wire, #6b7681); stroke-width: 1.6; }
.network-map .box { fill: var(--map-box, #fff); stroke: var(--map-wire, #6b7681);
  stroke-width: 1.4; }
.network-map .identity { fill: none; stroke: var(--map-blue, #0072b2);
  stroke-width: 2.4; }
.network-map .projection { fill: none; stroke: var(--map-orange, #bf4e00);
  stroke-width: 2.4; }
.network-map rect.projection { fill: var(--map-box, #fff); stroke-width: 1.8; }
.network-map circle.identity { fill: var(--map-blue, #0072b2); stroke: none; }
.network-map circle.projection { fill: var(--map-orange, #bf4e00); stroke: none; }
.network-map .plus { fill: var(--map-box, #fff); stroke: var(--map-ink, #1f2328);
  stroke-width: 1.6; }
.network-map text.identity { fill: var(--map-blue, #0072b2); stroke: none; }
.network-map text.projection { fill: var(--map-orange, #bf4e00); stroke: none; }
.network-map text.letter { fill: var(--map-letter, #fff); font-weight: 700; }
.network-map .hit { fill: transparent; stroke: none; }
.network-map a:hover .hit, .network-map a:focus-visible .hit {
  fill: var(--map-hover, rgb(0 114 178 / 0.09)); }
.network-map a:focus-visible { outline: none; }
.network-map a:focus-visible .hit { stroke: var(--map-blue, #0072b2);
  stroke-width: 2; }
"""


@dataclass
class Drawing:
    """SVG elements in the order of painting, and how far down they reach."""

    links: Mapping[str, str]
    y: float = 0.0
    panels: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def add(self, tag: str, class_: str, text: str = "", **attributes: object) -> None:
        """One element; numbers are rounded to a hundredth."""
        self.parts.append(element(tag, class_, text, **attributes))

    def text(self, x: float, y: float, text: str, class_: str = "mid") -> None:
        self.add("text", class_, text, x=x, y=y)

    def rect(
        self, class_: str, x: float, y: float, width: float, height: float
    ) -> None:
        self.add("rect", class_, x=x, y=y, width=width, height=height, rx=5)

    def box(self, y: float, channels: int, text: str) -> None:
        """A box on the main path, centered at height ``y``."""
        width = max(6.6 * channels**0.5, 7.6 * len(text) + 10)
        self.rect("box", AXIS - width / 2, y - BOX / 2, width, BOX)
        self.text(AXIS, y + 4.5, text)

    def volume(self, y: float, shape: list[int]) -> float:
        """A feature map [C, H, W] as a block to scale, its shape written below.

        Returns where the text ends.
        """
        side = max(shape[1] * PIXEL, 1.5)
        dx, dy = 0.87 * shape[0] * CHANNEL, 0.5 * shape[0] * CHANNEL
        x, y = 20.0, y + dy
        self.add(
            "path",
            "top",
            d=f"M{n(x)} {n(y)}l{n(dx)} {n(-dy)}h{n(side)}l{n(-dx)} {n(dy)}z",
        )
        self.add(
            "path",
            "side",
            d=f"M{n(x + side)} {n(y)}l{n(dx)} {n(-dy)}v{n(side)}l{n(-dx)} {n(dy)}z",
        )
        self.add("rect", "front", x=x, y=y, width=side, height=side)
        size = f"{shape[1]} × {shape[2]}"
        self.text(x, y + side + 18, size, "bold")
        self.text(x, y + side + 34, f"{shape[0]} channels", "quiet")
        return y + side + 34

    def open_link(self, part: str, label: str) -> None:
        target = self.links.get(part)
        self.parts.append(
            f'<a href="page:{target}" aria-label="{escape(label)}">'
            if target
            else "<g>"
        )

    def close_link(self, part: str) -> None:
        self.parts.append("</a>" if part in self.links else "</g>")


def element(tag: str, class_: str, text: str = "", **attributes: object) -> str:
    """One SVG element."""
    named = "".join(
        f' {key}="{n(value) if isinstance(value, float | int) else value}"'
        for key, value in attributes.items()
    )
    end = f">{escape(text)}</{tag}>" if text else "/>"
    return f'<{tag} class="{class_}"{named}{end}'


def n(value: float) -> str:
    """A number without trailing zeros, so that the file is the same everywhere."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
