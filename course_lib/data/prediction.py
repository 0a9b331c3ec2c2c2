"""Ask a trained network about your own photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image
from torch import nn

from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.photos import (
    OnError,
    PhotoError,
    Skipped,
    open_photo,
    report_skipped,
)
from course_lib.data.transforms import evaluation_transform

__all__ = ["predict", "predict_all"]

Photo = str | os.PathLike | bytes | BinaryIO | Image.Image


def predict(
    model: nn.Module,
    photo: Photo,
    *,
    classes: Sequence[str] = CRACK_CLASSES,
    transform: Callable | None = None,
) -> dict[str, float]:
    """Return the probability of each class for one photo.

    The photo may have any size, orientation and color mode, see
    :func:`course_lib.data.photos.open_photo`. The model runs where its parameters
    are, in evaluation mode, and is left in the mode it was in.

    Args:
        model: returns logits [1, len(classes)] for the transform's result.
        photo: a path, the bytes of a file, an open file or a PIL picture.
        classes: the names of the model's outputs, in their order.
        transform: from a PIL picture in mode "RGB" to a float tensor [C, H, W];
            must be the one of the model's evaluation. By default
            ``evaluation_transform(224)``.

    Returns:
        Class name to probability, in the order of ``classes``; they add up to 1.

    Raises:
        PhotoError: if the photo cannot be opened.
        ValueError: if the model does not return one logit per class.
    """
    image = photo if isinstance(photo, Image.Image) else open_photo(photo)
    tensor = (transform or evaluation_transform(224))(image.convert("RGB"))
    parameter = next(model.parameters())
    batch = tensor[None].to(device=parameter.device, dtype=parameter.dtype)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(batch)
    finally:
        for module, training in modes:  # parts may have been frozen one by one
            module.training = training
    if logits.shape != (1, len(classes)):
        raise ValueError(
            f"the model returns shape {list(logits.shape)} for one photo, and "
            f"classes has {len(classes)} names; give the names of its outputs"
        )
    probabilities = logits[0].float().softmax(dim=0).tolist()
    return dict(zip(classes, probabilities))


def predict_all(
    model: nn.Module,
    photos: Iterable[str | os.PathLike],
    *,
    classes: Sequence[str] = CRACK_CLASSES,
    transform: Callable | None = None,
    on_error: OnError = "raise",
) -> tuple[dict[Path, dict[str, float]], list[Skipped]]:
    """Return the probabilities for several photos, one after the other.

    Args:
        model: see :func:`predict`.
        photos: paths.
        classes: see :func:`predict`.
        transform: see :func:`predict`.
        on_error: "raise" at the first photo that cannot be opened, or "skip"
            those with a warning that counts them.

    Returns:
        The result of :func:`predict` for each photo, and the skipped ones.

    Raises:
        PhotoError: with "raise", if a photo cannot be opened.
    """
    report_skipped([], 0, on_error, "")  # a wrong word is told at once
    results, skipped = {}, []
    for photo in map(Path, photos):
        try:
            results[photo] = predict(model, photo, classes=classes, transform=transform)
        except PhotoError as error:
            if on_error == "raise":
                raise
            skipped.append(Skipped(photo, str(error).removeprefix(f"{photo}: ")))
    total = len(results) + len(skipped)
    report_skipped(skipped, total, on_error, "the given photos")
    return results, skipped
