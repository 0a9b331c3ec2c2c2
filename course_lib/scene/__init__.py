"""One synthetic crack picture from one key: surface, crack, clutter, camera.

NumPy only, no torch. The stream of every part is split off before the part is
drawn, so the crack of a picture is the same at every size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from course_lib.classes import SURFACES
from course_lib.scene.camera import blur, jpeg, photograph
from course_lib.scene.clutter import leaf_shadows, litter
from course_lib.scene.cracks import crack
from course_lib.scene.draws import Draws
from course_lib.scene.textures import TEXTURES, field, grid

__all__ = ["View", "blur", "contrast", "jpeg", "picture", "stages", "visible"]

# Between stones or bricks a hairline could not be seen: cracks are wider there.
COARSE = {"deck": 1.0, "pavement": 1.8, "wall": 1.25}

# A label that nobody can see is no label: at 64 px a crack stands out by this many
# times the noise around it, or it is cut deeper, or takes another course.
REFERENCE, VISIBLE, BOOSTS = 64, 5.0, (1.0, 1.8, 3.2)


def picture(key: tuple[int, ...], label: int, size: int) -> np.ndarray:
    """Draw one picture.

    Args:
        key: integers that name the picture; the same key, label and size give
            the same picture everywhere, up to two grey levels.
        label: 0 to 5, an index into ``CRACK_CLASSES``.
        size: pixels per side, at least 16.

    Returns:
        uint8 [size, size, 3], RGB.
    """
    *_, (_, last) = stages(key, label, size)
    return last


def stages(
    key: tuple[int, ...], label: int, size: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw one picture and show it after every step, for looking.

    Args:
        key: as for :func:`picture`.
        label: as for :func:`picture`.
        size: as for :func:`picture`.

    Yields:
        ``(name, image)`` five times: ``"surface"``, ``"crack"``, ``"clutter"`` and
        ``"light"``, float64 [size, size, 3] of about 0 ... 1, and ``"camera"``,
        the finished picture as uint8.
    """
    view = View(key, label, size)
    crack, rim = view.bare()
    if label % 2:
        near = view if size == REFERENCE else View(key, label, REFERENCE)
        crack, rim = view.cracks(*visible(near))
    albedo, slope = view.albedo, view.slope
    yield "surface", lit(albedo, slope)
    yield "crack", lit(albedo * crack, slope + rim)
    image = lit(view.over + view.through * crack, slope + rim)
    yield "clutter", image
    image = image * view.lamp[..., None]
    yield "light", image
    yield "camera", photograph(view.camera, image)


def lit(albedo: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """What the eye sees of matter of this color with this relief."""
    return albedo * np.clip(1 + slope, 0.25, 1.7)[..., None]


class View:
    """All of a picture but its cracks, at one size.

    Every kind of clutter changes a color x into a x + b, with a and b of its own for
    each pixel. So clutter is drawn once, on the bare surface and on black, which
    gives b = ``over`` and a times the surface = ``through``; cracks, which multiply
    the surface's color, can then be tried without drawing the rest again.
    """

    def __init__(self, key: tuple[int, ...], label: int, size: int) -> None:
        """Draw surface, clutter and light; arguments as for :func:`picture`."""
        self.size, self.surface = size, SURFACES[label // 2]
        draws = Draws(*key, label)
        self.light = draws.uniform(0, 2 * np.pi)
        texture = TEXTURES[self.surface]
        self.albedo, self.slope = texture(draws.split(), size, self.light)
        self.course = draws.integer(2**32)
        both = np.stack([self.albedo, np.zeros_like(self.albedo)])
        litter(draws.split(), self.surface, both, self.light)
        self.over = both[1]
        self.through = both[0] - both[1]
        self.lamp = _lamp(draws.split(), size)
        self.camera = draws.split()

    def bare(self) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`cracks` gives where there is no crack."""
        return np.ones((self.size, self.size, 1)), np.zeros((self.size, self.size))

    def image(self, crack: np.ndarray, rim: np.ndarray) -> np.ndarray:
        """The finished scene before the camera, float64 [size, size, 3]."""
        color = self.over + self.through * crack
        return lit(color, self.slope + rim) * self.lamp[..., None]

    def cracks(self, attempt: int, boost: float) -> tuple[np.ndarray, np.ndarray]:
        """The cracks, one or two.

        Args:
            attempt: another number is another course.
            boost: 1 as drawn; with 2 twice the light is lost (in powers) and the
                crack is wider by the root of 2.

        Returns:
            The factor on the surface's color, [size, size, 3], and what the lit rim
            adds to its relief, [size, size].
        """
        factor, rim = self.bare()
        draws = Draws(self.course, attempt)
        for _ in range(2 if draws.chance(0.15) else 1):
            own, tilt = _open(
                draws.split(), self.size, self.light, COARSE[self.surface], boost
            )
            factor, rim = factor * own, rim + tilt
        return factor, rim


def visible(view: View) -> tuple[int, float]:
    """Which course to take and how deep to cut it, so that the crack can be seen.

    Args:
        view: at 64 px.

    Returns:
        ``attempt`` and ``boost`` for :meth:`View.cracks`: the first of twelve that
        reach a contrast of ``VISIBLE``, or the clearest.
    """
    without = view.image(*view.bare())
    best = (0.0, 0, 1.0)
    for attempt in range(4):
        for boost in BOOSTS:
            seen = contrast(without, view.image(*view.cracks(attempt, boost)))
            best = max(best, (seen, attempt, boost))
            if seen >= VISIBLE:
                return attempt, boost
            if seen < 0.3 * VISIBLE:  # it runs behind something: another course
                break
    return best[1:]


def contrast(without: np.ndarray, cracked: np.ndarray) -> float:
    """How far a crack stands out from what surrounds it.

    The loss of light in the 40 pixels that lose most, over the noise near the
    crack: the median deviation from the local mean, as a standard deviation.

    Args:
        without: float64 [64, 64, 3], the scene without its cracks.
        cracked: the same scene with them.

    Returns:
        A ratio; 0 where the crack is out of sight.
    """
    lost = blur((without - cracked).mean(2), 0.6)
    grey = blur(without.mean(2), 0.6)
    near = blur((lost > 0.02).astype(float), 3) > 0.02
    if near.sum() < 40:
        return 0.0
    busy = np.abs(grey - blur(grey, 4))[near]
    noise = np.hypot(1.4826 * np.median(busy), 0.014)
    return float(np.partition(lost, -40, axis=None)[-40:].mean() / noise)


def _open(
    draws: Draws, size: int, light: float, wider: float, boost: float
) -> tuple[np.ndarray, np.ndarray]:
    """Let a crack into a surface: dark inside, its rim lit, its banks changed."""
    made = crack(draws.split(), size, wider * boost**0.5)
    cover = made.cover
    # Hairlines are shallow: less light is lost in them.
    wide = np.clip(made.width / 0.03, 0, 1)
    deepest = 0.55 + 0.4 * wide
    dark = draws.uniform(0.16 + 0.35 * wide, deepest)
    dark = 1 - (1 - dark) ** (wider * boost)
    tint = 1 + draws.uniform(-0.06, 0.06, 3)
    toward = np.array([np.cos(light), np.sin(light)])
    rubble = field(draws.split(), size, 3, 60, 0.6)
    inside = (1 - dark) * (1 + 0.25 * wide * rubble)
    # In a gaping crack light reaches the bank that faces it.
    soft = blur(cover, max(0.5, 0.25 * made.width * size))
    dy, dx = np.gradient(soft)
    facing = (toward[0] * dx + toward[1] * dy) * made.width * size
    inside = inside * (1 + draws.uniform(0, 2.5) * wide * np.clip(facing, -0.4, 1))
    banks = blur(cover, draws.uniform(0.01, 0.05) * size)
    inside = np.clip(inside, 0, 1)[..., None] * tint
    factor = 1 - cover[..., None] * (1 - inside)
    if draws.chance(0.35):  # lime washed out, or dirt washed in
        factor = factor * (1 + draws.uniform(-0.35, 0.4) * banks)[..., None]
    dy, dx = np.gradient(blur(cover, 0.6 + 0.1 * made.width * size))
    tilt = toward[0] * dx + toward[1] * dy
    return factor, draws.uniform(0, 1.2) * np.clip(-tilt, 0, 0.6) * (1 - cover)


def _lamp(draws: Draws, size: int) -> np.ndarray:
    """How much light falls on each pixel, [size, size]."""
    x, y = grid(size)
    angle = draws.uniform(0, 2 * np.pi)
    ramp = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    falloff = draws.uniform(0, 0.3) if draws.chance(0.5) else draws.uniform(0, 0.08)
    lamp = 1 + falloff * ramp
    if draws.chance(0.3):
        lamp *= 1 + draws.uniform(0, 0.06) * field(draws, size, 0.7, 3, 1.5)
    own = draws.split()
    if draws.chance(0.05):
        lamp *= leaf_shadows(own, size)
    if draws.chance(0.06):  # the edge of a building's shadow
        turn, offset = draws.uniform(0, 2 * np.pi), draws.uniform(-0.4, 0.4)
        side = (x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn) - offset
        soft = draws.log_uniform(0.02, 0.3)
        lamp *= 1 - draws.uniform(0.2, 0.6) * np.clip(side / soft + 0.5, 0, 1)
    return np.broadcast_to(lamp, (size, size))
