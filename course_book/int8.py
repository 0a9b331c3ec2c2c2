"""Eight bits for weights and maps: twice as fast again, at a loss to be measured."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from course_lib.inference.choosing import Fast, Trial
from course_lib.inference.comparing import benchmark, check

__all__ = ["quantize"]


def quantize(model: nn.Module, calibration: Tensor, *, rounds: int = 5) -> Fast:
    """The network with weights and maps of eight bits, each map with a fixed scale.

    Static quantization (Jacob et al. 2018, section 2): a number r is kept as a byte
    q with r = S (q − Z). Weights have one scale for each output channel; the scale S
    and the zero point Z of a map come from the values that it takes on the
    calibration images. Unlike ``fast`` this keeps no bound: measure the accuracy.

    Args:
        model: in eval mode, float32, on the CPU. Left as it is.
        calibration: float32 [B, C, H, W], images as they will come; 32 are enough,
            and they must not be those that measure the loss.
        rounds: runs of each side, to fill ``trials``.

    Raises:
        RuntimeError: if this build of torch cannot compute in eight bits.
        ValueError: if the model is in train mode or the images are unfit.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("model is in train mode; call model.eval() first")
    if calibration.ndim != 4 or calibration.device.type != "cpu":
        raise ValueError(
            "calibration must be images [B, C, H, W] on the CPU, got "
            f"{list(calibration.shape)} on {calibration.device}"
        )
    before = torch.backends.quantized.engine
    engines = torch.backends.quantized.supported_engines
    engine = next((e for e in ("onednn", "x86", "qnnpack") if e in engines), None)
    if engine is None:
        raise RuntimeError(
            f"this build of torch computes nothing in eight bits (it knows {engines}); "
            "use fast() instead"
        )
    try:
        torch.backends.quantized.engine = engine
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this interface will move
            program = _converted(model, calibration, engine)
            found = check(program(calibration), model(calibration))
            name = f"int8 ({engine})"
            runs = {"the model as it is": model, name: program}
            seconds = benchmark(runs, calibration, rounds)
    finally:
        torch.backends.quantized.engine = before
    quick = Fast(program, program, calibration, name)
    quick.check = found
    quick.trials = tuple(
        Trial(way, taken, found if way == name else None)
        for way, taken in seconds.items()
    )
    return quick


def _converted(model: nn.Module, calibration: Tensor, engine: str) -> nn.Module:
    try:
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    except ImportError as error:
        raise RuntimeError(
            "this torch has no torch.ao.quantization any more; use fast() instead"
        ) from error
    network = copy.deepcopy(model)
    mapping = get_default_qconfig_mapping(engine)
    watched = prepare_fx(network, mapping, (calibration,))
    watched(calibration)
    return convert_fx(watched)
