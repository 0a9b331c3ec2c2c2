"""The surfaces of the synthetic cracks: asphalt, plaster, brick, deck concrete.

Lengths are fractions of the picture's side. NumPy only.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import product

import numpy as np

from course_lib.synthetic.draws import Draws
from course_lib.synthetic.strokes import stroke, unit

# The color of the matter, float64 [size, size, 3] in 0 ... 1, and the relative change
# in brightness by its relief, [size, size].
Matter = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y of the pixel centers, each [size, size] in 0 ... 1."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    return x, y


def beyond(size: int, angle: float, offset: float) -> np.ndarray:
    """How far each pixel is beyond a line at ``offset`` from the middle."""
    x, y = grid(size)
    return (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - offset


def field(
    draws: Draws,
    size: int,
    low: float,
    high: float,
    slope: float = 1.0,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> np.ndarray:
    """Noise [size, size] of mean 0 and deviation 1, falling with frequency f.

    The amplitude falls like f**-slope (0: white, 1: cloudy, 2: smooth); fewer than
    ``low`` and more than ``high`` waves per picture are faded out. The grain is
    ``stretch`` times as long along ``angle`` (radians) as across.
    """
    fx = np.fft.rfftfreq(size, 1 / size)
    fy = np.fft.fftfreq(size, 1 / size)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    along = (cos * fx + sin * fy) * np.sqrt(stretch)
    across = (cos * fy - sin * fx) / np.sqrt(stretch)
    f2 = along**2 + across**2
    gain = np.exp(-f2 / high**2) * (1 - np.exp(-f2 / low**2))
    gain *= (f2 + low**2) ** (-slope / 2)
    noise = np.fft.irfft2(_white(draws, size) * gain, s=(size, size))
    return noise / (noise.std() + 1e-12)


def _white(draws: Draws, size: int) -> np.ndarray:
    """The spectrum of white noise whose slow waves are the same at every size."""
    coarse, grain = draws.split(), draws.split()
    few = np.fft.rfft2(coarse.random((32, 32)) - 0.5) / 32
    noise = np.fft.rfft2(grain.random((size, size)) - 0.5) / size
    last = min(16, size // 2)  # the waves below this belong to the coarse grid
    noise[:last, :last] = few[:last, :last]
    noise[1 - last :, :last] = few[1 - last :, :last]
    return noise


def tilt(height: np.ndarray, light: float) -> np.ndarray:
    """How much a surface of this height [size, size] rises toward the light."""
    dy, dx = np.gradient(height)
    return np.cos(light) * dx + np.sin(light) * dy


def relief(draws: Draws, size: int, light: float, *waves: float) -> np.ndarray:
    """How a rough surface brightens toward the light; ``waves`` as in :func:`field`."""
    rise = tilt(field(draws, size, *waves), light)
    rise /= rise.std() + 1e-12
    return np.where(rise < 0, 1.25 * rise, 0.8 * rise)  # hollows lie in shadow


def cells(draws: Draws, size: int, count: int) -> tuple[np.ndarray, ...]:
    """Voronoi cells around one jittered point in each square of a lattice.

    Returns the distance to the cell's edge in cell widths and a random number in
    0 ... 1 that is constant in a cell, both [size, size].
    """
    x, y = grid(size)
    jitter = draws.uniform(0.08, 0.92, (2, count + 2, count + 2))
    tones = draws.random((count + 2, count + 2))
    column, row = (x * count).astype(int) + 1, (y * count).astype(int) + 1
    first = second = np.full((size, size), 9.0)
    tone = np.zeros((size, size))
    for down, right in product((-1, 0, 1), repeat=2):
        j, i = row + down, column + right
        across, along = jitter[:, j, i]
        distance = np.hypot(i - 1 + across - x * count, j - 1 + along - y * count)
        nearer = distance < first
        second = np.where(nearer, first, np.minimum(second, distance))
        first = np.where(nearer, distance, first)
        tone = np.where(nearer, tones[j, i], tone)
    return (second - first) / 2, tone


def pits(
    draws: Draws, size: int, count: int, grain: float, longest: float
) -> np.ndarray:
    """Pores and short gouges: dark specks, longer along the grain, [size, size]."""
    center = draws.uniform(-0.03, 1.03, (count, 2))
    length = draws.log_uniform(0.004, longest, count)
    angle = grain + 0.35 * draws.normal(count)
    half = length[:, None] * unit(angle).T / 2
    width = draws.log_uniform(0.003, 0.012, count)
    depth = draws.uniform(0.1, 1, count) ** 2
    return stroke(size, center - half, center + half, width, width * 0.6, depth)


def _deck(draws: Draws, size: int, light: float) -> Matter:
    """Deck concrete: pale, broomed or trowelled, pitted, cloudy."""
    grain = draws.uniform(0, np.pi)
    tint = np.array([0.0, draws.uniform(-0.004, 0.012), draws.uniform(-0.06, 0.03)])
    base = draws.uniform(0.48, 0.74) + tint
    cloud = field(draws, size, 0.7, 8, 1.3)
    fine = field(draws, size, 6, 90, 0.5)
    tone = draws.uniform(0.005, 0.035) * cloud + draws.log_uniform(0.004, 0.04) * fine
    if draws.chance(0.25):  # the paste is worn off and sand and gravel show
        edge, stone = cells(draws, size, 10 + draws.integer(30))
        shown = np.clip(3 * edge, 0, 1) * np.clip(8 * (stone - 0.6), -0.4, 1)
        tone += draws.uniform(0.02, 0.12) * shown
    albedo = base * (1 + tone[..., None])
    rough = draws.log_uniform(0.012, 0.075)
    high, fall = draws.log_uniform(22, 90), draws.uniform(1.2, 1.9)
    longer = draws.log_uniform(1, 3)
    slope = rough * relief(draws, size, light, 2, high, fall, longer, grain)
    if draws.chance(0.7):  # rough and smooth areas side by side
        slope *= np.clip(0.9 + 0.5 * field(draws, size, 0.8, 5, 1), 0.3, 2.2)
    if draws.chance(0.25):  # the marks of the broom
        broom = field(draws, size, 5, 60, 0.6, draws.uniform(10, 60), grain)
        slope += draws.uniform(0.01, 0.04) * broom
    count = int(draws.log_uniform(8, 220))
    depth = draws.uniform(0.1, 0.45)
    pores = pits(draws, size, count, grain, draws.log_uniform(0.01, 0.1))
    albedo *= 1 - depth * pores[..., None]
    return albedo, slope


def _asphalt(draws: Draws, size: int, light: float) -> Matter:
    """Asphalt: stones of many grays in a dark binder."""
    edge, tone = cells(draws, size, 9 + draws.integer(22))
    base = draws.uniform(0.26, 0.5)
    spread = draws.uniform(0.1, 0.32)
    # A share of the stones is worn bare and pale, the others are coated.
    bare = np.clip((tone - draws.uniform(0.3, 0.7)) * 4, 0, 1)
    binder = np.clip(edge * draws.uniform(3, 7), 0, 1)
    fine = field(draws, size, 8, 120, 0.3)
    worn = field(draws, size, 0.7, 6, 1.3)
    value = base * (1 + 0.07 * worn + draws.uniform(0.04, 0.12) * fine)
    value = value * (1 + spread * (2.2 * bare - 0.6) * binder)
    value = value * (1 - draws.uniform(0.1, 0.35) * (1 - binder))
    hue = np.array([draws.uniform(-0.03, 0.06), 0, draws.uniform(-0.08, 0.05)])
    warm = np.array([0.06, 0, -0.08]) * draws.uniform(-0.5, 1)
    share = ((tone * 37) % 1)[..., None] * bare[..., None]
    albedo = value[..., None] * (1 + hue + warm * share)
    rough = draws.uniform(0.04, 0.12)
    return albedo, rough * relief(draws, size, light, 6, 70, 1.2)


Colors = Sequence[tuple[float, float, float]]
PALE = (
    (0.86, 0.83, 0.76),
    (0.80, 0.70, 0.52),
    (0.74, 0.60, 0.50),
    (0.66, 0.74, 0.72),
    (0.88, 0.88, 0.86),
    (0.70, 0.66, 0.56),
    (0.62, 0.68, 0.76),
)
# No concrete has one of these, whatever the light.
STRONG = (
    (0.84, 0.72, 0.50),
    (0.78, 0.58, 0.48),
    (0.62, 0.76, 0.66),
    (0.58, 0.68, 0.80),
    (0.82, 0.66, 0.62),
    (0.88, 0.82, 0.60),
    (0.72, 0.62, 0.42),
)


def _plaster(draws: Draws, size: int, light: float, paints: Colors) -> Matter:
    """A plastered or painted wall: tinted, fine grained, trowelled in arcs."""
    base = np.array(paints[draws.integer(len(paints))]) * draws.uniform(0.72, 1.05)
    cloud = field(draws, size, 0.7, 5, 1.6)
    fine = field(draws, size, 16, 140, 0.2)
    tone = draws.uniform(0.005, 0.05) * cloud + draws.uniform(0.004, 0.02) * fine
    rough = draws.log_uniform(0.008, 0.05)
    high, fall = draws.uniform(40, 160), draws.uniform(0.6, 1.2)
    slope = rough * relief(draws, size, light, 12, high, fall)
    if draws.chance(0.5):  # trowel strokes: arcs around a far center
        x, y = grid(size)
        center = draws.uniform(-1.5, 2.5, 2)
        arcs = np.hypot(x - center[0], y - center[1]) + 0.02 * cloud
        waves = np.sin(arcs * draws.uniform(40, 120) + 2 * cloud)
        slope = slope + draws.uniform(0.004, 0.025) * waves
    return base * (1 + tone[..., None]), slope


def _brick(draws: Draws, size: int, light: float) -> Matter:
    """Bricks in running bond; a close view may show a few only."""
    x, y = grid(size)
    turn = draws.uniform(-0.06, 0.06)
    height = draws.log_uniform(0.16, 0.45)
    width = height * draws.uniform(2.4, 3.4)
    warp = 0.004 * field(draws, size, 1, 12, 1)
    v = (y + turn * x + draws.random() + warp) / height
    row = np.floor(v)
    u = (x - turn * y + draws.random() + warp) / width + 0.5 * (row % 2)
    column = np.floor(u)
    joint = draws.uniform(0.02, 0.045) / 2
    flat = np.minimum(v - row, 1 - v + row)
    upright = np.minimum(u - column, 1 - u + column)
    inner = np.minimum(flat * height, upright * width)
    soft = 0.5 * joint + 0.5 / size
    brick = np.clip((inner - joint) / soft + 0.5, 0, 1)
    tones = draws.random(64)
    number = ((7 * row + 3 * column) % 64).astype(int)
    fine = field(draws, size, 6, 120, 0.4)
    colors = ((0.58, 0.30, 0.22), (0.50, 0.34, 0.28), (0.66, 0.46, 0.34))
    clay = np.array(colors[draws.integer(3)]) * draws.uniform(0.75, 1.15)
    mortar = np.array([0.66, 0.63, 0.58]) * draws.uniform(0.6, 1.15)
    clay = clay * (0.82 + 0.36 * tones[number] + 0.05 * fine)[..., None]
    mortar = mortar * (1 + 0.06 * fine)[..., None]
    albedo = mortar + (clay - mortar) * brick[..., None]
    rough = 0.05 * relief(draws, size, light, 8, 90, 1.0)
    return albedo, rough - 0.35 * tilt(brick, light)


def _wall(draws: Draws, size: int, light: float, paints: Colors = PALE) -> Matter:
    if draws.chance(0.35):
        return _brick(draws, size, light)
    return _plaster(draws, size, light, paints)


# Functions of a stream of draws, a size in pixels and the direction of the light.
TEXTURES: dict[str, Callable[[Draws, int, float], Matter]] = {
    "deck": _deck,
    "pavement": _asphalt,
    "wall": _wall,
    "painted wall": partial(_wall, paints=STRONG),
}
