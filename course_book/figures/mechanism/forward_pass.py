"""Pictures of one photo's way through the network: branches, verdicts, answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import ColorbarBase
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from course_book.figures import BLUE, INK, MUTED, ORANGE, use_style
from course_book.figures.mechanism.worked import SIGNED

__all__ = [
    "draw_branches",
    "draw_changes",
    "draw_photo",
    "draw_probabilities",
    "draw_verdicts",
]


def draw_photo(photo: Image.Image) -> Figure:
    """Draw a photo alone, without axes."""
    use_style()
    figure, axes = plt.subplots(figsize=(3.2, 3.2))
    axes.imshow(photo)
    axes.axis("off")
    return figure


def draw_branches(
    terms: Mapping[str, Tensor],
    signs: Sequence[str],
    names: Sequence[str],
    mark: tuple[int, int] | None = None,
) -> Figure:
    """Draw maps that are added, one row per channel, all on one color scale.

    Blue is positive, orange negative, white zero. The scale ends at the largest
    magnitude drawn.

    Args:
        terms: title → float tensor [R, H, W], R channels, on any device; sizes
            may differ between terms.
        signs: what stands between neighbors, one fewer than terms.
        names: names of the R rows.
        mark: row and column of a position to outline, in the last term's map;
            in larger maps the position with the same center is outlined.

    Raises:
        ValueError: if the numbers of terms, signs, rows and names do not agree.
    """
    rows = {len(values) for values in terms.values()}
    if len(signs) != len(terms) - 1 or rows != {len(names)}:
        raise ValueError(
            f"got {len(terms)} terms and {len(signs)} signs, maps for {sorted(rows)} "
            f"rows and {len(names)} names: need one sign fewer than terms, and one "
            "name per row"
        )
    use_style()
    maps = {title: v.detach().float().cpu() for title, v in terms.items()}
    high = max(float(v.abs().max()) for v in maps.values()) or 1.0
    gap, top, below, width = 0.3, 0.32, 0.56, 6.3
    side = (width - gap * len(signs)) / len(terms)
    row = side + 0.3
    height = top + row * len(names) + below
    figure = plt.figure(figsize=(width, height), layout="none")
    last = next(reversed(maps.values()))
    for column, (title, values) in enumerate(maps.items()):
        left = column * (side + gap)
        figure.text(left / width, 1 - 0.16 / height, title, fontweight="bold",
                    va="center")  # fmt: skip
        for r, image in enumerate(values):
            bottom = height - top - r * row - side
            axes = figure.add_axes(
                (left / width, bottom / height, side / width, side / height)
            )
            axes.imshow(image.numpy(), cmap=SIGNED, vmin=-high, vmax=high)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            for spine in axes.spines.values():
                spine.set(visible=True, color="#d1d9e0")
            if mark is not None:
                _mark(axes, mark, len(image) / last.shape[1])
            if column < len(signs):
                figure.text((left + side + gap / 2) / width,
                            (bottom + side / 2) / height, signs[column], fontsize=14,
                            ha="center", va="center")  # fmt: skip
    for r, name in enumerate(names):
        y = height - top - r * row - side - 0.13
        figure.text(0, y / height, name, color=MUTED, va="center")
    scale = figure.add_axes((0.25, 0.34 / height, 0.5, 0.12 / height))
    ColorbarBase(
        scale, cmap=SIGNED, norm=Normalize(-high, high), orientation="horizontal"
    )
    scale.set_xticks([-high, 0, high], [f"−{high:.1f}", "0", f"{high:.1f}"])
    scale.tick_params(length=0)
    return figure


def _mark(axes: plt.Axes, position: tuple[int, int], zoom: float) -> None:
    y, x = (index * zoom for index in position)
    half = 1.2 * max(1.0, zoom)
    axes.add_patch(
        Rectangle(
            (x - half, y - half),
            2 * half,
            2 * half,
            fill=False,
            edgecolor=INK,
            linewidth=1.6,
        )
    )


def draw_verdicts(photo: Tensor, scores: Mapping[str, Tensor]) -> Figure:
    """Draw a photo and, laid over it, local scores with their numbers.

    Blue speaks for, orange against; every tile is one position of the last maps.

    Args:
        photo: floats [3, H, W] from 0 to 1.
        scores: title → float tensor [h, w]; the color scale is common.

    Raises:
        ValueError: if the photo is not [3, H, W] or there are no scores.
    """
    if photo.ndim != 3 or len(photo) != 3 or not scores:
        raise ValueError(
            f"photo must have shape [3, H, W] and scores an entry, got "
            f"{list(photo.shape)} and {len(scores)} scores"
        )
    use_style()
    picture = photo.detach().float().cpu().permute(1, 2, 0).numpy()
    gray = picture.mean(axis=2)
    maps = {title: v.detach().float().cpu() for title, v in scores.items()}
    high = max(float(v.abs().max()) for v in maps.values()) or 1.0
    figure, all_axes = plt.subplots(
        1, 1 + len(maps), figsize=(6.4, 6.4 / (1 + len(maps)) + 0.9)
    )
    for axes in all_axes:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    all_axes[0].imshow(picture)
    all_axes[0].set_title("photo")
    height, width = gray.shape
    for axes, (title, values) in zip(all_axes[1:], maps.items()):
        axes.imshow(0.35 + 0.65 * gray, cmap="gray", vmin=0, vmax=1)
        box = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(values.numpy(), cmap=SIGNED, vmin=-high, vmax=high, alpha=0.62,
                    extent=box)  # fmt: skip
        axes.set_title(title)
    norm = Normalize(-high, high)
    scale = figure.colorbar(
        ScalarMappable(norm, SIGNED), ax=list(all_axes), location="bottom",
        aspect=28, shrink=0.6, label="against ← score → in favor",
    )  # fmt: skip
    scale.set_ticks([-high, 0, high], labels=[f"−{high:.0f}", "0", f"{high:.0f}"])
    return figure


def draw_changes(
    pictures: Mapping[str, Image.Image], leads: Mapping[str, float]
) -> Figure:
    """Draw versions of one photo, and under each how far one class leads another.

    Args:
        pictures: what was changed → the photo.
        leads: the same names → difference of two logits.
    """
    use_style()
    figure, (above, below) = plt.subplots(
        2, len(pictures), figsize=(6.4, 3.0), height_ratios=(1.6, 1.1), sharey="row"
    )
    low, high = min(0, *leads.values()), max(0, *leads.values())
    room = 0.28 * (high - low)
    for photo, axes, (name, picture) in zip(above, below, pictures.items()):
        photo.imshow(picture)
        photo.set_title(name, fontsize=10.5)
        photo.axis("off")
        lead = leads[name]
        axes.bar([0], [lead], 0.5, color=BLUE if lead > 0 else ORANGE)
        text = f"{lead:+.1f}".replace("-", "−")
        up = lead > 0
        axes.annotate(
            text,
            (0, lead),
            (0, 2 if up else -3),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
        )
        axes.axhline(0, color=INK, lw=1)
        axes.set(xlim=(-1, 1), ylim=(low - room, high + room), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.grid(False)
    below[0].set_ylabel("lead of\n“cracked”")
    return figure


def draw_probabilities(probabilities: Mapping[str, float], right: str) -> Figure:
    """Draw class probabilities as bars, in percent; the right class in blue.

    Args:
        probabilities: class name → probability from 0 to 1.
        right: name of the right class.

    Raises:
        ValueError: if ``right`` is none of the classes.
    """
    if right not in probabilities:
        raise ValueError(f"right must be one of {list(probabilities)}, got {right!r}")
    use_style()
    names = list(probabilities)[::-1]
    values = [100 * probabilities[name] for name in names]
    figure, axes = plt.subplots(figsize=(6.0, 2.6))
    bars = axes.barh(
        names, values, color=[BLUE if n == right else ORANGE for n in names]
    )
    axes.bar_label(bars, [f"{value:.1f} %" for value in values], padding=4)
    axes.set(xlim=(0, 112), xlabel="probability in %", xticks=range(0, 101, 25))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    return figure
