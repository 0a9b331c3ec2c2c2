"""One forward pass without numbers, on a copy of the model on torch's meta device."""

import copy
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from course_lib.dimensions import Field
from course_lib.ledger.fields import WINDOWS, field_after, window_of
from course_lib.ledger.operators import Operators
from course_lib.ledger.table import Row

# What these keep depends on the kernel that the device chooses, as for nn.RNNBase.
FUSED = ("scaled_dot_product_attention", "multi_head_attention_forward")
HOOKS = {key for key in vars(nn.Module()) if "_hooks" in key}


def unwrap(module: nn.Module | None) -> nn.Module | None:
    """The network inside ``torch.compile``, DataParallel or DDP."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrap(module.module)
    if module is not None and "_orig_mod" in module._modules:
        return unwrap(module._orig_mod)
    return module


def meta_copy(model: nn.Module) -> tuple[nn.Module, list[Tensor]]:
    """The same modules without hooks; their tensors, listed, have no values."""
    modules = dict(model.named_modules())
    copies = {id(module): object.__new__(type(module)) for module in modules.values()}
    metas: dict[int, Tensor] = {}

    def meta(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return copy.copy(value)
        if id(value) not in metas:
            form = {"dtype": value.dtype, "device": "meta"}
            new = torch.empty_strided(value.size(), value.stride(), **form)
            new = nn.Parameter(new, False) if isinstance(value, nn.Parameter) else new
            metas[id(value)] = new.requires_grad_(value.requires_grad)
        return metas[id(value)]

    for name, module in modules.items():
        where = f"layer {name!r}" if name else "the model"
        where += f" ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{where} is TorchScript; pass the module it was made from"
            )
        if any(map(is_lazy, module._parameters.values())):
            raise ValueError(f"{where} has no shape yet; run the model once")
        state = vars(copies[id(module)])
        for key, value in vars(module).items():
            if key in HOOKS:  # those of torch itself make a weight, and stay
                value = {k: h for k, h in value.items() if is_torchs(h)}
            elif key == "_modules":
                value = {k: copies.get(id(unwrap(v))) for k, v in value.items()}
            elif key in ("_parameters", "_buffers"):
                value = {k: meta(v) for k, v in value.items()}
            elif isinstance(value, (Tensor, list, dict, set)):
                value = meta(value)  # forward may collect there
            state[key] = value
    return copies[id(model)], list(metas.values())


class Tracer(TorchFunctionMode):
    """Writes a row for each layer and for each function called between layers.

    A layer is a module of ``torch.nn`` without children, a convolution or a pooling.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, metas = meta_copy(model)
        self.rows: list[Row] = []
        self.path: list[str] = []  # names of the modules that are running
        self.kept = 0  # bytes saved since the last row
        self.parameters: dict[int, Tensor] = {}
        self.buffers: dict[int, Tensor] = {}
        self.unused: dict[int, str] = {}  # parameters that no layer has used yet
        self.classes: dict[str, str] = {}
        # Memory that is known: held here, so that its identity stays unique.
        self.blocks = {block(tensor): tensor for tensor in metas}
        for name, module in self.model.named_modules():
            self.watch(name, module)
            self.classes[name] = type(module).__name__
            for key, tensor in module._parameters.items():
                if tensor is not None:
                    self.parameters[id(tensor)] = tensor
                    self.unused.setdefault(id(tensor), f"{name}.{key}".strip("."))
            found = (b for b in module._buffers.values() if b is not None)
            self.buffers |= {id(buffer): buffer for buffer in found}

    def run(self, x: Tensor) -> None:
        """One forward pass; ``x`` is on the meta device."""
        x.field = Field((1, 1), (1, 1), (0, 0)) if x.ndim == 4 else None
        self.input, self.operators = x, Operators()
        with ExitStack() as stack:
            if "torch._dynamo" in sys.modules:  # parts may be compiled
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            hooks = torch.autograd.graph.saved_tensors_hooks(self.keep, lambda t: t)
            for context in (hooks, self.operators, self):
                stack.enter_context(context)
            self.model(x)

    def watch(self, name: str, module: nn.Module) -> None:
        """Let ``forward`` tell where it runs, and a layer's write its row."""
        forward = module.forward
        is_leaf = is_torchs(module) and not module._modules
        is_layer = is_leaf or isinstance(module, WINDOWS)

        def run(*args: Any, **kwargs: Any) -> Any:
            self.path.append(name)
            if is_layer:
                with torch._C.DisableTorchFunction():  # what it calls is no row
                    if isinstance(module, nn.Embedding):
                        args = (self.integers(*args),)
                    out = forward(*args, **kwargs)
                    self.record(name, module, [*args, *kwargs.values()], out)
            else:
                out = forward(*args, **kwargs)
            self.path.pop()
            return out

        vars(module).update(forward=run, _compiled_call_impl=None)

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Called with each function of torch that runs between the layers."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.__name__ != "__get__":
            kind = func.__name__.strip("_")
            name = ".".join((*self.path[-1:], kind)).strip(".")
            self.record(name, kind, [*args, *kwargs.values()], out)
        return out

    def integers(self, x: Tensor) -> Tensor:
        """What an embedding reads; the batch itself is of floats until then."""
        if not x.is_floating_point():
            return x
        if block(x) != block(self.input):
            raise TypeError("the indices of an embedding must be integers")
        return x.long()

    def keep(self, tensor: Tensor) -> Tensor:
        """Called by autograd with each tensor that it saves."""
        if block(tensor) not in self.blocks:
            self.blocks[block(tensor)] = tensor
            self.kept += tensor.untyped_storage().nbytes()
        return tensor

    def record(self, name: str, layer: nn.Module | str, args: list, out: Any) -> None:
        read, outputs = tensors(args), tensors(out)
        if not read or not outputs:
            return
        is_module = isinstance(layer, nn.Module)
        own = {id(p): p for p in read if id(p) in self.parameters}
        inputs = [t for t in read if id(t) not in own] or read
        if is_module:
            found = layer.parameters() if layer._modules else layer._parameters.values()
            own |= {id(p): p for p in found}  # a missing bias is None, and never new
        field = field_after(layer, inputs, outputs[0].shape)
        for tensor in outputs:
            tensor.field = field
        old = [block(tensor) for tensor in read]
        fused = isinstance(layer, nn.RNNBase) or layer in FUSED
        new = [key for key in own if self.unused.pop(key, None)]
        self.rows.append(
            Row(
                name=name,
                kind=type(layer).__name__ if is_module else layer,
                input_shape=tuple(inputs[0].shape),
                output_shape=tuple(outputs[0].shape),
                parameters=sum(own[key].numel() for key in new),
                macs=self.operators.take(),
                output_bytes=sum(t.nbytes for t in outputs if block(t) not in old),
                kept_bytes=None if fused else self.kept,
                field=field and tuple(field.size),
                window=window_of(layer),
            )
        )
        self.kept = 0


def is_torchs(value: object) -> bool:
    """Whether it is of a class of ``torch.nn``."""
    return type(value).__module__.startswith("torch.nn.")


def block(tensor: Tensor) -> int:
    """Identity of the memory that a tensor occupies, unique while it lives."""
    return tensor.untyped_storage()._cdata


def tensors(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for inner in value for tensor in tensors(inner)]
