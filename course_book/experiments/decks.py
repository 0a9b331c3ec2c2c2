r"""Cracks in bridge decks: leave one photo out, beside a split that leaks.

    python -m course_book.experiments.decks --sdnet DIR \
        --out course_book/results/decks.csv

``--sdnet`` is the folder that holds ``D/CD`` and ``D/UD`` of SDNET2018. Deck photos
7001, 7002 and 7003 are the only ones used: 706 patches. Two ways to split them in
three: by photo, so that each photo is tested by a network that never saw it; and at
random, with as many patches of each class in each third as the photos have on
average. Two ways to start: from fresh weights, and from the network that this course
ships, which was trained on synthetic cracks alone. Nothing is chosen by looking at
the tested patches: the number of epochs is fixed and the last one counts. But the
program that draws the synthetic cracks was improved by looking at photos 7001 and
7002, so for that start only photo 7003 is held out.

Scores of the three thirds are never pooled: ROC AUC and average precision are taken
inside each third, averaged over the seeds, with 95 % intervals over resampled
patches, which say how sure a number is for this photo, not for another one. Beside
them stands one number without any learning
(:func:`course_book.experiments.real_photos.baseline`).
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.transforms.v2.functional import normalize

from course_book.experiments.headline import hardware
from course_book.experiments.real_photos import baseline
from course_lib.data.augment import photo_views
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import ResNet, resnet18
from course_lib.training import evaluate, train_one_epoch
from course_lib.weights import course_resnet18

__all__ = ["STARTS", "intervals", "scores", "thirds"]

PHOTOS, SIZE = ("7001", "7002", "7003"), 128
EPOCHS, BATCH, RATE = 8, 24, 1e-3
WEIGHTS = torch.tensor([1.0, 6.0])  # 605 uncracked patches, 101 cracked


def fresh() -> ResNet:
    """Two classes, random weights."""
    return resnet18(num_classes=2)


def pretrained() -> ResNet:
    """The course's network with a head that says cracked or not.

    Each new row of the head is the mean of the three surfaces' rows.
    """
    model = course_resnet18()
    head = torch.nn.Linear(512, 2)
    with torch.no_grad():
        head.weight.copy_(model.fc.weight.reshape(3, 2, 512).mean(0))
        head.bias.copy_(model.fc.bias.reshape(3, 2).mean(0))
    model.fc = head
    return model


STARTS: dict[str, Callable[[], ResNet]] = {"fresh": fresh, "course": pretrained}


def patches(root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures uint8 [N, 128, 128, 3], truth [N] (1 is cracked), photo [N]."""
    pictures, truth, photo = [], [], []
    for label, side in enumerate(("UD", "CD")):
        for number in PHOTOS:
            files = sorted((root / "D" / side).glob(f"{number}-*.jpg"))
            if not files:
                raise ValueError(f"no patch of photo {number} in {root / 'D' / side}")
            for file in files:
                with Image.open(file) as image:
                    small = image.convert("RGB").resize(
                        (SIZE, SIZE), Image.Resampling.LANCZOS
                    )
                pictures.append(np.asarray(small))
                truth.append(label)
                photo.append(number)
    return np.stack(pictures), np.array(truth), np.array(photo)


def thirds(truth: np.ndarray, photo: np.ndarray, split: str) -> np.ndarray:
    """The third that each patch is tested in, [N]: a photo's number, or 0, 1, 2.

    Args:
        truth: 0 or 1 for each patch, int [N].
        photo: the number of its photo, str [N].
        split: "photo" or "random"; the random thirds hold equal shares of cracks.

    Raises:
        ValueError: for any other split.
    """
    if split == "photo":
        return photo
    if split != "random":
        raise ValueError(f'split must be "photo" or "random", got {split!r}')
    part = np.empty(len(truth), dtype=object)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    for index, (_, tested) in enumerate(folds.split(truth, truth)):
        part[tested] = str(index)
    return part


def floats(pictures: np.ndarray) -> Tensor:
    """Normalized with ImageNet's numbers, [N, 3, H, W]."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return normalize(x, list(IMAGENET_MEAN), list(IMAGENET_STD))


def train(start: Callable[[], ResNet], x: Tensor, y: Tensor, seed: int) -> ResNet:
    """A network of two classes, trained on x [N, 3, H, H] and y [N]; no choice."""
    torch.manual_seed(seed)
    model = start().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    steps = EPOCHS * (len(y) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(y), generator=generator)
        parts = order[: len(y) // BATCH * BATCH].split(BATCH)
        train_one_epoch(
            model,
            ((photo_views(x[part], generator), y[part]) for part in parts),
            optimizer,
            loss_function=partial(cross_entropy, weight=WEIGHTS),
            scheduler=cycle,
            amp=torch.bfloat16,
        )
    return model.eval()


@torch.no_grad()
def scores(model: ResNet, x: Tensor) -> np.ndarray:
    """Logit of cracked minus logit of not, mean over the eight turns, [N]."""
    total = torch.zeros(len(x))
    labels = torch.zeros(len(x), dtype=torch.long)  # evaluate wants some
    for flip in (False, True):
        for turn in range(4):
            view = torch.rot90(x.flip(2) if flip else x, turn, (2, 3))
            batches = zip(view.split(64), labels.split(64))
            logits = evaluate(model, batches, amp=torch.bfloat16)["logits"]
            total += logits[:, 1] - logits[:, 0]
    return (total / 8).numpy()


def intervals(
    truth: np.ndarray, ours: np.ndarray, draws: int = 1000
) -> dict[str, float]:
    """AUC and average precision with 95 % intervals over resampled patches.

    Args:
        truth: [N], 1 where there is a crack.
        ours: [S, N], one row a seed; the mean over the rows counts.
        draws: resamplings, each class apart.
    """
    random = np.random.default_rng(0)
    groups = [np.flatnonzero(truth == value) for value in (0, 1)]

    def both(index: np.ndarray) -> list[float]:
        y = truth[index]
        return [
            float(np.mean([measure(y, row[index]) for row in ours]))
            for measure in (roc_auc_score, average_precision_score)
        ]

    values = both(np.arange(len(truth)))
    drawn = np.array(
        [
            both(np.concatenate([random.choice(g, len(g)) for g in groups]))
            for _ in range(draws)
        ]
    )
    result = {}
    for name, value, column in zip(("auc", "ap"), values, drawn.T):
        low, high = np.percentile(column, [2.5, 97.5])
        result |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdnet", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    pictures, truth, photo = patches(options.sdnet)
    x, y, plain = floats(pictures), torch.from_numpy(truth), baseline(pictures)
    rows: list[dict[str, Any]] = []

    def add(
        split: str, part: str, method: str, tested: np.ndarray, s: np.ndarray
    ) -> None:
        numbers = intervals(truth[tested], s)
        counts = {"n": int(tested.sum()), "cracked": int(truth[tested].sum())}
        row = {"split": split, "part": part, "method": method, **counts}
        row |= {key: f"{value:.4f}" for key, value in numbers.items()}
        rows.append(row)
        print(row, flush=True)

    for split in ("photo", "random"):
        part = thirds(truth, photo, split)
        for third in sorted(set(part)):
            tested = part == third
            add(split, str(third), "baseline", tested, plain[None, tested])
            for name, start in STARTS.items():
                seen = [
                    scores(train(start, x[~tested], y[~tested], seed), x[tested])
                    for seed in options.seeds
                ]
                add(split, str(third), name, tested, np.stack(seen))
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            command = "python -m course_book.experiments.decks --sdnet SDNET2018_FOLDER"
            print(f"# {command} --out course_book/results/decks.csv", file=file)
            source = "SDNET2018 (CC BY 4.0, DOI 10.15142/T3TD19)"
            print(f"# {source}; {hardware()}, {len(options.seeds)} seeds", file=file)
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
