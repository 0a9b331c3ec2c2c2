"""``fast``: try the ways to run a network, prove each one, keep the fastest."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.inference.folding import fold
from course_lib.inference.programs import Program, as_graph, compiled, in_format
from course_lib.trainer.config import native_bf16

__all__ = [
    "BF16_BOUND",
    "FP32_BOUND",
    "Check",
    "Fast",
    "Trial",
    "check",
    "fast",
    "race",
]

FP32_BOUND = 1e-5  # relative error of the logits: other order of the same sums
BF16_BOUND = 1e-2  # numbers of 8 significant bits, of which each map loses some
_GAIN = 1.03  # a later way must be so much faster than a simpler one to be kept


class Check(NamedTuple):
    """How far a program's answers are from the model's on the example."""

    error: float  # ‖logits − exact‖ / ‖exact‖
    images: int
    same: int  # images with the same most likely class
    safe: int  # images whose answer could not change, see ``check``

    def __str__(self) -> str:
        return (
            f"relative error {self.error:.1e}, the same answer for {self.same} of "
            f"{self.images} images"
        )


class Trial(NamedTuple):
    """One way that was tried."""

    name: str
    seconds: float | None  # the least disturbed run; None: not measured
    check: Check | None
    note: str = ""  # why it was left out


class Fast(nn.Module):
    """A network that answers as ``model`` does, faster. Made by :func:`fast`.

    Attributes:
        way: the name of the way that was kept.
        trials: all that were tried, the model as it is first.
        check: how far the answers on the example are from the model's.
        shape: of the example. Other shapes are computed too, by the network in the
            same number format without the program that was made for this shape.
    """

    def __init__(
        self, program: Program, general: nn.Module, example: Tensor, way: str
    ) -> None:
        super().__init__()
        self.network = general  # its parameters say where this network computes
        self._program = (program,)  # no submodule: a program cannot move
        self.shape, self._device = tuple(example.shape), example.device
        self.way, self.trials = way, ()
        self.check: Check | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 [B, classes], of float images [B, C, H, W]."""
        channels = self.shape[1]
        if x.ndim != 4 or x.shape[1] != channels or not x.is_floating_point():
            raise ValueError(
                f"x must be floats [B, {channels}, H, W], as the example was, got "
                f"{x.dtype} {list(x.shape)}"
            )
        if x.device != self._device:
            raise ValueError(
                f"x is on {x.device}, and this network was made for {self._device}; "
                f"move x with x.to({str(self._device)!r})"
            )
        run = self._program[0] if tuple(x.shape) == self.shape else self.network
        with torch.inference_mode():
            return run(x.float())

    @property
    def speedup(self) -> float:
        """How many times as fast as the model it was here, when it was made."""
        times = {trial.name: trial.seconds for trial in self.trials}
        return self.trials[0].seconds / times[self.way]

    def __str__(self) -> str:
        plain = self.trials[0].seconds
        lines = [f"{'way':32}{'ms':>8}{'ratio':>8}  relative error"]
        for trial in self.trials:
            mark = "*" if trial.name == self.way else " "
            if trial.seconds is None:
                lines.append(f"{mark} {trial.name:30} {trial.note}")
                continue
            times = f"{1e3 * trial.seconds:8.1f}{plain / trial.seconds:7.2f}×"
            error = "–" if trial.check is None else f"{trial.check.error:.1e}"
            lines.append(f"{mark} {trial.name:30}{times}  {error}")
        return "\n".join([*lines, f"* kept: {self.check}"])

    __repr__ = __str__


def check(logits: Tensor, exact: Tensor) -> Check:
    """Compare logits [B, classes] with those of the model itself.

    No answer can change where the lead of the most likely class over the next one
    is more than twice the largest error of a logit: ``safe`` counts those images.
    """
    difference = logits.double() - exact.double()
    error = (difference.norm() / exact.double().norm().clamp_min(1e-300)).item()
    same = (logits.argmax(1) == exact.argmax(1)).sum().item()
    if exact.shape[1] < 2:
        return Check(error, len(exact), same, len(exact))
    first, second = exact.double().topk(2, dim=1).values.unbind(1)
    safe = (first - second > 2 * difference.abs().amax(1)).sum().item()
    return Check(error, len(exact), same, safe)


def fast(
    model: nn.Module,
    example: Tensor,
    *,
    precision: str = "auto",
    compile: bool | None = None,
    rounds: int = 10,
) -> Fast:
    """The fastest way to get this network's answers on this machine, proved.

    Each way first has to give the model's logits on the example: to a relative error
    of ``FP32_BOUND`` in float32, and of ``BF16_BOUND`` in bfloat16, with the same
    answer for each image whose lead is larger than the error allows for. A way that
    does not is left out, and so is one that does not run here; ``trials`` says why.
    The others run in turn, and the fastest is kept; a simpler one if it is as fast.

    Args:
        model: in eval mode, its parameters on the example's device. Left as it is.
        example: float images [B, C, H, W] of the shape that will be asked for, best
            real ones: the proof is a proof for them.
        precision: "auto" tries bfloat16 where the hardware multiplies it natively;
            "fp32" stays with float32.
        compile: whether to try ``torch.compile``, which takes half a minute. None:
            on CUDA only, since oneDNN's graph needs no compiler and is as fast.
        rounds: runs of each way; after the third those fall out that are far behind.

    Raises:
        TypeError: if the model does not give one tensor of logits.
        ValueError: names the argument and what to do.
    """
    _check_arguments(model, example, precision, rounds)
    with torch.inference_mode():
        exact = model(example)
    if not isinstance(exact, Tensor) or exact.ndim != 2:
        raise TypeError(
            "model must return logits as one tensor [B, classes], got "
            f"{type(exact).__name__} {list(getattr(exact, 'shape', []))}"
        )
    if not exact.isfinite().all():
        raise ValueError("model's logits of the example hold NaN or infinity")
    if compile is None:
        compile = example.device.type == "cuda"
    runs: dict[str, Program] = {"the model as it is": model}
    trials = [Trial("the model as it is", None, None)]
    half = precision == "auto" and native_bf16(example.device)
    for name, build, bound in _ways(model, example, half, compile):
        with torch.inference_mode():
            program, trial = _prove(name, build, bound, example, exact)
        trials.append(trial)
        if program is not None:
            runs[name] = program
    with torch.inference_mode():
        seconds = race(runs, example, rounds)
    trials = [trial._replace(seconds=seconds.get(trial.name)) for trial in trials]
    kept = trials[0]
    for trial in trials[1:]:
        if trial.seconds is not None and kept.seconds / trial.seconds > _GAIN:
            kept = trial
    general = runs[_general(kept.name, runs)]
    quick = Fast(runs[kept.name], general, example, kept.name)
    quick.trials = tuple(trials)
    quick.check = kept.check or check(exact, exact)
    return quick


def _ways(
    model: nn.Module, example: Tensor, half: bool, compile: bool
) -> Iterator[tuple[str, Callable[[], Program], float]]:
    """Name, how to build it, and its bound; from simple to intricate."""
    try:
        network, name = fold(model), "folded"
    except ValueError:
        network, name = model, "not foldable"
    types = [(torch.float32, "fp32", FP32_BOUND)]
    if half:
        types.append((torch.bfloat16, "bf16", BF16_BOUND))
    for dtype, short, bound in types:

        def formatted(dtype: torch.dtype = dtype) -> nn.Module:
            return in_format(copy.deepcopy(network), dtype, last=True)

        label = f"{name}, {short}"
        if dtype == torch.float32:
            yield label, lambda: network, bound
        yield f"{label}, channels-last", formatted, bound
        if example.device.type == "cpu":
            graph = f"{label}, oneDNN graph"
            yield graph, lambda make=formatted: as_graph(make(), example), bound
        if compile:
            code = f"{label}, compiled"
            yield code, lambda make=formatted: compiled(make(), example), bound


def _general(name: str, runs: dict[str, Program]) -> str:
    """The way that takes any shape and computes in the same number format."""
    label = name.rsplit(", ", 1)[0]
    eager = f"{label}, channels-last"
    return eager if name.endswith(("graph", "compiled")) and eager in runs else name


def _prove(
    name: str,
    build: Callable[[], Program],
    bound: float,
    example: Tensor,
    exact: Tensor,
) -> tuple[Program | None, Trial]:
    try:
        program = build()
        found = check(program(example), exact)
    except Exception as error:  # of torch's compilers: no two raise the same
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return None, Trial(name, None, None, f"does not run here: {lines[0]}")
    if not found.error <= bound or found.same < found.safe:  # NaN fails too
        note = f"left out: {found}, and {bound:.0e} is allowed"
        return None, Trial(name, None, found, note)
    return program, Trial(name, None, found)


def race(runs: dict[str, Program], example: Tensor, rounds: int) -> dict[str, float]:
    """Seconds of the least disturbed run of each, taken in turn.

    The least, because other work on the machine only ever adds time.
    """
    best = dict.fromkeys(runs, float("inf"))
    first = next(iter(runs))  # the one that all are compared with stays
    for number in range(-1, rounds):  # round -1 warms up
        limit = 1.5 * min(best.values()) if number >= 3 else float("inf")
        for name, run in runs.items():
            if best[name] > limit and name != first:
                continue
            start = time.perf_counter()
            run(example)
            if example.device.type == "cuda":
                torch.cuda.synchronize(example.device)
            if number >= 0:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _check_arguments(
    model: nn.Module, example: Tensor, precision: str, rounds: int
) -> None:
    if any(module.training for module in model.modules()):
        raise ValueError("model is in train mode; call model.eval() first")
    if not isinstance(example, Tensor) or example.ndim != 4 or not example.numel():
        shape = list(getattr(example, "shape", [])) or type(example).__name__
        raise ValueError(f"example must be images [B, C, H, W], got {shape}")
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("model has no parameters")
    if example.dtype != torch.float32 or parameter.dtype != torch.float32:
        raise ValueError(
            f"model and example must be float32, got {parameter.dtype} and "
            f"{example.dtype}; the faster formats are chosen here"
        )
    if example.device != parameter.device:
        raise ValueError(
            f"example is on {example.device} and model on {parameter.device}; "
            "move one to the other"
        )
    if precision not in ("auto", "fp32"):
        raise ValueError(f'precision must be "auto" or "fp32", got {precision!r}')
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
