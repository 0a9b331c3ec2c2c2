"""``fast``: try several ways to run a network, check each one, keep the fastest."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.inference.comparing import Check, benchmark, check, in_batches
from course_lib.inference.folding import fold
from course_lib.inference.programs import Formatted, Program, as_graph, compiled
from course_lib.trainer.config import native_bf16

FP32_BOUND = 1e-5  # relative error of the logits: other order of the same sums
BF16_BOUND = 1e-2  # numbers of 8 significant bits, of which each map loses some
_GAIN = 1.03  # a later way must be so much faster than a simpler one to be kept


class Trial(NamedTuple):
    """One way that was tried."""

    name: str
    seconds: float | None  # the least disturbed run; None: not measured
    check: Check | None
    note: str = ""  # why it was left out


class Fast(nn.Module):
    """A network that answers as a model does, faster. Made by :func:`fast`.

    ``way`` names what was kept of all ``trials``, and ``check`` says how far its
    answers are from the model's. Images of other shapes than the example's go through
    the same network without the program that was made for this ``shape``.
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
        self.held_out = False  # whether check is of other images than the example

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
        note = "" if self.held_out else "; those are the example's, no others"
        return "\n".join([*lines, f"* kept: {self.check}{note}"])

    __repr__ = __str__


def fast(
    model: nn.Module,
    example: Tensor,
    held_out: Tensor | None = None,
    *,
    precision: str = "auto",
    compile: bool | None = None,
    rounds: int = 10,
) -> Fast:
    """The fastest way to get this network's answers on this machine, measured.

    A candidate's logits may have a relative error of ``FP32_BOUND`` in float32 and
    of ``BF16_BOUND`` in bfloat16. The largest error of a logit on ``example`` says how
    large the lead of an answer must be for the error not to turn it; on ``held_out`` no
    answer with such a lead may change. Of those that pass, the fastest is kept, or a
    simpler one that is as fast; ``trials`` says why others were left out.

    Args:
        model: in eval mode, its parameters on the example's device. Left as it is.
        example: real images, float [B, C, H, W], of the shape that will be asked for.
        held_out: other images [N, C, H, W]. ``check`` then says on how many of these
            N the answers agree; without them it tells of the example only.
        precision: "auto" tries bfloat16 where the hardware multiplies it natively;
            "fp32" stays with float32.
        compile: whether to try ``torch.compile``, which takes half a minute. None:
            on CUDA only, since oneDNN's graph is as fast.
        rounds: runs of each candidate; the far slower ones drop out after the third.

    Raises:
        TypeError: if the model does not give one tensor of logits.
        ValueError: names the argument and what to do.
    """
    _check_arguments(model, example, held_out, precision, rounds)
    if compile is None:
        compile = example.device.type == "cuda"
    half = precision == "auto" and native_bf16(example.device)
    name = "the model as it is"
    runs: dict[str, Program] = {name: model}
    trials = [Trial(name, None, None)]
    with torch.inference_mode():
        exact = model(example)
        _check_logits(exact)
        if held_out is not None:
            theirs = in_batches(model, held_out, len(example))
        for name, build, bound in _candidates(model, example, half, compile):
            try:
                program = build()
                logits = program(example)
                checks = [check(logits, exact)]
                if held_out is not None:
                    margin = (logits.double() - exact.double()).abs().max().item()
                    others = in_batches(program, held_out, len(example))
                    checks.append(check(others, theirs, margin))
            except Exception as error:  # of torch's compilers: no two raise the same
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                trials.append(Trial(name, None, None, f"does not run here: {reason}"))
                continue
            found, note = checks[-1], ""
            wrong = [c for c in checks if not c.error <= bound or c.changed]  # NaN too
            if wrong:
                found, note = wrong[0], f"left out: {wrong[0]}, {bound:.0e} is allowed"
            else:
                runs[name] = program
            trials.append(Trial(name, None, found, note))
        seconds = benchmark(runs, example, rounds)
    trials = [trial._replace(seconds=seconds.get(trial.name)) for trial in trials]
    kept = trials[0]
    for trial in trials[1:]:
        if trial.seconds is not None and kept.seconds / trial.seconds > _GAIN:
            kept = trial
    # The same numbers without a program, so for every shape.
    eager = f"{kept.name.rpartition(', ')[0]}, channels-last"
    general = runs.get(eager, runs[kept.name])
    quick = Fast(runs[kept.name], general, example, kept.name)
    quick.trials = tuple(trials)
    quick.held_out = held_out is not None
    own = theirs if quick.held_out else exact
    quick.check = kept.check or check(own, own)
    return quick


def _candidates(
    model: nn.Module, example: Tensor, half: bool, compile: bool
) -> Iterator[tuple[str, Callable[[], Program], float]]:
    """Name, how to build it, and its bound; from simple to intricate."""
    try:
        plain, name = fold(model), "folded"
    except ValueError:
        plain, name = model, "not foldable"
    yield f"{name}, fp32", lambda: plain, FP32_BOUND
    for dtype in (torch.float32, torch.bfloat16)[: 2 if half else 1]:
        full = dtype == torch.float32
        label, bound = ("fp32", FP32_BOUND) if full else ("bf16", BF16_BOUND)
        network = Formatted(copy.deepcopy(plain), dtype).eval()
        yield f"{name}, {label}, channels-last", lambda made=network: made, bound
        if example.device.type == "cpu":
            graph = partial(as_graph, network, example)
            yield f"{name}, {label}, oneDNN graph", graph, bound
        if compile:
            code = partial(compiled, network, example)
            yield f"{name}, {label}, compiled", code, bound


def _check_logits(logits: object) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise TypeError(
            "model must return logits as one tensor [B, classes], got "
            f"{type(logits).__name__} {list(getattr(logits, 'shape', []))}"
        )
    if not logits.isfinite().all():
        raise ValueError("model's logits of the example hold NaN or infinity")


def _check_arguments(
    model: nn.Module,
    example: Tensor,
    held_out: Tensor | None,
    precision: str,
    rounds: int,
) -> None:
    if any(module.training for module in model.modules()):
        raise ValueError("model is in train mode; call model.eval() first")
    if not isinstance(example, Tensor) or example.ndim != 4 or not example.numel():
        shape = list(getattr(example, "shape", [])) or type(example).__name__
        raise ValueError(f"example must be images [B, C, H, W], got {shape}")
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("model has no parameters")
    theirs, ours = ((x.dtype, x.device) for x in (parameter, example))
    if not theirs == ours == (torch.float32, theirs[1]):
        raise ValueError(
            "model and example must be float32 on one device, got "
            f"{theirs[0]} on {theirs[1]} and {ours[0]} on {ours[1]}"
        )
    if held_out is not None and (
        held_out.shape[1:] != example.shape[1:]
        or (held_out.dtype, held_out.device) != (example.dtype, example.device)
        or not len(held_out)
    ):
        raise ValueError(
            f"held_out must be images like the example's {list(example.shape)} "
            f"{example.dtype} on {example.device}, got {list(held_out.shape)} "
            f"{held_out.dtype} on {held_out.device}"
        )
    if precision not in ("auto", "fp32"):
        raise ValueError(f'precision must be "auto" or "fp32", got {precision!r}')
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
