"""The data flow of one unit, read off its code by ``torch.fx``.

:mod:`course_book.figures.structure.diagrams` draws it.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

__all__ = [
    "Operation",
    "UnitFlow",
    "describe_unit",
    "unit_flow",
]

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
KINDS = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", nn.ReLU: "relu"}


@dataclass(frozen=True)
class Operation:
    """One operation of a unit: what it is, and the shape [C, H, W] it returns."""

    name: str  # the module's name within the unit, "" for a bare function
    kind: str  # conv, norm, relu or other
    text: str  # "(3×3, 1, 1)" for a convolution, else "BN", "ReLU", ...
    channels: str  # "64 → 128" for a convolution, else ""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class UnitFlow:
    """The data flow of a unit: two branches, the addition, and what follows it."""

    input_shape: tuple[int, ...]
    main: tuple[Operation, ...]  # before the addition; all steps if there is none
    shortcut: tuple[Operation, ...] | None  # None: no addition; (): the identity
    after: tuple[Operation, ...]  # after the addition

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape [C, H, W] that the unit returns."""
        steps = self.after or self.main
        return steps[-1].shape if steps else self.input_shape


def unit_flow(unit: nn.Module, shape: Sequence[int]) -> UnitFlow:
    """Trace a unit and list its operations with the shapes between them.

    Nothing is computed: a copy of the unit on the meta device is traced.

    Args:
        unit: a module with one input that adds at most once, such as
            ``BasicBlock``, ``Bottleneck`` or ``PlainBlock``.
        shape: channels, height and width of its input.

    Raises:
        ValueError: if the shape is not [C, H, W], if the unit cannot take it,
            or if its flow is not two branches and one addition.
    """
    shape = tuple(int(size) for size in shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"shape must be [C, H, W], three positive sizes, got {list(shape)}"
        )
    traced = fx.symbolic_trace(copy.deepcopy(unit).to("meta").eval())
    try:
        ShapeProp(traced).propagate(torch.empty(1, *shape, device="meta"))
    except RuntimeError as error:
        raise ValueError(
            f"unit does not take an input of shape {list(shape)}: {error}"
        ) from error

    modules = dict(traced.named_modules())
    sums = [node for node in traced.graph.nodes if node.target in ADDITIONS]
    output = next(node for node in traced.graph.nodes if node.op == "output")
    if not sums:
        return UnitFlow(shape, _steps_to(output, None, modules), None, ())
    if len(sums) > 1 or len(sums[0].all_input_nodes) != 2:
        raise ValueError(
            "unit must add two tensors once to be drawn, found additions: "
            f"{[node.name for node in sums]}; draw its parts instead"
        )
    branches = [_steps_to(node, None, modules) for node in sums[0].all_input_nodes]
    shortcut, main = sorted(branches, key=len)
    return UnitFlow(shape, main, shortcut, _steps_to(output, sums[0], modules))


def _steps_to(
    node: fx.Node, start: fx.Node | None, modules: Mapping[str, nn.Module]
) -> tuple[Operation, ...]:
    """Operations on the way to a node, from ``start`` or from the input."""
    steps = []
    while node is not start and node.op != "placeholder":
        if len(node.all_input_nodes) != 1:
            raise ValueError(
                f"unit branches at {node.name!r}: only two branches that meet in "
                "one addition can be drawn"
            )
        if node.op != "output":
            steps.append(_step(node, modules))
        (node,) = node.all_input_nodes
    return tuple(reversed(steps))


def _step(node: fx.Node, modules: Mapping[str, nn.Module]) -> Operation:
    shape = tuple(node.meta["tensor_meta"].shape[1:])
    if node.op != "call_module":
        is_relu = node.name.startswith("relu")
        text = "ReLU" if is_relu else node.name
        return Operation("", "relu" if is_relu else "other", text, "", shape)
    module = modules[node.target]
    kind = KINDS.get(type(module), "other")
    text, channels = type(module).__name__, ""
    if kind == "conv":
        k = "×".join(map(str, module.kernel_size))
        s, p = (  # "1", and "1×2" only where the two directions differ
            "×".join(map(str, dict.fromkeys(size)))
            for size in (module.stride, module.padding)
        )
        text = f"({k}, {s}, {p})"
        channels = f"{module.in_channels} → {module.out_channels}"
    elif kind == "norm":
        text = "BN"
    return Operation(node.target, kind, text, channels, shape)


def describe_unit(unit: nn.Module, shape: Sequence[int]) -> str:
    """The diagram in words: the branch, the shortcut, what follows.

    Args:
        unit: as for :func:`unit_flow`.
        shape: channels, height and width of its input.
    """
    flow = unit_flow(unit, shape)

    def words(steps: Sequence[Operation]) -> str:
        parts = [
            f"{s.name} {s.text}" if s.kind == "conv" else s.name or s.text
            for s in steps
        ]
        return ", ".join(parts)

    lines = [f"input     {list(flow.input_shape)}", f"main      {words(flow.main)}"]
    if flow.shortcut is None:
        lines.append("shortcut  none")
    else:
        lines.append(f"shortcut  {words(flow.shortcut) or 'identity'}")
        lines.append(f"after +   {words(flow.after) or 'nothing'}")
    return "\n".join([*lines, f"output    {list(flow.output_shape)}"])
