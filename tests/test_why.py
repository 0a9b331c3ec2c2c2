"""Why a shortcut helps: units taken out, α on the branch, slices of the loss."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from course_book import results
from course_book.experiments.degradation import train
from course_book.experiments.digits import Digits, DigitsNet, remove_bn
from course_book.experiments.why import (
    SIZES,
    branch_shares,
    directions,
    lesion_errors,
    loss_slice,
    skip_init,
    train_with,
    units_of,
    without,
)
from course_lib.resnet import BasicBlock


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def images():
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def net_of(kind, depth=14):
    torch.manual_seed(0)
    return DigitsNet(kind, depth)


@pytest.mark.parametrize("number", range(6))
def test_a_unit_without_its_branch_is_one_whose_last_gamma_is_0(number, images):
    net = net_of("residual").eval()
    before = copy.deepcopy(net.state_dict())
    cut = without(net, number)
    zeroed = copy.deepcopy(net)
    unit = list(units_of(zeroed))[number][2]
    nn.init.zeros_(unit.bn2.weight)  # β is 0 from the start
    assert torch.equal(cut(images), zeroed(images))
    assert not torch.equal(cut(images), net(images))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_plain_unit_is_passed_over_and_one_that_changes_the_shape_is_refused(images):
    net = net_of("plain").eval()
    x = net.layer1(net.relu(net.bn1(net.conv1(images))))
    x = net.layer2[0](x)  # number 2; 3 is taken out
    expected = net.fc(net.avgpool(net.layer3(x)).flatten(1))
    assert torch.equal(without(net, 3)(images), expected)
    for number in (2, 4):
        with pytest.raises(ValueError, match=f"unit {number} changes the shape"):
            without(net, number)


def test_skip_init_begins_as_the_identity_and_then_learns_alpha(images):
    net = skip_init(net_of("residual"))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    maps = torch.rand(2, 16, 8, 8)
    assert torch.equal(net.layer1(maps), maps)
    cross_entropy(net(images), torch.arange(6)).backward()
    alphas = [unit.alpha for _, _, unit in units_of(net)]
    assert len(alphas) == 6 and all(alpha.grad != 0 for alpha in alphas)
    with torch.no_grad():
        alphas[0].fill_(1)
    plain_sum = remove_bn(net_of("residual")).layer1[0]
    assert torch.allclose(net.layer1[0](maps), plain_sum(maps))


def test_branch_shares_are_the_variances_of_the_two_summands():
    torch.manual_seed(0)
    stack = nn.Sequential(BasicBlock(4, 4), BasicBlock(4, 4))
    with torch.no_grad():
        stack[0].bn2.weight.fill_(0)  # F = 0
        stack[1].bn2.weight.fill_(3)  # variance of F is 9
    x = torch.randn(16, 4, 8, 8).relu()
    (x1, f1, y1), (x2, f2, _) = branch_shares(stack, x)
    assert f1 == 0 and x1 == pytest.approx(y1) == pytest.approx(x2)
    assert x1 == pytest.approx(x.var((0, 2, 3)).mean().item())
    assert f2 == pytest.approx(9, rel=0.01)


def test_directions_have_the_length_of_every_filter():
    net = net_of("residual", 8)
    for steps in directions(net, seed=0):
        for step, weight in zip(steps, net.parameters(), strict=True):
            if weight.ndim == 1:
                assert not step.any()
            else:
                lengths = (t.detach().flatten(1).norm(dim=1) for t in (step, weight))
                torch.testing.assert_close(*lengths)
    one, two = directions(net, seed=0)
    assert torch.equal(one[0], directions(net, seed=0)[0][0])
    assert not torch.equal(one[0], two[0])


def test_a_slice_is_the_loss_of_a_net_that_stands_there(images):
    net = net_of("plain", 8)
    labels = torch.arange(6)
    before = copy.deepcopy(net.state_dict())
    steps = directions(net, seed=1)
    at = torch.tensor([-0.5, 0.0, 1.0])
    losses = loss_slice(net, images, labels, steps, at, at[1:])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert losses.shape == (3, 2)
    for i, j in ((0, 1), (1, 0), (2, 0)):
        there = copy.deepcopy(net).train()
        with torch.no_grad():
            for p, d1, d2 in zip(there.parameters(), *steps, strict=True):
                p += at[i] * d1 + at[1:][j] * d2
            expected = cross_entropy(there(images), labels)
        assert losses[i, j].item() == pytest.approx(expected.item(), rel=1e-4)


def test_lesion_errors_are_those_of_the_units_that_are_meant():
    rows = [
        {"kind": kind, "depth": 8, "unit": unit, "special": special, "test_error": e}
        for kind, unit, special, e in (
            ("residual", -1, 0, 1.0),
            ("residual", 0, 0, 2.0),
            ("residual", 1, 1, 3.0),
            ("plain", 0, 0, 4.0),
        )
    ]
    assert lesion_errors(rows, "residual", 8, unit=-1) == [1.0]
    assert lesion_errors(rows, "residual", 8, unit=1) == [3.0]
    assert lesion_errors(rows, "residual", 8, special=0) == [2.0]
    assert lesion_errors(rows, "residual", 8) == [2.0, 3.0]


def test_the_table_of_lesions_has_every_unit_of_three_seeds():
    rows = results.load("why_lesion")
    assert len(lesion_errors(rows, "residual", 56)) == 27 * 3
    assert len(lesion_errors(rows, "residual", 56, special=1)) == 2 * 3
    assert len(lesion_errors(rows, "plain", 20)) == 7 * 3


@pytest.fixture
def batches():
    """Two batches of 64, in each split."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(128, 1, 8, 8, generator=generator)
    labels = torch.arange(128) % 10
    return Digits(*[(images, labels)] * 3)


def test_without_a_remedy_the_training_is_that_of_degradation(batches):
    ours, theirs = net_of("plain", 8), net_of("plain", 8)
    errors = train_with("none", 0.03, ours, batches, epochs=2, seed=3)
    history = train(theirs, batches, lr=0.03, epochs=2, seed=3)
    assert errors == [row["train_error"] for row in history]
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key


def one_step(way, size, batches):
    """How far each weight tensor moves in one step, its length, and its gradient."""
    net = net_of("plain", 8)
    start = [p.detach().clone() for p in net.parameters()]
    (images, labels), *_ = batches
    one = Digits(*[(images[:64], labels[:64])] * 3)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    loss = cross_entropy(net(images[order]), labels[order])
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    train_with(way, size, net, one, epochs=1, seed=0)
    return [
        (p.detach() - w, w, g) for p, w, g in zip(net.parameters(), start, gradients)
    ]


def test_per_layer_every_weight_tensor_turns_by_the_same_part(batches):
    for step, weight, gradient in one_step("per layer", 0.1, batches):
        if weight.ndim > 1:
            wanted = -0.03 * (0.1 * weight.norm() * gradient / gradient.norm())
            wanted -= 0.03 * 1e-4 * weight  # weight decay
            torch.testing.assert_close(step, wanted, rtol=1e-3, atol=1e-6)


def test_clipping_shortens_the_whole_gradient_to_1(batches):
    steps = one_step("clipping", 0.1, batches)
    length = torch.stack([g.norm() for _, _, g in steps]).norm()
    assert length > 1
    for step, weight, gradient in steps:
        wanted = -0.1 * (gradient / length + 1e-4 * weight)
        torch.testing.assert_close(step, wanted, rtol=1e-3, atol=1e-6)


def test_the_table_of_remedies_has_the_step_sizes_that_its_trial_chose():
    rows = results.load("why_remedies")
    for way, sizes in SIZES.items():
        trial = {
            row["size"]: row["final_train_error"]
            for row in rows
            if (row["part"], row["way"]) == ("trial", way)
        }
        assert set(trial) == set(sizes)
        best = min(trial, key=trial.get)
        main = [r for r in rows if (r["part"], r["way"]) == ("main", way)]
        assert {row["size"] for row in main} == {best}
        assert sorted((r["epochs"], r["seed"]) for r in main) == [
            (epochs, seed) for epochs in (12, 36) for seed in (0, 1, 2)
        ]
