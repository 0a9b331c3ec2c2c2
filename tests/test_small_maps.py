"""The weight gradient as one matrix product, against autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_lib import small_maps
from course_lib.resnet import resnet18
from course_lib.small_maps import SmallMaps, weight_gradient
from course_lib.training import training_steps


@given(
    B=st.integers(1, 3),
    C=st.integers(1, 5),
    out=st.integers(1, 5),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    K=st.integers(1, 5),
    S=st.integers(1, 3),
    P=st.integers(0, 3),
    last=st.booleans(),
    seed=st.integers(0, 999),
)
def test_it_is_autograds_weight_gradient(B, C, out, size, K, S, P, last, seed):
    if min(size) + 2 * P < K:
        return
    torch.manual_seed(seed)
    x = torch.randn(B, C, *size, dtype=torch.float64)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(out, C, K, K, dtype=torch.float64, requires_grad=True)
    z = F.conv2d(x, weight, None, S, P)
    delta = torch.randn_like(z)
    (expected,) = torch.autograd.grad(z, weight, delta)
    torch.testing.assert_close(weight_gradient(x, delta, K, S, P), expected)


def step_gradients(model: nn.Module, x: torch.Tensor, y: torch.Tensor, mode) -> list:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16), mode:
        F.cross_entropy(model(x), y).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("size", [64, 96])
def test_gradients_are_as_near_to_float32_as_without(size):
    """Of the whole network: no farther from float32 than bfloat16 itself is."""
    torch.manual_seed(0)
    model = resnet18(num_classes=6).to(memory_format=torch.channels_last)
    x, y = torch.randn(8, 3, size, size), torch.arange(8) % 6
    x = x.contiguous(memory_format=torch.channels_last)
    F.cross_entropy(model(x), y).backward()
    exact = [parameter.grad.clone() for parameter in model.parameters()]

    def far(gradients: list[torch.Tensor]) -> torch.Tensor:
        pairs = zip(gradients, exact, strict=True)
        return torch.stack([(g - e).norm() / e.norm() for g, e in pairs])

    plain = far(step_gradients(model, x, y, torch.autocast("cpu", torch.bfloat16)))
    mine = far(step_gradients(model, x, y, SmallMaps()))
    # Other roundings of the same size: on the whole equal, none half as far again.
    assert (mine / plain).max() < 1.5
    assert 0.9 < mine.mean() / plain.mean() < 1.1


@pytest.fixture
def taken(monkeypatch):
    """The kernel sizes and inputs of the convolutions that the mode took."""
    seen, apply = [], small_maps._Convolution.apply

    def noted(x, weight, stride, padding):
        seen.append((tuple(weight.shape), tuple(x.shape[2:])))
        return apply(x, weight, stride, padding)

    monkeypatch.setattr(small_maps._Convolution, "apply", noted)
    return seen


@pytest.mark.parametrize(("size", "count"), [(64, 8), (224, 4)])
def test_a_training_step_uses_it_where_maps_are_small(monkeypatch, taken, size, count):
    """At 64 px stages 3 and 4 (maps of 4 and 2), at 224 px stage 4 (maps of 7)."""
    model, data = (
        resnet18(num_classes=6),
        (torch.randn(2, 3, size, size), torch.ones(2)),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch = (data[0], data[1].long())
    list(training_steps(model, [batch], optimizer, amp=torch.bfloat16))
    assert len(taken) == count
    taken.clear()
    list(training_steps(model, [batch], optimizer))  # float32: as ever
    # What torch.compile returns; not called here, since it would compile.
    monkeypatch.setattr(model, "_orig_mod", None, raising=False)
    list(training_steps(model, [batch], optimizer, amp=torch.bfloat16))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), SmallMaps():
        model.eval()(batch[0])
    assert taken == []


@pytest.mark.parametrize(
    "settings",
    [
        {"groups": 4},
        {"dilation": 2},
        {"bias": True},
        {"padding": "same"},
        {"stride": (1, 2)},
        {"kernel_size": (3, 1)},
        {"kernel_size": 1},
        {"padding_mode": "reflect", "padding": 1, "dilation": 2},
    ],
)
def test_other_convolutions_run_as_ever(taken, settings):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, **{"kernel_size": 3, "bias": False} | settings)
    x = torch.randn(2, 4, 6, 6)
    seen = []
    for mode in (SmallMaps(), torch.autocast("cpu", torch.bfloat16)):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16), mode:
            z = layer(x)
        z.float().square().sum().backward()
        seen.append((z.detach(), layer.weight.grad.clone()))
    assert taken == []
    for mine, plain in zip(*seen, strict=True):
        assert torch.equal(mine, plain)


@pytest.mark.parametrize(
    ("batch", "options"),
    [((2,), (None, (1, 1), (1, 1))), ((2,), ()), ((), (None, (1, 1), (1, 1), (1, 1)))],
    ids=["dilation left out", "all left out", "no batch"],
)
def test_calls_of_the_function_itself_run_as_ever(taken, batch, options):
    torch.manual_seed(0)
    x, weight = torch.randn(*batch, 4, 6, 6), torch.randn(5, 4, 3, 3)
    weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        plain = torch.conv2d(x, weight, *options)
        with SmallMaps():
            mine = torch.conv2d(x, weight, *options)
    assert taken == [] and torch.equal(mine, plain)


def test_the_forward_pass_is_the_same_and_the_input_learns_as_well():
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, 3, 2, 1, bias=False)
    x = torch.randn(4, 8, 5, 5, requires_grad=True)
    seen = []
    for mode in (SmallMaps(), torch.autocast("cpu", torch.bfloat16)):
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16), mode:
            z = layer(x)
        z.float().square().sum().backward()
        seen.append((z.detach(), x.grad))
    for mine, plain in zip(*seen, strict=True):
        assert torch.equal(mine, plain)
