"""Which number type a device computes in natively."""

from __future__ import annotations

import torch

__all__ = ["native_bf16", "precision_type"]


def native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware, so that it pays.

    GPUs do from compute capability 8.0 on (Ampere), x86 processors with AVX512-BF16
    or AMX. Others emulate it, which is slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # Private names until torch 2.11; an absent one counts as "no".
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def precision_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type for autocast; None computes in the model's own.

    Raises:
        ValueError: for fp16 on anything but a CUDA device.
    """
    if precision == "auto":
        return torch.bfloat16 if native_bf16(device) else None
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f'precision must not be "fp16" on {device.type}: its range needs a '
            'gradient scaler and a CUDA GPU; use "auto"'
        )
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
