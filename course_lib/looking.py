"""Where a trained network looked: Grad-CAM, and its picture."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F


def grad_cam(
    model: nn.Module,
    images: Tensor,
    classes: int | Sequence[int] | Tensor | None = None,
    layer: str = "layer4",
    *,
    against: int | Sequence[int] | Tensor | None = None,
) -> Tensor:
    """Grad-CAM: how much each place of a picture speaks for a class.

    For maps A^k of a layer and the logit y of a class, the weight of map k is the
    mean of ∂y/∂A^k over all places, and the heat is ReLU(Σ_k weight_k A^k)
    (Selvaraju et al. 2017, equations 1 and 2), here enlarged to the picture and
    divided by its largest value. The model runs in eval mode and is left as it was.

    Args:
        model: gives logits [B, K]; one of our ResNets, or any net with ``layer``.
        images: float [B, C, H, W], normalized as in training; moved to the model.
        classes: class to explain, one for all pictures or one each [B]; by default
            the guess.
        layer: the name of a module of the model, whose output is [B, C, h, w].
        against: explain the difference of two logits instead, ``classes`` minus this
            class: what speaks for a cracked wall *rather than* an uncracked one
            leaves out what speaks for a wall.

    Returns:
        float32 [B, H, W] in 0 … 1 on the images' device; 0 everywhere if nothing
        speaks for the class, else the largest value is 1.

    Raises:
        ValueError: names the argument, its value and the remedy.
    """
    parts = dict(model.named_modules())
    if layer not in parts:
        raise ValueError(
            f"{type(model).__name__} has no layer {layer!r}; choose one of "
            f"{[name for name in parts if name]}"
        )
    if images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        raise ValueError(
            f"images must be floats [B, C, H, W] with B at least 1, got "
            f"{list(images.shape)} of {images.dtype}; a single one needs images[None]"
        )
    first = next(model.parameters())
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        # The gradient is needed from here on only. The copies keep what follows,
        # an in-place ReLU for one, from changing the maps under our hands.
        caught.append(output.detach().clone().requires_grad_())
        return caught[-1].clone()

    modes = [(part, part.training) for part in model.modules()]
    handle = parts[layer].register_forward_hook(catch)
    try:
        model.eval()
        # The caller may be in no_grad or inference_mode; a tensor of the latter
        # cannot be used for gradients, its copy can.
        with torch.inference_mode(False), torch.enable_grad():
            logits = model(images.detach().to(first.device, first.dtype, copy=True))
            if len(caught) != 1 or caught[0].ndim != 4 or logits.ndim != 2:
                shapes = [list(maps.shape) for maps in (*caught, logits)]
                raise ValueError(
                    f"layer {layer!r} must run once and give [B, C, h, w], and the "
                    f"model logits [B, K]; they gave {shapes}"
                )
            chosen = logits.argmax(1) if classes is None else classes
            score = _logits_of("classes", chosen, logits).sum()
            if against is not None:
                score = score - _logits_of("against", against, logits).sum()
            # Not backward(): the parameters' own gradients stay as they are.
            (slope,) = torch.autograd.grad(score, caught[0])
    finally:
        handle.remove()
        for part, mode in modes:
            part.training = mode
    maps = caught[0].detach()
    heat = (slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    heat = F.interpolate(
        heat.float(), images.shape[2:], mode="bilinear", align_corners=False
    )[:, 0]
    most = heat.amax((1, 2), keepdim=True)
    return torch.where(most > 0, heat / most, 0).to(images.device)


def _logits_of(name: str, classes: int | Sequence[int] | Tensor, z: Tensor) -> Tensor:
    """The logit of one class for all pictures, or of one each: [B] of [B, K]."""
    wanted = torch.as_tensor(classes, device=z.device)
    whole = not wanted.is_floating_point() and wanted.shape in ((), (len(z),))
    if not whole or wanted.min() < 0 or wanted.max() >= z.shape[1]:
        raise ValueError(
            f"{name} must be one integer or {len(z)} of them, from 0 to "
            f"{z.shape[1] - 1}, got {classes}"
        )
    return z.gather(1, wanted.long().expand(len(z))[:, None])


def overlay(image: Tensor, heat: Tensor) -> Image.Image:
    """Lay a heat map over a picture: gray where cold, orange to yellow where hot.

    Args:
        image: float [3, H, W] or [1, H, W] in 0 … 1 (not normalized).
        heat: float [H, W] in 0 … 1.

    Returns:
        A PIL image in mode "RGB" of the same size.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image must be [3, H, W] or [1, H, W], got {image.shape}")
    if heat.shape != image.shape[1:]:
        sizes = f"{list(image.shape[1:])} as the image is, got {list(heat.shape)}"
        raise ValueError(f"heat must be {sizes}")
    gray = image.detach().float().cpu().clamp(0, 1).mean(0).numpy()[..., None]
    hot = heat.detach().float().cpu().clamp(0, 1).numpy()[..., None]
    # From dark red over orange to yellow: brightness grows with the heat, so that
    # the map can be read with any color vision.
    color = np.concatenate([0.5 + 0.5 * hot, 0.9 * hot**1.5, 0.15 * hot], axis=-1)
    opacity = 0.75 * hot
    mixed = (1 - opacity) * gray + opacity * color
    return Image.fromarray(np.uint8(np.rint(255 * mixed)))
