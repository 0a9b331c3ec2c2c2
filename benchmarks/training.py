"""A training step, and what the trainer adds to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.pictures import pair, pictures
from benchmarks.racing import Measurement, Settings, peer, race, row
from course_lib.trainer import Trainer, TrainerConfig
from course_lib.trainer.batches import Plan
from course_lib.trainer.config import optimizer_for, precision_type, schedule_for
from course_lib.training import evaluate, training_steps

CPU = torch.device("cpu")
TWO_LINES = "bf16 autocast; channels-last and fused AdamW"
loss_of = nn.functional.cross_entropy


def rows(settings: Settings) -> Iterator[Measurement]:
    """Two shapes of a step, then the trainer's own overhead."""
    for batch, size, goal in ((64, 64, ">= 1.9"), (8, 224, ">= 2.2")):
        yield from step(settings, batch, size, goal)
    yield overhead(settings)


def plain_step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """The loop as tutorials write it: float32, AdamW."""
    return bare_step(model, x, y, torch.optim.AdamW(model.parameters(), lr=1e-5))


def two_lines_step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """The same loop with channels-last and fused AdamW, and with bf16 autocast."""
    model, x = (thing.to(memory_format=torch.channels_last) for thing in (model, x))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    return bare_step(model, x, y, optimizer, precision_type("auto", CPU))


def bare_step(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    optimizer: torch.optim.Optimizer,
    amp: torch.dtype | None = None,
) -> Callable[[], Tensor]:
    model.train()

    def run() -> Tensor:
        with torch.autocast("cpu", amp, enabled=amp is not None):
            loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def fast_step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """The course's step with the settings that its trainer takes by default."""
    model, x = (thing.to(memory_format=torch.channels_last) for thing in (model, x))
    optimizer = optimizer_for(model, TrainerConfig(learning_rate=1e-5))
    amp = precision_type("auto", CPU)

    def run() -> Tensor:
        ((loss, _, _),) = training_steps(model, [(x, y)], optimizer, amp=amp)
        return loss

    return run


def step(settings: Settings, batch: int, size: int, goal: str) -> Iterator[Measurement]:
    """Forward, loss, backward and AdamW, on one batch again and again."""
    ours, theirs = pair()
    x, y = pictures(batch, size)
    sides = {
        "ours": fast_step(ours, x, y),
        "plain": plain_step(theirs, x, y),
        "two lines": two_lines_step(pair()[1], x, y),
    }
    losses = {name: side().item() for name, side in sides.items()}
    times = race(sides, settings)
    peers = {"plain": ("plain loop", goal), "two lines": (TWO_LINES, ">= 1.0")}
    for name, (text, goal) in peers.items():
        off = abs(losses["ours"] / losses[name] - 1)
        assert off <= 1e-2, losses
        yield row(
            "training step",
            f"ResNet-18, {batch} × {size} px",
            f"{text}, {peer('torchvision')}",
            times["ours"],
            times[name],
            goal=goal,
            equal=f"first loss differs by {off:.1e}",
        )


def overhead(settings: Settings) -> Measurement:
    """``Trainer.fit`` against the same steps in a loop of ten lines: an epoch each."""
    x, y = (part.repeat(8, *[1] * (part.ndim - 1)) for part in pictures(256, 64))
    data, held_out = TensorDataset(x, y), TensorDataset(x[:32], y[:32])
    start, _ = pair()
    config = TrainerConfig(epochs=1, batch_size=32, learning_rate=1e-4, progress=False)
    trained: dict[str, nn.Module] = {}

    def fit() -> None:
        trained["ours"] = model = copy.deepcopy(start)
        trainer = Trainer(model, config, classes=list("abcdef"))
        trainer.fit(data, held_out)

    def bare() -> None:
        last = torch.channels_last
        trained["bare"] = model = copy.deepcopy(start).to(memory_format=last)
        optimizer = optimizer_for(model, config)
        plan = Plan(len(data), config.batch_size, config.seed)
        schedule = schedule_for(optimizer, config, plan.steps)
        amp = precision_type("auto", CPU)
        model.train()
        for batch in plan.epoch(1):
            chosen = torch.tensor(batch.indices)
            images = x[chosen].contiguous(memory_format=last)
            with torch.autocast("cpu", amp, enabled=amp is not None):
                loss = loss_of(model(images), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        evaluate(model, [(x[:32].contiguous(memory_format=last), y[:32])], amp=amp)

    fit(), bare()
    for mine, other in zip(*(m.state_dict().values() for m in trained.values())):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    times = race({"ours": fit, "bare": bare}, settings)
    return row(
        "trainer's overhead",
        "ResNet-18, 64 steps of 32 × 64 px, one validation",
        "the same steps in a bare loop",
        times["ours"],
        times["bare"],
        goal="<= 1.02",
        share=True,
        equal="the same weights afterwards",
    )
