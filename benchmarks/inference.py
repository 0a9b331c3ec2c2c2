"""Answers of ResNet-18: ours against torchvision, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.pictures import pair, pictures
from benchmarks.racing import Measurement, Settings, peer, race, row
from course_book.int8 import quantize
from course_lib.inference import BF16_BOUND, fast
from course_lib.inference.choosing import check

Program = Callable[[Tensor], Tensor]
GOALS = {  # batch of 224 px: against torchvision, ONNX Runtime, OpenVINO
    8: {"torchvision": ">= 3.0", "onnxruntime": ">= 1.0", "openvino": ">= 0.95"},
    1: {"torchvision": ">= 2.0", "onnxruntime": ">= 1.0", "openvino": ">= 0.75"},
}


def onnx_runtime(model: nn.Module, x: Tensor, threads: int) -> Program:
    """ONNX Runtime with its defaults, on so many threads."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "resnet18.onnx")
        torch.onnx.export(model, (x,), path, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def open_vino(model: nn.Module, x: Tensor, threads: int) -> Program:
    """OpenVINO with its defaults (bf16 where that is native), on so many threads."""
    import openvino

    program = openvino.Core().compile_model(
        openvino.convert_model(model, example_input=x),
        "CPU",
        {"INFERENCE_NUM_THREADS": threads},
    )
    return lambda x: torch.from_numpy(program(x.numpy())[0].copy())


def rows(settings: Settings) -> Iterator[Measurement]:
    """One row for each shape and each peer, and one for eight bits."""
    ours, theirs = pair()
    for batch, size in settings.shapes:
        images, _ = pictures(batch + 64, size)
        x, others = images[:batch], images[batch:]
        quick = fast(ours, x, others)
        programs: dict[str, Program] = {"torchvision": theirs}
        if peer("onnxruntime") and peer("onnx"):
            programs["onnxruntime"] = onnx_runtime(theirs, x, settings.threads)
        if peer("openvino"):
            programs["openvino"] = open_vino(theirs, x, settings.threads)
        with torch.inference_mode():
            exact = theirs(x)
            found = check(quick(x), exact)
            assert found.error <= BF16_BOUND and not found.changed, found
            for name, program in programs.items():
                other = check(program(x), exact)
                assert other.error <= BF16_BOUND, f"{name}: {other}"
            sides = {name: partial(p, x) for name, p in programs.items()}
            times = race(sides | {"ours": partial(quick, x)}, settings)
        goals = GOALS.get(batch, {}) if size == 224 else {}
        case = f"ResNet-18, {batch} × {size} px, {quick.way}"
        for name in programs:
            yield row(
                "inference",
                case,
                peer(name) or name,
                times["ours"],
                times[name],
                goal=goals.get(name, ""),
                equal=str(quick.check),
            )
    yield from eight_bits(settings, ours, theirs)


def eight_bits(
    settings: Settings, ours: nn.Module, theirs: nn.Module
) -> Iterator[Measurement]:
    """Static int8 against float32: time, and answers on 120 labeled pictures."""
    images, labels = pictures(152, 224)
    quick = quantize(ours, images[:32], rounds=1)
    images, labels = images[32:], labels[32:]
    with torch.inference_mode():
        plain = torch.cat([theirs(part) for part in images.split(8)])
        small = torch.cat([quick(part) for part in images.split(8)])
        x = images[:8]
        sides = {"ours": lambda: quick(x), "torchvision": lambda: theirs(x)}
        times = race(sides, settings)
    right = [(logits.argmax(1) == labels).sum().item() for logits in (plain, small)]
    loss = (
        f"not equal: {right[0]} right answers of {len(labels)} become {right[1]}, "
        f"relative error {check(small, plain).error:.1e}"
    )
    case = f"ResNet-18, 8 × 224 px, {quick.way}"
    against = peer("torchvision") or "torchvision"
    yield row(
        "inference", case, against, times["ours"], times["torchvision"], equal=loss
    )
