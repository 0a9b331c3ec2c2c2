"""Lines with soft edges, in fractions of the side: x runs right, y down. NumPy only."""

import numpy as np

from course_lib.synthetic.draws import Draws


def unit(angle: float) -> np.ndarray:
    """The direction of an angle in radians, x and y."""
    return np.array([np.cos(angle), np.sin(angle)])


def stroke(
    size: int,
    start: np.ndarray,
    end: np.ndarray,
    start_width: np.ndarray,
    end_width: np.ndarray,
    strength: np.ndarray,
) -> np.ndarray:
    """Coverage of each pixel by M straight strokes with round ends, [size, size].

    From ``start`` to ``end``, [M, 2], with full widths [M]; ``strength`` [M] is the
    coverage of a fully covered pixel. A stroke thinner than a pixel covers it in part,
    as a lens would see it. Where strokes overlap, the larger value counts.
    """
    start, end = start * size - 0.5, end * size - 0.5
    along = end - start
    length = np.hypot(along[:, 0], along[:, 1])
    half_start, half_end = start_width * size / 2, end_width * size / 2
    reach = length / 2 + np.maximum(half_start, half_end) + 1.5
    middle = (start + end) / 2
    inside = np.all((middle > -reach[:, None]) & (middle < size + reach[:, None]), 1)
    out = np.zeros(size * size)
    if not inside.any():
        return out.reshape(size, size)
    # All strokes share one window, large enough for the longest of them.
    side = 2 * int(np.ceil(reach[inside].max())) + 1
    span = np.arange(side) - side // 2
    corner = np.floor(middle[inside] + 0.5)[:, None]
    x = (corner[..., 0] + span)[:, None, :]  # [M, 1, side]
    y = (corner[..., 1] + span)[:, :, None]  # [M, side, 1]

    def column(values: np.ndarray) -> np.ndarray:
        return values[inside][:, None, None]

    dx, dy = x - column(start[:, 0]), y - column(start[:, 1])
    ax, ay = column(along[:, 0]), column(along[:, 1])
    t = np.clip((dx * ax + dy * ay) / (column(length) ** 2 + 1e-9), 0, 1)
    distance = np.hypot(dx - t * ax, dy - t * ay)
    half = column(half_start) * (1 - t) + column(half_end) * t
    thin = np.minimum(2 * half, 1)
    cover = np.clip(np.maximum(half, 0.5) + 0.5 - distance, 0, 1)
    cover = cover * thin * column(strength)
    valid = (x >= 0) & (x < size) & (y >= 0) & (y < size) & (cover > 0)
    index = (y * size + x)[valid].astype(int)
    np.maximum.at(out, index, cover[valid])
    return out.reshape(size, size)


def chain(
    size: int,
    path: np.ndarray,
    width: np.ndarray | float,
    strength: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Coverage [size, size] by one line through the points of a path, [P, 2].

    Width and strength are one number, or one for each point.
    """
    width = np.broadcast_to(width, len(path))
    strength = np.broadcast_to(strength, len(path))
    return stroke(size, path[:-1], path[1:], width[:-1], width[1:], strength[:-1])


def wander(
    draws: Draws,
    start: np.ndarray,
    end: np.ndarray,
    levels: int,
    bend: float,
    smooth: float,
) -> np.ndarray:
    """A jagged path from start to end by midpoint displacement.

    Each of the levels halves the steps and displaces the new points sideways by a
    random amount (Fournier, Fussell and Carpenter 1982): first up to ``bend`` of the
    length, then 2**-smooth times as far at each level (1: a soft curve, 0.5: jagged).
    Returns the points, float64 [2**levels + 1, 2].
    """
    step = end - start
    across = np.array([-step[1], step[0]])
    offset = np.zeros(2)
    for level in range(levels):
        amplitude = bend * 2.0 ** (-smooth * level)
        middle = (offset[:-1] + offset[1:]) / 2
        middle += amplitude * draws.uniform(-1, 1, len(middle))
        finer = np.empty(2 * len(offset) - 1)
        finer[::2], finer[1::2] = offset, middle
        offset = finer
    t = np.linspace(0, 1, len(offset))[:, None]
    return start + t * step + offset[:, None] * across


def waver(draws: Draws, count: int, knots: int) -> np.ndarray:
    """Smooth random numbers along a path, about standard normal, [count]."""
    values = draws.normal(knots + 1)
    t = np.linspace(0, knots, count)
    k = np.minimum(t.astype(int), knots - 1)
    s = (1 - np.cos(np.pi * (t - k))) / 2
    return values[k] * (1 - s) + values[k + 1] * s
