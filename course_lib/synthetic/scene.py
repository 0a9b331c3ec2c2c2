"""One synthetic crack picture from one key: surface, crack, clutter, camera.

NumPy only, no torch. The stream of every part is split off before the part is
drawn, so the crack of a picture is the same at every size.
"""

import operator
from collections.abc import Iterator

import numpy as np

from course_lib.data.classes import SURFACES
from course_lib.synthetic.clutter import KINDS, Names, leaf_shadows, litter
from course_lib.synthetic.cracks import crack
from course_lib.synthetic.draws import Draws
from course_lib.synthetic.textures import TEXTURES, beyond, field, tilt

Key = tuple[int, ...]
# In clear pictures cracks swallow more light, so that no clutter is as dark.
DEEPER = 4.0
# Between stones or bricks a hairline could not be seen: cracks are wider there.
COARSE = {"deck": 1.0, "pavement": 1.8, "wall": 1.25}


def picture(
    key: Key, label: int, size: int, clear: bool = False, without: Names = ()
) -> np.ndarray:
    """The finished picture of :func:`stages`, RGB, uint8 [size, size, 3]."""
    *_, (_, last) = stages(key, label, size, clear, without)
    return last


def stages(
    key: Key, label: int, size: int, clear: bool = False, without: Names = ()
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw one picture, step by step.

    Args:
        key: integers that name the picture.
        label: 0 to 5, an index into ``CRACK_CLASSES``.
        size: pixels per side, at least 16.
        clear: cracks wide, deep, seldom broken off, and through the middle; walls
            of brick or of plaster in a strong color, which no concrete has.
        without: what to leave out, ``"crack"`` or kinds of clutter such as
            ``"cable"``. Everything else is drawn as before, so that two pictures
            differ by what was left out and by nothing else.

    Yields:
        ``(name, image)``: ``"surface"``, ``"crack"``, ``"clutter"`` and ``"light"``,
        float64 [size, size, 3] of about 0 ... 1, and ``"camera"``, as uint8.

    Raises:
        ValueError: if ``without`` names something that is never drawn.
    """
    known = {"crack"} | {kind.__name__ for kinds in KINDS.values() for kind in kinds}
    if unknown := sorted(set(without) - known):
        raise ValueError(f"without names {unknown}; choose from {sorted(known)}")
    surface, cracked = SURFACES[label // 2], label % 2 == 1
    draws = Draws(*key, label)
    light = draws.uniform(0, 2 * np.pi)
    texture = TEXTURES["painted wall" if clear and surface == "wall" else surface]
    albedo, slope = texture(draws.split(), size, light)

    def lit() -> np.ndarray:
        return albedo * np.clip(1 + slope, 0.25, 1.7)[..., None]

    yield "surface", lit()
    if cracked:
        for _ in range(2 if draws.chance(0.15) else 1):
            own = draws.split()
            if "crack" not in without:
                _open(own, albedo, slope, light, COARSE[surface], clear)
    yield "crack", lit()
    litter(draws.split(), surface, albedo, light, without)
    image = lit()
    yield "clutter", image
    image = _illuminate(draws.split(), image)
    yield "light", image
    yield "camera", _photograph(draws.split(), image)


def _open(
    draws: Draws,
    albedo: np.ndarray,
    slope: np.ndarray,
    light: float,
    wider: float,
    clear: bool,
) -> None:
    """Let a crack into a surface: dark inside, its rim lit, its banks changed."""
    size = len(albedo)
    made = crack(draws.split(), size, wider, clear)
    cover = made.cover
    # Hairlines are shallow: less light is lost in them.
    wide = np.clip(made.width / 0.03, 0, 1)
    deepest = 0.55 + 0.4 * wide
    dark = draws.uniform(0.16 + 0.35 * wide, deepest)
    dark = 1 - (1 - dark) ** (wider * DEEPER if clear else wider)
    tint = 1 + draws.uniform(-0.06, 0.06, 3)
    rubble = field(draws.split(), size, 3, 60, 0.6)
    inside = (1 - dark) * (1 + 0.25 * wide * rubble)
    # In a gaping crack light reaches the bank that faces it.
    soft = blur(cover, max(0.5, 0.25 * made.width * size))
    facing = tilt(soft, light) * made.width * size
    inside = inside * (1 + draws.uniform(0, 2.5) * wide * np.clip(facing, -0.4, 1))
    banks = blur(cover, draws.uniform(0.01, 0.05) * size)
    if draws.chance(0.35):  # lime washed out, or dirt washed in
        albedo *= (1 + draws.uniform(-0.35, 0.4) * banks)[..., None]
    albedo *= 1 - cover[..., None] * (1 - np.clip(inside, 0, 1)[..., None] * tint)
    rim = tilt(blur(cover, 0.6 + 0.1 * made.width * size), light)
    slope += draws.uniform(0, 1.2) * np.clip(-rim, 0, 0.6) * (1 - cover)


def _illuminate(draws: Draws, image: np.ndarray) -> np.ndarray:
    size = len(image)
    ramp = beyond(size, draws.uniform(0, 2 * np.pi), 0)
    falloff = draws.uniform(0, 0.3) if draws.chance(0.5) else draws.uniform(0, 0.08)
    lamp = 1 + falloff * ramp
    if draws.chance(0.3):
        lamp *= 1 + draws.uniform(0, 0.06) * field(draws, size, 0.7, 3, 1.5)
    own = draws.split()
    if draws.chance(0.05):
        lamp *= leaf_shadows(own, size)
    if draws.chance(0.06):  # the edge of a building's shadow
        side = beyond(size, draws.uniform(0, 2 * np.pi), draws.uniform(-0.4, 0.4))
        soft = draws.log_uniform(0.02, 0.3)
        lamp *= 1 - draws.uniform(0.2, 0.6) * np.clip(side / soft + 0.5, 0, 1)
    return image * lamp[..., None]


def _photograph(draws: Draws, image: np.ndarray) -> np.ndarray:
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
    gray = draws.split().normal((size, size, 1)) * draws.uniform(0, 0.012)
    color = draws.split().normal((size, size, 3)) * draws.uniform(0, 0.006)
    levels = 255 * (image + gray + color)
    if draws.chance(0.8):
        levels = jpeg(levels, draws.uniform(45, 96))
    return np.clip(np.floor(levels + 0.5), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H, W] or [H, W, C], the border repeated; sigma in pixels."""
    radius = max(1, int(np.ceil(2.5 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    for _ in range(2):  # down, then across
        pad = [(radius, radius)] + [(0, 0)] * (image.ndim - 1)
        padded = np.pad(image, pad, mode="edge")
        shifted = (padded[k : k + len(image)] for k in range(len(taps)))
        image = sum(map(operator.mul, taps, shifted)).swapaxes(0, 1)
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
    ]
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
WAVE, PLACE = np.mgrid[0:8, 0:8]
COSINES = np.cos(np.pi * (2 * PLACE + 1) * WAVE / 16) / 2
COSINES[0] /= np.sqrt(2)


def jpeg(levels: np.ndarray, quality: float) -> np.ndarray:
    """What JPEG does to a picture: rounding the cosine waves of each 8x8 block.

    RGB in 0 ... 255, float64 [size, size, 3], in and out; ``quality`` as in libjpeg, 1
    to 100. Own arithmetic, because libjpeg's result differs between builds.
    """
    size = len(levels)
    pad = -size % 8
    padded = np.pad(levels, ((0, pad), (0, pad), (0, 0)), mode="edge") - 128
    blocks = len(padded) // 8
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    steps = np.stack([LUMA, CHROMA, CHROMA], -1) * scale
    steps = np.maximum(np.floor(steps + 0.5), 1)[None, :, None]
    ycc = (padded @ TO_YCC.T).reshape(blocks, 8, blocks, 8, 3)
    waves = np.einsum("ky,aybxc,lx->akblc", COSINES, ycc, COSINES, optimize=True)
    # The small shift settles ties, which flat saturated blocks would cause.
    waves = np.floor(waves / steps + 0.5 + 1e-6) * steps
    ycc = np.einsum("ky,akblc,lx->aybxc", COSINES, waves, COSINES, optimize=True)
    rgb = ycc.reshape(padded.shape) @ TO_RGB.T + 128
    return rgb[:size, :size]
