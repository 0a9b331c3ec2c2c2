import copy
import json
import math
import os
import random
import sys
from dataclasses import asdict
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from course_lib.data.images import ByteImages
from course_lib.data.preprocessing import Preprocessing
from course_lib.resnet import BasicBlock, ResNet
from course_lib.trainer import (
    History,
    Trainer,
    TrainerConfig,
    batches,
    config,
)
from course_lib.trainer.batches import Plan, derive
from course_lib.training import training_steps

QUIET = {"progress": False, "precision": "fp32", "channels_last": False}


def data(count=22, seed=0, classes=3):
    """Small pictures whose brightness tells the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    x = torch.randn(count, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1).float()
    return TensorDataset(x, y)


def net(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64, 3),
    )


def same(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values())
    )


def fit(model, **changes):
    augment = changes.pop("augment", None)
    train = changes.pop("train", data())
    options = {"epochs": 2, "batch_size": 8} | QUIET | changes
    trainer = Trainer(model, TrainerConfig(**options), classes="abc", augment=augment)
    trainer.fit(train, data(9, 1))
    return trainer


# ------------------------------------------------------------------ the training


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_fit_is_the_loop_that_one_would_write_by_hand(kind):
    train, weights = data(), (1.0, 2.0, 0.5)
    changes = {"optimizer": kind, "learning_rate": 0.02, "weight_decay": 0.1}
    changes |= {"warmup": 0.3, "label_smoothing": 0.1, "clip": 0.5, "epochs": 3}
    trainer = fit(net(), class_weights=weights, seed=5, **changes)

    model = net().train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    # Fused as the trainer's: a bias before BN has a gradient of 0 up to rounding, and
    # Adam makes whole steps of that rounding.
    optimizer = {
        "sgd": lambda: torch.optim.SGD(groups, lr=1.0, momentum=0.9, fused=True),
        "adam": lambda: torch.optim.Adam(groups, lr=1.0, fused=True),
        "adamw": lambda: torch.optim.AdamW(groups, lr=1.0, fused=True),
    }[kind]()
    step, plan, seen, total = 0, Plan(22, 8, seed=5), [], 0.0
    for epoch in (1, 2, 3):
        for batch in plan.epoch(epoch):
            x, y = train[torch.tensor(batch.indices)]
            # 3 steps per epoch, 9 in all, of which 0.3 are the warm-up
            if step < 3:
                rate = 0.02 * (step + 1) / 4
            else:
                rate = 0.01 * (1 + math.cos(math.pi * (step - 3) / 6))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = nn.functional.cross_entropy(
                model(x), y, torch.tensor(weights), label_smoothing=0.1
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            step += 1
            total += loss.item() * len(y)
        seen.append((rate, total / 22))
        total = 0.0
    assert step == 9
    for row, (rate, loss) in zip(trainer.history, seen):
        assert row["learning_rate"] == pytest.approx(rate)
        assert row["train_loss"] == pytest.approx(loss, rel=1e-5)
    # fit ends with the best epoch's weights; the last ones are in the state
    if trainer.history.best()["epoch"] == 3:
        for a, b in zip(
            trainer.model.state_dict().values(), model.state_dict().values()
        ):
            torch.testing.assert_close(a, b)
    reached = trainer.state.optimizer.state_dict()["state"]
    for mine, theirs in zip(reached.values(), optimizer.state_dict()["state"].values()):
        for name in theirs:
            torch.testing.assert_close(mine[name], theirs[name])


def test_the_best_epoch_is_that_of_the_highest_macro_f1():
    def row(epoch, f1, loss):
        return {"epoch": epoch, "validation_macro_f1": f1, "validation_loss": loss}

    rows = [row(1, 0.5, 0.1), row(2, 0.8, 0.9), row(3, 0.8, 0.4), row(4, 0.8, 0.4)]
    assert History(rows).best()["epoch"] == 3
    with pytest.raises(ValueError, match="no epoch"):
        History().best()


def test_after_fit_the_model_has_its_best_weights():
    # On labels turned round, learning makes it worse from epoch to epoch.
    x, y = data(60, 1).tensors
    config = TrainerConfig(epochs=6, batch_size=8, learning_rate=0.02, **QUIET)
    trainer = Trainer(net(), config, classes="abc")
    history = trainer.fit(data(60), TensorDataset(x, 2 - y))
    assert history.best()["epoch"] < 6
    report = trainer.evaluate(TensorDataset(x, 2 - y))
    assert report.macro_f1 == history.best()["validation_macro_f1"]
    assert report.loss == pytest.approx(history.best()["validation_loss"], rel=1e-6)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert trainer.evaluate(TensorDataset(x, y)).n == 60


def test_a_net_learns_what_it_can():
    trainer = fit(net(), train=data(96), epochs=12, learning_rate=0.02)
    assert trainer.history[-1]["train_accuracy"] > 0.8
    assert trainer.evaluate(data(60, 2)).accuracy > 0.7


def test_steps_with_a_scaler_and_without_are_the_same():
    models = net(), net()
    batches = [data()[:11], data()[11:]]
    for model, scaler in zip(models, (None, torch.amp.GradScaler("cpu", 2.0**10))):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        seen = list(training_steps(model, batches, optimizer, scaler=scaler, clip=0.1))
        assert [images for _, _, images in seen] == [11, 11]
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values()):
        torch.testing.assert_close(a, b)


def test_a_scaled_gradient_that_overflows_is_left_out():
    model = net()
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    options = {"loss_function": lambda z, y: 9 * nn.functional.cross_entropy(z, y)}
    list(training_steps(model, [data()[:]], optimizer, scaler=scaler, **options))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters())
    )
    assert scaler.get_scale() < 2.0**127


# ------------------------------------------------------- what decides the result


class Noisy(Dataset):
    """Items with random transforms out of all three global generators."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        x, y = self.source[index]
        noise = random.random() + np.random.random() + torch.rand(()).item()  # noqa: NPY002
        return x + noise, int(y)


def shaken(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def test_the_number_of_workers_changes_nothing():
    changes = {"train": Noisy(data()), "augment": shaken}
    alone = fit(net(dropout=0.5), **changes)
    helped = fit(net(dropout=0.5), workers=2, **changes)
    assert same(alone.model, helped.model)
    assert not same(alone.model, fit(net(dropout=0.5), seed=1, **changes).model)


@pytest.mark.parametrize(
    ("train", "expected"), [(data(), 0), (Noisy(data()), 2)], ids=["ready", "made"]
)
def test_on_the_cpu_workers_only_make_what_is_not_ready(monkeypatch, train, expected):
    asked, load = [], batches.DataLoader

    def note(data, **options):
        asked.append((len(data.data), options["num_workers"]))
        return load(data, **options | {"num_workers": 0})

    monkeypatch.setattr(batches, "DataLoader", note)
    fit(net(), train=train, workers=2, epochs=1)
    assert asked == [(22, expected), (9, 0)]


class Dying(Noisy):
    """What a worker looks like that was spawned by a script without a main guard."""

    def __getitem__(self, index):
        os._exit(1)


class Failing(Noisy):
    def __getitem__(self, index):
        raise RuntimeError("no such image")


def test_a_worker_that_dies_is_told_from_one_that_fails():
    with pytest.raises(RuntimeError, match=r"if __name__ == .__main__.:"):
        fit(net(), train=Dying(data()), workers=1)
    with pytest.raises(RuntimeError, match="no such image") as caught:
        fit(net(), train=Failing(data()), workers=1)
    assert "__main__" not in str(caught.value)


def test_augmentation_and_dropout_differ_between_batches_and_epochs():
    drawn = []

    def note(x, generator):
        drawn.append(
            (torch.rand((), generator=generator).item(), torch.rand(()).item())
        )
        return x

    fit(net(), augment=note)
    assert len(drawn) == 6  # 3 batches, 2 epochs, and none in validation
    assert (
        len(set(drawn)) == len({a for a, _ in drawn}) == len({b for _, b in drawn}) == 6
    )


def test_the_callers_random_numbers_stay_theirs():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    model = net()
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    fit(model, train=Noisy(data())).evaluate(data())
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


@settings(deadline=None, max_examples=60)
@given(
    images=st.integers(2, 60),
    batch=st.integers(1, 20),
    processes=st.integers(1, 4),
    start=st.integers(0, 5),
)
def test_every_image_is_in_one_batch_of_each_epoch(images, batch, processes, start):
    plans = [Plan(images, batch, 3, rank, processes) for rank in range(processes)]
    parts = [list(plan.epoch(2)) for plan in plans]
    assert len({len(part) for part in parts}) == 1
    joint = [list(chain(*(b.indices for b in batch))) for batch in zip(*parts)]
    assert sorted(chain(*joint)) == list(range(images))
    assert [len(j) for j in joint] == plans[0].sizes
    if len(joint) > 1:  # the last one is not too small to share
        assert len(joint[-1]) >= min(2 * processes, batch)
    assert all(
        max(lengths) - min(lengths) <= 1
        for lengths in zip(*([len(b.indices) for b in part] for part in parts))
    )
    # the middle of an epoch is reached without its beginning
    start = min(start, plans[0].steps)
    assert list(plans[0].epoch(2, start)) == parts[0][start:]
    rest = list(plans[0].rest(3, 2, start))
    assert rest == parts[0][start:] + list(plans[0].epoch(3))
    # alone or together, the joint batches hold the same images
    alone = list(Plan(images, batch, 3).epoch(2))
    if len(alone) == len(joint):
        assert [set(a.indices) for a in alone] == [set(j) for j in joint]


def test_orders_differ_by_epoch_and_seed():
    orders = {
        tuple(next(Plan(50, 50, seed).epoch(epoch)).indices)
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9
    assert len({derive(a, b) for a in range(30) for b in range(30)}) == 900
    assert derive(1, 23) != derive(12, 3)


# ------------------------------------------------------------------------ inputs


def test_bytes_are_normalized_as_floats_would_be():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 6, 6, 3), np.uint8)
    labels = np.arange(20) % 3
    numbers = Preprocessing(6, 6, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    floats = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    floats = (floats - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor(
        [0.2, 0.3, 0.4]
    ).view(3, 1, 1)
    judged = []
    for source in (
        ByteImages(pictures, labels),
        TensorDataset(floats, torch.tensor(labels)),
    ):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
        trainer = Trainer(
            model, TrainerConfig(**QUIET), classes="abc", preprocessing=numbers
        )
        judged.append(trainer.evaluate(source).loss)
    assert judged[0] == pytest.approx(judged[1], rel=1e-6)
    chosen = ByteImages(pictures, labels, chosen=[7, 3])
    assert chosen.labels.tolist() == [1, 0]
    assert torch.equal(chosen[1][0], torch.from_numpy(pictures[3]).permute(2, 0, 1))


def test_larger_pictures_are_cut_at_random_in_training_and_in_the_middle_else():
    picture = torch.arange(100, dtype=torch.uint8).view(1, 1, 10, 10)
    numbers = Preprocessing(6, 10, (0.0,), (1 / 255,))
    config = TrainerConfig(**QUIET)
    inputs = Trainer(net(), config, classes="abc", preprocessing=numbers).prepare
    label = torch.tensor([0])
    middle, _ = inputs(picture, label)
    torch.testing.assert_close(middle, picture[:, :, 2:8, 2:8].float())
    corners = set()
    for seed in range(200):
        window, _ = inputs(picture, label, seed)
        row, column = divmod(round(window[0, 0, 0, 0].item()), 10)
        expected = picture[:, :, row : row + 6, column : column + 6].float()
        torch.testing.assert_close(window, expected)
        corners.add((row, column))
    assert corners == {(r, c) for r in range(5) for c in range(5)}
    with pytest.raises(ValueError, match="smaller"):
        inputs(picture[:, :, :5], label)


# ---------------------------------------------------------------------- precision


def test_auto_takes_bf16_where_the_hardware_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for native, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(config, "native_bf16", lambda device, n=native: n)
        assert config.precision_type("auto", cpu) is expected
    assert config.precision_type("fp32", cpu) is None
    assert config.precision_type("bf16", cpu) is torch.bfloat16
    monkeypatch.undo()
    for capability, expected in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda device, c=capability: c
        )
        assert config.native_bf16(torch.device("cuda")) is expected
    for amx, avx, expected in ((0, 0, False), (1, 0, True), (0, 1, True)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda a=amx: a, False)
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda a=avx: a, False
        )
        assert config.native_bf16(cpu) is expected


def test_bf16_and_channels_last_change_rounding_only():
    plain = fit(net(), epochs=1)
    other = fit(net(), epochs=1, precision="bf16", channels_last=True)
    a, b = (
        torch.cat([p.flatten() for p in t.model.parameters()]) for t in (plain, other)
    )
    assert 0 < (a - b).norm() / a.norm() < 0.05
    assert other.amp is torch.bfloat16
    assert all(p.dtype is torch.float32 for p in other.model.parameters())


# ------------------------------------------------------- outcomes that are defined


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"optimizer": "lion"}, "'adam', 'adamw', 'sgd'.*, got 'lion'"),
        ({"optimizer": None}, "optimizer"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"warmup": 1.0}, "warmup"),
        ({"momentum": 1}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"class_weights": [1, 0]}, "class_weights"),
        ({"class_weights": []}, "class_weights"),
        ({"precision": "fp8"}, "precision"),
        ({"clip": 0}, "clip"),
        ({"seed": -1}, "seed"),
        ({"workers": None}, "workers"),
        ({"progress": "yes"}, "progress"),
        ({"compile": 1}, "compile"),
    ],
)
def test_a_bad_setting_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainerConfig(**changes)


def test_settings_go_to_json_and_back():
    config = TrainerConfig(class_weights=torch.tensor([0.75, 1.5]), log_dir="logs")
    assert config.class_weights == (0.75, 1.5)
    back = TrainerConfig(**json.loads(json.dumps(asdict(config))))
    assert back == config
    assert not [*config.differences(asdict(back))]
    other = TrainerConfig(epochs=3, workers=2, class_weights=config.class_weights)
    assert [*config.differences(asdict(other))] == ["epochs was 3 and is 10"]


def test_a_resnet_says_what_is_wrong_with_its_images():
    """Not torch, from deep within: the first convolution names no image."""
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)
    with pytest.raises(ValueError, match="x must have 3 channels, got 1"):
        fit(model)


def test_data_that_cannot_be_learned_from_are_refused():
    none = TensorDataset(torch.zeros(0, 1, 6, 6), torch.zeros(0).long())
    one = TensorDataset(torch.randn(5, 1, 6, 6), torch.ones(5).long())
    with pytest.raises(ValueError, match="train is empty"):
        fit(net(), train=none)
    with pytest.raises(ValueError, match="all 5 training images are of the class 'b'"):
        fit(net(), train=one)
    with pytest.raises(TypeError, match="makes the batches"):
        fit(net(), train=iter([]))
    with pytest.raises(ValueError, match="labels must be whole numbers from 0 to 2"):
        fit(net(), train=data(classes=4))
    with pytest.raises(ValueError, match="bytes"):
        x, y = data().tensors
        fit(net(), train=TensorDataset(x.to(torch.uint8), y))
    trainer = Trainer(net(), TrainerConfig(**QUIET), classes="abc")
    with pytest.raises(ValueError, match="data is empty"):
        trainer.evaluate(none)
    with pytest.raises(ValueError, match="validation is empty"):
        trainer.fit(data(), none)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="class_weights has 2 numbers for 3 classes"):
        Trainer(net(), TrainerConfig(class_weights=(1, 2)), classes="abc")
    with pytest.raises(ValueError, match="classes"):
        Trainer(net(), classes=["a"])
    with pytest.raises(ValueError, match="fp16"):
        Trainer(net(), TrainerConfig(precision="fp16"), classes="abc")
    with pytest.raises(ValueError, match="checkpoint_dir"):
        Trainer(net(), TrainerConfig(**QUIET), classes="abc").fit(
            data(), data(), resume=True
        )


def test_bn_never_sees_a_batch_of_one():
    # 17 images in batches of 8: 8 and 9, not 8, 8 and 1
    sizes = []

    def note(x, generator):
        sizes.append(len(x))
        return x

    fit(net(), train=data(17), augment=note, epochs=1)
    assert sizes == [8, 9]
    with pytest.raises(ValueError, match="BN has no variance of one"):
        fit(net(), batch_size=1)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    assert len(fit(plain, batch_size=1, epochs=1).history) == 1


def test_a_loss_that_is_not_finite_stops_the_training():
    x, y = (tensor.clone() for tensor in data().tensors)
    x[3] = math.inf
    model = net()
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        fit(model, train=TensorDataset(x, y))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # the loss is finite, but its gradient is not
    model = net()
    model[0].weight.register_hook(lambda grad: grad * math.nan)
    with pytest.raises(FloatingPointError):
        fit(model, epochs=1, train=data(8))
    broken = net()
    nn.init.constant_(broken[5].weight, math.nan)
    with pytest.raises(FloatingPointError, match="diverged"):
        Trainer(broken, TrainerConfig(**QUIET), classes="abc").evaluate(data())


# ----------------------------------------------------------------- what one sees


def test_progress_is_silent_a_line_or_a_bar(capfd, monkeypatch):
    fit(net(), progress=False)
    assert capfd.readouterr() == ("", "")
    fit(net(), progress=True)
    out, err = capfd.readouterr()
    assert err == ""  # no terminal: no bar
    lines = out.splitlines()
    assert len(lines) == 2 and "\r" not in out
    assert lines[0].startswith("epoch 1/2: train loss ")
    assert "macro F1 " in lines[1]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(net(), progress=True)
    out, err = capfd.readouterr()
    assert "epoch 1/2" in err and "0/3" in err and "\r" in err
    assert out.splitlines()[1].startswith("epoch 2/2: train loss ")


def test_tensorboard_gets_curves_histograms_and_the_graph(tmp_path):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    trainer = fit(net(), log_dir=tmp_path)
    log = events.EventAccumulator(str(tmp_path)).Reload()
    tags = log.Tags()
    assert [e.step for e in log.Scalars("loss/validation")] == [1, 2]
    assert [e.value for e in log.Scalars("macro_f1/validation")] == pytest.approx(
        [row["validation_macro_f1"] for row in trainer.history]
    )
    assert "weights/0.weight" in tags["histograms"]
    assert "gradients/5.bias" in tags["histograms"]
    assert tags["graph"]
