"""course_lib.resnet against torchvision: names, weights, logits, gradients."""

import functools
from functools import partial

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib import resnet as ours

DEPTHS = sorted(ours.LAYERS)
# Claim E8: what torchvision publishes, in full.
PARAMETERS = {
    18: 11_689_512,
    34: 21_797_672,
    50: 25_557_032,
    101: 44_549_160,
    152: 60_192_808,
}


def theirs(depth, **options):
    return getattr(torchvision.models, f"resnet{depth}")(**options)


def pair(depth, seed=0, **options):
    """Our net and torchvision's with the same weights and lively BN statistics."""
    torch.manual_seed(seed)
    reference = theirs(depth, **options)
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Fresh BN (γ = 1, β = 0, μ = 0, σ² = 1) would hide a swapped argument.
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    model = getattr(ours, f"resnet{depth}")(**options)
    model.load_state_dict(reference.state_dict())
    return model, reference


@pytest.mark.parametrize("depth", DEPTHS)
def test_names_shapes_and_parameters_are_torchvisions(depth):
    with torch.device("meta"):
        model, reference = getattr(ours, f"resnet{depth}")(), theirs(depth)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert shapes == {key: v.shape for key, v in reference.state_dict().items()}
    assert list(shapes) == list(reference.state_dict())
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[depth]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_logits_and_gradients_are_bit_equal(depth, mode):
    model, reference = pair(depth, num_classes=6)
    images = torch.randn(2, 3, 40, 33)
    results = []
    for net in (model, reference):
        net.train(mode == "train")
        logits = net(images)
        nn.functional.cross_entropy(logits, torch.tensor([0, 5])).backward()
        results.append((logits, dict(net.named_parameters()), net.state_dict()))
    (logits, parameters, state), (expected, expected_parameters, expected_state) = (
        results
    )
    assert torch.equal(logits, expected)
    for name, parameter in parameters.items():
        assert torch.equal(parameter.grad, expected_parameters[name].grad), name
    for name, buffer in state.items():  # running statistics moved alike
        assert torch.equal(buffer, expected_state[name]), name


lively = functools.cache(partial(pair, 18, num_classes=6))
fresh = functools.cache(lambda stem: ours.resnet18(stem=stem, num_classes=2))


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 3), height=st.integers(1, 97), width=st.integers(1, 97))
def test_any_size_is_bit_equal_in_eval_mode(batch, height, width):
    model, reference = lively()
    images = torch.randn(batch, 3, height, width)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), reference.eval()(images))


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("zero", [False, True])
def test_the_same_seed_gives_the_same_initial_weights(depth, zero):
    torch.manual_seed(3)
    model = getattr(ours, f"resnet{depth}")(zero_init_residual=zero)
    torch.manual_seed(3)
    state = theirs(depth, zero_init_residual=zero).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_zero_init_makes_every_identity_unit_the_identity():
    model = ours.resnet18(zero_init_residual=True)
    x = torch.rand(2, 64, 8, 8)  # not negative, so the last ReLU changes nothing
    for unit in model.layer1:
        assert torch.equal(unit(x), x)
    assert not torch.equal(ours.resnet18().layer1[0](x), x)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_stems_and_input_channels(stem):
    model = ours.resnet18(stem=stem, in_channels=1, num_classes=10)
    sizes = []
    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        getattr(model, name).register_forward_hook(
            lambda module, args, out: sizes.append(out.shape[-1])
        )
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 10)
    expected = {
        "imagenet": [32, 16, 16, 8, 4, 2],
        "small": [64, 64, 64, 32, 16, 8],
    }
    assert sizes == expected[stem]


@pytest.mark.parametrize("depth", [18, 34])
def test_plain_nets_are_the_same_convolutions_in_a_row(depth):
    torch.manual_seed(0)
    plain = getattr(ours, f"plain{depth}")(num_classes=6).eval()
    residual = ours.resnet(depth, num_classes=6)
    residual_shapes = {k: v.shape for k, v in residual.state_dict().items()}
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v for k, v in residual_shapes.items() if "downsample" not in k
    }

    rows = [plain.conv1, plain.bn1, nn.ReLU(), plain.maxpool]
    for stage in (plain.layer1, plain.layer2, plain.layer3, plain.layer4):
        for unit in stage:
            rows += [unit.conv1, unit.bn1, nn.ReLU()]
            rows += [unit.conv2, unit.bn2, nn.ReLU()]
    rows += [plain.avgpool, nn.Flatten(), plain.fc]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(images), nn.Sequential(*rows)(images))


def test_forward_is_traced_by_fx():
    model, _ = pair(18)
    images = torch.randn(1, 3, 64, 64)
    traced = torch.fx.symbolic_trace(model.eval())
    with torch.no_grad():
        assert torch.equal(traced(images), model(images))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (partial(ours.resnet, 20), r"depth must be one of .*18, 34.* got 20"),
        (partial(ours.resnet18, num_classes=0), r"num_classes .* at least 1, got 0"),
        (partial(ours.resnet18, in_channels=0), r"in_channels .* at least 1, got 0"),
        (partial(ours.resnet18, stem="tiny"), r"stem must be .* got 'tiny'"),
        (partial(ours.ResNet, ours.BasicBlock, [2, 2, 2]), r"layers must be four"),
        (partial(ours.ResNet, ours.BasicBlock, [2, 0, 2, 2]), r"layers must be four"),
        (
            partial(ours.plain18, zero_init_residual=True),
            r"zero_init_residual=True needs shortcuts",
        ),
    ],
)
def test_wrong_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 32, 32), r"4 dimensions .* got shape \[3, 32, 32\].*unsqueeze"),
        ((0, 3, 32, 32), r"none of them 0, got shape \[0, 3, 32, 32\]"),
        ((2, 3, 0, 32), "none of them 0"),
        ((2, 1, 32, 32), r"x must have 3 channels, got 1.*in_channels=1"),
        ((1, 3, 32, 32), r"one value per channel.*model\.eval\(\)"),
    ],
)
def test_wrong_inputs_are_named(shape, words):
    with pytest.raises(ValueError, match=words):
        ours.check_batch(ours.resnet18(), torch.zeros(shape))


def test_bytes_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"torch.uint8.*/ 255"):
        images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        ours.check_batch(ours.resnet18(), images)


def test_another_type_or_device_is_named():
    with pytest.raises(ValueError, match=r"x is torch.float64 on cpu.*float32 on cpu"):
        ours.check_batch(ours.resnet18(), torch.zeros(2, 3, 32, 32).double())
    with pytest.raises(ValueError, match=r"on meta.*x.to\(model"):
        ours.check_batch(ours.resnet18(), torch.zeros(2, 3, 32, 32, device="meta"))


def test_forward_is_the_bare_network():
    for module in ours.resnet18().modules():
        assert not module._forward_pre_hooks and not module._forward_hooks


@settings(max_examples=30, deadline=None)
@given(
    stem=st.sampled_from(["imagenet", "small"]),
    batch=st.integers(1, 2),
    size=st.tuples(st.integers(1, 36), st.integers(1, 36)),
)
def test_train_mode_is_refused_exactly_where_batch_norm_refuses(stem, batch, size):
    model = fresh(stem).train()
    images = torch.randn(batch, 3, *size)
    try:
        expected = None
        with torch.no_grad():
            model(images)
    except ValueError as error:
        expected = error
    if expected is None:
        ours.check_batch(model, images)
    else:
        assert "Expected more than 1 value per channel" in str(expected)
        with pytest.raises(ValueError, match="one value per channel"):
            ours.check_batch(model, images)
