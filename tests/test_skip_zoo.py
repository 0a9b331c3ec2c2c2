"""The skip zoo: its units against formulas, its budget, and its table."""

import pytest
import torch

from course_book import results
from course_book.experiments import skip_zoo, zoo_nets
from course_book.experiments.skip_zoo import EPOCHS, RATES, best_rates, perform, plan
from course_book.experiments.zoo_nets import (
    KINDS,
    DenseLayer,
    DenseNet,
    PreActBlock,
    ScaledBlock,
    build,
)
from course_lib.ledger import ledger
from course_lib.resnet import BasicBlock


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def x():
    return torch.randn(3, 8, 6, 6, generator=torch.Generator().manual_seed(0))


def test_pre_activation_adds_the_input_untouched(x):
    unit = PreActBlock(8, 8)
    inner = unit.conv2(unit.bn2(unit.conv1(unit.bn1(x).relu())).relu())
    assert torch.allclose(unit(x.clone()), inner + x, atol=1e-6)
    assert (unit(x.clone()) < 0).any()  # no ReLU behind the sum


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_of_every_net_reads_activated_maps(kind):
    net, seen = build(kind, seed=0).eval(), []
    net.avgpool.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert seen[0].min() == 0 < seen[0].max()


def test_the_input_of_a_pre_activated_unit_is_not_changed_in_place(x):
    before = x.clone()
    PreActBlock(8, 8)(x)
    assert torch.equal(x, before)


def test_a_projection_reads_the_activated_map(x):
    project = torch.nn.Conv2d(8, 16, 1, 2, bias=False)
    unit = PreActBlock(8, 16, 2, project)
    first = unit.bn1(x).relu()
    inner = unit.conv2(unit.bn2(unit.conv1(first)).relu())
    assert torch.allclose(unit(x.clone()), inner + project(first), atol=1e-6)


def test_scaling_is_a_tenth_of_the_residual(x):
    unit, plain = ScaledBlock(8, 8), BasicBlock(8, 8)
    plain.load_state_dict(unit.state_dict())
    with torch.no_grad():
        plain.bn2.weight *= 0.1  # β starts at 0: the same as scaling F
    assert torch.allclose(unit(x.clone()), plain(x.clone()), atol=1e-6)


def test_a_dense_layer_keeps_what_came_and_adds_its_own(x):
    layer = DenseLayer(8, 5)
    y = layer(x)
    assert torch.equal(y[:, :8], x)
    assert torch.equal(y[:, 8:], layer.conv(layer.bn(x).relu()))


def test_dense_stages_halve_in_between():
    net = DenseNet(4, (1, 2, 1))
    shapes = [row.output_shape for row in ledger(net, (2, 1, 8, 8)).rows]
    # 16 + 4 = 20; half of it 10, + 2·4 = 18; half of it 9, + 4 = 13 channels.
    for shape in ((2, 20, 8, 8), (2, 18, 4, 4), (2, 13, 2, 2)):
        assert shape in shapes
    assert net.fc.in_features == 13


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_costs_nearly_the_same(kind):
    net, base = (ledger(build(k, 0), (1, 1, 8, 8)) for k in (kind, "addition"))
    assert not net.unknown and not net.unused
    assert net.parameters == pytest.approx(base.parameters, rel=0.04)
    assert net.macs == pytest.approx(base.macs, rel=0.04)


def test_addition_is_the_net_of_the_degradation_experiment():
    from course_book.experiments.digits import DigitsNet

    ours = build("addition", 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        other = DigitsNet("residual", 44)
    other.load_state_dict(ours.state_dict())
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(ours.eval()(x), other.eval()(x))


def test_build_repeats_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (build("none", seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    with pytest.raises(ValueError, match=r"kind must be one of .* got 'highway'"):
        build("highway", 0)


def test_validation_chooses_the_rate():
    def row(kind, lr, loss):
        return {"kind": kind, "lr": lr, "validation_loss": loss, "test_error": 0}

    rows = [row("a", 0.1, 1.0), row("a", 0.1, 3.0), row("a", 0.2, 1.9), row("a", 1, 9)]
    rows += [row("b", 0.1, 0.5), row("b", 0.2, 0.6), row("b", 0.2, None)]
    assert best_rates(rows) == {"a": 0.2, "b": 0.1}


def test_the_table_has_every_run_and_every_epoch():
    rows = results.load("skip_zoo")
    seeds = 1 + max(row["seed"] for row in rows)
    assert seeds >= 3
    runs = [(row["kind"], row["lr"], row["seed"]) for row in rows]
    assert list(dict.fromkeys(runs)) == plan(seeds)
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1)) * len(
        plan(seeds)
    )
    assert set(best_rates(rows)) == set(KINDS)
    for row in rows:
        assert (row["test_error"] is not None) == (row["epoch"] == EPOCHS)
    assert "skip_zoo --seeds" in results.metadata("skip_zoo")


def test_the_table_is_what_the_code_computes():
    """The first epochs of one run again. Other machines round otherwise."""
    stored = [
        row["train_loss"]
        for row in results.load("skip_zoo")
        if (row["kind"], row["lr"], row["seed"]) == ("addition", RATES[0], 0)
    ]
    from course_book.experiments import degradation
    from course_book.experiments.digits import load_digits

    data = load_digits()
    steps = len(data.train[0]) // degradation.BATCH
    # The schedule depends on the number of epochs: stop the whole run after one.

    class Enough(Exception):
        pass

    losses = []
    original = degradation.cross_entropy

    def count(logits, labels):
        if len(losses) == steps:
            raise Enough
        losses.append(original(logits, labels))
        return losses[-1]

    degradation.cross_entropy = count
    try:
        with pytest.raises(Enough):
            perform("addition", RATES[0], 0)
    finally:
        degradation.cross_entropy = original
    mean = sum(loss.item() for loss in losses) / steps
    assert mean == pytest.approx(stored[0], rel=0.02)


def test_the_command_writes_what_load_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(skip_zoo, "KINDS", ("none",))
    monkeypatch.setattr(skip_zoo, "RATES", (0.01,))
    monkeypatch.setattr(skip_zoo, "perform", lambda *run: perform(*run, epochs=1))
    monkeypatch.setattr(zoo_nets, "UNITS", 1)
    monkeypatch.setattr(results, "files", lambda package: tmp_path)
    skip_zoo.main(["--seeds", "1", "--out", str(tmp_path / "new.csv")])
    (row,) = results.load("new")
    assert (row["kind"], row["epoch"], row["seed"]) == ("none", 1, 0)
    assert row["validation_loss"] is not None
    assert torch.__version__ in results.metadata("new")
