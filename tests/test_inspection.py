import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_book.figures.code.looking_inside import filters_picture
from course_lib.looking import grad_cam, overlay
from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet


def net(block=BasicBlock, **options):
    torch.manual_seed(0)
    model = ResNet(block, (1, 1, 1, 1), num_classes=6, **options)
    for name, buffer in model.named_buffers():  # as if it had been trained
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5) if "var" in name else buffer.normal_(0, 0.1)
    return model.eval()


def pictures(count=3, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, 64, 96, generator=generator)


def to_picture(maps, size):
    """ReLU, enlarge, divide by the largest value: what both kinds of map share."""
    heat = F.interpolate(maps[:, None].relu(), size, mode="bilinear")[:, 0]
    return heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)


@pytest.mark.parametrize(
    ("block", "options"),
    [
        (BasicBlock, {}),
        (Bottleneck, {}),
        (PlainBlock, {}),
        (BasicBlock, {"stem": "small", "in_channels": 1}),
    ],
)
def test_at_layer4_it_equals_cam(block, options):
    """Behind layer4 come only a mean and the head: Zhou et al. 2016, section 2."""
    model = net(block, **options)
    x = pictures(channels=options.get("in_channels", 3))
    features = nn.Sequential(*list(model.children())[:-2])(x).detach()
    for classes in (2, [5, 0, 1], torch.tensor([3, 3, 4])):
        rows = model.fc.weight[torch.as_tensor(classes).expand(3)]
        cam = torch.einsum("bk,bkhw->bhw", rows, features).detach()
        assert (cam.amax((1, 2)) > 0).any()
        seen = grad_cam(model, x, classes)
        torch.testing.assert_close(
            seen, to_picture(cam, x.shape[2:]), atol=1e-5, rtol=1e-4
        )
    rows = model.fc.weight[[2, 3, 4]] - model.fc.weight[[0, 0, 0]]
    cam = torch.einsum("bk,bkhw->bhw", rows, features).detach()
    seen = grad_cam(model, x, [2, 3, 4], against=0)
    torch.testing.assert_close(seen, to_picture(cam, x.shape[2:]), atol=1e-5, rtol=1e-4)
    guess = model(x).argmax(1)
    assert torch.equal(grad_cam(model, x), grad_cam(model, x, guess))


def test_inside_the_net_it_equals_the_definition():
    """Gradients by finite differences of the logit, map by map."""
    model = net().double()
    x = pictures(1)[..., :32, :48].double()
    front = nn.Sequential(
        *[model.conv1, model.bn1, model.relu, model.maxpool, model.layer1, model.layer2]
    )
    back = nn.Sequential(
        model.layer3, model.layer4, model.avgpool, nn.Flatten(), model.fc
    )
    with torch.no_grad():
        maps = front(x)
        # A shift of a whole map changes the logits by the sum of its slopes; each
        # picture of this batch is the same but for the shift of one map.
        shift = 1e-6 * torch.eye(maps.shape[1]).double()[:, :, None, None]
        slopes = (back(maps + shift) - back(maps - shift)) / 2e-6  # [128, 6]
        weights = slopes.T / maps[0, 0].numel()
        cams = torch.einsum("ck,khw->chw", weights, maps[0])
    positive = (cams.amax((1, 2)) > 0).nonzero().flatten().tolist()
    assert positive
    for layer, label in zip(("layer2", "layer2.0"), 2 * positive):
        expected = to_picture(cams[label : label + 1], x.shape[2:]).float()
        seen = grad_cam(model, x, label, layer)
        torch.testing.assert_close(seen, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "bn1", "maxpool", "layer1", "avgpool"])
def test_any_layer_with_maps_will_do(layer):
    model, found = net(), 0
    for label in range(6):
        heat = grad_cam(model, pictures(1), label, layer)
        assert heat.shape == (1, 64, 96) and heat.dtype == torch.float32
        assert heat.min() >= 0 and heat.max() in (0, 1)
        found += heat.max() == 1
    assert found


def test_a_picture_of_a_batch_is_looked_at_alone():
    model, x = net().train(), pictures()
    together = grad_cam(model, x, [0, 1, 2])
    for k in range(3):
        alone = grad_cam(model, x[k : k + 1], k)
        torch.testing.assert_close(alone[0], together[k], atol=1e-5, rtol=1e-4)


def test_nothing_speaks_for_it():
    model = net()
    with torch.no_grad():
        model.fc.weight[2] = -1
    heat = grad_cam(model, pictures(), [2, 1, 2])
    assert heat[[0, 2]].abs().max() == 0 and heat[1].max() == 1


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    model = net().train()
    model.bn1.eval()
    model.fc.weight.requires_grad_(False)
    model.fc.bias.grad = torch.full((6,), 7.0)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = pictures().requires_grad_()
    modes = [m.training for m in model.modules()]
    if fails:
        with pytest.raises(ValueError, match="from 0 to 5"):
            grad_cam(model, x, 6)
    else:
        grad_cam(model, x)
    assert modes == [m.training for m in model.modules()]
    assert not any(m._forward_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name != "fc.weight")
        if name == "fc.bias":
            assert (parameter.grad == 7).all()
        else:
            assert parameter.grad is None
    assert x.grad is None


def test_frozen_nets_and_callers_without_gradients():
    model, x = net(), pictures()
    expected = grad_cam(model, x, 3)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(grad_cam(model, x.clone(), 3), expected)
    assert not expected.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(3, 64, 64)}, r"images\[None\]"),
        ({"images": torch.zeros(0, 3, 64, 64)}, "at least 1"),
        ({"images": torch.zeros(1, 3, 64, 64).byte()}, "uint8"),
        ({"classes": 6}, "from 0 to 5, got 6"),
        ({"classes": [0, 1]}, "one integer or 3"),
        ({"classes": 1.0}, "got 1.0"),
        ({"against": -1}, "against must be one integer"),
        ({"layer": "layer9"}, "has no layer 'layer9'"),
        ({"layer": "fc"}, r"run once and give"),
        ({"layer": "layer1.0.relu"}, "run once"),  # it runs twice
        ({"model": nn.Sequential(nn.Conv2d(3, 6, 3))}, "has no layer 'layer4'"),
        ({"model": nn.Sequential(nn.Conv2d(3, 6, 3)), "layer": "0"}, "logits"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"model": net(), "images": pictures()} | change
    with pytest.raises(ValueError, match=message):
        grad_cam(**arguments)
    assert not any(m._forward_hooks for m in arguments["model"].modules())


def test_overlay():
    image = torch.rand(3, 8, 9)
    heat = torch.zeros(8, 9)
    heat[2, 3] = 1
    cold = np.asarray(overlay(image, torch.zeros(8, 9)))
    gray = np.rint(255 * image.mean(0).numpy())
    assert (cold == gray[..., None]).all()
    hot = np.asarray(overlay(image, heat))
    mixed = 0.25 * 255 * image.mean(0)[2, 3].item() + 0.75 * np.array(
        [255, 229.5, 38.25]
    )
    assert hot[2, 3] == pytest.approx(mixed, abs=0.51)
    others = np.ones((8, 9), bool)
    others[2, 3] = False
    assert (hot[others] == cold[others]).all()
    assert overlay(image[:1], heat).size == (9, 8)
    for wrong in (
        {"image": image[0]},
        {"image": torch.rand(2, 8, 9)},
        {"heat": torch.zeros(9, 8)},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            overlay(**({"image": image, "heat": heat} | wrong))


def test_filters_picture():
    weight = torch.zeros(5, 3, 2, 2)
    weight[1, 0, 0, 1] = 0.01  # a red dot
    weight[4] = -3
    sheet = np.asarray(filters_picture(weight, columns=3, zoom=4))
    assert sheet.shape == (2 * 8 + 2, 3 * 8 + 2 * 2, 3)
    assert (sheet[:8, :8] == 128).all()  # all zeros: mid-gray
    assert (sheet[:8, 8:10] == 255).all()  # a line
    assert sheet[0, 10 + 4].tolist() == [255, 128, 128]
    assert (sheet[10:18, 10:18] == 0).all()
    assert (sheet[10:, 20:] == 255).all()  # no sixth kernel
    assert filters_picture(torch.ones(2, 1, 3, 3), zoom=1).size == (3 + 2 + 3, 3)
