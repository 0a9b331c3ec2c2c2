"""The map of a residual network as one SVG, drawn from the network itself.

Sizes come from a forward pass on the meta device (shapes without values), kernels,
strides and channels from the modules' attributes: nothing is typed. The width of a
box grows with the square root of its channels, the side of a square with the size
of the feature map.

The book inlines the file (``_ext/inline_svg.py``), so its colors follow the
reader's theme; seen alone it is light. To draw it again::

    python -m course_book.figures.mechanism.network_map > _static/network_map.svg
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from course_book.figures.mechanism.map_drawing import (
    AXIS,
    BOX,
    CHANNEL,
    PIXEL,
    STYLE,
    Drawing,
    element,
    n,
)
from course_lib.resnet import PlainBlock, ResNet, resnet18

__all__ = ["LINKS", "network_map"]

# Where a click leads: the part of the drawing and the page of the book.
LINKS = {
    "stem": "chapters/structure/photo",
    "stage": "chapters/structure/family",
    "identity": "chapters/structure/residual_unit",
    "projection": "chapters/structure/residual_unit",
    "head": "chapters/structure/photo",
}

WIDTH = 372  # a phone of 390 px shows the drawing at its own size
BYPASS = 300  # x of the shortcuts
BADGE = 346  # x of the letters C and S
STEP = 30  # from one box to the next


def shapes(model: ResNet, size: int) -> dict[nn.Module, list[int]]:
    """The output shape [C, H, W] of every module for one image of ``size`` px."""
    found: dict[nn.Module, list[int]] = {}

    def note(module: nn.Module, _: object, output: torch.Tensor) -> None:
        found[module] = list(output.shape[1:])

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    was_training = model.training
    model.eval()
    device = model.conv1.weight.device
    with torch.no_grad():
        model(torch.empty(1, model.conv1.in_channels, size, size, device=device))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return found


def spell(module: nn.Module) -> str:
    """Kernel and stride of a convolution or a pooling: "3×3, S 2"."""

    def first(value: int | tuple[int, ...]) -> int:
        return value if isinstance(value, int) else value[0]

    kernel, stride = first(module.kernel_size), first(module.stride)
    return f"{kernel}×{kernel}" + (f", S {stride}" if stride > 1 else "")


def draw_unit(drawing: Drawing, unit: nn.Module, name: str) -> None:
    """One residual unit: its convolutions, its shortcut, the addition."""
    convs = [child for child in unit.children() if isinstance(child, nn.Conv2d)]
    projection = unit.downsample
    kind, letter = ("identity", "C") if projection is None else ("projection", "S")
    top = drawing.y
    plus = top + 26 + STEP * len(convs)
    middle = (top + 4 + plus) / 2
    drawing.open_link(kind, f"{letter}, {name}: a residual unit, {kind} shortcut")
    drawing.rect("hit", 110, top - 3, WIDTH - 122, plus - top + 15)
    drawing.add(
        "path",
        kind,
        d=f"M{AXIS} {n(top + 4)}H{BYPASS - 14}q14 0 14 14"
        f"V{n(plus - 14)}q0 14 -14 14H{AXIS + 9}",
    )
    for row, conv in enumerate(convs):
        drawing.box(top + 27 + STEP * row, conv.out_channels, spell(conv))
    drawing.add("circle", "plus", cx=AXIS, cy=plus, r=8.5)
    drawing.add("path", "plus", d=f"M{AXIS - 4.5} {n(plus)}h9M{AXIS} {n(plus - 4.5)}v9")
    if projection is None:
        drawing.add("rect", "panel", x=BYPASS - 4, y=middle - 10, width=8, height=20)
        drawing.text(BYPASS, middle + 4.5, "identity", "mid identity")
    else:
        drawing.rect("projection", BYPASS - 31, middle - BOX / 2, 62, BOX)
        drawing.text(BYPASS, middle + 4.5, spell(projection[0]), "mid projection")
    drawing.add("circle", kind, cx=BADGE, cy=top + 14, r=9.5)
    drawing.text(BADGE, top + 18.5, letter, "mid letter")
    drawing.close_link(kind)
    drawing.y = plus + 18


def draw_panel(drawing: Drawing, top: float) -> None:
    """The ground of everything between ``top`` and here."""
    drawing.panels.append(
        element(
            "rect", "panel", x=4, y=top, width=WIDTH - 8, height=drawing.y - top, rx=10
        )
    )
    drawing.y += 10


def draw_stem(
    drawing: Drawing, model: ResNet, shape: dict[nn.Module, list[int]], size: int
) -> None:
    """The photo, drawn as a wall of bricks, and what comes before the stages."""
    drawing.open_link("stem", "The photo and the stem: convolution and pooling")
    drawing.rect("hit", 4, 4, WIDTH - 8, 254)
    below = drawing.volume(14, [model.conv1.in_channels, size, size])
    side, edge = size * PIXEL, 14 + 0.5 * model.conv1.in_channels * CHANNEL
    rows = 6
    bricks = "".join(
        f"M20 {n(edge + side * row / rows)}h{n(side)}" for row in range(1, rows)
    ) + "".join(
        f"M{n(20 + side * (column + row % 2 / 2) / 3)} {n(edge + side * row / rows)}"
        f"v{n(side / rows)}"
        for row in range(rows)
        for column in range(1 - row % 2, 3)
    )
    drawing.add("path", "bricks", d=bricks)
    drawing.text(AXIS, 64, "a photo")
    drawing.text(AXIS + 56, below + 16, "stem", "bold")
    drawing.volume(below + 14, shape[model.conv1])
    drawing.box(below + 39, model.conv1.out_channels, spell(model.conv1))
    if not isinstance(model.maxpool, nn.Identity):
        drawing.box(below + 82, model.conv1.out_channels, f"max {spell(model.maxpool)}")
    drawing.close_link("stem")
    drawing.y = 264.0


def draw_stage(
    drawing: Drawing, name: str, stage: nn.Sequential, shape: list[int]
) -> None:
    """A panel with the stage's name, its feature map and its units."""
    top = drawing.y
    drawing.open_link("stage", f"{name}: {shape[0]} channels, {shape[1]} × {shape[2]}")
    drawing.rect("hit", 10, top + 6, 96, 132)
    drawing.text(20, top + 26, name, "bold")
    drawing.volume(top + 40, shape)
    drawing.close_link("stage")
    drawing.y = top + 8
    for index, unit in enumerate(stage):
        draw_unit(drawing, unit, f"{name}[{index}]")
    draw_panel(drawing, top)


def draw_head(drawing: Drawing, model: ResNet, shape: list[int]) -> None:
    """Average pooling and the linear layer."""
    top = drawing.y
    drawing.open_link("head", "The head: global average pooling, linear layer")
    drawing.rect("hit", 4, top, WIDTH - 8, 88)
    drawing.volume(top + 2, shape)
    drawing.box(top + 20, model.fc.in_features, "average per map")
    drawing.box(top + 62, model.fc.in_features, f"FC: {model.fc.out_features:,}")
    drawing.text(AXIS + 84, top + 66.5, "logits", "")
    drawing.text(AXIS + 84, top + 24.5, "head", "bold")
    drawing.close_link("head")
    drawing.y = top + 92


def network_map(
    model: ResNet, size: int = 224, links: Mapping[str, str] | None = None
) -> str:
    """Draw a residual network from photo to logits, top to bottom.

    Args:
        model: a net with shortcuts; one on the meta device is enough.
        size: height and width of the photo in pixels.
        links: page of the book for each of "stem", "stage", "identity",
            "projection" and "head"; a part left out is no link.

    Returns:
        The text of an SVG file with title and description.

    Raises:
        ValueError: if the model is a plain net, or ``links`` names another part.
    """
    links = LINKS if links is None else links
    unknown = sorted(set(links) - set(LINKS))
    if unknown:
        raise ValueError(f"links names {unknown}; the parts are {sorted(LINKS)}")
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    if isinstance(stages[0][0], PlainBlock):
        raise ValueError("model is a plain net: it has no shortcuts to draw")
    shape = shapes(model, size)
    drawing = Drawing(links)
    draw_stem(drawing, model, shape, size)
    for index, stage in enumerate(stages, start=1):
        draw_stage(drawing, f"layer{index}", stage, shape[stage])
    wire_end = drawing.y + 62
    draw_head(drawing, model, shape[model.avgpool])

    count = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules())
    count -= sum(unit.downsample is not None for stage in stages for unit in stage)
    order = " · ".join(
        " ".join("C" if unit.downsample is None else "S" for unit in stage)
        for stage in stages
    )
    wire = element("path", "wire", d=f"M{AXIS} 72V{n(wire_end)}")

    title = f"The map of ResNet-{count}"
    description = (
        f"From top to bottom: a photo of {size} × {size} pixels, the stem, four stages "
        f"with the units {order} (C: identity shortcut, S: projection shortcut), "
        f"average pooling and a linear layer. The feature maps shrink from {size} to "
        f"{shape[stages[-1]][1]} pixels while the channels grow from "
        f"{shape[stages[0]][0]} to {shape[stages[-1]][0]}."
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {n(drawing.y)}" '
        'class="network-map" role="group" '
        'aria-labelledby="network-map-title network-map-desc">'
    )
    return "\n".join(
        [
            head,
            f'<title id="network-map-title">{title}</title>',
            f'<desc id="network-map-desc">{description}</desc>',
            f"<style>{STYLE}</style>",
            *drawing.panels,
            wire,
            *drawing.parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    import sys

    with torch.device("meta"):
        drawn = network_map(resnet18())
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    sys.stdout.write(drawn)
