r"""One network, the same patches, read in different ways: what a reading is worth.

    python -m course_book.experiments.deck_reading --sdnet DIR \
        --out course_book/results/deck_reading.csv

``--sdnet`` is the folder that holds ``D/CD`` and ``D/UD`` of SDNET2018. Nothing is
trained: the network that comes with the course, which has seen drawn cracks only,
scores the patches of deck photos 7001, 7002 and 7003. What changes is how it looks:

* ``whole``: the patch, resized to ``size`` pixels, in one look;
* ``whole, 8 turns``: the same, mean over the eight flips and turns, as
  :mod:`course_book.experiments.decks` reads;
* ``windows, most suspicious``: ``looks`` overlapping windows of 128 px of the
  resized patch, of which the one with the highest score counts;
* ``windows, mean``: the same windows, their mean score;
* ``64 px windows``: at four sizes, as
  :mod:`course_book.experiments.synthetic_to_real` reads.

The score is log p(cracked) - log p(not cracked), summed over the three surfaces.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import Module
from torchvision.transforms.v2.functional import normalize

from course_book.experiments.headline import hardware
from course_book.experiments.real_photos import (
    TUNED_ON,
    baseline,
    bootstrap,
    crack_log_odds,
    crack_scores,
    load,
    real_sets,
)
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.weights import course_resnet18

__all__ = ["look", "windows"]

WINDOW = 128
WHOLE = (96, 128, 160, 192, 224, 256)
WINDOWED = {192: 2, 256: 3}  # size: windows per side


def resized(files: list[Path], size: int) -> Tensor:
    """The patches, normalized with ImageNet's numbers, [N, 3, size, size]."""
    pictures = []
    for file in files:
        with Image.open(file) as image:
            small = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        pictures.append(np.asarray(small))
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return normalize(x, list(IMAGENET_MEAN), list(IMAGENET_STD))


@torch.no_grad()
def look(model: Module, x: Tensor) -> Tensor:
    """The score of each picture of [N, 3, H, W], float64 [N]."""
    scores = []
    for part in x.split(32):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(part.contiguous(memory_format=torch.channels_last))
        scores.append(crack_log_odds(logits.double()))
    return torch.cat(scores)


def windows(x: Tensor, side: int, window: int = WINDOW) -> Tensor:
    """Overlapping windows, evenly spaced from edge to edge.

    Args:
        x: [N, C, H, H].
        side: windows per side, at least 2.
        window: pixels per side of a window, at most H.

    Returns:
        [N, side * side, C, window, window].
    """
    corners = [k * (x.shape[-1] - window) // (side - 1) for k in range(side)]
    parts = [x[..., i : i + window, j : j + window] for i in corners for j in corners]
    return torch.stack(parts, 1)


def readings(
    model: Module, files: list[Path]
) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Name, size, looks and scores [N] of every way to read the patches."""
    for size in WHOLE:
        x = resized(files, size)
        yield "whole", str(size), 1, look(model, x).numpy()
        if size == WINDOW:
            turned = [
                torch.rot90(x.flip(2) if flip else x, turn, (2, 3))
                for flip in (False, True)
                for turn in range(4)
            ]
            scores = torch.stack([look(model, view) for view in turned])
            yield "whole, 8 turns", str(size), 8, scores.mean(0).numpy()
    for size, side in WINDOWED.items():
        parts = windows(resized(files, size), side)  # [N, looks, 3, 128, 128]
        scores = look(model, parts.flatten(0, 1)).reshape(len(parts), -1)
        looks = scores.shape[1]
        yield "windows, most suspicious", str(size), looks, scores.amax(1).numpy()
        yield "windows, mean", str(size), looks, scores.mean(1).numpy()
    yield "64 px windows", "64 to 192", 51, crack_scores(model, load(files))


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdnet", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    model = course_resnet18().eval().to(memory_format=torch.channels_last)
    rows = []
    for name, files, truth in real_sets(options.sdnet, None):
        plain = baseline(load(files)[128])
        role = "tuned on" if name in TUNED_ON else "held out"
        for reading, size, looks, scores in readings(model, files):
            found = bootstrap(truth, scores[None], plain)
            row = {"set": name, "role": role, "cracked": int(truth.sum())}
            row |= {"uncracked": int((1 - truth).sum()), "reading": reading}
            row |= {"size": size, "looks": looks}
            rows.append(row | {key: f"{value:.4f}" for key, value in found.items()})
            print(rows[-1], flush=True)
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            command = "python -m course_book.experiments.deck_reading --sdnet FOLDER"
            print(f"# {command} --out course_book/results/deck_reading.csv", file=file)
            source = "SDNET2018 (CC BY 4.0, DOI 10.15142/T3TD19)"
            print(f"# {source}; {hardware()}, nothing is trained", file=file)
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
