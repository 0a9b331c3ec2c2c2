"""Two or more sides, run in turn: what each row of the table is made of."""

from __future__ import annotations

import importlib.metadata
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = ["Measurement", "Settings", "hardware", "peer", "race", "row"]

Side = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """What the command line decides."""

    repetitions: int = 7
    threads: int = 2
    shapes: tuple[tuple[int, int], ...] = ((8, 224), (1, 224))  # batch, pixels
    seed: int = 0
    busy: bool = False  # processor time of one thread, not time on the clock


class Measurement(NamedTuple):
    """One line of the table, and of ``bench.csv``."""

    subject: str
    case: str
    against: str
    measure: str  # "times as fast", "share of its time", "exponent" or another word
    value: float  # the median
    low: float | None  # quartiles
    high: float | None
    goal: str  # such as ">= 3.0"; "" without one
    ours: float | None  # medians, in the unit
    theirs: float | None
    unit: str
    repetitions: int
    equal: str  # what was asserted before

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if not self.goal:
            return None
        sign, number = self.goal.split()
        return (
            self.value >= float(number) if sign == ">=" else self.value <= float(number)
        )


def race(sides: dict[str, Side], settings: Settings) -> dict[str, list[float]]:
    """Seconds of each side in each round; every round has an order of its own."""
    draw = random.Random(settings.seed)
    clock = time.process_time if settings.busy else time.perf_counter
    for side in sides.values():
        side()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(settings.repetitions):
        for name in draw.sample(list(sides), len(sides)):
            start = clock()
            sides[name]()
            times[name].append(clock() - start)
    return times


def row(
    subject: str,
    case: str,
    against: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    equal: str,
    goal: str = "",
    share: bool = False,
) -> Measurement:
    """A row from the times of two sides in the same rounds.

    ``share``: value is our time over theirs, else theirs over ours.
    """
    pairs = zip(ours, theirs)
    ratios = [a / b if share else b / a for a, b in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Measurement(
        subject,
        case,
        against,
        "share of its time" if share else "times as fast",
        round(middle, 3),
        round(low, 3),
        round(high, 3),
        goal,
        round(1e3 * statistics.median(ours), 2),
        round(1e3 * statistics.median(theirs), 2),
        "ms",
        len(ratios),
        equal,
    )


def peer(name: str) -> str | None:
    """Name and version of an installed package, else None."""
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware(threads: int) -> list[str]:
    """Processor, what it computes natively, and the versions of all sides."""
    from course_lib.trainer.config import native_bf16

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [s for s in info.read_text().splitlines() if s.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    bf16 = "with" if native_bf16(torch.device("cpu")) else "without"
    names = ("torch", "torchvision", "openvino", "onnxruntime", "lightning")
    found = [peer(name) for name in (*names, "torchinfo", "fvcore")]
    gpu = "no GPU: its rows are left out"
    if torch.cuda.is_available():
        gpu = f"{torch.cuda.get_device_name()} is there; these rows are the CPU's"
    many = "1 thread" if threads == 1 else f"{threads} threads"
    return [
        f"{model}, {bf16} native bf16, {many}; {gpu}",
        ", ".join([f"Python {platform.python_version()}", *filter(None, found)]),
    ]
