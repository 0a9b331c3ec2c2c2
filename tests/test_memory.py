"""The allocator's wishes, in processes of their own: they cannot be taken back."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from course_lib import memory, training

REPEATED = """
import sys
import numpy as np
from course_lib.memory import keep_freed_memory, page_faults

if not keep_freed_memory(sys.argv[1] == "keep"):
    raise SystemExit("no glibc")
faults = []
for _ in range(3):
    before = page_faults()
    np.empty(2**26, np.uint8).fill(1)  # 64 MiB, freed at once
    faults.append(page_faults() - before)
print(*faults)
"""


def faults_of(wish):
    command = [sys.executable, "-c", REPEATED, wish]
    # conftest.py has wishes of its own, for all tests.
    env = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    run = subprocess.run(command, capture_output=True, text=True, env=env)
    if "no glibc" in run.stderr:
        pytest.skip("this system's C library takes no wishes")
    assert not run.returncode, run.stderr
    return [int(word) for word in run.stdout.split()]


def test_a_block_of_kept_memory_is_touched_for_the_first_time_once():
    kept, returned = faults_of("keep"), faults_of("return")
    # Huge pages, where a system gives them, are at least 32 for 64 MiB.
    assert kept[0] >= 32 > max(kept[1:]) and min(returned) >= 32


def test_training_on_the_cpu_keeps_its_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "keep_freed_memory", lambda: asked.append(True))
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pairs = [(torch.randn(3, 1, 2, 2), torch.tensor([0, 1, 0]))]
    assert (
        len(list(training.training_steps(model, pairs, optimizer))) == 1 == len(asked)
    )


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.delattr(memory.ctypes, "CDLL")
    assert memory.keep_freed_memory() is False
    monkeypatch.setattr(memory, "resource", None)
    assert memory.page_faults() == 0
