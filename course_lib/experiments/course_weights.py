r"""Make the weights file of the network that the book looks inside, from scratch.

    python -m course_lib.experiments.course_weights --work DIR --out NEW.npz

One ResNet-18 learns the synthetic cracks in three stages. The first has small
pictures, 64 px, because they are cheap; the others 128 and 224 px in turn, so that
it works at both. Pictures are normalized with ImageNet's numbers, as everywhere
in the course. The net of every finished stage is kept in ``--work``; a second call
with the same folder goes on after the last of them. Then the weights are rounded to
int8, and both nets are tested on synthetic pictures that neither has seen.

It takes about half an hour on one core with native bf16. Put the file into
``course_lib/weights`` and its SHA-256 into ``course_lib/weights/__init__.py``;
another processor or version of torch makes slightly different weights.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor
from torchvision.transforms.v2.functional import normalize

from course_lib import weights
from course_lib.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from course_lib.experiments.synthetic_to_real import Windows
from course_lib.resnet import ResNet, resnet18
from course_lib.synthetic import SyntheticCracks
from course_lib.training import evaluate, train_one_epoch

__all__ = ["STAGES", "Stage", "Turned", "train_stage"]


@dataclass(frozen=True)
class Stage:
    """A part of the training: which pictures, how often, how fast.

    Attributes:
        pictures: size in pixels to number of pictures.
        epochs: passes over all of them.
        rate: the highest learning rate of the cycle.
        batch: pictures per batch.
        warm: share of the steps in which the rate rises.
        seed: of the pictures; another seed shows other scenes.
        tint: how far light and color are changed, 0 for not at all.
    """

    pictures: dict[int, int]
    epochs: int
    rate: float
    batch: int
    warm: float
    seed: int
    tint: float


STAGES = (
    Stage({64: 12_000}, 4, 2e-3, 64, 0.3, 0, 0.0),
    Stage({128: 4_000, 224: 1_500}, 1, 1e-3, 32, 0.15, 1, 0.15),
    Stage({128: 4_000, 224: 2_000}, 1, 5e-4, 32, 0.15, 1, 0.15),
)
TESTS = {64: 1200, 128: 600, 224: 300}


def imagenet(x: Tensor) -> Tensor:
    """Floats in 0 ... 1, [B, 3, H, W], normalized with ImageNet's numbers."""
    return normalize(x, list(IMAGENET_MEAN), list(IMAGENET_STD))


class Turned(Windows):
    """Batches whose pictures are flipped and turned one by one, and tinted a little."""

    tint = 0.0

    def augment(self, x: Tensor) -> Tensor:
        """One of the eight ways to lay down each square picture of [B, 3, H, H]."""

        def chance() -> Tensor:
            return torch.rand(len(x), 1, 1, 1, generator=self.generator)

        for side in (3, 2):
            x = torch.where(chance() < 0.5, x.flip(side), x)
        x = torch.where(chance() < 0.5, x.transpose(2, 3), x)
        if self.tint:
            x = x * (1 + self.tint * (2 * chance() - 1))
            grey = x.mean(1, keepdim=True)
            x = grey + (x - grey) * (1 + 3 * self.tint * (chance() - 0.75))
        return x


def plain(pictures: np.ndarray, labels: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in order, without augmentation."""
    pairs = zip(
        torch.from_numpy(pictures).split(50), torch.from_numpy(labels).split(50)
    )
    for x, y in pairs:
        yield imagenet(x.permute(0, 3, 1, 2).float() / 255), y


def report(name: str, model: ResNet, test: tuple[np.ndarray, np.ndarray]) -> None:
    """Print accuracy, macro-F1 and how well cracks alone are told."""
    seen = evaluate(model, plain(*test), amp=torch.bfloat16)
    guess, truth = seen["logits"].argmax(1), seen["labels"]
    print(
        f"{name}: accuracy {seen['accuracy']:.4f}, "
        f"macro-F1 {f1_score(truth, guess, average='macro'):.4f}, "
        f"cracked or not {(guess % 2 == truth % 2).float().mean():.4f}, "
        f"surface {(guess // 2 == truth // 2).float().mean():.4f}, "
        f"{len(truth)} pictures",
        flush=True,
    )


def in_turn(loaders: list[Windows], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of several loaders in random turn, each batch of one size."""
    turns = np.repeat(np.arange(len(loaders)), [len(loader) for loader in loaders])
    np.random.default_rng(seed).shuffle(turns)
    running = [iter(loader) for loader in loaders]
    for turn in turns:
        yield next(running[turn])


@lru_cache
def _draw(
    split: str, size: int, count: int, seed: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    return SyntheticCracks(split, size, count, seed=seed).arrays(workers=workers)


def train_stage(model: ResNet, stage: Stage, threads: int = 1) -> None:
    """Train ``model`` in place for one stage, with AdamW and one cycle of the rate."""
    loaders = []
    for size, count in stage.pictures.items():
        made = _draw("train", size, count, stage.seed, threads)
        generator = torch.Generator().manual_seed(0)
        loader = Turned(*made, generator, stage.batch, imagenet)
        loader.tint = stage.tint
        loaders.append(loader)
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=stage.rate)
    steps = stage.epochs * sum(len(loader) for loader in loaders)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, stage.rate, total_steps=steps, pct_start=stage.warm
    )
    for epoch in range(stage.epochs):
        start = time.perf_counter()
        batches = in_turn(loaders, epoch)
        seen = train_one_epoch(
            model, batches, optimizer, scheduler=cycle, amp=torch.bfloat16
        )
        print(
            f"{'+'.join(map(str, stage.pictures))} px, epoch {epoch + 1}: "
            f"loss {seen['loss']:.3f}, accuracy {seen['accuracy']:.3f}, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="keeps each stage")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = resnet18(num_classes=6).to(memory_format=torch.channels_last)
    for number, stage in enumerate(STAGES, 1):
        file = options.work / f"stage{number}.pt"
        if file.exists():
            model.load_state_dict(torch.load(file, weights_only=True))
            continue
        train_stage(model, stage, options.threads)
        torch.save(model.state_dict(), file)
    model.eval()
    data = weights.pack(model.state_dict())
    options.out.write_bytes(data)
    small = resnet18(num_classes=6).eval().to(memory_format=torch.channels_last)
    weights.load_course_weights(small, options.out, check=False)
    for size, count in TESTS.items():
        test = _draw("test", size, count, 0, options.threads)
        report(f"{size} px, float32", model, test)
        report(f"{size} px, int8", small, test)
    print(f"{len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
