r"""Kinds of skip connection on real digits, at equal budget.

    python -m course_book.experiments.skip_zoo --seeds 3 \
        --out course_book/results/skip_zoo.csv

Six nets of :mod:`course_book.experiments.zoo_nets`, whose parameters and
multiplications differ by less than 4 %, get the same 192 steps of SGD on the same
batches, with the loop of the degradation experiment (momentum 0.9, weight decay
1e-4, cosine schedule, no augmentation). The best learning rate differs from kind
to kind, so each kind runs with both of two; the validation images choose between
them, and the test images report.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch

from course_book.experiments.degradation import _hardware, train
from course_book.experiments.digits import load_digits
from course_book.experiments.zoo_nets import KINDS, build

__all__ = ["EPOCHS", "RATES", "best_rates", "perform", "plan"]

RATES = (0.01, 0.03)
EPOCHS = 12

Row = dict[str, object]


def plan(seeds: int) -> list[tuple[str, float, int]]:
    """Every run of the table: kind, learning rate, seed."""
    return [(k, rate, seed) for k in KINDS for rate in RATES for seed in range(seeds)]


def perform(kind: str, lr: float, seed: int, *, epochs: int = EPOCHS) -> list[Row]:
    """One run, one row per epoch; the last row also has errors in eval mode (%)."""
    history = train(build(kind, seed), load_digits(), lr=lr, epochs=epochs, seed=seed)
    return [
        {"kind": kind, "lr": lr, "seed": seed, "epochs": epochs}
        | {name: round(value, 4) for name, value in record.items()}
        for record in history
    ]


def best_rates(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """The learning rate of each kind with the least mean validation loss.

    Args:
        rows: of the table; those without a ``validation_loss`` are left out.
    """
    losses: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row["validation_loss"] is not None:
            of_kind = losses.setdefault(row["kind"], {})
            of_kind.setdefault(row["lr"], []).append(row["validation_loss"])
    return {
        kind: min(by_rate, key=lambda rate: fmean(by_rate[rate]))
        for kind, by_rate in losses.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    torch.set_num_threads(1)
    start = time.process_time()
    tables = []
    for run in plan(options.seeds):
        tables.append(perform(*run))
        print(tables[-1][-1], flush=True)
    minutes = (time.process_time() - start) / 60
    with options.out.open("w", newline="", encoding="utf-8") as file:
        file.write(
            "# python -m course_book.experiments.skip_zoo "
            f"--seeds {options.seeds} --out course_book/results/skip_zoo.csv\n"
            f"# torch {torch.__version__}, Python {platform.python_version()}, "
            f"{_hardware()}, one thread, {minutes:.0f} minutes of its time\n"
        )
        writer = csv.DictWriter(file, list(tables[0][-1]), lineterminator="\n")
        writer.writeheader()
        for rows in tables:
            writer.writerows(rows)


if __name__ == "__main__":
    main()
