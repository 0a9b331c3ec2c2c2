"""The command ``python -m benchmarks``, see the package."""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import torch

import benchmarks
from benchmarks.racing import Measurement, Settings, hardware
from benchmarks.subjects import SUBJECTS, measure


def _shape(text: str) -> tuple[int, int]:
    batch, _, size = text.partition("x")
    return int(batch), int(size)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    add("--repetitions", type=int, default=7, help="rounds, 5 or more")
    add("--threads", type=int, default=torch.get_num_threads())
    add(
        "--shapes",
        nargs="+",
        type=_shape,
        metavar="BATCHxPIXELS",
        default=Settings.shapes,
        help="of inference, 8x224 and 1x224 unless told",
    )
    add(
        "--busy",
        action="store_true",
        help="processor time of one thread instead of time on the clock, for a "
        "machine that others use too",
    )
    add("--out", type=Path, metavar="FILE", help="also write the rows as CSV")
    return parser


def write(path: Path, rows: list[Measurement], command: str, notes: list[str]) -> None:
    """All rows as CSV, with where they come from in the first lines."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in [command, *notes])
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*Measurement._fields, "met"])
        for row in rows:
            met = {True: "yes", False: "no", None: ""}[row.met]
            table.writerow(["" if v is None else v for v in row] + [met])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 0 unless a call is wrong."""
    options = _parser().parse_args(arguments)
    names = options.subjects or list(SUBJECTS)
    if unknown := sorted(set(names) - set(SUBJECTS)):
        print(f"error: no subject {unknown}; there are {list(SUBJECTS)}")
        return 2
    if options.repetitions < 5:
        print("error: --repetitions must be at least 5, else there is no spread")
        return 2
    threads = 1 if options.busy else options.threads
    settings = Settings(
        options.repetitions, threads, tuple(options.shapes), busy=options.busy
    )
    notes, began = hardware(threads), time.monotonic()
    if options.busy:
        notes.append("processor time of one thread; files and processes by the clock")
    print(*notes, sep="\n")
    print(f"{'median':>7}  {'quartiles':12} {'goal':8} {'':7} {'what':18}")
    # A process for each: what one subject loads stays out of the next. Loaders that
    # fork a process in which OpenVINO has run crash it.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        rows = [*chain(*pool.map(measure, names, repeat(settings)))]
    minutes = (time.monotonic() - began) / 60
    notes.append(f"{minutes:.0f} minutes, {time.strftime('%Y-%m-%d')}")
    if options.out:
        command = " ".join(["python -m benchmarks", *(arguments or sys.argv[1:])])
        write(options.out, rows, command, notes)
        print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
