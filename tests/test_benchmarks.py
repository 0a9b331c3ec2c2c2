"""The arithmetic and the file of the benchmarks; what they measure is not tested."""

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import main, write
from benchmarks.growth import slope
from benchmarks.racing import Measurement, Settings, hardware, race, row
from benchmarks.subjects import show

ROW = row(
    "a",
    "b",
    "c",
    [1.0, 2.0, 1.0, 2.0, 1.0],
    [3.0, 8.0, 3.0, 8.0, 3.0],
    equal="yes",
    goal=">= 3.0",
)


@given(
    power=st.floats(-3, 3),
    factor=st.floats(0.01, 100),
    xs=st.lists(st.integers(1, 1000), min_size=2, max_size=9, unique=True),
)
def test_the_exponent_of_a_power_law_is_found(power, factor, xs):
    ys = [factor * x**power for x in xs]
    assert slope(xs, ys) == pytest.approx(power, abs=1e-6)


def test_a_row_holds_the_median_of_the_ratios():
    assert (ROW.value, ROW.low, ROW.high) == (3.0, 3.0, 4.0)
    assert (ROW.ours, ROW.theirs, ROW.repetitions) == (1000.0, 3000.0, 5)
    assert ROW.met
    share = row("a", "b", "c", [1.0] * 5, [2.0] * 5, equal="", share=True)
    assert share.value == 0.5 and share.met is None
    assert not ROW._replace(goal="<= 2.9").met


def test_every_side_runs_in_every_round():
    ran = []
    sides = {name: lambda name=name: ran.append(name) for name in "abc"}
    times = race(sides, Settings(repetitions=5))
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys(
        "abc", 5
    )
    rounds = [ran[i : i + 3] for i in range(0, len(ran), 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1  # not always in one order


def test_the_file_reads_back(tmp_path):
    path = tmp_path / "bench.csv"
    write(path, [ROW], "python -m benchmarks", hardware(2))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# python -m benchmarks" and torch.__version__[:3] in lines[2]
    (read,) = csv.DictReader(line for line in lines if not line.startswith("#"))
    assert [*read] == [*Measurement._fields, "met"]
    assert read["value"] == "3.0" and read["met"] == "yes" and read["goal"] == ">= 3.0"
    assert "MISSED" in show(ROW._replace(goal=">= 9")) and "met" in show(ROW)


def test_wrong_calls_are_told(capsys):
    assert main(["speed"]) == 2 and main(["ledger", "--repetitions", "3"]) == 2
    assert "no subject ['speed']" in capsys.readouterr().out


def test_peers_stay_out_of_the_course():
    root = Path(__file__).parent.parent
    names = ("openvino", "onnxruntime", "lightning")
    for file in (root / "course_lib").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not any(f"import {name}" in text for name in names), file
    lock = (root / "requirements.txt").read_text(encoding="utf-8")
    assert not any(name in lock for name in names)
