"""The degradation experiment: its data, nets, training loop, table and gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_book import results
from course_book.experiments import degradation, digits
from course_book.experiments.degradation import Setting, build, plan, spread, train
from course_book.experiments.digits import (
    DigitsNet,
    first_to_last,
    gradient_norms,
    remove_bn,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the table was made; nets this small gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    return digits.load_digits()


def weighted_layers(net):
    """Convolutions and linear layers of the main path: the paper's count."""
    return sum(
        isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in name
        for name, module in net.named_modules()
    )


def test_every_digit_is_in_one_split_and_no_class_is_short(data):
    from sklearn.datasets import load_digits

    raw = load_digits()
    assert [len(labels) for _, labels in data] == [1078, 359, 360]
    shares = [np.bincount(labels) / len(labels) for _, labels in data]
    assert np.abs(np.array(shares) - 0.1).max() < 0.01
    # Undo the scaling: the splits together are the original set, nothing twice.
    # It has no two equal images, so comparing sorted rows is enough.
    pixels = torch.cat([images for images, _ in data]).flatten(1).double()
    low, high = pixels.min(), pixels.max()
    restored = ((pixels - low) / (high - low) * 16).round().numpy().astype(int)
    together = np.lexsort(restored.T)
    original = np.lexsort(raw.data.astype(int).T)
    assert (restored[together] == raw.data[original]).all()
    labels = torch.cat([labels for _, labels in data]).numpy()
    assert (labels[together] == raw.target[original]).all()
    assert abs(data.train[0].mean()) < 1e-5
    assert abs(data.train[0].std() - 1) < 1e-5


@settings(deadline=None, max_examples=6)
@given(n=st.integers(1, 9), kind=st.sampled_from(["plain", "residual"]))
def test_depth_is_counted_as_in_the_paper(n, kind):
    net = DigitsNet(kind, 6 * n + 2)
    assert weighted_layers(net) == 6 * n + 2
    projections = sum(name.endswith("downsample") for name, _ in net.named_modules())
    assert projections == (2 if kind == "residual" else 0)
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("depth", [18, 34])
def test_the_full_nets_are_the_courses_own(kind, depth):
    net = build(kind, depth, seed=0)
    assert isinstance(net, degradation.ResNet)
    assert weighted_layers(net) == depth


def test_plain_is_residual_without_shortcuts():
    """With the same weights and x added by hand, a plain unit is a residual one."""
    plain, residual = DigitsNet("plain", 8), DigitsNet("residual", 8)
    kept = {k: v for k, v in residual.state_dict().items() if "downsample" not in k}
    plain.load_state_dict(kept)
    unit, twin = plain.layer1[0], residual.layer1[0]
    x = torch.rand(3, 16, 8, 8)
    inner = unit.bn2(unit.conv2(unit.relu(unit.bn1(unit.conv1(x)))))
    assert torch.allclose(twin(x.clone()), torch.relu(inner + x), atol=1e-6)
    assert not torch.allclose(unit(x.clone()), twin(x.clone()), atol=1e-2)


@pytest.mark.parametrize("depth", [2, 7, 18, -4])
def test_a_depth_that_is_not_6n_plus_2_is_named(depth):
    with pytest.raises(ValueError, match=rf"6n \+ 2.* got {depth}"):
        DigitsNet("plain", depth)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="got 'dense'"):
        DigitsNet("dense", 8)


def test_build_repeats_and_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again = build("plain", 8, seed=1), build("plain", 8, seed=1)
    assert torch.rand(1) == expected
    other = build("plain", 8, seed=2)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("warmup", [0, 1])
def test_every_step_has_its_learning_rate(data, monkeypatch, warmup):
    """One step per batch; cosine to 0, times the growth of a warm-up."""
    rates = []
    step = torch.optim.SGD.step

    def record(self, *args, **options):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", record)
    small = digits.Digits(*((x[:330], y[:330]) for x, y in data))
    net = build("residual", 8, seed=0)
    history = train(net, small, lr=0.02, epochs=3, seed=0, warmup=warmup)
    steps = 330 // degradation.BATCH
    assert [record["epoch"] for record in history] == [1, 2, 3]
    expected = [
        0.02
        * (1 + math.cos(math.pi * k / (3 * steps)))
        / 2
        # LinearLR grows from 1/n in n equal parts of what is missing.
        * (min(1, 1 / steps + k / steps * (1 - 1 / steps)) if warmup else 1)
        for k in range(3 * steps)
    ]
    assert rates == pytest.approx(expected, rel=1e-6)


def test_evaluate_counts_in_eval_mode(data):
    net = build("plain", 8, seed=0)
    found = degradation.evaluate(net, data)
    assert not net.training
    with torch.no_grad():
        wrong = [(net(x).argmax(1) != y).double().mean().item() for x, y in data]
    names = ("final_train_error", "validation_error", "test_error")
    assert [found[name] / 100 for name in names] == pytest.approx(wrong, abs=1e-6)


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_gradient_norms_are_those_of_backward_and_leave_no_trace(data, kind):
    images, labels = data.train[0][:64], data.train[1][:64]
    net = build(kind, 14, seed=0)
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    norms = gradient_norms(net, images, labels)
    assert not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())

    net.train()
    nn.functional.cross_entropy(net(images), labels).backward()
    expected = [
        module.weight.grad.norm().item()
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and "downsample" not in name
    ]
    assert len(norms) == 13
    assert norms == pytest.approx(expected, rel=1e-5)


def test_remove_bn_takes_all_of_it_and_nothing_else():
    net = build("residual", 14, seed=0)
    parts = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert remove_bn(net) is net
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert parts == [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    x = torch.randn(1, 1, 8, 8)  # one image: BN would refuse nothing, but differ
    assert torch.equal(net.train()(x), net.eval()(x))


def test_the_table_has_every_run_of_the_plan():
    rows = results.load("degradation")
    seeds = 1 + max(row["seed"] for row in rows)
    assert seeds >= 5
    by_run = {}
    for row in rows:
        run = Setting(*(row[field] for field in Setting.__dataclass_fields__))
        by_run.setdefault(run, []).append(row)
    assert set(by_run) == set(plan(seeds))
    finals = {"final_train_error", "validation_error", "validation_loss", "test_error"}
    for run, records in by_run.items():
        curve = run.part == "depth" and run.depth in degradation.CURVES
        first = 1 if curve else run.epochs
        assert [row["epoch"] for row in records] == list(range(first, run.epochs + 1))
        for row in records:
            assert 0 <= row["train_error"] <= 100
            assert row["train_loss"] >= 0
            last = row["epoch"] == run.epochs
            assert all((row[name] is not None) == last for name in finals)


def test_the_table_is_what_the_code_computes(data):
    """One cheap run again. Other machines round otherwise, hence the tolerance."""
    run = Setting(
        "depth", "residual", 20, degradation.LEARNING_RATE, degradation.EPOCHS, 1
    )
    stored = [
        row
        for row in results.load("degradation")
        if all(row[name] == value for name, value in vars(run).items())
    ]
    net = build(run.kind, run.depth, run.seed)
    again = train(net, data, lr=run.lr, epochs=run.epochs, seed=run.seed)
    assert again[0]["train_loss"] == pytest.approx(stored[0]["train_loss"], rel=0.02)
    assert again[1]["train_loss"] == pytest.approx(stored[1]["train_loss"], rel=0.1)
    for name in ("final_train_error", "validation_error", "test_error"):
        assert again[-1][name] == pytest.approx(stored[-1][name], abs=2)


def test_the_command_writes_what_load_reads(tmp_path, monkeypatch):
    cheap = [Setting("depth", kind, 8, 0.03, 1, 0) for kind in ("plain", "residual")]
    monkeypatch.setattr(degradation, "plan", lambda seeds: cheap[: seeds + 1])
    monkeypatch.setattr(results, "files", lambda package: tmp_path)
    degradation.main(["--seeds", "1", "--out", str(tmp_path / "new.csv")])
    rows = results.load("new")
    assert [(row["kind"], row["epoch"]) for row in rows] == [
        ("plain", 1),
        ("residual", 1),
    ]
    assert torch.__version__ in results.metadata("new")


def test_load_reads_numbers_texts_and_gaps(tmp_path, monkeypatch):
    text = (
        "# made by hand\n# torch 0\nname,count,share,none\nplain,3,0.25,\nb,-1,1e-3,x\n"
    )
    (tmp_path / "table.csv").write_text(text)
    monkeypatch.setattr(results, "files", lambda package: tmp_path)
    assert results.load("table") == [
        {"name": "plain", "count": 3, "share": 0.25, "none": None},
        {"name": "b", "count": -1, "share": 0.001, "none": "x"},
    ]
    assert results.metadata("table") == "made by hand\ntorch 0"


@pytest.mark.parametrize("name", ["degradatoin", "degradation.csv", "../resnet", ""])
def test_an_unknown_table_is_named_beside_those_there_are(name):
    with pytest.raises(ValueError, match=r"'degradation'.*got"):
        results.load(name)


def test_spread_is_that_of_the_rows_that_are_wanted():
    rows = [{"depth": d, "error": e} for d, e in ((8, 9.0), (56, 1.0), (56, 4.0))]
    found = spread(rows, "error", depth=56)
    assert found == (2.5, 1.0, 4.0)
    assert str(found) == "  2.5 ( 1.0 to  4.0)"
    with pytest.raises(ValueError, match="no row of 3 has"):
        spread(rows, "error", depth=20)


def test_the_first_unit_is_compared_with_the_last_convolution(data):
    norms = gradient_norms(build("plain", 8, 0), *(t[:16] for t in data.train))
    assert len(norms) == 7  # the stem, and two convolutions in each of three units
    assert first_to_last(norms) == norms[1] / norms[6]
