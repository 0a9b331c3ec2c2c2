"""Pictures of a judgment: answers, confusion, calibration, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, FAINT, INK, MUTED, ORANGE, use_style

__all__ = ["draw_answers", "draw_confusion", "draw_reliability"]

COUNTS = LinearSegmentedColormap.from_list("counts", ["white", BLUE])


def draw_answers(
    images: Tensor,
    labels: Tensor | Sequence[int],
    logits: Tensor,
    classes: Sequence[str],
    *,
    columns: int = 4,
) -> Figure:
    """Draw pictures with the network's guess above and, if wrong, the truth.

    Args:
        images: float [B, C, H, W] in 0 … 1, C 1 or 3, on any device.
        labels: int [B].
        logits: float [B, K].
        classes: K names.
        columns: pictures per row.

    Returns:
        The figure, at most 6.2 inches wide.

    Raises:
        ValueError: if the shapes do not agree.
    """
    labels = torch.as_tensor(labels).cpu()
    p = torch.as_tensor(logits).detach().float().cpu().softmax(1)
    pictures = torch.as_tensor(images).detach().float().cpu().clamp(0, 1)
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or not len(pictures):
        raise ValueError(
            f"images must be [B, C, H, W] with C 1 or 3 and B at least 1, got "
            f"{list(pictures.shape)}"
        )
    if not len(pictures) == len(labels) == len(p) or p.shape[1] != len(classes):
        raise ValueError(
            f"got {len(pictures)} images, {len(labels)} labels, logits "
            f"{list(p.shape)} and {len(classes)} classes: they must agree"
        )
    use_style()
    rows = -(-len(pictures) // columns)
    cell = 6.2 / columns
    sure, guesses = p.max(1)
    right = guesses == labels
    titles = _titles(
        [
            f"said {classes[guess]}, {100 * part:.0f}\N{NO-BREAK SPACE}%"
            for guess, part in zip(guesses.tolist(), sure.tolist())
        ],
        [
            "right" if ok else f"is {classes[label]}"
            for ok, label in zip(right.tolist(), labels.tolist())
        ],
        room=int(70 / columns),  # letters of 10 pt above a picture
    )
    head = 0.15 + 0.17 * (titles[0].count("\n") + 1)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.2, rows * (cell + head)), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, picture, title, ok in zip(axes.flat, pictures, titles, right.tolist()):
        shown = picture.permute(1, 2, 0).squeeze(-1).numpy()
        ax.imshow(shown, cmap="gray", vmin=0, vmax=1)
        ax.set_title(
            title,
            fontsize=10,
            fontweight="normal",
            loc="left",
            color=INK if ok else ORANGE,
        )
    return figure


def _titles(said: list[str], truth: list[str], room: int) -> list[str]:
    """Both pieces of each title, folded; the second begin at the same height."""
    pieces = [[wrap(text, room) for text in texts] for texts in (said, truth)]
    heights = [max(map(len, texts)) for texts in pieces]
    return [
        "\n".join(
            line
            for lines, height in zip(both, heights)
            for line in lines + [""] * (height - len(lines))
        )
        for both in zip(*pieces)
    ]


def draw_confusion(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Draw confusion matrices side by side, shaded by share of each row.

    Args:
        matrices: title → int [K, K], row = true class, column = guess.
        names: K names of the classes.

    Returns:
        The figure.

    Raises:
        ValueError: if a matrix is not [K, K].
    """
    size = len(names)
    for title, matrix in matrices.items():
        if np.shape(matrix) != (size, size):
            raise ValueError(
                f"matrices[{title!r}] must have shape [{size}, {size}], got "
                f"{list(np.shape(matrix))}"
            )
    use_style()
    width = 6.2 if len(matrices) > 1 or size > 3 else 3.4
    side = width / len(matrices) - (1.3 / len(matrices))
    figure, axes = plt.subplots(
        1,
        len(matrices),
        figsize=(width, side + (1.5 if size > 3 else 0.95)),
        squeeze=False,
        sharey=True,
    )
    for ax, (title, matrix) in zip(axes[0], matrices.items()):
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        ax.imshow(share, cmap=COUNTS, vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            color = _readable(COUNTS(share[row, column]), INK if count else MUTED)
            ax.text(column, row, f"{count:,}", ha="center", va="center", color=color)
        ax.set(title=title, xlabel="guess", xticks=range(size), yticks=range(size))
        turn = {"rotation": 35, "ha": "right"} if size > 3 else {}
        ax.set_xticklabels(names, **turn)
        ax.set_yticklabels(names)
        ax.grid(visible=False)
        ax.tick_params(length=0, labelcolor=INK)
        ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel("truth")
    return figure


def _readable(ground: tuple[float, ...], first: str) -> str:
    """The first color of type that has a contrast of 4.5 on this ground (WCAG)."""
    for color in (first, "white"):
        low, high = sorted((_luminance(color), _luminance(ground)))
        if (high + 0.05) / (low + 0.05) >= 4.5:
            return color
    return "black"  # has it wherever white has not


def _luminance(color: str | tuple[float, ...]) -> float:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def draw_reliability(
    probabilities: Mapping[str, np.ndarray], labels: np.ndarray, *, bins: int = 10
) -> Figure:
    """Draw accuracy against confidence; on the diagonal the two agree.

    Args:
        probabilities: title → float [N, K], rows that add up to 1.
        labels: int [N].
        bins: equal bins of confidence; empty ones are left out.

    Returns:
        The figure: a point per bin, its area by the number of pictures.
    """
    use_style()
    figure, all_axes = plt.subplots(
        1,
        len(probabilities),
        figsize=(6.2, 6.2 / max(2, len(probabilities)) + 0.4),
        squeeze=False,
        sharey=True,
    )
    for ax, (title, p) in zip(all_axes[0], probabilities.items()):
        p = np.asarray(p)
        sure, right = p.max(1), p.argmax(1) == np.asarray(labels)
        place = np.searchsorted(np.arange(1, bins) / bins, sure)
        ax.plot([0, 100], [0, 100], color=FAINT, linewidth=1.5, zorder=1)
        for m in np.unique(place):
            inside = place == m
            x, y = 100 * sure[inside].mean(), 100 * right[inside].mean()
            ax.plot([x, x], [x, y], color=ORANGE, linewidth=1.5, zorder=2)
            area = 12 + 500 * inside.mean()
            dot = {"color": BLUE, "alpha": 0.8, "linewidths": 0, "clip_on": False}
            ax.scatter(x, y, s=area, zorder=3, **dot)
        ax.set(title=title, xlabel="confidence in %", xlim=(0, 104), ylim=(0, 104))
        ax.set_aspect("equal")
    all_axes[0, 0].set_ylabel("right answers in %")
    return figure
