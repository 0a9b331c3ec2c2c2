"""From a picture to what the network sees: one way for training and for answers.

``fit`` resizes the middle square to ``resize`` pixels, a little more than the network
takes; these bytes are what the cache holds. Then ``windows`` cuts ``size`` pixels out,
in training at random, else the middle, and ``normalize`` makes floats of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST = 4096  # pixels per side: a checkpoint may claim any, and this takes 1 GB


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become inputs; stored in every checkpoint.

    Args:
        size: pixels per side that the network sees.
        resize: pixels per side of the stored bytes, at least ``size``: equal for
            digits, which are shown whole; size · 256 / 224 for photos, as in the
            single-crop test of torchvision's weights (He et al. 2016, section 3.4).
        mean: per channel, for values from 0 to 1; one number makes gray inputs.
        std: per channel, positive.

    Raises:
        ValueError: names the argument and its value.
    """

    size: int
    resize: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize <= LARGEST:
            raise ValueError(
                f"size must lie in 1 ... resize, and resize be at most {LARGEST:,}, "
                f"got size={self.size} and resize={self.resize}"
            )
        channels = len(self.mean) if len(self.mean) == len(self.std) else 0
        finite = np.isfinite([*self.mean, *self.std]).all()
        if channels not in (1, 3) or not finite or min(self.std) <= 0:
            raise ValueError(
                "mean and std must be 1 or 3 finite numbers each, std positive, got "
                f"mean={tuple(self.mean)} and std={tuple(self.std)}"
            )

    @classmethod
    def for_photos(cls, size: int = 224) -> "Preprocessing":
        """Photos: ImageNet's mean and std, windows of 224 of 256 pixels."""
        return cls(size, round(size * 256 / 224))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Preprocessing":
        """Read what ``dataclasses.asdict`` gave, or a checkpoint of version 1.

        Raises:
            ValueError: if a number is missing or wrong.
        """
        try:
            mean, std = (tuple(map(float, stored[k])) for k in ("mean", "std"))
            size = int(stored["size"])
            # Version 1 stored no resize; its photos had three channels.
            usual = size if len(mean) == 1 else round(size * 256 / 224)
            return cls(size, int(stored.get("resize", usual)), mean, std)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(
                f"preprocessing must hold size, mean and std, got {stored!r}"
            ) from error

    @property
    def channels(self) -> int:
        """1 for gray, 3 for color."""
        return len(self.mean)

    def unseen(self, width: int, height: int) -> list[str]:
        """What the network does not see of a photo of this size; empty if it is little.

        The usual border is little: (224 / 256)² = 77 % of a square are seen.
        """
        shorter = min(width, height)
        scale = shorter / self.resize  # pixels of the photo, per side, become one
        share = (shorter * self.size / self.resize) ** 2 / (width * height)
        if share > 0.75 and scale <= 2:
            return []
        seen = "all of it was" if share > 0.99 else f"only the middle {share:.0%} was"
        small = f", {scale:.1f} times smaller" if scale > 1 else ""
        narrow = f", or less than {scale:.0f} pixels wide," if scale > 2 else ""
        return [
            f"{seen} looked at{small}: what is not there{narrow} can be missed; cut "
            f"photos into squares of about {self.resize} pixels and ask about each"
        ]

    def fit(self, picture: Image.Image) -> np.ndarray:
        """The bytes to keep: uint8 [resize, resize, 3], or [resize, resize] if gray."""
        picture = picture.convert("RGB" if self.channels == 3 else "L")
        side = (self.resize, self.resize)
        return np.asarray(ImageOps.fit(picture, side, Image.Resampling.BILINEAR))

    def windows(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Cut uint8 [B, C, H, W] to [B, C, size, size]: at random, or the middle.

        Raises:
            ValueError: if the pictures are smaller than ``size``.
        """
        size, (rows, columns) = self.size, x.shape[2:]
        if rows < size or columns < size:
            raise ValueError(
                f"images of {rows} × {columns} pixels are smaller than the size in "
                f"preprocessing, {size}"
            )
        top, left = (rows - size) // 2, (columns - size) // 2
        if generator is None or rows == columns == size:
            return x[:, :, top : top + size, left : left + size]
        tops = torch.randint(rows - size + 1, (len(x),), generator=generator)
        lefts = torch.randint(columns - size + 1, (len(x),), generator=generator)
        corners = zip(x, tops.tolist(), lefts.tolist())
        return torch.stack([i[:, t : t + size, c : c + size] for i, t, c in corners])

    def normalize(self, x: Tensor) -> Tensor:
        """(x / 255 - mean) / std of bytes [B, C, H, W], as float32, on x's device."""
        mean = torch.tensor(self.mean, device=x.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=x.device).view(-1, 1, 1)
        return (x / 255 - mean) / std

    def denormalize(self, x: Tensor) -> Tensor:
        """Undo :meth:`normalize` to values from 0 to 1, so that x can be shown."""
        mean = torch.tensor(self.mean, dtype=x.dtype, device=x.device).view(-1, 1, 1)
        std = torch.tensor(self.std, dtype=x.dtype, device=x.device).view(-1, 1, 1)
        return (x * std + mean).clamp(0, 1)

    def __call__(self, picture: Image.Image) -> Tensor:
        """One picture as the network sees it in evaluation: float32 [C, size, size]."""
        x = torch.from_numpy(self.fit(picture).copy())  # [resize, resize(, 3)]
        x = x[None, None] if x.ndim == 2 else x.permute(2, 0, 1)[None]
        return self.normalize(self.windows(x))[0]
