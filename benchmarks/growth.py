"""How time and memory grow: exponents of fitted power laws.

An exponent of 2 means that twice as much costs four times as much.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from benchmarks.pictures import pictures
from benchmarks.racing import Measurement, Settings, race
from benchmarks.training import fast_step
from course_lib.data.cache import decode
from course_lib.data.folders import read_folder
from course_lib.data.preprocessing import Preprocessing
from course_lib.ledger import ledger
from course_lib.ledger.table import MIB
from course_lib.resnet import resnet, resnet18

SIZES, BATCHES = (128, 160, 192, 256), (16, 32, 64, 128)
DEPTHS = (18, 34, 50, 101, 152)


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The exponent b of the least-squares fit of y = a · x^b."""
    xs, ys = [math.log(x) for x in xs], [math.log(y) for y in ys]
    return statistics.linear_regression(xs, ys).slope


def exponent(
    case: str,
    xs: Sequence[float],
    times: Sequence[Sequence[float]],
    expected: float,
    unit: str,
    note: str,
) -> Measurement:
    """One fit for each round, so that the exponent has a spread."""
    fits = [slope(xs, round_) for round_ in zip(*times)]
    exact = len(fits) < 5  # counted, not measured
    low, middle, high = (None, fits[0], None) if exact else statistics.quantiles(fits)
    last = statistics.median(times[-1])
    return Measurement(
        "growth",
        case,
        f"expected {expected:g}",
        "exponent",
        round(middle, 3),
        None if exact else round(low, 3),
        None if exact else round(high, 3),
        "",
        round(last, 2),
        None,
        unit,
        len(fits),
        note,
    )


def timed(
    case: str,
    xs: Sequence[float],
    make: Callable[[float], Callable[[], object]],
    expected: float,
    settings: Settings,
    note: str,
) -> Measurement:
    """The exponent of the time that ``make(x)`` takes."""
    sides = {str(x): make(x) for x in xs}
    taken = race(sides, settings)
    times = [[1e3 * t for t in taken[str(x)]] for x in xs]
    return exponent(case, xs, times, expected, "ms at the largest", note)


def kept(
    case: str, xs: Sequence[float], shape: Callable[[int], tuple], expected: float
) -> Measurement:
    """The exponent of the bytes that a step keeps for its backward pass."""
    model = resnet18(num_classes=6).train()
    sizes = [[ledger(model, shape(x)).kept_bytes / MIB] for x in xs]
    note = "counted by the ledger; what does not grow are BN's statistics"
    return exponent(case, xs, sizes, expected, "MiB at the largest", note)


def step_of(batch: int, size: int, depth: int = 18) -> Callable[[], object]:
    """A training step with the course's fast settings."""
    torch.manual_seed(0)
    return fast_step(resnet(depth, num_classes=6), *pictures(batch, size))


def rows(settings: Settings) -> Iterator[Measurement]:
    """Against image size, batch, depth, number of files and processes."""
    yield timed(
        "time of a step, 8 pictures, against image size",
        SIZES,
        lambda size: step_of(8, size),
        2,
        settings,
        "below 2: AdamW's part does not grow with the pictures",
    )
    yield timed(
        "time of a step, 64 px, against batch",
        BATCHES,
        lambda batch: step_of(batch, 64),
        1,
        settings,
        "below 1: AdamW's part does not grow with the batch",
    )
    yield kept("memory of a step, against image size", SIZES, lambda s: (8, 3, s, s), 2)
    yield kept("memory of a step, against batch", BATCHES, lambda b: (b, 3, 64, 64), 1)
    macs = {d: ledger(resnet(d), (8, 3, 64, 64)).macs for d in DEPTHS}
    by_macs = {macs[d]: d for d in DEPTHS}
    yield timed(
        "time of a step, 8 × 64 px, depths 18 to 152, against multiplications",
        list(by_macs),
        lambda m: step_of(8, 64, by_macs[m]),
        1,
        settings,
        "deeper nets have more maps and weights for each multiplication",
    )
    layers = {len(ledger(resnet(d), (1, 3, 64, 64)).rows): d for d in DEPTHS}
    models = {count: resnet(d) for count, d in layers.items()}
    yield timed(
        "time of the ledger, depths 18 to 152, against rows",
        list(models),
        lambda count: lambda: ledger(models[count], (1, 3, 224, 224)),
        1,
        settings,
        "one call of each layer, without numbers",
    )
    yield files(settings)
    yield processes(settings)


def files(settings: Settings) -> Measurement:
    """The decoded cache against the number of files."""
    counts = (50, 100, 200, 400)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        image = Image.effect_noise((256, 256), 60).convert("RGB")
        for count in counts:
            for label in ("cracked", "whole"):
                place = root / str(count) / label
                place.mkdir(parents=True)
                for number in range(count // 2):
                    image.save(place / f"{number}.jpg")

        def build(count: int) -> Callable[[], None]:
            paths = read_folder(root / str(count)).paths

            def run() -> None:
                with tempfile.TemporaryDirectory(dir=folder) as cache:
                    decode(paths, Path(cache), Preprocessing(64, 73))

            return run

        return timed(
            "building the decoded cache, against files of 256 px",
            counts,
            build,
            1,
            settings,
            "each file is decoded once",
        )


_PROGRAM = """
import sys, time, torch
from course_lib.resnet import resnet18
from course_lib.trainer import distributed
torch.set_num_threads(1)
with distributed.process_group():
    me = distributed.world()
    torch.manual_seed(0)
    model = distributed.wrap(resnet18(num_classes=6), torch.device("cpu"))
    x = torch.randn(32, 3, 64, 64)[me.rank :: me.size]
    y = torch.arange(32)[me.rank :: me.size] % 6
    for number in range(int(sys.argv[1]) + 1):
        start = time.perf_counter()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        if me.rank == 0 and number:
            print(time.perf_counter() - start)
"""


def processes(settings: Settings) -> Measurement:
    """A joint batch of 32 in one and in two processes of one thread each."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "step.py"
        program.write_text(_PROGRAM)
        for count in (1, 2):
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command += [f"--nproc-per-node={count}", str(program)]
            command += [str(settings.repetitions)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if done.returncode:
                raise RuntimeError(done.stderr[-2000:])
            times.append([1e3 * float(line) for line in done.stdout.split()])
    return exponent(
        "gradients of a joint batch of 32 × 64 px, against processes (1, 2)",
        (1, 2),
        times,
        -1,
        "ms with two",
        "above -1: 45 MB of gradients are averaged in each step, and on so few "
        "pictures that takes a while",
    )
