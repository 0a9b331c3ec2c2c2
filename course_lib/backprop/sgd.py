"""Stochastic gradient descent with momentum and weight decay, by hand."""

import torch
from torch import Tensor


@torch.no_grad()
def sgd_step(
    parameters: dict[str, Tensor],
    gradients: dict[str, Tensor],
    velocity: dict[str, Tensor],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """One step of ``torch.optim.SGD``, bit for bit, in place.

    With the gradient g, weight decay λ, momentum μ and learning rate η, for each
    weight w and its velocity v::

        g ← g + λ w
        v ← μ v + g        (first step: v = g)
        w ← w − η v

    As in PyTorch, v holds no learning rate; Sutskever et al. (2013, "On the
    importance of initialization and momentum in deep learning") put η into v.

    Args:
        parameters: the weights by name, such as ``dict(model.named_parameters())``.
        gradients: one for each of these names; further ones, such as ``"input"``, are
            ignored.
        velocity: empty before the first step; the steps keep it.
        lr: η, at least 0.
        momentum: μ, at least 0.
        weight_decay: λ, at least 0.

    Raises:
        KeyError: if a parameter has no gradient.
        ValueError: if η, μ or λ is negative.
    """
    rates = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
    for name, value in rates.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    if missing := sorted(parameters.keys() - gradients.keys()):
        raise KeyError(f"gradients has none for {missing[0]!r}")

    for name, w in parameters.items():
        g = gradients[name]
        # torch.add(…, alpha=…) may round once where a product and a sum round
        # twice. torch.optim.SGD uses it, so bit-equal steps must use it as well.
        if weight_decay != 0:
            g = torch.add(g, w, alpha=weight_decay)
        if momentum != 0:
            if name in velocity:
                velocity[name].mul_(momentum).add_(g)
            else:
                velocity[name] = g.clone()
            g = velocity[name]
        w.add_(g, alpha=-lr)
