"""Figures of the refresher: a convolution, a ReLU, a loss, two splits, an ellipse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from course_book.figures import BLUE, INK, MUTED, ORANGE

__all__ = [
    "draw_cross_entropy",
    "draw_edges",
    "draw_ellipse",
    "draw_losses",
    "draw_relu",
    "draw_splits",
]


def draw_edges(photo: Tensor, edges: Tensor) -> Figure:
    """A gray photo [H, W] of 0 to 255, and its convolution with an edge kernel."""
    fig, axes = plt.subplots(1, 2, figsize=(6.0, 3.1))
    axes[0].imshow(photo.cpu(), cmap="gray", vmin=0, vmax=255)
    axes[1].imshow(edges.cpu(), cmap="gray", vmin=-300, vmax=300)
    for ax, title in zip(axes, ("photo", "convolution"), strict=True):
        ax.set(title=title, xticks=[], yticks=[])
    return fig


def draw_relu() -> Figure:
    """The ReLU and its derivative, from -3 to 3."""
    z = torch.linspace(-3, 3, 301)
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.2, 2.6), sharex=True)
    left.plot(z, z.relu(), color=BLUE)
    left.set(title="ReLU(z)", xlabel="z", ylim=(-0.4, 3.2))
    for ends, slope in (((-3, 0), 0), ((0, 3), 1)):
        right.plot(ends, (slope, slope), color=ORANGE)
    right.plot(0, 0, "o", color=ORANGE)
    right.plot(0, 1, "o", color=ORANGE, markerfacecolor="white")
    right.set(title="its derivative", xlabel="z", ylim=(-0.13, 1.2), yticks=(0, 1))
    return fig


def draw_cross_entropy(probabilities: Sequence[float], names: Sequence[str]) -> Figure:
    """The curve -ln p, with a point and a name for each probability."""
    p = torch.linspace(0.02, 1, 200)
    fig, ax = plt.subplots(figsize=(6.0, 3.0))
    ax.plot(p, -p.log(), color=BLUE)
    for x, name in zip(probabilities, names, strict=True):
        y = -torch.tensor(x).log().item()
        ax.plot(x, y, "o", color=ORANGE)
        ax.annotate(f"{name}: {y:.2f}", (x, y), (10, 6), textcoords="offset points")
    ax.set(xlabel="probability of the true class", ylabel="cross-entropy")
    ax.set(xlim=(0, 1.02), ylim=(0, 4))
    return fig


def draw_losses(curves: Mapping[str, Sequence[float]], per_epoch: int) -> Figure:
    """Loss of every batch, with a faint line where an epoch ends.

    Args:
        curves: by name, one loss per step.
        per_epoch: steps of one epoch.
    """
    fig, ax = plt.subplots(figsize=(6.0, 3.0))
    steps = 0
    for (name, losses), color in zip(curves.items(), (BLUE, ORANGE), strict=True):
        steps = len(losses)
        ax.plot(range(1, steps + 1), losses, color=color, linewidth=1.3)
        ax.annotate(name, (steps, losses[-1]), (-4, 28), ha="right", color=color,
                    textcoords="offset points")  # fmt: skip
    for end in range(per_epoch, steps + 1, per_epoch):
        ax.axvline(end + 0.5, color=MUTED, linewidth=0.8, linestyle=":")
    ax.set(xlabel="step", ylabel="loss of the batch", ylim=(0, None))
    return fig


def draw_splits(splits: Mapping[str, Tensor]) -> Figure:
    """Which patches are for training (blue) and for testing (orange).

    Args:
        splits: by title, a table [patches, photos] of truth values: True is training.
    """
    fig, axes = plt.subplots(1, len(splits), figsize=(6.2, 2.9), sharey=True)
    for ax, (title, train) in zip(axes, splits.items(), strict=True):
        ax.pcolormesh(
            train.cpu().int(), cmap=ListedColormap([ORANGE, BLUE]), vmin=0, vmax=1,
            edgecolors="white", linewidth=2,
        )  # fmt: skip
        ax.set(title=title, xlabel="photo", xticks=[], yticks=[])
        ax.grid(False)
    axes[0].set(ylabel="its patches")
    names = [Patch(color=BLUE, label="training"), Patch(color=ORANGE, label="test")]
    fig.legend(handles=names, loc="outside lower center", ncols=2)
    return fig


def draw_ellipse(jacobian: Tensor) -> Figure:
    """The unit circle, and what a 2 x 2 matrix makes of it, with the singular values.

    Args:
        jacobian: [2, 2].
    """
    angle = torch.linspace(0, 2 * torch.pi, 361, dtype=jacobian.dtype)
    circle = torch.stack([angle.cos(), angle.sin()])  # [2, 361]
    left_vectors, sizes, right_vectors = torch.linalg.svd(jacobian)
    pictures = (
        ("steps of length 1", circle, right_vectors, torch.ones(2)),
        ("what J makes of them", jacobian @ circle, left_vectors.T, sizes),
    )
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.0), sharex=True, sharey=True)
    for ax, (title, curve, axis, lengths) in zip(axes, pictures, strict=True):
        ax.plot(*curve, color=MUTED, linewidth=1.2)
        for vector, length, color in zip(axis, lengths, (BLUE, ORANGE), strict=True):
            tip = (vector * length).tolist()
            arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 2}
            ax.annotate(
                "", tip, (0, 0), arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0}
            )
            ax.annotate(f"{length:.2f}", tip, (5, 6), color=color,
                        textcoords="offset points")  # fmt: skip
        ax.set(title=title, aspect="equal", xlim=(-3, 3), ylim=(-1.6, 1.6))
        ax.axhline(0, color=INK, linewidth=0.5)
        ax.axvline(0, color=INK, linewidth=0.5)
    return fig
