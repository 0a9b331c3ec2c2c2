"""The backward pass of a whole network: its errors, its memory, what it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_book.figures import BLUE, GREEN, INK, MUTED, ORANGE, use_style

__all__ = ["draw_held_memory", "draw_input_gradients", "draw_pass_errors", "draw_twins"]

STYLES = (
    {"color": BLUE, "marker": "o", "ms": 4, "lw": 0},
    {"color": ORANGE, "marker": "x", "ms": 5, "lw": 0},
    {"color": GREEN, "marker": ".", "ms": 5, "lw": 0},
)


def draw_pass_errors(
    curves: Mapping[str, Sequence[float]], places: list[str]
) -> Figure:
    """Relative errors of all gradients, in the order in which backward finds them.

    Args:
        curves: for the label of each curve one relative error per tensor; 0 is
            drawn at the lower edge.
        places: the tensors' names, from the loss to the input.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(6.2, 3.6))
    for (label, errors), style in zip(curves.items(), STYLES):
        axes.semilogy([max(e, 1e-17) for e in errors], label=label, **style)
    stages = ["fc", "layer4", "layer3", "layer2", "layer1", ("bn1", "conv1")]
    first = [next(k for k, p in enumerate(places) if p.startswith(s)) for s in stages]
    labels = axes.set_xticks(first, ["fc", *stages[1:5], "stem"], ha="left")
    labels[0].label1.set_ha("right")  # else it runs into its neighbor
    axes.set(xlabel="on the way back, from the loss to the photo", ylim=(1e-17, 1e-2))
    axes.set(ylabel="relative error")
    axes.legend(loc="upper left", handletextpad=0.2, ncols=1)
    return figure


def draw_held_memory(kept: Sequence[float], found: Sequence[float]) -> Figure:
    """Megabytes that are held while a pass goes forward and back.

    Args:
        kept: new megabytes that forward keeps at each of its steps.
        found: megabytes of weight gradients that backward finds at each step, in
            forward's order.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(6.2, 3.4))
    steps = len(kept)
    up = torch.tensor(kept).cumsum(0)
    held = torch.cat([torch.zeros(1), up, up.flip(0)[1:], torch.zeros(1)])
    gradients = torch.tensor(found).flip(0).cumsum(0)
    gradients = torch.cat([torch.zeros(steps + 1), gradients])
    time = torch.arange(2 * steps + 1)
    axes.fill_between(time, held, color=BLUE, alpha=0.75, lw=0, label="kept by forward")
    axes.fill_between(time, held, held + gradients, color=ORANGE, alpha=0.75, lw=0,
                      label="gradients of the weights")  # fmt: skip
    axes.axvline(steps, color=INK, lw=1)
    top = float((held + gradients).max())
    axes.set(ylim=(0, 1.25 * top), xlim=(0, 2 * steps), ylabel="megabytes held")
    for place, text in ((steps / 2, "forward"), (1.5 * steps, "backward")):
        axes.text(place, 1.16 * top, text, ha="center", color=MUTED)
    axes.set_xticks([0, steps, 2 * steps], ["photo", "loss", "photo"])
    axes.set(xlabel="step")
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))
    return figure


def draw_input_gradients(photo: Tensor, gradients: Mapping[str, Tensor]) -> Figure:
    """A photo and the size of the loss's gradient at each of its pixels.

    Args:
        photo: values 0 to 1, [3, H, W].
        gradients: title → ∂L/∂x [3, H, W]; drawn is the largest size over the
            channels, each picture on its own scale up to the 99.5th percentile.
    """
    use_style()
    count = 1 + len(gradients)
    figure, (left, *others) = plt.subplots(1, count, figsize=(6.4, 6.4 / count + 0.3))
    left.imshow(photo.permute(1, 2, 0).cpu().clamp(0, 1))
    left.set_title("the photo")
    left.axis("off")
    for axes, (title, gradient) in zip(others, gradients.items()):
        size = gradient.abs().amax(dim=0).cpu()
        axes.imshow(size, cmap="magma", vmin=0, vmax=float(size.quantile(0.995)))
        axes.set_title(title)
        axes.axis("off")
    return figure


def draw_twins(
    losses: Mapping[str, Sequence[float]], distances: Sequence[float]
) -> Figure:
    """Two trainings from the same start: their losses, and how far they part.

    Args:
        losses: for each training's label the loss of every step.
        distances: after each step, the distance between both sets of weights
            relative to their length.
    """
    use_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.0))
    # Gray enough for the dark theme too, which inverts it, and behind a thin line.
    styles = ({"color": "#9aa5b1", "lw": 5}, {"color": BLUE, "lw": 1.3})
    for (label, curve), style in zip(losses.items(), styles):
        left.plot(curve, label=label, **style)
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    left.legend()
    right.semilogy(range(1, len(distances) + 1), distances, color=ORANGE)
    right.set(xlabel="step", ylabel="relative distance", title="weights apart")
    left.set_title("loss")
    return figure
