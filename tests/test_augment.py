"""Random views of a batch: repeatable, and each of the kind that was promised."""

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from course_lib.data import augment
from course_lib.data.augment import digit_views, photo_views


def made(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("views", [photo_views, digit_views])
def test_generator_decides_everything(views):
    images = torch.randn(6, 3, 16, 16, generator=made(0))
    kept = images.clone()
    first, again = views(images, made(1)), views(images, made(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, views(images, made(2)))
    assert torch.equal(images, kept)
    assert first.shape == images.shape and first.dtype == images.dtype


def test_photo_views_are_the_eight_turns_up_to_light():
    """Gray pictures: light is affine, so each view correlates 1 with one turn."""
    image = torch.randn(1, 1, 12, 12, generator=made(0))
    turns = [
        torch.rot90(image.flip(3) if mirror else image, k, (2, 3)).flatten()
        for mirror in (False, True)
        for k in range(4)
    ]
    views = photo_views(image.repeat(400, 1, 1, 1), made(3))
    counts = [0] * 8
    for view in views:
        fits = [
            abs(torch.corrcoef(torch.stack([view.flatten(), turn]))[0, 1] - 1) < 1e-4
            for turn in turns
        ]
        assert sum(fits) == 1
        counts[fits.index(True)] += 1
    assert min(counts) > 25  # 50 each on average


def test_photo_views_bound_the_light():
    images = torch.randn(500, 3, 8, 8, generator=made(0))
    views = photo_views(images, made(4))
    shifts = views.mean((1, 2, 3)) - images.mean((1, 2, 3))
    assert shifts.abs().max() <= 0.34 * views.std()
    assert shifts.abs().max() > 0.2
    ratio = views.mean(1).flatten(1).std(1) / images.mean(1).flatten(1).std(1)
    assert 0.66 < ratio.min() < 0.75 and 1.25 < ratio.max() < 1.34


def test_photo_views_refuse_what_cannot_be_turned():
    with pytest.raises(ValueError, match=r"square.*\[2, 3, 8, 9\]"):
        photo_views(torch.zeros(2, 3, 8, 9), made(0))


def bound(monkeypatch, turn=0.0, shift=0.0, stretch=0.0):
    monkeypatch.setattr(augment, "TURN", turn)
    monkeypatch.setattr(augment, "SHIFT", shift)
    monkeypatch.setattr(augment, "STRETCH", stretch)


def test_digit_views_without_room_change_nothing(monkeypatch):
    bound(monkeypatch)
    images = torch.rand(5, 1, 9, 11, generator=made(0))
    views = digit_views(images, made(1))
    torch.testing.assert_close(views, images, rtol=0, atol=1e-6)


def test_digit_views_shift_by_at_most_the_share(monkeypatch):
    bound(monkeypatch, shift=0.08)
    images = torch.zeros(300, 1, 25, 25)
    images[:, :, 12, 12] = 1
    views = digit_views(images, made(1))
    where = torch.linspace(-12, 12, 25)
    right = (views[:, 0].sum(1) * where).sum(1)
    down = (views[:, 0].sum(2) * where).sum(1)
    for moved in (right, down):  # 0.08 of 25 pixels: two
        assert moved.abs().max() <= 2.001
        assert moved.min() < -1.8 and moved.max() > 1.8
        assert moved.mean().abs() < 0.3


def test_digit_views_turn_as_torchvision_does(monkeypatch):
    bound(monkeypatch, turn=40.0)
    images = torch.rand(8, 1, 21, 21, generator=made(0))
    angles = 40 * (2 * torch.rand(8, 1, 1, 1, generator=made(5)) - 1)
    views = digit_views(images, made(5))
    for image, view, angle in zip(images, views, angles.flatten().tolist()):
        turned = rotate(image, angle, InterpolationMode.BILINEAR)
        middle = (slice(None), slice(5, 16), slice(5, 16))  # no corner gets here
        torch.testing.assert_close(view[middle], turned[middle], rtol=0, atol=1e-4)
