"""The camera at the end of a synthetic picture: lens, sensor, JPEG.

NumPy only. All arithmetic is the course's own, because the libraries of two systems
differ.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from course_lib.scene.draws import Draws

__all__ = ["blur", "jpeg", "photograph"]


def photograph(draws: Draws, image: np.ndarray) -> np.ndarray:
    """Exposure, color cast, lens blur, sensor noise, JPEG, bytes."""
    size = len(image)
    # White balance errs between blue and amber, hardly toward green.
    amber = draws.uniform(-0.05, 0.05)
    cast = 1 + np.array([amber, draws.uniform(-0.012, 0.012), -amber])
    image = image * cast * draws.uniform(0.85, 1.2)
    # A photo holds the light to a power; brightness is already perceptual here,
    # so that only the camera's contrast curve remains.
    image = np.clip(image, 0.004, 1) ** draws.uniform(0.85, 1.2)
    image = blur(image, draws.uniform(0.25, 0.85))
    grey = draws.split().normal((size, size, 1)) * draws.uniform(0, 0.012)
    color = draws.split().normal((size, size, 3)) * draws.uniform(0, 0.006)
    levels = 255 * (image + grey + color)
    if draws.chance(0.8):
        levels = jpeg(levels, draws.uniform(45, 96))
    return np.clip(np.floor(levels + 0.5), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H, W] or [H, W, C], the border repeated; sigma in pixels."""
    radius = max(1, int(np.ceil(2.5 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, pad, mode="edge")
        length = image.shape[axis]
        image = sum(
            tap * np.take(padded, range(k, k + length), axis=axis)
            for k, tap in enumerate(taps)
        )
    return image


# Annex K of the JPEG standard (ITU-T T.81): quantization of brightness and color.
LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=float,
)
CHROMA = np.full((8, 8), 99.0)
CHROMA[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
TO_RGB = np.linalg.inv(TO_YCC)


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    k, n = np.mgrid[0:8, 0:8]
    basis = np.cos(np.pi * (2 * n + 1) * k / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis


def jpeg(levels: np.ndarray, quality: float) -> np.ndarray:
    """What JPEG does to a picture: rounding the cosine waves of each 8x8 block.

    Own arithmetic in float64, because libjpeg's result differs between builds.

    Args:
        levels: float64 [size, size, 3], RGB in 0 ... 255.
        quality: 1 ... 100 as in libjpeg.

    Returns:
        float64, the same shape.
    """
    size = len(levels)
    pad = -size % 8
    padded = np.pad(levels, ((0, pad), (0, pad), (0, 0)), mode="edge") - 128
    blocks = len(padded) // 8
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    steps = np.stack([LUMA, CHROMA, CHROMA], -1) * scale
    steps = np.maximum(np.floor(steps + 0.5), 1)[None, :, None]
    basis = _cosines()
    ycc = (padded @ TO_YCC.T).reshape(blocks, 8, blocks, 8, 3)
    waves = np.einsum("ky,aybxc,lx->akblc", basis, ycc, basis, optimize=True)
    # The small shift settles ties, which flat saturated blocks would cause.
    waves = np.floor(waves / steps + 0.5 + 1e-6) * steps
    ycc = np.einsum("ky,akblc,lx->aybxc", basis, waves, basis, optimize=True)
    rgb = ycc.reshape(padded.shape) @ TO_RGB.T + 128
    return rgb[:size, :size]
