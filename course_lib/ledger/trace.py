"""One forward pass without numbers: shadows of modules on torch's meta device."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course_lib.ledger.rules import (
    WINDOWS,
    count_macs,
    field_after,
    norm_shape,
    stand_in,
)
from course_lib.ledger.table import Row

HOOKS = tuple(key for key in nn.Module().__dict__ if key.endswith("_hooks"))


class Tracer(TorchFunctionMode):
    """Sees each layer and each function call of one forward pass on shadows."""

    def __init__(self, train: bool | None) -> None:
        super().__init__()
        self.train = train
        self.seed = torch.empty((), device="meta", requires_grad=True)
        self.made: dict[tuple, Tensor] = {}  # one result per shape and type, to copy
        self.no_hooks = {key: OrderedDict() for key in HOOKS}
        self.rows: list[Row] = []
        self.path: list[str] = []  # names of the modules that are running
        self.shadows: dict[int, nn.Module] = {}
        self.metas: dict[int, tuple[Tensor, Tensor]] = {}  # id: a tensor, its shadow
        self.parameters: dict[int, tuple[str, Tensor]] = {}  # all, by id
        self.buffers: dict[int, Tensor] = {}
        self.counted: set[int] = set()  # ids of the parameters that a row has counted
        self.blocks: dict[int, Tensor] = {}  # memory known: held, so ids stay unique
        self.kept = 0  # bytes saved since the last row

    def shadow(self, module: nn.Module, name: str) -> nn.Module:
        """A copy of the module tree that shares parameters and has no hooks."""
        if id(module) in self.shadows:  # one module under two names
            return self.shadows[id(module)]
        copy = self.shadows[id(module)] = module.__new__(type(module))
        state = copy.__dict__
        state |= module.__dict__
        state |= self.no_hooks
        dot = name and name + "."
        for key, tensor in module._parameters.items():
            if tensor is not None:
                self.parameters.setdefault(id(tensor), (dot + key, tensor))
        for buffer in module._buffers.values():
            if buffer is not None:
                self.buffers[id(buffer)] = buffer
        rule = stand_in(module)
        if rule is None:
            for key in ("_parameters", "_buffers"):
                tensors = module.__dict__[key].items()
                state[key] = {name: self.meta(tensor) for name, tensor in tensors}
                # A model that lies on the meta device is its own shadow.
                there = [t for t in state[key].values() if t is not None]
                self.blocks |= {block(tensor): tensor for tensor in there}
        if module._modules:
            state["_modules"] = {
                key: None if child is None else self.shadow(child, dot + key)
                for key, child in module._modules.items()
            }
        if self.train is not None:
            state["training"] = self.train
        # Where torch keeps a compiled forward: it would really run, and what stands
        # there is called without a look for hooks.
        state["_compiled_call_impl"] = state["forward"] = self.watch(
            module, copy, name, rule
        )
        return copy

    def watch(
        self, module: nn.Module, copy: nn.Module, name: str, rule: Callable | None
    ) -> Callable:
        """The forward of the copy, which also writes the row of a layer."""
        forward = type(module).forward
        if rule:
            forward = functools.partial(self.skip, rule)
        own = [p for p in module._parameters.values() if p is not None]
        is_layer = isinstance(module, WINDOWS) or (
            not module._modules and type(module).__module__.startswith("torch.nn.")
        )

        def run_layer(*args: Any, **kwargs: Any) -> Any:
            self.path.append(name)
            with torch._C.DisableTorchFunction():  # what it calls is no row of its own
                out = forward(copy, *args, **kwargs)
                self.record(name, module, (*args, *kwargs.values()), out, own)
            self.path.pop()
            return out

        def run_container(*args: Any, **kwargs: Any) -> Any:
            self.path.append(name)
            out = forward(copy, *args, **kwargs)
            if own:
                with torch._C.DisableTorchFunction():
                    self.record(name, module, (*args, *kwargs.values()), out, own)
            self.path.pop()
            return out

        return run_layer if is_layer else run_container

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Called with each function of torch that runs between the layers."""
        args = tuple(map(self.meta, args))
        kwargs = {key: self.meta(value) for key, value in (kwargs or {}).items()}
        # An addition in place takes 20 µs on the meta device and changes no shape.
        out = args[0] if changes_nothing(func, args) else func(*args, **kwargs)
        if func.__name__ != "__get__" and tensors(args) and tensors(out):
            kind = func.__name__.strip("_")
            self.record(".".join((*self.path[-1:], kind)).strip("."), kind, args, out)
        return out

    def skip(self, rule: Callable, layer: nn.Module, x: Tensor) -> Tensor:
        """A result of the right shape, and the note of what autograd would save."""
        shape = rule(layer, x.shape)
        if not torch.is_grad_enabled() or not (
            x.requires_grad
            or any(p.requires_grad for p in layer._parameters.values() if p is not None)
        ):
            return x.new_empty(shape)
        self.keep(x)
        if rule is norm_shape and (layer.training or layer.running_mean is None):
            self.kept += 2 * 4 * shape[1]  # mean and deviation, in float32
        key = (tuple(shape), x.dtype)
        if key not in self.made:
            self.made[key] = self.seed.to(x.dtype).expand(shape).contiguous()
        # Not a leaf of autograd: an in-place ReLU may follow.
        return self.made[key].clone()

    def meta(self, value: Any) -> Any:
        """Put a real tensor's shape, without its values, in the place of it."""
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.meta, value))
        if not isinstance(value, Tensor) or value.is_meta:
            return value
        if id(value) not in self.metas:
            meta = torch.empty_like(value, device="meta")
            meta.requires_grad_(value.requires_grad)
            self.metas[id(value)] = value, meta
            self.blocks[block(meta)] = meta  # it is there in any case: never "kept"
        return self.metas[id(value)][1]

    def keep(self, tensor: Tensor) -> Tensor:
        """Called by autograd with each tensor that it saves."""
        place = block(tensor)
        if place not in self.blocks:
            self.blocks[place] = tensor
            self.kept += tensor.untyped_storage().nbytes()
        return tensor

    def record(
        self,
        name: str,
        layer: nn.Module | str,
        args: tuple,
        out: Any,
        own: Sequence[Tensor] = (),
    ) -> None:
        inputs, outputs = tensors(args), tensors(out)
        x, y = inputs[0], outputs[0]
        old = [block(tensor) for tensor in inputs]
        new = [p for p in own if id(p) not in self.counted] if own else ()
        self.counted.update(map(id, new))
        fields = [getattr(tensor, "field", None) for tensor in inputs]
        field = field_after(layer, fields, x.shape, y.shape)
        for tensor in outputs:
            tensor.field = field
        self.rows.append(
            Row(
                name=name,
                kind=layer if isinstance(layer, str) else type(layer).__name__,
                input_shape=tuple(x.shape),
                output_shape=tuple(y.shape),
                parameters=sum(p.numel() for p in new),
                macs=count_macs(layer, x, y, own),
                output_bytes=sum(t.nbytes for t in outputs if block(t) not in old),
                kept_bytes=self.kept,
                field=field and tuple(axis.size for axis in field),
            )
        )
        self.kept = 0


def changes_nothing(func: Callable, args: tuple) -> bool:
    """Whether it is ``x += y`` with x and y alike: x is the result, with its shape."""
    if func is not Tensor.add_ or len(tensors(args)) != 2:
        return False
    x, y = args
    return x.requires_grad and x.shape == y.shape and x.dtype == y.dtype


def block(tensor: Tensor) -> int:
    """Identity of the memory that a tensor lies in, unique while it lives."""
    return tensor.untyped_storage()._cdata


def tensors(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    found = []
    for item in value:
        found += [item] if isinstance(item, Tensor) else tensors(item)
    return found
