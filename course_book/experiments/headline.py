r"""What this course's trainer reaches on five data sets, over three seeds.

    python -m course_book.experiments.headline --runs digits faint synthetic \
        mnist=DIR metu=DIR --out course_book/results/headline.csv

``digits`` and the two kinds of drawn cracks are built in: ``faint`` ones, for which
the goal was set, and ``synthetic``, the clear ones that small pictures have now.
``mnist=DIR`` is the folder that holds ``MNIST/raw``; ``metu=DIR`` the one with
``Positive`` and ``Negative`` of "Concrete Crack Images for Classification" (Özgenel,
DOI 10.17632/5y9wdsg2zt). Each run trains
a ResNet-18 from fresh weights on the training part, keeps the epoch that is best on
the validation part and reports the test part once. Rows of other runs that ``--out``
holds already stay.

The time is that of training and of the validation after each epoch, by the wall
clock; reading or drawing the pictures comes before.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from course_lib.data.augment import digit_views, photo_views
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.digits import digits, mnist
from course_lib.data.folders import read_folder
from course_lib.data.images import ByteImages
from course_lib.data.photos import open_photo
from course_lib.resnet import resnet18
from course_lib.synthetic import SyntheticCracks
from course_lib.trainer import Trainer, TrainerConfig

__all__ = ["RUNS", "Experiment", "tensors"]

SHARED = {"progress": False, "log_dir": None, "checkpoint_dir": None}


class Experiment(NamedTuple):
    """One line of the table: data, how they are seen, how long they are learned."""

    parts: Callable[[str], list[Dataset]]  # of the folder: train, validation, test
    classes: Sequence[str]
    stem: dict[str, Any]  # arguments of resnet18
    augment: Callable[[Tensor, torch.Generator], Tensor]
    config: dict[str, Any]


def tensors(pictures: np.ndarray, labels: Sequence[int]) -> TensorDataset:
    """Pictures uint8 [N, H, W] or [N, H, W, 3] as floats with mean 0, deviation 1.

    One mean and one deviation for all, taken from fixed numbers, so that no part of
    the data knows anything of another: 0.5 and 0.25, and 0.15 and 0.3 for digits,
    which are mostly black.
    """
    x = torch.from_numpy(pictures).float() / 255
    if x.ndim == 3:
        return TensorDataset((x[:, None] - 0.15) / 0.3, torch.tensor(labels))
    return TensorDataset((x.permute(0, 3, 1, 2) - 0.5) / 0.25, torch.tensor(labels))


def enlarged(data: ByteImages, size: int) -> TensorDataset:
    """Gray digits, resized to ``size`` pixels."""
    pictures = [
        np.asarray(
            Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
        )
        for image in data.images
    ]
    return tensors(np.stack(pictures), data.labels)


def metu(root: str, size: int = 96) -> list[Dataset]:
    """60, 20 and 20 % of the photos, each class alike, by a fixed seed."""
    photos = read_folder(root, classes=["Negative", "Positive"])
    lanczos = Image.Resampling.LANCZOS
    images = (open_photo(path).resize((size, size), lanczos) for path in photos.paths)
    pictures = np.stack([np.asarray(image) for image in images])
    labels = np.array(photos.labels)
    train, rest = train_test_split(
        np.arange(len(labels)), train_size=0.6, stratify=labels, random_state=0
    )
    validation, test = train_test_split(
        rest, train_size=0.5, stratify=labels[rest], random_state=0
    )
    return [
        tensors(pictures[part], labels[part].tolist())
        for part in (train, validation, test)
    ]


def cracks(count: int, clear: bool) -> list[Dataset]:
    """``count`` drawn pictures of 64 px to learn from, 600 and 1,500 to judge by."""
    return [
        tensors(*SyntheticCracks(split, 64, n, clear=clear).arrays(os.cpu_count() or 1))
        for split, n in zip(SPLITS, (count, 600, 1500))
    ]


SPLITS = ("train", "validation", "test")
RUNS = {
    "digits": Experiment(
        lambda _: [enlarged(digits(split), 32) for split in SPLITS],
        [str(digit) for digit in range(10)],
        {"in_channels": 1},
        digit_views,
        {"epochs": 15, "batch_size": 32, "learning_rate": 2e-3},
    ),
    "mnist": Experiment(
        lambda root: [enlarged(mnist(root, split), 40) for split in SPLITS],
        [str(digit) for digit in range(10)],
        {"in_channels": 1},
        digit_views,
        {"epochs": 3, "batch_size": 64, "learning_rate": 2e-3},
    ),
    "faint": Experiment(
        lambda _: cracks(10_800, clear=False),
        CRACK_CLASSES,
        {},
        photo_views,
        {"epochs": 4, "batch_size": 48, "learning_rate": 2e-3},
    ),
    "synthetic": Experiment(
        lambda _: cracks(12_000, clear=True),
        CRACK_CLASSES,
        {},
        photo_views,
        {"epochs": 4, "batch_size": 48, "learning_rate": 2.5e-3},
    ),
    "metu": Experiment(
        metu,
        ["uncracked", "cracked"],
        {},
        photo_views,
        {"epochs": 10, "batch_size": 32, "learning_rate": 1e-3},
    ),
}


def train(run: Experiment, parts: list[Dataset], seed: int) -> dict[str, Any]:
    """Train once; what the test part says, and how long it took."""
    torch.manual_seed(seed)
    model = resnet18(num_classes=len(run.classes), **run.stem)
    config = TrainerConfig(seed=seed, **run.config, **SHARED)
    trainer = Trainer(model, config, classes=run.classes, augment=run.augment)
    start = time.perf_counter()
    history = trainer.fit(parts[0], parts[1])
    seconds = time.perf_counter() - start
    report = trainer.evaluate(parts[2])
    return {
        "best_epoch": history.best()["epoch"],
        "accuracy": f"{report.accuracy:.5f}",
        "macro_f1": f"{report.macro_f1:.5f}",
        "calibration_error": f"{report.calibration_error:.4f}",
        "seconds": f"{seconds:.1f}",
    }


def hardware() -> str:
    """Processor, cores, torch: what a time depends on."""
    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        for line in cpu.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":")[1].strip()
                break
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME[=DIR]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    wanted = dict([*text.split("=", 1), ""][:2] for text in options.runs)
    if unknown := sorted(set(wanted) - set(RUNS)):
        parser.error(f"unknown runs {unknown}, choose from {sorted(RUNS)}")
    rows = []
    for name, root in wanted.items():
        run = RUNS[name]
        parts = run.parts(root)
        for seed in options.seeds:
            row = {"run": name, "seed": seed, "epochs": run.config["epochs"]}
            row |= {f"n_{split}": len(part) for split, part in zip(SPLITS, parts)}
            row |= train(run, parts, seed) | {"hardware": hardware()}
            rows.append(row)
            print(row, flush=True)
            if options.out:
                save(options.out, rows)


def save(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows, in the order of ``RUNS``, beside those of other runs."""
    done = {row["run"] for row in rows}
    kept = []
    if out.exists():
        lines = [x for x in out.read_text("utf-8").splitlines() if x[:1] != "#"]
        kept = [row for row in csv.DictReader(lines) if row["run"] not in done]
    order = list(RUNS)
    both = sorted([*kept, *rows], key=lambda row: order.index(row["run"]))
    with out.open("w", newline="", encoding="utf-8") as file:
        print("# python -m course_book.experiments.headline", file=file)
        print("# hardware and versions stand in each row", file=file)
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(both)


if __name__ == "__main__":
    main()
