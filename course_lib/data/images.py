"""A data set as one array of bytes, in memory or mapped from a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class ByteImages(Dataset):
    """Pictures as bytes with labels, read a batch at a time.

    Args:
        images: uint8 [N, H, W] (gray) or [N, H, W, 3]; or the ``.npy`` file of such
            an array, which is mapped: the system pages in what is used, all processes
            share it, and a pickle carries the path alone.
        labels: N class numbers; the attribute has those of the chosen pictures.
        chosen: the indices of the pictures to use; all unless given.
        classes: the names of the classes, if they are known.

    Raises:
        ValueError: if the array is of another kind, or labels are missing.
        OSError: if the file cannot be mapped.
    """

    def __init__(
        self,
        images: np.ndarray | Path,
        labels: Sequence[int] | np.ndarray,
        chosen: Sequence[int] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self._file = images if isinstance(images, Path) else None
        array = self._array = images if self._file is None else _mapped(images)
        if array.dtype != np.uint8 or array.ndim not in (3, 4):
            raise ValueError(
                "images must be uint8 [N, H, W] or [N, H, W, 3], got "
                f"{array.dtype} {list(array.shape)}"
            )
        if len(array) != len(labels):
            raise ValueError(f"{len(array)} images have {len(labels)} labels")
        every = np.arange(len(array))
        self.chosen = every if chosen is None else np.asarray(chosen, np.int64)
        self.labels = np.asarray(labels, np.int64)[self.chosen]
        self.classes = tuple(classes)

    @property
    def images(self) -> np.ndarray:
        """The chosen pictures, copied into memory unless they are all, in order."""
        whole = np.array_equal(self.chosen, np.arange(len(self._array)))
        return self._array if whole else self._array[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, C, H, W] and labels int64 [B]."""
        indices = np.asarray(indices)
        x = torch.from_numpy(self._array[self.chosen[indices]])
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        return x, torch.from_numpy(self.labels[indices])

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map would carry every byte to each spawned worker.
        return self.__dict__ | ({"_array": None} if self._file else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._file is not None:
            self._array = _mapped(self._file)


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        text = f"the decoded photos in {path} are gone or damaged ({error})"
        raise OSError(f"{text}; delete the file and start again") from error
