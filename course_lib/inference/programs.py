"""The ways to run one network: each a callable, from float32 images to logits.

All include the conversion to their own number and memory format and back, so that
their times compare and the caller need not know of it.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

Program = Callable[[Tensor], Tensor]


class Formatted(nn.Module):
    """A network that computes channels-last in ``dtype`` and answers in float32.

    Channels-last keeps the channels of one pixel side by side, which is how the
    convolutions of oneDNN and cuDNN read them: no map is reordered on the way.
    The network itself is converted, so give a copy.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype=dtype, memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(dtype=self.dtype, memory_format=torch.channels_last)
        return self.network(x).float()


def as_graph(network: nn.Module, example: Tensor) -> Program:
    """The network as one frozen TorchScript program, parts of it run by oneDNN Graph.

    oneDNN fuses ReLU and addition into the convolution before them and keeps the
    weights in the order that its kernels read. It needs no compiler. The program is
    for the shape of ``example``. Torch raises a RuntimeError where it cannot trace.
    """
    before = torch.jit.onednn_fusion_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is in maintenance
        torch.jit.enable_onednn_fusion(True)
        try:
            traced = torch.jit.trace(network, example, check_trace=False)
            program = torch.jit.freeze(traced)
            for _ in range(3):  # the first runs look at shapes, the next one fuses
                program(example)
        finally:
            torch.jit.enable_onednn_fusion(before)
    return program


def compiled(network: nn.Module, example: Tensor) -> Program:
    """The network through ``torch.compile`` with its weights frozen.

    On a CPU it writes and compiles C++, half a minute for ResNet-18; on CUDA its
    kernels start together, as a CUDA graph. Raises whatever the compiler does.
    """
    options: dict[str, bool] = {"freezing": True}
    if example.device.type == "cuda":
        options["triton.cudagraphs"] = True
    program = torch.compile(network, options=options)
    for _ in range(3):
        program(example)
    if example.device.type != "cuda":
        return program
    # The memory of a CUDA graph's result is written again by its next run.
    return lambda x: program(x).clone()
