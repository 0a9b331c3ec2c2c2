"""Where a trained network looked: Grad-CAM, and its picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["grad_cam", "overlay"]


def grad_cam(
    model: nn.Module,
    images: Tensor,
    classes: int | Sequence[int] | Tensor | None = None,
    layer: str | nn.Module = "layer4",
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
        layer: a module of the model or its name, whose output is [B, C, h, w].
        against: explain the difference of two logits instead, ``classes`` minus this
            class: what speaks for a cracked wall *rather than* an uncracked one
            leaves out what speaks for a wall.

    Returns:
        float32 [B, H, W] in 0 … 1 on the images' device; 0 everywhere if nothing
        speaks for the class, else the largest value is 1.

    Raises:
        ValueError: names the argument, its value and the remedy.
    """
    module = _find_layer(model, layer)
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
    handle = module.register_forward_hook(catch)
    try:
        model.eval()
        # The caller may be in no_grad or inference_mode; a tensor of the latter
        # cannot be used for gradients, its copy can.
        with torch.inference_mode(False), torch.enable_grad():
            logits = model(images.detach().to(first.device, first.dtype, copy=True))
            if len(caught) != 1 or caught[0].ndim != 4:
                shape = [list(maps.shape) for maps in caught]
                raise ValueError(
                    f"layer {layer!r} must run once and give [B, C, h, w]; it gave "
                    f"{shape}; choose another, such as 'layer4'"
                )
            chosen = _chosen("classes", classes, logits)
            score = logits.gather(1, chosen[:, None]).sum()
            if against is not None:
                other = _chosen("against", against, logits)
                score = score - logits.gather(1, other[:, None]).sum()
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


def _find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    parts = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        if all(layer is not part for part in parts.values()):
            raise ValueError(f"layer must be a module of the model, got {layer!r}")
        return layer
    if layer not in parts:
        raise ValueError(
            f"{type(model).__name__} has no layer {layer!r}; choose one of "
            f"{[name for name in parts if name]}"
        )
    return parts[layer]


def _chosen(
    name: str, classes: int | Sequence[int] | Tensor | None, logits: Tensor
) -> Tensor:
    """The class of each picture as int64 [B]."""
    if logits.ndim != 2:
        raise ValueError(f"model must give logits [B, K], it gave {list(logits.shape)}")
    if classes is None:
        return logits.argmax(1)
    wanted = torch.as_tensor(classes, device=logits.device)
    count, kinds = logits.shape
    if wanted.is_floating_point() or wanted.shape not in ((), (count,)):
        raise ValueError(
            f"{name} must be one integer or {count} of them, got shape "
            f"{list(wanted.shape)} and type {wanted.dtype}"
        )
    if wanted.min() < 0 or wanted.max() >= kinds:
        raise ValueError(f"{name} must lie in 0 ... {kinds - 1}, got {wanted.tolist()}")
    return wanted.long().expand(count)


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
