"""Random numbers that are the same on every platform and in every NumPy release.

NumPy promises that its bit generators never change, but not that the
distributions of ``Generator`` do not (NEP 19). So this module takes raw 64-bit
words from PCG64 and turns them into numbers itself.
"""

import numpy as np

Shape = int | tuple[int, ...] | None


class Draws:
    """A stream of random numbers that depends on its key alone, integers < 2**32."""

    def __init__(self, *key: int) -> None:
        self.words = np.random.PCG64(np.random.SeedSequence(key))

    def random(self, shape: Shape = None) -> np.ndarray | float:
        """Uniform float64 numbers in [0, 1), or one float without a shape."""
        if shape is None:
            return (self.words.random_raw() >> 11) * 2.0**-53
        count = int(np.prod(shape))
        raw = self.words.random_raw(count)
        return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)

    def uniform(self, low: float, high: float, shape: Shape = None) -> np.ndarray:
        """Uniform numbers in [low, high)."""
        return low + (high - low) * self.random(shape)

    def log_uniform(self, low: float, high: float, shape: Shape = None) -> np.ndarray:
        """Numbers whose logarithm is uniform: each octave is equally likely."""
        return low * (high / low) ** self.random(shape)

    def normal(self, shape: int | tuple[int, ...]) -> np.ndarray:
        """Standard normal numbers, by Box and Muller (1958)."""
        radius = np.sqrt(-2 * np.log(1 - self.random(shape)))
        return radius * np.cos(2 * np.pi * self.random(shape))

    def integer(self, count: int) -> int:
        """An integer from 0 to count - 1."""
        return int(self.random() * count)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def split(self) -> "Draws":
        """A new stream, so that its length does not move the numbers after it."""
        return Draws(int(self.words.random_raw() >> 32))
