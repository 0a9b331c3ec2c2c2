"""course_lib.backprop on whole nets against autograd, and its SGD against torch's."""

import copy
import functools
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib import backprop
from course_lib.backprop import layers
from course_lib.resnet import LAYERS, BasicBlock, plain18, resnet, resnet18


def lively(net):
    """Odd values for BN: fresh ones (γ = 1, β = 0, ...) would hide mistakes."""
    for bn in net.modules():
        if isinstance(bn, nn.BatchNorm2d):
            nn.init.uniform_(bn.weight, 0.5, 1.0)
            nn.init.uniform_(bn.bias, -0.2, 0.2)
            nn.init.uniform_(bn.running_mean, -0.2, 0.2)
            nn.init.uniform_(bn.running_var, 0.5, 1.5)
    return net


@functools.lru_cache(maxsize=3)  # in float64 the deepest weigh half a gigabyte
def net(depth, stem, dtype=torch.float64):
    torch.manual_seed(0)
    build = plain18 if depth == "plain" else functools.partial(resnet, depth)
    return lively(build(num_classes=5, stem=stem)).to(dtype)


def autograd(model, images, labels):
    """What to compare with. In train mode this moves the running statistics."""
    images = images.clone().requires_grad_()
    inputs = {**dict(model.named_parameters()), "input": images}
    loss = F.cross_entropy(model(images), labels)
    return dict(zip(inputs, torch.autograd.grad(loss, inputs.values())))


def relative(found, expected):
    """‖a − b‖ / ‖b‖ of each tensor; names, order, shapes and dtypes must agree."""
    assert list(found) == list(expected)
    errors = {}
    for name, b in expected.items():
        a = found[name]
        assert a.shape == b.shape and not a.requires_grad
        b = b.double()
        errors[name] = float((a.double() - b).norm() / b.norm().clamp(min=1e-12))
    return errors


def batch(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.arange(shape[0]) * 2 % 5


def worst(model, images, labels):
    found = backprop.gradients(model, images, labels)
    errors = relative(found, autograd(model, images, labels))
    return max(errors.values())


# ResNet-18 and a plain net in all four ways, ResNet-34 and -50 in two, the deepest,
# which are more of the same units, in one.
WAYS = [
    (depth, stem, mode)
    for depth in ("plain", *LAYERS)
    for stem, mode in itertools.product(("imagenet", "small"), ("train", "eval"))
    if depth in ("plain", 18)
    or (depth in (34, 50) and (stem == "imagenet") == (mode == "train"))
    or (stem, mode) == ("small", "train")
]


@pytest.mark.parametrize("depth, stem, mode", WAYS)
def test_all_gradients_of_all_depths(depth, stem, mode):
    size = (33, 38) if stem == "imagenet" else (9, 10)  # odd: the floor drops rows
    images, labels = batch(2, 3, *size)
    model = net(depth, stem).train(mode == "train")
    assert worst(model, images, labels) <= 1e-10


@pytest.mark.parametrize("size", [1, 31, 45, 64, (97, 35)])
def test_other_sizes_and_a_batch_of_one(size):
    height, width = size if isinstance(size, tuple) else (size, size)
    images, labels = batch(1, 3, height, width)
    assert worst(net(18, "imagenet").eval(), images, labels) <= 1e-10
    if height > 32:
        assert worst(net(18, "imagenet").train(), images, labels) <= 1e-10


def test_gray_images_and_other_modes():
    torch.manual_seed(1)
    model = lively(resnet18(in_channels=1, num_classes=5, stem="small")).double()
    images, labels = batch(3, 1, 10, 7)
    model.train()
    model.layer2.eval()  # frozen statistics in one stage only
    for parameter in model.layer1.parameters():
        parameter.requires_grad_(False)  # autograd skips them, the hand does not
    found = backprop.gradients(model, images, labels)
    model.requires_grad_(True)
    errors = relative(found, autograd(model, images, labels))
    assert max(errors.values()) <= 1e-10


def test_units_that_start_as_the_identity():
    torch.manual_seed(2)
    model = resnet18(num_classes=5, stem="small", zero_init_residual=True).double()
    images, labels = batch(4, 3, 12, 12)
    found = backprop.gradients(model, images, labels)
    assert worst(model, images, labels) <= 1e-10
    assert not found["layer1.0.conv1.weight"].any()  # γ = 0 stops δ: exactly 0
    assert found["layer1.0.bn2.weight"].any()


@pytest.mark.parametrize("depth, mode", [(18, "train"), (50, "train"), (34, "eval")])
def test_float32_is_as_near_as_autograd(depth, mode):
    images, labels = batch(4, 3, 40, 40, dtype=torch.float32)
    model = net(depth, "imagenet", torch.float32).train(mode == "train")
    exact = autograd(copy.deepcopy(model).double(), images.double(), labels)
    ours = relative(backprop.gradients(model, images, labels), exact)
    theirs = relative(autograd(model, images, labels), exact)
    for name, error in ours.items():
        assert error <= 3 * max(theirs[name], 1e-7), name
    with torch.no_grad():  # the same last bits, hence the same side of every kink
        model.eval() if mode == "eval" else model.train()
        expected = copy.deepcopy(model)(images)
    assert torch.equal(backprop.forward(model, images)[0], expected)


# Nothing else happens ----------------------------------------------------------------


class Refuse(TorchDispatchMode):
    """Fail at every ready-made backward of torch."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "backward" not in func.name(), func.name()
        return func(*args, **(kwargs or {}))


def test_no_ready_made_backward_is_called():
    images, labels = batch(2, 3, 40, 40)
    model = net(50, "imagenet").train()
    with Refuse():
        backprop.gradients(model, images, labels)
    with pytest.raises(AssertionError), Refuse():  # and Refuse does refuse
        F.cross_entropy(model(images), labels).backward()


def test_model_and_autograd_are_left_untouched():
    model = lively(resnet18(num_classes=5)).train()
    model.layer3.eval()
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    images, labels = batch(2, 3, 40, 40, dtype=torch.float32)
    images.requires_grad_()
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    random, inputs = torch.get_rng_state(), images.detach().clone()
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            found = backprop.gradients(model, images, labels)
            assert torch.is_grad_enabled() == enabled
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert modes == [module.training for module in model.modules()]
    assert (model.fc.weight.grad == 1).all() and model.conv1.weight.grad is None
    assert images.grad is None and torch.equal(images, inputs)
    assert torch.equal(torch.get_rng_state(), random)
    kept = {value.data_ptr() for value in (*model.state_dict().values(), images)}
    assert not kept & {gradient.data_ptr() for gradient in found.values()}
    with torch.autocast("cpu", torch.bfloat16):
        again = backprop.gradients(model, images, labels)
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_running_statistics_move_as_in_forward():
    torch.manual_seed(3)
    model = lively(resnet18(num_classes=5, stem="small")).double().train()
    model.layer2.eval()
    model.bn1.momentum = 0.3
    images, _ = batch(3, 3, 12, 12)
    expected = copy.deepcopy(model)
    for _ in range(3):
        expected(images)
        _, saved = backprop.forward(model, images)
        backprop.update_running_statistics(saved)
    for name, value in expected.state_dict().items():
        ours = model.state_dict()[name]
        # atol: a mean near 0 is a difference of numbers near 1
        assert torch.allclose(ours, value, rtol=1e-12, atol=1e-14), name


@pytest.mark.parametrize(
    "name, broken",
    [
        ("fork_backward", lambda delta, saved: delta[0]),
        ("fork_backward", lambda delta, saved: delta[1]),
        ("add_backward", lambda delta, saved: (delta, -delta)),
        ("relu_backward", lambda delta, saved: delta),
        ("max_pool_backward", lambda delta, saved: delta.new_zeros(saved[0])),
        ("cross_entropy_backward", lambda delta, saved: saved[0] - saved[1]),
        (
            "global_average_pool_backward",
            lambda delta, saved: delta[..., None, None].expand(saved[0]),
        ),
    ],
)
def test_a_broken_layer_is_noticed_in_the_net(monkeypatch, name, broken):
    monkeypatch.setattr(layers, name, broken)
    images, labels = batch(2, 3, 36, 36)
    assert worst(net(18, "imagenet").train(), images, labels) > 1e-3


# Clear errors ------------------------------------------------------------------------


class Rewired(BasicBlock):
    def forward(self, x):
        return x + super().forward(x)


def rewired():
    model = resnet18(num_classes=5)
    model.layer2[1] = Rewired(128, 128)
    return model


def with_layer(name, layer):
    model = resnet18(num_classes=5)
    setattr(model, name, layer)
    return model


GOOD = torch.zeros(2, 3, 40, 40), torch.tensor([0, 4])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((nn.Linear(3, 5), *GOOD), "model must be a net of course_lib.resnet"),
        ((rewired(), *GOOD), "layer2.1 is a .*Rewired"),
        ((with_layer("bn1", nn.GroupNorm(8, 64)), *GOOD), "bn1, GroupNorm"),
        (
            (with_layer("conv1", nn.Conv2d(3, 64, 3, padding_mode="reflect")), *GOOD),
            "conv1, Conv2d",
        ),
        ((None, [[0.0]], GOOD[1]), "images must be a tensor, got list"),
        ((None, GOOD[0].double(), GOOD[1]), "x is torch.float64"),
        ((None, GOOD[0][0], GOOD[1]), r"4 dimensions .*unsqueeze"),
        ((None, GOOD[0][:, :1], GOOD[1]), "3 channels, got 1"),
        ((None, GOOD[0][:1, :, :9, :9], GOOD[1][:1]), "one value per channel"),
        ((None, GOOD[0], [0, 4]), "labels must be a tensor, got list"),
        ((None, GOOD[0], GOOD[1].int()), r"int64 \[2\].* torch.int32"),
        ((None, GOOD[0], GOOD[1][:1]), r"int64 \[2\].* \[1\]"),
        ((None, GOOD[0], torch.tensor([0, 5])), r"0 \.\.\. 4.* got 5"),
        ((None, GOOD[0], torch.tensor([-1, 5])), r"0 \.\.\. 4.* got -1"),
    ],
)
def test_errors_name_argument_value_and_remedy(arguments, words):
    model = arguments[0] or net(18, "imagenet", torch.float32).train()
    with pytest.raises((TypeError, ValueError), match=words):
        backprop.gradients(model, *arguments[1:])


# SGD ---------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum, decay", [(0.9, 5e-4), (0.9, 0.0), (0.0, 1e-2)])
def test_ten_steps_of_sgd_bit_for_bit(momentum, decay):
    torch.manual_seed(0)
    ours = {"w": torch.randn(500, 30, requires_grad=True), "b": torch.randn(7)}
    theirs = {name: value.detach().clone() for name, value in ours.items()}
    settings = {"momentum": momentum, "weight_decay": decay}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.05, **settings)
    velocity = {}
    for _ in range(10):
        found = {name: torch.randn_like(value) for name, value in theirs.items()}
        for name, value in theirs.items():
            value.grad = found[name].clone()
        optimizer.step()
        backprop.sgd_step(ours, {**found, "input": None}, velocity, lr=0.05, **settings)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_ten_steps_of_a_net_bit_for_bit():
    torch.manual_seed(0)
    model = resnet18(num_classes=5, in_channels=1, stem="small")
    twin = copy.deepcopy(model)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
    optimizer = torch.optim.SGD(twin.parameters(), **settings)
    velocity, parameters = {}, dict(model.named_parameters())
    for step in range(10):
        images, labels = batch(4, 1, 8, 8, seed=step, dtype=torch.float32)
        found = backprop.gradients(model, images, labels)
        for name, parameter in twin.named_parameters():
            parameter.grad = found[name].clone()
        optimizer.step()
        backprop.sgd_step(parameters, found, velocity, **settings)
    for name, parameter in twin.named_parameters():
        assert torch.equal(parameter, parameters[name]), name


def test_sgd_errors():
    w = {"w": torch.ones(2)}
    with pytest.raises(ValueError, match="lr must be at least 0, got -1"):
        backprop.sgd_step(w, w, {}, lr=-1)
    with pytest.raises(KeyError, match="none for 'w'"):
        backprop.sgd_step(w, {}, {}, lr=0.1)
