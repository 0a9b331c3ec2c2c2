"""Where synthetic cracks run, how wide they are, where they fade. NumPy only."""

from typing import NamedTuple

import numpy as np

from course_lib.synthetic.draws import Draws
from course_lib.synthetic.strokes import chain, unit, wander, waver

LEVELS = 6  # a crack's path has 2**6 + 1 points


class Visibility(NamedTuple):
    """How plainly cracks are to be seen."""

    width: float  # pixels; a narrower crack is drawn so wide
    tip: float  # pixels, the same where a crack tapers off
    margin: float  # share of the side; cracks pass through what is inside
    fading: float  # the most that a crack fades on its way, 0 to 1


FAINT = Visibility(width=0.9, tip=0.75, margin=0.12, fading=0.9)
CLEAR = Visibility(width=2.6, tip=1.8, margin=0.25, fading=0.3)


class Crack(NamedTuple):
    cover: np.ndarray  # [size, size] in 0 ... 1, the share of each pixel
    width: float  # full width of the main branch, a fraction of the side


def _ends(draws: Draws, within: bool, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Two ends such that a good part of the line between them is in the picture."""
    anchor = draws.uniform(margin, 1 - margin, 2)
    toward = unit(draws.uniform(0, 2 * np.pi))
    # Most cracks are longer than the picture; some begin or end inside it.
    forward, back = draws.uniform(0.03, 0.38, 2) + margin
    forward = forward if draws.chance(0.3) and within else 1.5
    back = back if draws.chance(0.12) and within else 1.5
    return anchor - back * toward, anchor + forward * toward


def _seen(path: np.ndarray) -> np.ndarray:
    return np.all((path > 0.02) & (path < 0.98), axis=1)


def _strength(draws: Draws, path: np.ndarray, fading: float) -> np.ndarray:
    """Darkness along a crack: it fades, breaks off and comes back."""
    strength = np.clip(1 - fading + 0.9 * fading * waver(draws, len(path), 12), 0, 1)
    seen = np.sort(strength[_seen(path)])
    if len(seen) == 0:
        return strength
    # However much it fades, four tenths of what is in view stay visible.
    typical = seen[int(0.6 * (len(seen) - 1))]
    return np.clip(strength + max(0.0, 0.75 - typical), 0, 1)


def crack(draws: Draws, size: int, wider: float = 1.0, clear: bool = False) -> Crack:
    """Draw one crack with its branches, ``wider`` times as wide as usual.

    A clear one is at least 2.6 pixels wide, whole, and through the middle; any other
    at least 0.9 pixels, so that something of it is there at every size.
    """
    kind = CLEAR if clear else FAINT
    # Most are hairlines; the others gape, up to a sixth of the side.
    range_ = (0.007, 0.018) if draws.chance(0.65) else (0.014, 0.16)
    width = wider * draws.log_uniform(*range_)
    thin = width < 0.04
    width = max(width, kind.width / size)
    start, end = _ends(draws, thin, kind.margin)
    smooth = draws.uniform(0.55, 0.95)
    bend = draws.uniform(0.04, 0.2)
    path = wander(draws, start, end, LEVELS, bend, smooth)
    for _ in range(4):  # bent out of the picture: straighten it
        if _seen(path).sum() >= 8:
            break
        path = (path + np.linspace(start, end, len(path))) / 2
    fading = draws.uniform(0, kind.fading) if draws.chance(0.6) and thin else 0.0

    def line(path: np.ndarray, width: float, taper: bool = False) -> np.ndarray:
        widths = width * np.exp(draws.uniform(0.1, 0.55) * waver(draws, len(path), 16))
        tip = np.linspace(1, 0, len(path))
        # A crack ends in a point, but the point stays as dark as a hairline is.
        widths *= np.clip((2.5 if taper else 10) * tip, 0.15, 1)
        widths = np.maximum(widths, min(width, kind.tip / size))
        strength = _strength(draws, path, fading)
        strength *= np.clip(4 * tip, 0, 1) if taper else 1
        return chain(size, path, widths, strength)

    cover = line(path, width)
    inside = np.flatnonzero(_seen(path))
    for _ in range(draws.integer(4) if draws.chance(0.5) else 0):  # branches
        at = int(inside[draws.integer(len(inside))])
        step = path[min(at + 2, len(path) - 1)] - path[max(at - 2, 0)]
        angle = np.arctan2(step[1], step[0])
        turn = draws.uniform(0.3, 1.3)
        angle += turn if draws.chance(0.5) else -turn
        length = draws.log_uniform(0.1, 0.9)
        tip = path[at] + length * unit(angle)
        twig = wander(draws, path[at], tip, LEVELS - 1, bend, smooth)
        thinner = width * draws.uniform(0.35, 0.9)
        cover = np.maximum(cover, line(twig, thinner, taper=True))
    return Crack(cover, width)
