"""Three ways to halve a map: shapes, shifts, and the table of the experiment."""

import pytest
import torch

from course_book import results
from course_book.experiments.digits import DigitsNet
from course_book.experiments.shift import WAYS, BlurPool, build, halve_by, place


@pytest.mark.parametrize("size", [5, 8])
def test_the_blur_is_a_convolution_that_keeps_the_mean(size):
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    blurred = BlurPool()(x)
    half = -(-size // 2)
    assert blurred.shape == (2, 3, half, half)
    weights = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.allclose(blurred[1, 2, 1, 1], (x[1, 2, 1:4, 1:4] * weights).sum())
    assert torch.allclose(BlurPool()(torch.full_like(x, 3.0)), torch.tensor(3.0))


def test_all_ways_keep_shapes_and_parameters():
    plain = build("stride", 0)
    x = torch.randn(2, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    for way in WAYS:
        net = build(way, 0)
        assert torch.equal(net.conv1.weight, plain.conv1.weight)
        count = sum(p.numel() for p in net.parameters())
        assert count == sum(p.numel() for p in plain.parameters())
        for stage, shape in (("layer1", 12), ("layer2", 6), ("layer3", 3)):
            maps = []
            hook = getattr(net, stage).register_forward_hook(
                lambda *found, kept=maps: kept.append(found[-1])
            )
            assert net(x).shape == (2, 10)
            hook.remove()
            assert maps[0].shape[2:] == (shape, shape), (way, stage)


def test_only_plain_strides_leave_positions_of_the_shortcut_unread():
    for way, share in (("stride", 0.25), ("average", 1.0), ("blur", 1.0)):
        downsample = build(way, 0).eval().layer2[0].downsample
        x = torch.randn(1, 16, 12, 12, requires_grad=True)
        downsample(x).square().sum().backward()
        read = (x.grad.abs().sum(1) > 0).float().mean()
        assert read == share, way


def test_a_digit_stands_where_it_is_placed_and_another_way_is_refused():
    digit = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2)) + 1
    canvas = place(digit, torch.tensor([[3, 5], [16, 0]]))
    assert torch.equal(canvas[0, :, 3:11, 5:13], digit[0])
    assert torch.equal(canvas[1, :, 16:, :8], digit[1])
    assert (canvas == digit.min()).sum() >= 2 * (24 * 24 - 64)
    with pytest.raises(ValueError, match="'mean'"):
        halve_by("mean", DigitsNet("residual", 8))


def test_the_table_has_every_way_and_seed():
    rows = results.load("shift")
    assert {(row["way"], row["seed"]) for row in rows} == {
        (way, seed) for way in WAYS for seed in range(5)
    }
    assert all(0 < row["changed"] < 50 for row in rows)
