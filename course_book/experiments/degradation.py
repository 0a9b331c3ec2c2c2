r"""Plain and residual nets of growing depth on real digits, at equal budget.

    python -m course_book.experiments.degradation --seeds 5 \
        --out course_book/results/degradation.csv

The nets have 6n + 2 layers of 16, 32 and 64 channels. A layer costs a sixteenth
of one of ResNet-18's, so that five seeds of five depths fit into minutes on one
core. The last part repeats the comparison with the full ResNet-18 and ResNet-34.

Every net of a part gets the same optimizer (SGD, momentum 0.9, weight decay
1e-4), the same batches of 64, the same number of steps and the same cosine
schedule; no augmentation. The learning rates (0.03, and 0.1 and 0.01 as a
control) and the numbers of epochs were fixed before these runs, after a trial
with two seeds at 0.1 and 0.02 over 20 epochs and, for the full nets, one seed
over 6 epochs. The trial showed what the table shows. 0.003 was added when 0.01
turned out to be the plain net's best of three.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from course_book.experiments.digits import BLOCKS, Digits, DigitsNet, load_digits
from course_lib.resnet import LAYERS, ResNet

__all__ = [
    "DEPTHS",
    "EPOCHS",
    "LEARNING_RATE",
    "Setting",
    "Spread",
    "build",
    "evaluate",
    "plan",
    "spread",
    "train",
]

DEPTHS = (8, 20, 32, 44, 56)
LEARNING_RATE = 0.03
EPOCHS = 12
BATCH = 64
CURVES = (20, 56)  # depths of the main part that keep a row per epoch


@dataclass(frozen=True)
class Setting:
    """One training run of the table.

    ``part`` says which question it answers: ``"depth"`` (the main comparison),
    ``"rate"`` (other learning rates), ``"warm-up"`` (three epochs of it),
    ``"longer"`` (3 times the epochs) or ``"full"`` (ResNet-18 and 34 with
    and without shortcuts).
    """

    part: str
    kind: str
    depth: int
    lr: float
    epochs: int
    seed: int


def plan(seeds: int) -> list[Setting]:
    """Every run of the table, for seeds 0 ... ``seeds - 1``."""
    lr, epochs = LEARNING_RATE, EPOCHS
    settings = [("depth", kind, d, lr, epochs) for d in DEPTHS for kind in BLOCKS]
    settings += [
        ("rate", kind, 56, other, epochs)
        for kind in BLOCKS
        for other in (0.1, 0.01, 0.003)
    ]
    settings += [("warm-up", kind, 56, lr, epochs) for kind in BLOCKS]
    settings += [("longer", "plain", 56, lr, 3 * epochs)]
    settings += [
        ("full", kind, d, lr, epochs // 3) for d in (18, 34) for kind in BLOCKS
    ]
    return [Setting(*setting, seed) for setting in settings for seed in range(seeds)]


def build(kind: str, depth: int, seed: int) -> nn.Module:
    """A freshly initialized net: full ResNet size at 18 and 34, else a DigitsNet.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if depth in (18, 34):
            return ResNet(
                BLOCKS[kind],
                LAYERS[depth],
                stem="small",
                in_channels=1,
                num_classes=10,
            )
        return DigitsNet(kind, depth)


def train(
    net: nn.Module,
    data: Digits,
    *,
    lr: float,
    epochs: int,
    seed: int,
    warmup: int = 0,
) -> list[dict[str, float]]:
    """Train in place, on the device of ``data``; the last batch, if short, is left out.

    Args:
        net: on the same device as ``data``.
        data: the three splits.
        lr: learning rate at the start of the cosine schedule, which ends at 0.
        epochs: passes over the training images.
        seed: decides the order of the images.
        warmup: epochs over which the learning rate also grows from nearly 0.

    Returns:
        One dict per epoch: ``epoch`` from 1, and ``train_loss`` and
        ``train_error`` (%), both averages over the epoch's batches as they came,
        in train mode. The last one also has what :func:`evaluate` finds.
    """
    images, labels = data.train
    steps = len(images) // BATCH
    optimizer = torch.optim.SGD(
        net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    if warmup:
        # Two schedules multiply when both are stepped.
        growth = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=1 / (warmup * steps), total_iters=warmup * steps
        )
        schedule = torch.optim.lr_scheduler.ChainedScheduler([schedule, growth])
    generator = torch.Generator().manual_seed(seed)
    history = []
    for epoch in range(1, epochs + 1):
        net.train()
        loss_sum, wrong = 0.0, 0
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for batch in order[: steps * BATCH].split(BATCH):
            logits = net(images[batch])
            loss = cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item()
            wrong += (logits.argmax(1) != labels[batch]).sum().item()
        history.append(
            {
                "epoch": epoch,
                "train_loss": loss_sum / steps,
                "train_error": 100 * wrong / (steps * BATCH),
            }
        )
    history[-1] |= evaluate(net, data)
    return history


@torch.no_grad()
def evaluate(net: nn.Module, data: Digits) -> dict[str, float]:
    """Errors (%) and the validation loss in eval mode.

    Returns:
        ``final_train_error``, ``validation_error``, ``validation_loss`` and
        ``test_error``.
    """
    net.eval()
    result = {}
    names = ("final_train_error", "validation_error", "test_error")
    for name, (images, labels) in zip(names, data, strict=True):
        logits = net(images)
        result[name] = 100 * (logits.argmax(1) != labels).float().mean().item()
        if name == "validation_error":
            result["validation_loss"] = cross_entropy(logits, labels).item()
    return result


class Spread(NamedTuple):
    """Mean, lowest and highest value over the seeds of one setting."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:5.1f} ({self.low:4.1f} to {self.high:4.1f})"


def spread(
    rows: Sequence[Mapping[str, object]],
    column: str = "final_train_error",
    **wanted: object,
) -> Spread:
    """Mean, lowest and highest value of a column in the rows that are wanted.

    Args:
        rows: of a table.
        column: of numbers.
        wanted: what the other columns must hold, such as ``depth=56``.

    Raises:
        ValueError: if no row is as wanted.
    """
    values = [
        row[column]
        for row in rows
        if all(row[key] == value for key, value in wanted.items())
    ]
    if not values:
        raise ValueError(f"no row of {len(rows)} has {wanted}")
    return Spread(fmean(values), min(values), max(values))


def perform(run: Setting) -> list[dict[str, object]]:
    """One run as rows of the table, on one thread of the CPU.

    The nets whose curves are drawn keep a row per epoch, the others their last.
    """
    torch.set_num_threads(1)
    net = build(run.kind, run.depth, run.seed)
    history = train(
        net,
        load_digits(),
        lr=run.lr,
        epochs=run.epochs,
        seed=run.seed,
        warmup=3 if run.part == "warm-up" else 0,
    )
    keep = history if run.part == "depth" and run.depth in CURVES else history[-1:]
    rows = [
        asdict(run) | {key: round(value, 4) for key, value in record.items()}
        for record in keep
    ]
    print(rows[-1], flush=True)
    return rows


def _hardware() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    start = time.perf_counter()
    runs = plan(options.seeds)
    if options.jobs == 1:
        tables = [perform(run) for run in runs]
    else:  # spawned, because a fork would inherit torch's thread pool
        spawn = get_context("spawn")
        with ProcessPoolExecutor(options.jobs, mp_context=spawn) as pool:
            tables = list(pool.map(perform, runs))
    minutes = (time.perf_counter() - start) / 60
    note = f"{options.jobs} at a time, {minutes:.0f} minutes"
    write(options.out, tables, options.seeds, note)


def write(
    path: Path, tables: Sequence[list[dict[str, object]]], seeds: int, note: str
) -> None:
    """Write the table, with command, versions and hardware in its first lines."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(
            "# python -m course_book.experiments.degradation "
            f"--seeds {seeds} --out course_book/results/degradation.csv\n"
            f"# torch {torch.__version__}, Python {platform.python_version()}, "
            f"{_hardware()}, one thread a run, {note}\n"
        )
        # The last record of a run has the most columns.
        writer = csv.DictWriter(file, list(tables[0][-1]), lineterminator="\n")
        writer.writeheader()
        for rows in tables:
            writer.writerows(rows)


if __name__ == "__main__":
    main()
