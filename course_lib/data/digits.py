"""Handwritten digits: scikit-learn's real ones, built in, and MNIST."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from course_lib.data.images import ByteImages
from course_lib.data.splits import SPLITS

_CLASSES = tuple("0123456789")


def digits(split: str, *, size: int = 32) -> ByteImages:
    """Real handwritten digits that come with scikit-learn: nothing to download.

    1,797 pictures of 8 × 8 px with 17 gray levels (Alpaydin and Kaynak: Optical
    Recognition of Handwritten Digits, UCI repository, 1998), enlarged. The split
    is stratified over the ten digits, 70 : 15 : 15, and fixed. It is not by writer:
    each part has digits of most of the 13, so results are those of known hands.

    Args:
        split: "train", "validation" or "test".
        size: side of the pictures in pixels, at least 8; bilinear.

    Returns:
        Pictures, white ink on black as in MNIST, with labels 0 ... 9.
    """
    from sklearn.datasets import load_digits

    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size}")
    source = load_digits()
    chosen = _stratified(source.target.tolist(), (70, 15, 15))[_index(split)]
    bytes8 = np.rint(source.images[chosen] * (255 / 16)).astype(np.uint8)
    resized = (
        Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        for image in bytes8
    )
    pictures = np.stack([np.asarray(image) for image in resized])
    return ByteImages(pictures, source.target[chosen], classes=_CLASSES)


def mnist(root: str | os.PathLike, split: str, *, download: bool = False) -> ByteImages:
    """MNIST through torchvision: 50,000, 10,000 and 10,000 digits of 28 × 28 px.

    The test part is the official one; the validation part is a sixth of the
    official training part, stratified and fixed.

    Args:
        root: folder with ``MNIST/raw``, as torchvision lays it out.
        split: "train", "validation" or "test".
        download: let torchvision fetch the files (12 MB), if they are not there, check
            their MD5, and unpack them.

    Raises:
        FileNotFoundError: if the files are not there or could not be fetched.
    """
    from torchvision.datasets import MNIST

    part = _index(split)
    try:
        source = MNIST(root, train=part < 2, download=download)
    except (OSError, RuntimeError) as error:
        wanted = "\n".join(f"  {name}, MD5 {md5}" for name, md5 in MNIST.resources)
        raise FileNotFoundError(
            f"no MNIST below {root}: {error}\nAdd --download to fetch these files, or "
            f"fetch them from {MNIST.mirrors[-1]}, put them into "
            f"{Path(root, 'MNIST', 'raw')} and add --download to unpack them:\n{wanted}"
            '\nThe data set "digits" has real handwritten digits built in.'
        ) from error
    images, labels = source.data.numpy(), source.targets.numpy()
    if part < 2:
        chosen = _stratified(labels.tolist(), (5, 1))[part]
        images, labels = images[chosen], labels[chosen]
    return ByteImages(images, labels, classes=_CLASSES)


def _index(split: str) -> int:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    return SPLITS.index(split)


def _stratified(labels: Sequence[int], shares: Sequence[int]) -> list[list[int]]:
    """Split indices class after class, in an order that no library decides.

    Each item goes to the part that lags most behind its share, so that sizes are
    exact and the classes of each part differ by one at most from their share.
    """
    order = sorted(
        range(len(labels)),
        key=lambda i: (labels[i], hashlib.sha256(f"digit {i}".encode()).digest()),
    )
    parts: list[list[int]] = [[] for _ in shares]
    for dealt, index in enumerate(order, start=1):
        held = zip(shares, parts)
        lags = [share * dealt - sum(shares) * len(part) for share, part in held]
        parts[lags.index(max(lags))].append(index)
    return [sorted(part) for part in parts]
