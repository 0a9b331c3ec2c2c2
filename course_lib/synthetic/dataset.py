"""The data set of synthetic cracks; :mod:`.scene` draws one picture of it."""

import operator
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from course_lib.data.classes import CRACK_CLASSES
from course_lib.synthetic.scene import picture

# A hairline is a thousandth of a photo's side: a small picture cannot show it.
SMALL = 96
COUNTS = {"train": 2000, "validation": 500, "test": 500}


def _draw(seed: int, split: int, size: int, clear: bool, index: int) -> np.ndarray:
    return picture((seed, split, index), index % len(CRACK_CLASSES), size, clear)


class SyntheticCracks(Dataset):
    """Synthetic photos of decks, pavements and walls, cracked or not, in equal parts.

    Items are ``(image, label)``: a PIL RGB image of ``size`` x ``size`` pixels, or what
    ``transform`` makes of it, and an index into ``classes``. Drawn pictures stay in
    memory. Picture i depends on (seed, split, i) alone, not on the count, the order of
    access, the platform or the library version (up to two gray levels); a larger size
    shows the same scene in more detail (for the same ``clear``).

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``; no picture is in two.
        size: pixels per side, 16 to 1024.
        count: number of pictures; 2,000, 500 and 500 unless told.
        transform: applied to the PIL image on every access.
        seed: 0 to 2**32 - 1; another seed is another data set.
        clear: True draws cracks wide and dark and walls in color, so that few pixels
            tell the classes apart; False draws most cracks as hairlines, which the
            eye can miss. Unless told, pictures below 96 pixels are clear.

    Attributes:
        classes: the six names.
        labels: the label of every item, int64 [count].

    Raises:
        ValueError: names the argument, its value and what to use.
    """

    classes: Sequence[str] = CRACK_CLASSES

    def __init__(
        self,
        split: str = "train",
        size: int = 64,
        count: int | None = None,
        *,
        transform: Callable[[Image.Image], Any] | None = None,
        seed: int = 0,
        clear: bool | None = None,
    ) -> None:
        if split not in COUNTS:
            raise ValueError(f"split must be one of {[*COUNTS]}, got {split!r}")
        if not 16 <= operator.index(size) <= 1024:
            raise ValueError(f"size must lie in 16 ... 1024 pixels, got {size}")
        count = COUNTS[split] if count is None else operator.index(count)
        if not 1 <= count < 2**32:
            raise ValueError(f"count must be at least 1, got {count}")
        if not 0 <= operator.index(seed) < 2**32:
            raise ValueError(f"seed must lie in 0 ... 2**32 - 1, got {seed}")
        self.count, self.transform = count, transform
        self.clear = size < SMALL if clear is None else bool(clear)
        self.labels = np.arange(count) % len(self.classes)
        part = list(COUNTS).index(split)
        self._draw = partial(_draw, int(seed), part, int(size), self.clear)
        self._drawn: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        index = range(self.count)[operator.index(index)]  # -1 is the last
        if index not in self._drawn:
            self._drawn[index] = self._draw(index)
        image: Any = Image.fromarray(self._drawn[index])
        if self.transform is not None:
            image = self.transform(image)
        return image, int(self.labels[index])

    def arrays(self, workers: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """All pictures and labels: uint8 [count, size, size, 3] and int64 [count].

        As many processes as ``workers`` share the work; 0 draws in this one.
        """
        missing = [i for i in range(self.count) if i not in self._drawn]
        if workers and missing:
            with ProcessPoolExecutor(workers) as pool:
                drawn = pool.map(self._draw, missing, chunksize=32)
                self._drawn.update(zip(missing, drawn))
        else:
            self._drawn.update(zip(missing, map(self._draw, missing)))
        stack = np.stack([self._drawn[i] for i in range(self.count)])
        return stack, self.labels.copy()
