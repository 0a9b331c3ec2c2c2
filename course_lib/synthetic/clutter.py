"""What lies on a surface and is no crack: the hard negatives.

They fall on cracked and uncracked pictures alike, so that none of them says anything
about the label. Each changes ``albedo``, float64 [size, size, 3], in place; ``light``
is a direction in radians. NumPy only.
"""

from collections.abc import Callable, Collection

import numpy as np

from course_lib.synthetic.draws import Draws
from course_lib.synthetic.strokes import chain, stroke, unit, wander
from course_lib.synthetic.textures import beyond, cells, field, grid


def _blend(albedo: np.ndarray, cover: np.ndarray, color: np.ndarray) -> None:
    albedo += cover[..., None] * (color - albedo)


def _across(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Two points outside the picture with the line between them through it."""
    anchor = draws.uniform(0.05, 0.95, 2)
    reach = 1.6 * unit(draws.uniform(0, np.pi))
    return anchor - reach, anchor + reach


def joint(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """A cast or sawn joint: straight, even in width, from edge to edge."""
    size = len(albedo)
    path = np.linspace(*_across(draws), 33)
    width = max(draws.log_uniform(0.008, 0.06), 0.9 / size)
    cover = chain(size, path, width)
    tone = draws.uniform(0.25, 0.85) if draws.chance(0.8) else draws.uniform(1.1, 1.3)
    _blend(albedo, cover, albedo * tone)
    if draws.chance(0.5):  # the far edge catches the light
        shift = width * unit(light)
        rim = chain(size, path + shift, max(0.6 * width, 0.8 / size))
        _blend(albedo, rim * (1 - cover), albedo * draws.uniform(1.05, 1.3))


def scratch(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Scratches and scrapes: pale or dark, nearly straight, often parallel."""
    size = len(albedo)
    start = draws.uniform(0, 1, 2)
    angle, length = draws.uniform(0, 2 * np.pi), draws.log_uniform(0.1, 0.9)
    end = start + length * unit(angle)
    bend = draws.uniform(0, 0.06)
    width = max(draws.log_uniform(0.004, 0.015), 0.6 / size)
    tone = draws.uniform(1.06, 1.35) if draws.chance(0.8) else draws.uniform(0.7, 0.92)
    for _ in range(1 + draws.integer(3)):
        shift = draws.uniform(-0.05, 0.05, 2)
        path = wander(draws, start + shift, end + shift, 4, bend, 1.6)
        strength = draws.uniform(0.3, 1) * np.sin(np.linspace(0.3, 2.9, 17))
        _blend(albedo, chain(size, path, width, strength), albedo * tone)


def cable(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """A cable: a smooth curve of even width with a sheen and a shadow."""
    size = len(albedo)
    path = wander(draws, *_across(draws), 6, draws.uniform(0, 0.15), 2.0)
    width = max(draws.log_uniform(0.015, 0.06), 1.2 / size)
    toward = unit(light)
    gap = draws.uniform(0.2, 1.2) * width
    shadow = chain(size, path - gap * toward, 1.1 * width)
    _blend(albedo, shadow, albedo * draws.uniform(0.5, 0.8))
    tones = (draws.uniform(0.05, 0.15), draws.uniform(0.35, 0.9))
    color = np.full(3, tones[draws.integer(2)]) * draws.uniform(0.85, 1.15, 3)
    cover = chain(size, path, width)
    _blend(albedo, cover, color)
    sheen = chain(size, path + 0.2 * width * toward, max(0.25 * width, 0.4 / size))
    _blend(albedo, sheen * cover, color * 1.5 + 0.06)


def stain(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Damp, oil, rust, lime: soft blots, or streaks that ran down."""
    size = len(albedo)
    stretch = draws.uniform(4, 20) if draws.chance(0.3) else 1.0
    blots = field(draws, size, 0.8, draws.uniform(3, 14), 1.2, stretch, np.pi / 2)
    edge = draws.log_uniform(0.2, 1.3)
    cover = np.clip(edge * (blots - draws.uniform(0.5, 2)) + 0.5, 0, 1)
    tints = ((0.6, 0.6, 0.6), (0.75, 0.6, 0.45), (1.2, 1.2, 1.18), (0.65, 0.72, 0.6))
    tint = tints[draws.integer(4)]
    _blend(albedo, cover * draws.log_uniform(0.08, 0.55), albedo * tint)


def gouge(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Short dark gouges and crumbs: as dark as a crack, but they lead nowhere."""
    size, count = len(albedo), int(draws.log_uniform(1, 26))
    main = draws.uniform(0, np.pi)
    for _ in range(count):
        start = draws.uniform(0, 1, 2)
        angle = main + 0.5 * draws.uniform(-1, 1)
        length = draws.log_uniform(0.02, 0.11)
        end = start + length * unit(angle)
        path = wander(draws, start, end, 3, 0.25, 0.8)
        width = draws.log_uniform(0.006, 0.022) * np.sin(np.linspace(0.35, 2.8, 9))
        cover = chain(size, path, width, draws.uniform(0.2, 0.8))
        _blend(albedo, cover, albedo * draws.uniform(0.25, 0.7))


def pebbles(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Crumbs, holes and pebbles: round, dark or pale, with a small shadow."""
    size, count = len(albedo), 1 + draws.integer(9)
    center = draws.uniform(0, 1, (count, 2))
    width = draws.log_uniform(0.012, 0.07, count)
    lean = draws.uniform(-0.5, 0.5, (count, 2)) * width[:, None]
    ends = (center - lean, center + lean)
    away = (end - 0.3 * width[:, None] * unit(light) for end in ends)
    shadow = stroke(size, *away, width, width, np.full(count, 0.5))
    cover = stroke(size, *ends, width, width * 0.7, np.ones(count))
    _blend(albedo, shadow, albedo * 0.55)
    color = draws.uniform(0.1, 0.95) * draws.uniform(0.95, 1.03, 3)
    _blend(albedo, cover * draws.uniform(0.5, 1), color)


def hollow(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Cavities, honeycombs and flakes: sharp shadows on one side, as in a crack."""
    size = len(albedo)
    x, y = grid(size)
    center, radius = draws.uniform(0, 1, 2), draws.log_uniform(0.04, 0.4)
    turn, longer = draws.uniform(0, np.pi), draws.log_uniform(1, 4)
    cos, sin = np.cos(turn), np.sin(turn)
    along = (x - center[0]) * cos + (y - center[1]) * sin
    across = (y - center[1]) * cos - (x - center[0]) * sin
    near = (radius - np.hypot(along, across * longer)) / radius
    low = draws.log_uniform(1.5, 8)
    ragged = field(draws, size, low, low * draws.uniform(2, 6), 1.2)
    steep = draws.uniform(1, 6)
    depth = np.clip(steep * (ragged + draws.uniform(1, 3) * near - 0.8), 0, 1)
    reach = draws.log_uniform(0.015, 0.06) * size
    shift = np.floor(reach * np.array([np.sin(light), np.cos(light)]) + 0.5)
    away = np.roll(depth, (-int(shift[0]), -int(shift[1])), (0, 1))
    shadow = np.clip(depth - away, 0, 1) * draws.uniform(0.2, 0.9)
    lit = np.clip(away - depth, 0, 1) * draws.uniform(0, 0.25)
    floor = 1 + draws.uniform(-0.2, 0.12) * depth
    blue = np.array([1, 1, 1 - draws.uniform(0, 0.25)])  # the sky lights shadows
    albedo *= (floor + lit)[..., None] * (1 - shadow[..., None] * blue)


def border(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """The slab ends: gravel, soil, timber or a gap beyond a ragged edge."""
    size = len(albedo)
    angle, offset = draws.uniform(0, 2 * np.pi), draws.uniform(-0.4, 0.5)
    ragged = draws.log_uniform(0.002, 0.03) * field(draws, size, 1, 20, 1.2)
    side = beyond(size, angle, offset) + ragged
    cover = np.clip(side * size * 0.7 + 0.5, 0, 1)
    kind = draws.integer(4) % 3  # gravel twice as often
    if kind == 0:
        edge, tone = cells(draws, size, 8 + draws.integer(24))
        rough = 1 + draws.uniform(0.1, 0.4) * field(draws, size, 6, 60, 0.8)
        stones = np.clip(draws.uniform(1.5, 4) * edge, 0, 1) * (0.3 + tone)
        value = 0.08 + stones * rough * draws.uniform(0.35, 0.9)
    elif kind == 1:
        grain = field(draws, size, 3, 60, 0.8, draws.uniform(8, 40), angle + np.pi / 2)
        value = draws.uniform(0.3, 0.8) * (1 + draws.uniform(0.05, 0.2) * grain)
    else:
        value = draws.uniform(0.1, 0.7) * (1 + 0.15 * field(draws, size, 4, 60, 0.8))
    tint = 1 + draws.random() * np.array([0.06, 0, -0.12])
    ground = np.clip(value, 0.02, 1)[..., None] * tint
    shade = np.clip(side / draws.log_uniform(0.02, 0.15), 0, 1) ** 0.5
    if draws.chance(0.7):
        ground = ground * (0.3 + 0.7 * shade)[..., None]
    _blend(albedo, cover, ground)


def ridge(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Trowel ridges, tire marks and drips: soft lines, pale beside dark."""
    size = len(albedo)
    path = wander(draws, *_across(draws), 5, draws.uniform(0, 0.1), 1.6)
    width = draws.log_uniform(0.03, 0.12)
    toward = width / 2 * unit(light)
    amount = draws.uniform(0.02, 0.14)
    for shift, sign in ((toward, 1), (-toward, -draws.random())):
        soft = sum(chain(size, path + shift, width * k) for k in (1.0, 0.65, 0.35)) / 3
        albedo *= 1 + sign * amount * soft[..., None]


def grass(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """Blades of grass, straw and twigs: curved, pointed, green to brown."""
    size = len(albedo)
    root = draws.uniform(-0.1, 1.1, 2)
    for _ in range(1 + draws.integer(7)):
        start = root + draws.uniform(-0.15, 0.15, 2)
        angle, length = draws.uniform(0, 2 * np.pi), draws.uniform(0.15, 0.7)
        end = start + length * unit(angle)
        path = wander(draws, start, end, 4, draws.uniform(0, 0.25), 2.0)
        width = max(draws.log_uniform(0.01, 0.035), 0.9 / size)
        widths = width * np.linspace(1, 0.15, 17)
        away = 0.5 * width * unit(light)
        _blend(albedo, 0.6 * chain(size, path - away, widths), albedo * 0.5)
        green, straw = np.array([[0.35, 0.45, 0.18], [0.62, 0.52, 0.30]])
        color = green + draws.random() * (straw - green)
        _blend(albedo, chain(size, path, widths), color * draws.uniform(0.4, 1.2))


def paint(draws: Draws, albedo: np.ndarray, light: float) -> None:
    """The edge of a painted band, worn: white, yellow or gray."""
    size = len(albedo)
    angle, offset = draws.uniform(0, 2 * np.pi), draws.uniform(-0.3, 0.3)
    cover = np.clip(beyond(size, angle, offset) * size * 0.6, 0, 1)
    _, tone = cells(draws, size, 18)
    wear = np.clip(3 * (tone - draws.uniform(0, 0.5)) + 0.5, 0, 1)
    colors = ((0.88, 0.88, 0.86), (0.85, 0.68, 0.2), (0.5, 0.5, 0.5))
    color = np.array(colors[draws.integer(3)])
    _blend(albedo, cover * wear * draws.uniform(0.5, 0.9), color)


def leaf_shadows(draws: Draws, size: int) -> np.ndarray:
    """Dappled shade, [size, size]: 1 in the sun, less under the leaves."""
    leaves = field(draws, size, 1.5, draws.uniform(4, 11), 0.8)
    edge = draws.uniform(0.5, 1.3)
    shade = np.clip(edge * (leaves - draws.uniform(-0.5, 1)) + 0.5, 0, 1)
    return 1 - draws.uniform(0.15, 0.55) * shade


Names = Collection[str]
Clutter = Callable[[Draws, np.ndarray, float], None]
# How often each kind lies on each surface; a picture may hold several.
COMMON: dict[Clutter, float] = {stain: 0.25, scratch: 0.2, pebbles: 0.15}
KINDS: dict[str, dict[Clutter, float]] = {
    "deck": COMMON
    | {gouge: 0.5, hollow: 0.5, border: 0.1, ridge: 0.3, joint: 0.12}
    | {cable: 0.04, grass: 0.05},
    "pavement": COMMON
    | {joint: 0.12, paint: 0.15, grass: 0.15, ridge: 0.1, gouge: 0.1},
    "wall": COMMON
    | {cable: 0.12, joint: 0.1, hollow: 0.2, border: 0.04, ridge: 0.1}
    | {gouge: 0.25},
}


def litter(
    draws: Draws, surface: str, albedo: np.ndarray, light: float, without: Names = ()
) -> None:
    """Put on a surface what happens to lie on it, ``without`` some kinds."""
    for kind, probability in KINDS[surface].items():
        own = draws.split()
        if draws.chance(probability) and kind.__name__ not in without:
            kind(own, albedo, light)
