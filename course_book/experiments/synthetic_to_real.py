r"""How real are the synthetic cracks? Train on them alone, test on real photos.

    python -m course_book.experiments.synthetic_to_real --sdnet DIR --metu DIR \
        --work DIR --out course_book/results/synthetic_to_real.csv

``--sdnet`` is the folder that holds ``D/CD`` and ``D/UD`` of SDNET2018, ``--metu``
the one with ``Positive`` and ``Negative`` of "Concrete Crack Images for
Classification". Nothing is trained on either. The generator was tuned by looking
at deck photos 7001 and 7002 and at every second METU photo; photo 7003 and the
other METU photos were scored once, at the end.

A ResNet-18 with the ImageNet stem learns the six classes on windows of 64 px;
:mod:`course_book.experiments.real_photos` says how it then reads a real photo, and
what the learning-free score beside it is. The sizes of reading, too, were chosen on
the tuning photos.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_book.experiments.real_photos import (
    TUNED_ON,
    WINDOW,
    baseline,
    bootstrap,
    crack_scores,
    load,
    real_sets,
    standardize,
)
from course_lib.resnet import ResNet, resnet18
from course_lib.synthetic import SyntheticCracks
from course_lib.training import train_one_epoch

__all__ = ["Windows", "pictures", "train"]

PICTURES, EPOCHS, BATCH, RATE = 12_000, 8, 64, 2e-3


class Windows:
    """Batches of synthetic windows with random flips, turns, light and color.

    Iterating gives ``(images, labels)``, float32 [B, 3, size, size] standardized
    and int64 [B]; a short last batch is left out.

    Args:
        pictures: uint8 [N, size, size, 3].
        labels: int64 [N].
        generator: decides order and augmentation.
        batch: pictures per batch.
        normalize: applied at the end to floats in about 0 ... 1.
    """

    def __init__(
        self,
        pictures: np.ndarray,
        labels: np.ndarray,
        generator: torch.Generator,
        batch: int = BATCH,
        normalize: Callable[[Tensor], Tensor] = standardize,
    ) -> None:
        self.pictures, self.labels = (
            torch.from_numpy(pictures),
            torch.from_numpy(labels),
        )
        self.generator, self.batch, self.normalize = generator, batch, normalize

    def __len__(self) -> int:
        return len(self.labels) // self.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), generator=self.generator)
        for index in order[: len(self) * self.batch].split(self.batch):
            x = self.pictures[index].permute(0, 3, 1, 2).float() / 255
            yield self.normalize(self.augment(x)), self.labels[index]

    def augment(self, x: Tensor) -> Tensor:
        """Change [B, 3, H, W] as another camera or another day would."""

        def uniform(low: float, high: float) -> Tensor:
            values = torch.rand(len(x), 1, 1, 1, generator=self.generator)
            return low + (high - low) * values

        turn, flip = torch.randint(4, (2,), generator=self.generator).tolist()
        x = torch.rot90(x, turn, (2, 3))
        x = x.flip(3) if flip % 2 else x
        x = x * uniform(0.75, 1.25) + uniform(-0.05, 0.05)
        gray = x.mean(1, keepdim=True)
        x = gray + (x - gray) * uniform(0, 1.4)
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * uniform(0.5, 1.3)


def pictures(workers: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The synthetic windows that the nets learn from, and their labels.

    With the faint cracks of the first day (``clear=False``): the stored results and
    the course's weights were made with these.
    """
    made = SyntheticCracks("train", WINDOW, PICTURES, clear=False)
    return made.arrays(workers=workers)


def train(
    pictures: np.ndarray, labels: np.ndarray, seed: int, epochs: int = EPOCHS
) -> ResNet:
    """A fresh ResNet-18, trained with AdamW and one cycle of the learning rate."""
    torch.manual_seed(seed)
    model = resnet18(num_classes=6).to(memory_format=torch.channels_last)
    windows = Windows(pictures, labels, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=epochs * len(windows)
    )
    for epoch in range(epochs):
        start = time.perf_counter()
        seen = train_one_epoch(
            model, windows, optimizer, scheduler=cycle, amp=torch.bfloat16
        )
        print(
            f"seed {seed} epoch {epoch + 1} of {epochs}: loss {seen['loss']:.3f}, "
            f"accuracy {seen['accuracy']:.3f}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return model.eval()


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdnet", type=Path, required=True)
    parser.add_argument("--metu", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="keeps trained nets")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tuning", action="store_true", help="skip the held-out sets")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)

    cracks, models = None, []
    for seed in options.seeds:
        file = options.work / f"seed{seed}.pt"
        if file.exists():
            model = resnet18(num_classes=6)
            model.load_state_dict(torch.load(file, weights_only=True))
        else:
            if cracks is None:
                cracks = pictures(options.threads)
            model = train(*cracks, seed)
            torch.save(model.state_dict(), file)
        models.append(model.eval().to(memory_format=torch.channels_last))

    rows = []
    for name, files, truth in real_sets(options.sdnet, options.metu):
        role = "tuned on" if name in TUNED_ON else "held out"
        if options.tuning and role == "held out":
            continue
        photos = load(files)
        plain = baseline(photos[128])
        scores = np.stack([crack_scores(model, photos) for model in models])
        counts = {"cracked": int(truth.sum()), "uncracked": int((1 - truth).sum())}
        chosen = [(str(s), scores[i : i + 1]) for i, s in enumerate(options.seeds)]
        for seed, part in [*chosen, ("mean", scores)]:
            numbers = bootstrap(truth, part, plain)
            row = {"set": name, "role": role, **counts, "seed": seed}
            rows.append(row | {key: f"{value:.4f}" for key, value in numbers.items()})
            print(rows[-1], flush=True)
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            print("# python -m course_book.experiments.synthetic_to_real", file=file)
            print(
                f"# {platform.machine()} CPU, torch {torch.__version__}, "
                f"{PICTURES} pictures, {EPOCHS} epochs",
                file=file,
            )
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
