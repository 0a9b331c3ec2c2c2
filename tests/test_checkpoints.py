import copy
import multiprocessing
import os
import pickle
import random
import resource
import signal
import time
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet
from course_lib.trainer import (
    CheckpointError,
    Trainer,
    TrainerConfig,
    TrainingInterrupted,
    checkpoints,
    load_checkpoint,
    loop,
    model_from,
)
from course_lib.weights.checkpoints import KEYS, describe

EPOCHS, STEPS = 5, 3


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    x = torch.randn(count, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1).float()
    return TensorDataset(x, y)


def shaken(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def trainer_in(folder, augment=shaken, **changes):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 3),
    )
    options = {"epochs": EPOCHS, "batch_size": 8, "precision": "fp32"}
    options |= {"checkpoint_dir": folder, "progress": False} | changes
    return Trainer(model, TrainerConfig(**options), classes="abc", augment=augment)


def train(folder, resume=False, **changes):
    trainer = trainer_in(folder, **changes)
    trainer.fit(data(22, 0), data(9, 1), resume=resume)
    return trainer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The last checkpoint of a training that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return load_checkpoint(folder / "last.pt")


def assert_same_end(folder, whole):
    """Bit for bit, but for the time that it took."""
    state = load_checkpoint(folder / "last.pt")
    for name in ("model", "best"):
        assert state[name].keys() == whole[name].keys()
        for key, value in whole[name].items():
            assert torch.equal(state[name][key], value), key
    for index, slots in whole["optimizer"]["state"].items():
        for key, value in slots.items():
            assert torch.equal(state["optimizer"]["state"][index][key], value)
    for mine, theirs in zip(state["history"], whole["history"], strict=True):
        for key in set(theirs) - {"seconds"}:
            assert mine[key] == pytest.approx(theirs[key], rel=1e-12), key


# ------------------------------------------------------------------ kill -9, for real


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(call, function):
    calls = 0

    def wrapped(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == call:
            die()
        return function(*args, **kwargs)

    return wrapped


def half_save(state, file):
    torch_save(state, file)
    file.flush()
    os.truncate(file.name, Path(file.name).stat().st_size // 2)
    die()


torch_save = torch.save


def train_until(folder, moment, call):
    """What the child does: save after every step, and be killed at one moment."""
    torch.set_num_threads(1)
    loop.SAVE_SECONDS = -1.0
    augment = shaken
    if moment == "step":
        augment = dies_at(call, shaken)
    elif moment == "rename":
        Path.replace = dies_at(call, Path.replace)
    elif moment == "sync":
        os.fsync = dies_at(call, os.fsync)
    elif moment == "write":
        calls = iter(range(1, 1000))
        torch.save = lambda *args: (half_save if next(calls) == call else torch_save)(
            *args
        )
    train(folder, resume=True, augment=augment)


@pytest.fixture(scope="module")
def start():
    """Start a child that has torch loaded already."""
    context = multiprocessing.get_context("forkserver")
    # torch loads its compiler at the first step of an optimizer: 3 s in each child
    context.set_forkserver_preload(["course_lib.trainer", "pytest", "torch._dynamo"])

    def run(target, *args):
        child = context.Process(target=target, args=args)
        child.start()
        return child

    return run


MOMENTS = [
    ("step", 1),  # before there is any checkpoint
    ("step", 3),
    ("write", 1),
    ("rename", 1),  # next.pt.tmp -> next.pt
    ("rename", 2),  # last.pt -> previous.pt
    ("rename", 3),  # next.pt -> last.pt, while there is no last.pt
    ("sync", 3),
    ("rename", 9),
    ("write", 3),
    ("step", 4),
]


def test_killed_at_any_moment_it_ends_with_the_same_bits(start, whole, tmp_path):
    places = []
    for moment in MOMENTS:
        child = start(train_until, tmp_path, *moment)
        child.join(180)
        assert child.exitcode == -signal.SIGKILL, moment
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no checkpoint is ever damaged
            state = checkpoints.Folder(tmp_path).load()
        places.append((state["epoch"], state["step"]) if state else (0, 0))
    assert places == sorted(places) and places[-1] > (1, 0)
    assert places[1][1] > 0  # in the middle of an epoch
    child = start(train_until, tmp_path, "", 0)
    child.join(180)
    assert child.exitcode == 0
    assert_same_end(tmp_path, whole)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"best.pt", "history.csv", "last.pt", "lock", "previous.pt"}


def test_killed_from_outside_at_random_it_ends_with_the_same_bits(
    start, whole, tmp_path
):
    chance = random.Random(0)
    for _ in range(3):
        child = start(train_until, tmp_path, "", 0)
        while not (tmp_path / "last.pt").exists() and child.is_alive():
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        child.kill()
        child.join(180)
    child = start(train_until, tmp_path, "", 0)
    child.join(180)
    assert child.exitcode == 0
    assert_same_end(tmp_path, whole)


# --------------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("call", [2, STEPS + 1, STEPS])
def test_a_signal_saves_and_stops(name, call, whole, tmp_path):
    calls, number = 0, getattr(signal, name)

    def interrupted(x, generator):
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(number)
        return shaken(x, generator)

    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted) as caught:
        train(tmp_path, augment=interrupted)
    epoch, step = divmod(call, STEPS)
    assert f"epoch {epoch + 1} after {step} of 3" in str(caught.value) or step == 0
    assert "resume=True" in str(caught.value) and str(tmp_path) in str(caught.value)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before
    state = load_checkpoint(tmp_path / "last.pt")
    assert (state["epoch"] * STEPS + state["step"]) == call
    with pytest.raises(CheckpointError, match="resume=True"):
        train(tmp_path)  # does not overwrite what is there
    train(tmp_path, resume=True)
    assert_same_end(tmp_path, whole)


def test_a_second_signal_stops_at_once():
    def impatient(x, generator):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return x

    with pytest.raises(KeyboardInterrupt) as caught:
        train(None, augment=impatient)
    assert not isinstance(caught.value, TrainingInterrupted)


def test_without_a_folder_nothing_is_saved_and_it_says_so():
    def interrupted(x, generator):
        signal.raise_signal(signal.SIGINT)
        return x

    with pytest.raises(TrainingInterrupted, match="nothing is saved"):
        train(None, augment=interrupted)


# --------------------------------------------------------------- going on, or not


def test_a_finished_training_has_nothing_left_to_do(whole, tmp_path):
    first = train(tmp_path)
    content = (tmp_path / "last.pt").read_bytes()
    again = train(tmp_path, resume=True)
    assert (tmp_path / "last.pt").read_bytes() == content
    assert again.history == first.history
    for a, b in zip(again.model.state_dict().values(), whole["best"].values()):
        assert torch.equal(a, b)


def test_resume_without_a_checkpoint_starts_anew(whole, tmp_path):
    train(tmp_path / "new", resume=True)
    assert_same_end(tmp_path / "new", whole)


def test_checkpoints_of_another_training_are_refused(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="epochs was 1 and is 5"):
        train(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="seed was 0 and is 3"):
        train(tmp_path, resume=True, epochs=1, seed=3)
    train(tmp_path, resume=True, epochs=1, workers=1)  # computes the same
    trainer = trainer_in(tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="images were 22 and are 21"):
        trainer.fit(data(21, 0), data(9, 1), resume=True)
    trainer.classes = ("a", "b", "d")
    with pytest.raises(CheckpointError, match=r"classes were .*'c'"):
        trainer.fit(data(22, 0), data(9, 1), resume=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    other = Trainer(model, trainer.config, classes="abc")
    with pytest.raises(CheckpointError, match="another network"):
        other.fit(data(22, 0), data(9, 1), resume=True)


# -------------------------------------------------------------------- damaged files


@pytest.fixture
def run(tmp_path):
    """A folder after an interruption in the middle of the third epoch."""
    calls = 0

    def interrupted(x, generator):
        nonlocal calls
        calls += 1
        if calls == 2 * STEPS + 2:
            signal.raise_signal(signal.SIGINT)
        return shaken(x, generator)

    with pytest.raises(TrainingInterrupted):
        train(tmp_path, augment=interrupted)
    return tmp_path


def test_a_truncated_file_is_put_aside_and_the_one_before_is_used(run, whole):
    content = (run / "last.pt").read_bytes()
    (run / "last.pt").write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"truncated .* resumes from previous\.pt"):
        train(run, resume=True)
    assert (run / "damaged.pt").stat().st_size == len(content) // 2
    assert_same_end(run, whole)
    for name in ("last.pt", "previous.pt"):
        (run / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        train(run, resume=True)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_damaged_file_never_gives_other_numbers(whole, tmp_path, data):
    path = tmp_path / "some.pt"
    checkpoints.save(path, whole)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        state = load_checkpoint(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:  # a byte that nothing depends on, such as padding
        assert state["history"] == whole["history"]
        for key, value in whole["model"].items():
            assert torch.equal(state["model"][key], value)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_loading_runs_no_code_and_takes_no_foreign_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(CheckpointError, match="run code"):
        load_checkpoint(tmp_path / "bomb.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="truncated or no file of weights"):
        load_checkpoint(tmp_path / "plain.pt")
    assert not (tmp_path / "exploded").exists()
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of this trainer"):
        load_checkpoint(tmp_path / "weights.pt")
    checkpoints.save(tmp_path / "part.pt", {"model": {}, "epoch": 3})
    with pytest.raises(CheckpointError, match="lacks arch, classes, config"):
        load_checkpoint(tmp_path / "part.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="no regular file"):
        load_checkpoint(tmp_path)


class Grows:
    def __init__(self, function, argument):
        self.function, self.argument = function, argument

    def __reduce__(self):
        return self.function, (self.argument,)


def refused_within(path, gigabytes, seconds=30):
    """The message; the process may not take more than so much memory and time."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 2**20 < gigabytes
    assert time.monotonic() - start < seconds
    return str(caught.value)


@pytest.mark.parametrize(
    "bomb", [(bytearray, 4 * 10**9), (torch.Tensor, 10**9)], ids=["bytes", "tensor"]
)
def test_a_file_cannot_ask_for_memory(bomb, tmp_path):
    torch.save({"format": checkpoints.FORMAT, "model": Grows(*bomb)}, tmp_path / "b.pt")
    assert "more than numbers" in refused_within(tmp_path / "b.pt", 0.5)


def test_a_packed_or_overlapping_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("z/data.pkl", bytes(200_000_000))
    assert "compresses no file" in refused_within(tmp_path / "z.pt", 0.1)
    with zipfile.ZipFile(tmp_path / "o.pt", "w") as file:
        file.writestr("o/data/0", bytes(10_000_000))
        info = file.infolist()[0]
        for number in range(1, 100):  # the same bytes under a hundred names
            twin = copy.copy(info)
            twin.filename = f"o/data/{number}"
            file.filelist.append(twin)
            file.NameToInfo[twin.filename] = twin
    assert "compresses no file" in refused_within(tmp_path / "o.pt", 0.1)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    assert "no regular file" in refused_within(tmp_path / "pipe.pt", 0.1, 5)
    assert "no regular file" in refused_within("/dev/zero", 0.1, 5)


# ----------------------------------------------------------------------- a full disk


def train_on_a_full_disk(folder):
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = train(folder, resume=True)
    assert not trainer.saved
    assert len(trainer.history) == EPOCHS  # the training went on
    assert len(caught) == EPOCHS - 2
    assert "no checkpoint could be written" in str(caught[-1].message)


def test_a_full_disk_leaves_the_old_checkpoint_and_the_training_goes_on(
    start, run, whole
):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    child = start(train_on_a_full_disk, run)
    child.join(180)
    assert child.exitcode == 0
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert sorted(after) == sorted(before)
    assert all(after[n] == before[n] for n in after if n.endswith(".pt"))
    train(run, resume=True)
    assert_same_end(run, whole)


# ---------------------------------------------------------- the network in the file


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck, PlainBlock])
def test_the_network_comes_back_from_its_file(block, tmp_path):
    model = ResNet(
        block, [1, 1, 1, 1], num_classes=3, in_channels=1, stem="small"
    ).eval()
    state = {"arch": describe(model), "model": model.state_dict()}
    path = tmp_path / "net.pt"
    checkpoints.save(path, dict.fromkeys(KEYS) | state)
    back = model_from(load_checkpoint(path))
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(back(x), model(x))
    assert not back.training


@pytest.mark.parametrize(
    ("arch", "weights"),
    [
        ({"layers": [10**6] * 4}, {}),
        ({"num_classes": 10**8}, {}),
        ({"in_channels": 10**8}, {}),
        ({"layers": "many"}, {}),
        ({"layers": [1, 1, 1]}, {}),
        ({"block": None}, {}),
        ({"speed": 3}, {}),
        # One number that claims to be 20 GB of weights.
        (
            {"num_classes": 10**7},
            {
                "fc.weight": torch.zeros(1).expand(10**7, 512),
                "fc.bias": torch.zeros(1).expand(10**7),
            },
        ),
        ({}, {"bn1.running_var": -torch.ones(64)}),
        ({}, {"bn1.running_mean": torch.full((64,), torch.inf)}),
        ({}, {"fc.bias": torch.full((2,), torch.nan)}),
        ({}, {"fc.bias": 5}),
    ],
)
def test_an_impossible_network_is_refused_at_once(arch, weights):
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2)
    state = {"arch": describe(model) | arch, "model": model.state_dict() | weights}
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CheckpointError, match=r"none of course_lib|holds NaN"):
        model_from(state)
    assert time.monotonic() - start < 30
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 2**20 < 0.5


def test_a_foreign_network_is_named():
    assert describe(nn.Linear(2, 2)) is None
    with pytest.raises(CheckpointError, match="build it yourself"):
        model_from({"arch": None, "model": {}})


def test_the_best_weights_stand_alone(tmp_path):
    trainer = train(tmp_path)
    state = load_checkpoint(tmp_path / "best.pt")
    assert state["epoch"] == trainer.history.best()["epoch"]
    assert "optimizer" not in state
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(state["model"][key], value)
    text = (tmp_path / "history.csv").read_text()
    assert text == trainer.history.csv()
