"""The whole backward pass of a ResNet by hand: every parameter, and the input.

A net is a chain of steps, and a residual unit is a step that holds a chain of its
own. Forward walks the chain and keeps what each step saved; backward walks it in
reverse, turns the δ after each step into the δ before it, and writes the
gradients of the step's parameters down under their names.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.backprop import layers
from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, ResNet, check_batch

Chain = Iterator[tuple[str, nn.Module]]
# Whoever overrides one of these computes something that the chains do not know.
KNOWN_FORWARDS = {kind.forward for kind in (ResNet, BasicBlock, Bottleneck, PlainBlock)}


class Step(NamedTuple):
    """What forward keeps of one operation."""

    name: str  # of the module, such as "layer1.0.conv2"
    module: nn.Module  # a layer, or a residual unit without its last ReLU
    saved: Any  # what its backward needs; for a unit the steps of its two ways


@torch.no_grad()
def gradients(
    model: ResNet,
    images: Tensor,
    labels: Tensor,
) -> dict[str, Tensor]:
    """Gradient of the cross-entropy in every parameter of a net, without autograd.

    In train mode BN uses the batch's statistics, in eval mode the running ones, as
    ``model(images)`` would. Nothing is changed: no mode, no running statistics, no
    ``.grad``, no state of autograd or of a random generator. Forward hooks of the
    model are not called, and an autocast around the call has no effect.

    Args:
        model: any of the course's nets, residual (18 to 152) or plain.
        images: [B, C, H, W], of the parameters' dtype and device.
        labels: the true classes, int64 [B].

    Returns:
        One tensor for each name of ``model.named_parameters()``, in that order and
        of that shape, and last the gradient of the images under ``"input"``.

    Raises:
        TypeError: if the model is none of the course's nets.
        ValueError: names the argument, its value and the remedy.
    """
    check_model(model, images)
    layers.check_labels(labels, len(images), model.fc.out_features)
    with torch.autocast(images.device.type, enabled=False):
        logits, saved = chain_forward(_net(model), images)
        _, saved_loss = layers.cross_entropy_forward(logits, labels)
        found = backward(layers.cross_entropy_backward(1.0, saved_loss), saved)
    return {name: found[name] for name in [*dict(model.named_parameters()), "input"]}


@torch.no_grad()
def forward(model: ResNet, images: Tensor) -> tuple[Tensor, list[Step]]:
    """The logits [B, num_classes], equal to ``model(images)``, and what is saved.

    Running statistics stay as they are; arguments and errors as in :func:`gradients`.
    """
    check_model(model, images)
    return chain_forward(_net(model), images)


@torch.no_grad()
def backward(delta: Tensor, saved: list[Step]) -> dict[str, Tensor]:
    """All gradients, from δ at the logits [B, num_classes] and what forward saved.

    They come in the order in which they are found, from ``"fc.weight"`` to
    ``"conv1.weight"`` and ``"input"``.
    """
    found: dict[str, Tensor] = {}
    delta = chain_backward(delta, saved, found)
    return {**found, "input": delta}


@torch.no_grad()
def update_running_statistics(saved: list[Step]) -> None:
    """Move the running statistics of every BN in train mode, as its forward would.

    ``saved``, from :func:`forward`, knows the modules. The running variance gets the
    unbiased variance of the batch (divided by m − 1).
    """
    for step in saved:
        if isinstance(step.module, (BasicBlock, Bottleneck)):
            for steps in step.saved:
                update_running_statistics(steps)
        elif isinstance(step.module, nn.BatchNorm2d) and step.module.training:
            bn, (*_, (mu, var)) = step.module, step.saved
            for running, of_batch in ((bn.running_mean, mu), (bn.running_var, var)):
                running.mul_(1 - bn.momentum).add_(of_batch, alpha=bn.momentum)
            bn.num_batches_tracked += 1


def check_model(model: ResNet, images: Tensor) -> None:
    """Refuse a model or images that the backward pass by hand does not fit."""
    if not isinstance(model, ResNet):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise TypeError(
            f"model must be a net of course_lib.resnet, got {kind}; load its "
            "state_dict into one of resnet18() ... resnet152(), or unwrap it"
        )
    for name, module in model.named_modules():
        whole_or_unit = re.fullmatch(r"(layer\d\.\d+)?", name)
        if whole_or_unit and type(module).forward not in KNOWN_FORWARDS:
            raise TypeError(
                f"{name or 'model'} is a {type(module).__name__} with a forward of its "
                "own; its backward by hand is not known"
            )
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor, got {type(images).__name__}")
    check_batch(model, images)


# Chains of steps -----------------------------------------------------------------


def _net(model: ResNet) -> Chain:
    for name in ("conv1", "bn1", "relu", "maxpool"):
        yield name, getattr(model, name)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for number, unit in getattr(model, stage).named_children():
            name = f"{stage}.{number}"
            if isinstance(unit, PlainBlock):
                yield from _branch(name, unit)
            else:
                yield name, unit
            yield f"{name}.relu", unit.relu
    yield "avgpool", model.avgpool
    yield "fc", model.fc


def _branch(name: str, unit: BasicBlock | Bottleneck) -> Chain:
    """F(x): convolutions and BNs in turn, and a ReLU after each but the last."""
    count = 3 if isinstance(unit, Bottleneck) else 2
    for k in range(1, count + 1):
        yield f"{name}.conv{k}", getattr(unit, f"conv{k}")
        yield f"{name}.bn{k}", getattr(unit, f"bn{k}")
        if k < count:
            yield f"{name}.relu", unit.relu


def _shortcut(name: str, unit: BasicBlock | Bottleneck) -> Chain:
    """The projection, or a chain without a step: the identity."""
    if unit.downsample is not None:
        for number, module in unit.downsample.named_children():
            yield f"{name}.downsample.{number}", module


def chain_forward(chain: Chain, x: Tensor) -> tuple[Tensor, list[Step]]:
    steps = []
    for name, module in chain:
        x, saved = step_forward(name, module, x)
        steps.append(Step(name, module, saved))
    return x, steps


def chain_backward(
    delta: Tensor, steps: list[Step], found: dict[str, Tensor]
) -> Tensor:
    """From δ after the chain to δ before it; found gets the gradients."""
    for step in reversed(steps):
        delta = step_backward(delta, step, found)
    return delta


# One step ------------------------------------------------------------------------


def _window(module: nn.Conv2d | nn.MaxPool2d) -> dict[str, Any]:
    return {name: getattr(module, name) for name in ("stride", "padding", "dilation")}


def step_forward(name: str, module: nn.Module, x: Tensor) -> tuple[Tensor, Any]:
    match module:
        case nn.Conv2d(groups=1, padding_mode="zeros"):
            w, b = module.weight, module.bias
            return layers.conv2d_forward(x, w, b, **_window(module))
        case nn.BatchNorm2d(affine=True, track_running_stats=True):
            gamma, beta = module.weight, module.bias
            running = (module.running_mean, module.running_var)
            running = None if module.training else running
            return layers.batch_norm_forward(
                x, gamma, beta, running=running, eps=module.eps
            )
        case nn.ReLU():
            return layers.relu_forward(x)
        case nn.MaxPool2d(ceil_mode=False):
            return layers.max_pool_forward(x, module.kernel_size, **_window(module))
        case nn.Identity():
            return x, ()
        case nn.AdaptiveAvgPool2d(output_size=1 | (1, 1)):
            return layers.global_average_pool_forward(x)
        case nn.Linear():
            return layers.linear_forward(x, module.weight, module.bias)
        case BasicBlock() | Bottleneck():
            (x, shortcut), _ = layers.fork_forward(x)
            f, branch_steps = chain_forward(_branch(name, module), x)
            shortcut, shortcut_steps = chain_forward(_shortcut(name, module), shortcut)
            y, _ = layers.add_forward(f, shortcut)
            return y, (branch_steps, shortcut_steps)
    raise TypeError(
        f"no backward by hand for {name}, {module}; keep the layers that "
        "course_lib.resnet builds"
    )


def step_backward(
    delta: Tensor,
    step: Step,
    found: dict[str, Tensor],
) -> Tensor:
    name, module, saved = step
    match module:
        case nn.Conv2d() | nn.Linear() | nn.BatchNorm2d():
            if isinstance(module, nn.Conv2d):
                delta, dw, db = layers.conv2d_backward(delta, saved)
            elif isinstance(module, nn.Linear):
                delta, dw, db = layers.linear_backward(delta, saved)
            else:
                delta, dw, db = layers.batch_norm_backward(delta, saved)
            found[f"{name}.weight"] = dw
            if db is not None:
                found[f"{name}.bias"] = db
        case nn.ReLU():
            delta = layers.relu_backward(delta, saved)
        case nn.MaxPool2d():
            delta = layers.max_pool_backward(delta, saved)
        case nn.AdaptiveAvgPool2d():
            delta = layers.global_average_pool_backward(delta, saved)
        case BasicBlock() | Bottleneck():
            branch_steps, shortcut_steps = saved
            of_f, of_shortcut = layers.add_backward(delta, ())
            of_f = chain_backward(of_f, branch_steps, found)
            of_shortcut = chain_backward(of_shortcut, shortcut_steps, found)
            delta = layers.fork_backward((of_f, of_shortcut), ())
    return delta
