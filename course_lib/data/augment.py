"""Random views of a whole batch at once, on the device where it lies.

torchvision's transforms cost a Python call per picture and step. These draw from a
generator, so that a training that was interrupted resumes with the same views. They
change normalized floats by shares of their spread, so any normalization will do.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

TURN, SHIFT, STRETCH = 10.0, 0.08, 0.1  # of digits: degrees, shares of the size


def _uniform(
    images: Tensor, generator: torch.Generator, low: float, high: float
) -> Tensor:
    """One number per picture, [B, 1, 1, 1], drawn on the CPU: the same everywhere."""
    values = torch.rand(len(images), 1, 1, 1, generator=generator)
    return (low + (high - low) * values).to(images)


def photo_views(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, mirror and light photos that have no up and down, such as pavements.

    Each picture is mirrored and turned by a multiple of 90° (eight ways, all equally
    likely), and its brightness, contrast and color strength change by up to a third.

    Args:
        images: float [B, C, H, H], normalized; squares, because they are turned.
        generator: on the CPU; decides everything.

    Raises:
        ValueError: if the pictures are not square.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"images must be [B, C, H, H] with square pictures, got "
            f"{list(images.shape)}; cut or resize them to squares"
        )
    ways = torch.randint(8, (len(images),), generator=generator).tolist()
    x = torch.stack(
        [
            torch.rot90(image.flip(2) if way >= 4 else image, way % 4, (1, 2))
            for image, way in zip(images, ways)
        ]
    )
    return _light(x, generator)


def flip_views(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror photos left to right, and light them, for scenes with an up and a down.

    Half of the pictures are mirrored; brightness, contrast and color strength change
    as in :func:`photo_views`.

    Args:
        images: float [B, C, H, W], normalized.
        generator: on the CPU; decides everything.
    """
    mirrored = _uniform(images, generator, 0, 1) < 0.5
    return _light(torch.where(mirrored, images.flip(3), images), generator)


def _light(x: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and color strength by up to a third."""
    mean = x.mean((1, 2, 3), keepdim=True)
    if x.shape[1] == 3:
        color = _uniform(x, generator, 0.67, 1.33)
        x = torch.lerp(x.mean(1, keepdim=True), x, color)
    x = torch.lerp(mean, x, _uniform(x, generator, 0.67, 1.33))
    return x.add_(_uniform(x, generator, -0.33, 0.33) * x.std())


def digit_views(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn digits by up to 10°, shift them by 8 % and stretch them by 10 % of the size.

    Args:
        images: float [B, C, H, W]; what lies outside counts as the edge's pixel.
        generator: on the CPU; decides everything.
    """
    angle = _uniform(images, generator, -TURN, TURN).flatten().deg2rad()
    size = _uniform(images, generator, 1 - STRETCH, 1 + STRETCH).flatten()
    # In the grid's coordinates the picture reaches from -1 to 1: 2 is its size.
    right = _uniform(images, generator, -2 * SHIFT, 2 * SHIFT).flatten()
    down = _uniform(images, generator, -2 * SHIFT, 2 * SHIFT).flatten()
    rows = [
        torch.stack([size * angle.cos(), -size * angle.sin(), right], 1),
        torch.stack([size * angle.sin(), size * angle.cos(), down], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


# The names of the train command's --augment.
AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor] | None] = {
    "none": None,
    "flip": flip_views,
    "photo": photo_views,
    "digits": digit_views,
}
