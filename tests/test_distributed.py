import json
import multiprocessing
import os
import signal
import socket
import sys
import time

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from course_lib import resnet, train
from course_lib.resnet import BasicBlock, ResNet
from course_lib.trainer import (
    Trainer,
    TrainerConfig,
    TrainingInterrupted,
    distributed,
    load_checkpoint,
    loop,
)

WEIGHTS = (1.0, 3.0, 0.5)


class Net(nn.Sequential):
    """A small net in double precision whose BN uses its running statistics.

    BN's statistics of a part are not those of the joint batch, so with BN in train
    mode two processes on CPUs cannot compute what one does.
    """

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 3),
        )
        self.double()

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 6, 6, generator=generator).double()
    return TensorDataset(x, torch.arange(count) % 3)


def fit(folder=None, resume=False, augment=None, **changes):
    options = {"epochs": 3, "batch_size": 8, "precision": "fp32", "clip": 0.5}
    options |= {"class_weights": WEIGHTS, "label_smoothing": 0.1, "progress": False}
    options |= {"checkpoint_dir": folder, "learning_rate": 0.01}
    trainer = Trainer(
        Net(), TrainerConfig(**options | changes), classes="abc", augment=augment
    )
    trainer.fit(data(21, 0), data(9, 1), resume=resume)
    return trainer


# ------------------------------------------------------------- starting two processes


def join_in(rank, port, folder, target, args):
    """What every child does first: torchrun's variables, output into a file."""
    sys.stdout.flush()
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{name}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    torch.set_num_threads(1)
    sys.exit(target(rank, *args))


@pytest.fixture(scope="module")
def two():
    """Start two children that have torch loaded; give them, and wait in the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["course_lib.trainer", "course_lib.train", "pytest", "torch._dynamo"]
    )
    children = []

    def run(folder, target, *args):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pair = [
            context.Process(target=join_in, args=(rank, port, folder, target, args))
            for rank in (0, 1)
        ]
        children.extend(pair)
        for child in pair:
            child.start()
        return pair

    yield run
    for child in children:
        child.kill()


def finish(pair, seconds=180):
    for child in pair:
        child.join(seconds)
    return [child.exitcode for child in pair]


# ------------------------------------------------------------------------- gradients


def gradients(rank, folder):
    with distributed.process_group() as device:
        assert device.type == "cpu"
        model = Net().train()
        network = distributed.wrap(model, device)
        loss = distributed.JointLoss(torch.tensor(WEIGHTS), 0.1)
        x, y = data(7, 0)[rank::2]  # four images and three
        value = loss(network(x), y)
        value.backward()
        mean = distributed.all_reduce([value.item() / 2])[0]
        grads = [parameter.grad for parameter in model.parameters()]
        torch.save({"loss": mean, "grads": grads}, folder / f"grads{rank}.pt")


def test_two_processes_give_the_gradients_of_the_joint_batch(two, tmp_path):
    assert finish(two(tmp_path, gradients, tmp_path)) == [0, 0]
    model = Net().train()
    x, y = data(7, 0)[:]
    loss = nn.functional.cross_entropy(
        model(x), y, torch.tensor(WEIGHTS).double(), label_smoothing=0.1
    )
    loss.backward()
    for rank in (0, 1):
        seen = torch.load(tmp_path / f"grads{rank}.pt", weights_only=True)
        assert seen["loss"] == pytest.approx(loss.item(), rel=1e-12)
        for grad, parameter in zip(seen["grads"], model.parameters()):
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-11, atol=1e-14)


# --------------------------------------------------------------------------- training


def train_together(rank, folder):
    with distributed.process_group():
        trainer = fit(folder / "run")
        report = trainer.evaluate(data(10, 2))
        rows = [dict(row, seconds=0) for row in trainer.history]
        seen = {"rows": rows, "report": report.as_dict()}
        # BN in train mode: each process has seen its part, and all know the same.
        usual = nn.Sequential(*Net().float())
        trainer = Trainer(
            usual, TrainerConfig(epochs=1, batch_size=8, progress=False), classes="abc"
        )
        trainer.fit(data(21, 0), data(9, 1))
        seen["buffers"] = [buffer.tolist() for buffer in usual.buffers()]
        (folder / f"seen{rank}.json").write_text(json.dumps(seen))


def test_two_processes_train_as_one(two, tmp_path):
    pair = two(tmp_path, train_together, tmp_path)
    alone = fit()
    report = alone.evaluate(data(10, 2))
    assert finish(pair) == [0, 0]
    texts = [(tmp_path / f"seen{rank}.json").read_text() for rank in (0, 1)]
    assert texts[0] == texts[1]  # both know the whole result
    seen = json.loads(texts[0])
    for mine, theirs in zip(alone.history, seen["rows"], strict=True):
        for name in set(mine) - {"seconds"}:
            assert theirs[name] == pytest.approx(mine[name], rel=1e-9), name
    assert seen["report"]["confusion"] == report.confusion.tolist()
    assert seen["report"]["loss"] == pytest.approx(report.loss, rel=1e-6)
    state = load_checkpoint(tmp_path / "run" / "last.pt")
    for key, value in alone.state.model.state_dict().items():
        torch.testing.assert_close(state["best"][key], value, rtol=1e-9, atol=1e-12)


def stopped(rank, folder):
    loop.AGREE_STEPS = 2
    calls = 0

    def augment(x, generator):
        nonlocal calls
        calls += 1
        if rank == 1 and calls == 3:  # only one of them is asked to stop
            signal.raise_signal(signal.SIGTERM)
        return x

    with distributed.process_group():
        try:
            fit(folder / "run", augment=augment)
        except TrainingInterrupted as stop:
            print(stop)
            return 130


def test_one_that_is_asked_to_stop_stops_all_and_one_goes_on_alone(two, tmp_path):
    assert finish(two(tmp_path, stopped, tmp_path)) == [130, 130]
    said = [(tmp_path / f"out{rank}").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert "resume=True" in said[0]
    resumed, alone = fit(tmp_path / "run", resume=True), fit()
    for mine, theirs in zip(alone.history, resumed.history, strict=True):
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=1e-9)


# ------------------------------------------------------------------------ the command


def small(**options):
    return ResNet(BasicBlock, [1, 1, 1, 1], **options)


def command(rank, *arguments):
    resnet.resnet18 = small
    return train.main(arguments)


def command_without_log(rank, *arguments):
    train.find_spec = lambda name: None
    return command(rank, *arguments)


@pytest.fixture
def arguments(tmp_path):
    for name, level in (("dark", 60), ("light", 190)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            picture = Image.new("RGB", (36, 36), (level + i, level, level))
            picture.save(tmp_path / "photos" / name / f"{name}{i}.png")
    options = ["--data", tmp_path / "photos", "--size", 32, "--batch-size", 8]
    options += ["--cache", tmp_path / "cache", "--precision", "fp32"]
    return [*map(str, [*options, "--out", tmp_path / "run", "--epochs"])]


def test_the_command_has_one_writer_and_one_voice(arguments, two, tmp_path):
    assert finish(two(tmp_path, command, *arguments, "2")) == [0, 0]
    lines = (tmp_path / "out0").read_text().splitlines()
    assert "2 process(es)" in lines[0]
    assert [line[:9] for line in lines[3:5]] == ["epoch 1/2", "epoch 2/2"]
    assert (tmp_path / "out1").read_text() == ""
    files = {path.name.split(".")[0] for path in (tmp_path / "run").iterdir()}
    expected = {"best", "config", "events", "history", "last", "lock", "previous"}
    assert files == expected | {"report", "split"}
    assert len([*(tmp_path / "run").glob("events*")]) == 1
    assert len([*(tmp_path / "cache").glob("*.npy")]) == 1


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_peer_dies_the_other_ends_with_a_sentence(
    victim, arguments, two, tmp_path
):
    pair = two(tmp_path, command_without_log, *arguments, "1000")
    end = time.monotonic() + 180
    while not (tmp_path / "run" / "last.pt").exists() and time.monotonic() < end:
        time.sleep(0.01)
    start = time.monotonic()
    pair[victim].kill()
    pair[1 - victim].terminate()  # as torchrun does
    codes = finish(pair, 60)
    assert time.monotonic() - start < 60
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 1
    said = (tmp_path / f"err{1 - victim}").read_text()
    assert "likely another process of this training ended" in said
    assert "Traceback" not in said
    assert load_checkpoint(tmp_path / "run" / "last.pt")["epoch"] > 0
