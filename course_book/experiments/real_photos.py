"""Real photos of cracks, and two scores for them: a network's and a plain number's.

The network reads a photo at four sizes: at 64 px as one window, at 128, 160 and
192 px as 9, 16 and 25 overlapping windows. At each size the most suspicious window
counts, and the photo's score is the mean of the four probabilities of "cracked",
each summed over the three surfaces. Every window is standardized: minus its mean,
divided by its deviation.

Beside it stands one number without any learning: gray at 128 px, a Gaussian blur of
radius 8 minus one of radius 1, its 99.5th percentile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from sklearn.metrics import roc_auc_score
from torch import Tensor

from course_lib.resnet import ResNet

__all__ = [
    "baseline",
    "bootstrap",
    "crack_log_odds",
    "crack_scores",
    "load",
    "real_sets",
    "standardize",
]

WINDOW, STRIDE, SIZES = 64, 32, (64, 128, 160, 192)
TUNED_ON = ("deck 7001", "deck 7002", "METU, half 1")


def standardize(x: Tensor) -> Tensor:
    """Each picture [B, C, H, W] minus its mean, divided by its deviation."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) / (x.std((1, 2, 3), keepdim=True) + 0.01)


def crack_log_odds(logits: Tensor) -> Tensor:
    """Log p(cracked) - log p(not cracked) from six logits [..., 6]."""
    return logits[..., 1::2].logsumexp(-1) - logits[..., 0::2].logsumexp(-1)


@torch.no_grad()
def crack_scores(model: ResNet, photos: dict[int, np.ndarray]) -> np.ndarray:
    """Probability of a crack in a photo's most suspicious window, mean over sizes.

    Args:
        model: in eval mode, six classes.
        photos: for each of ``SIZES``, uint8 [N, size, size, 3].

    Returns:
        float64 [N] in 0 ... 1.
    """
    scores = []
    for size in SIZES:
        corners = range(0, size - WINDOW + 1, STRIDE)
        largest = []
        for part in torch.from_numpy(photos[size]).split(16):
            x = part.permute(0, 3, 1, 2).float() / 255
            x = [
                x[..., i : i + WINDOW, j : j + WINDOW] for i in corners for j in corners
            ]
            x = standardize(torch.stack(x, 1).flatten(0, 1))
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(x.contiguous(memory_format=torch.channels_last))
            odds = crack_log_odds(logits.double()).reshape(len(part), -1)
            largest.append(odds.amax(1))
        scores.append(torch.cat(largest).sigmoid())
    return torch.stack(scores).mean(0).numpy()


def baseline(photos: np.ndarray) -> np.ndarray:
    """The learning-free score of photos uint8 [N, 128, 128, 3], float64 [N]."""
    scores = []
    for photo in photos:
        gray = Image.fromarray(photo).convert("L")
        wide = np.asarray(gray.filter(ImageFilter.GaussianBlur(8)), float)
        fine = np.asarray(gray.filter(ImageFilter.GaussianBlur(1)), float)
        scores.append(np.percentile(wide - fine, 99.5))
    return np.array(scores)


def bootstrap(
    truth: np.ndarray, scores: np.ndarray, other: np.ndarray, draws: int = 1000
) -> dict[str, float]:
    """AUCs and their difference, with 95 % intervals over resampled photos.

    Args:
        truth: [N], 1 where there is a crack.
        scores: [S, N], the AUC is the mean over the S rows.
        other: [N], a score to compare with on the same photos.
        draws: resamplings, each class apart.
    """
    random = np.random.default_rng(0)

    def both(index: np.ndarray) -> tuple[float, float]:
        y = truth[index]
        ours = np.mean([roc_auc_score(y, row[index]) for row in scores])
        return float(ours), float(roc_auc_score(y, other[index]))

    ours, theirs = both(np.arange(len(truth)))
    groups = [np.flatnonzero(truth == value) for value in (0, 1)]
    drawn = np.array(
        [
            both(np.concatenate([random.choice(g, len(g)) for g in groups]))
            for _ in range(draws)
        ]
    )
    result = {}
    for name, value, values in (
        ("auc", ours, drawn[:, 0]),
        ("baseline", theirs, drawn[:, 1]),
        ("gain", ours - theirs, drawn[:, 0] - drawn[:, 1]),
    ):
        low, high = np.percentile(values, [2.5, 97.5])
        result |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return result


def load(files: list[Path]) -> dict[int, np.ndarray]:
    """The photos at each of ``SIZES``, uint8 [N, size, size, 3]."""
    photos: dict[int, list[np.ndarray]] = {size: [] for size in SIZES}
    for file in files:
        with Image.open(file) as image:
            color = image.convert("RGB")
        for size in photos:
            small = color.resize((size, size), Image.Resampling.LANCZOS)
            photos[size].append(np.asarray(small))
    return {size: np.stack(pictures) for size, pictures in photos.items()}


def real_sets(
    sdnet: Path, metu: Path | None
) -> Iterator[tuple[str, list[Path], np.ndarray]]:
    """Name, files and truth of each set of real photos; without METU if None."""
    for photo in ("7001", "7002", "7003"):
        sides = [sorted((sdnet / "D" / s).glob(f"{photo}-*")) for s in ("CD", "UD")]
        yield f"deck {photo}", *_join(sides)
    if metu is None:
        return
    sides = [sorted((metu / side).glob("*.jpg")) for side in ("Positive", "Negative")]
    for half in (0, 1):
        yield f"METU, half {half + 1}", *_join([side[half::2] for side in sides])


def _join(sides: list[list[Path]]) -> tuple[list[Path], np.ndarray]:
    if not all(sides):
        raise ValueError("photos are missing: look at --sdnet and --metu")
    return sides[0] + sides[1], np.repeat([1, 0], [len(side) for side in sides])
