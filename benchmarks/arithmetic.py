"""Counting and differentiating: the ledger, and backprop without autograd."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.pictures import pair, pictures
from benchmarks.racing import Measurement, Settings, peer, race, row
from course_lib.backprop import gradients
from course_lib.ledger import ledger
from course_lib.resnet import resnet152

SHAPE = (1, 3, 224, 224)


def rows(settings: Settings) -> Iterator[Measurement]:
    """The ledger against two peers, the gradients at two sizes."""
    yield from ledgers(settings)
    for size, goal in ((64, "<= 1.1"), (224, "<= 1.6")):
        yield backward(settings, size, goal)


def ledgers(settings: Settings) -> Iterator[Measurement]:
    """ResNet-152: every layer's shapes, parameters and MACs."""
    model = resnet152().eval()
    ours = ledger(model, SHAPE)
    sides = {"ours": lambda: ledger(model, SHAPE)}
    if peer("torchinfo"):
        import torchinfo

        def summary() -> torchinfo.ModelStatistics:
            return torchinfo.summary(model, input_size=SHAPE, verbose=0, device="cpu")

        # torchinfo counts one more for each bias and each γ and β.
        more = sum(p.numel() for p in model.parameters() if p.ndim == 1)
        theirs = summary()
        assert theirs.total_params == ours.parameters
        assert theirs.total_mult_adds == ours.macs + more
        sides["torchinfo"] = summary
    if peer("fvcore"):
        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)
        x = torch.randn(SHAPE)

        def flops() -> FlopCountAnalysis:
            count = FlopCountAnalysis(model, x).unsupported_ops_warnings(False)
            count.by_operator()
            return count

        counts = flops().by_operator()
        assert counts["conv"] + counts["linear"] == ours.macs
        sides["fvcore"] = flops
    with torch.inference_mode():
        times = race(sides, settings)
    for name in set(sides) - {"ours"}:
        yield row(
            "ledger",
            "ResNet-152, 224 px",
            peer(name),
            times["ours"],
            times[name],
            # As set in version 1. Version 2 allows >= 5 if half the code goes.
            goal=">= 10",
            equal="the same parameters and multiply-accumulates",
        )


def backward(settings: Settings, size: int, goal: str) -> Measurement:
    """All gradients of ResNet-18 and of its input, batch 8, float32."""
    model, _ = pair()
    model.train()
    x, y = pictures(8, size)
    names = [name for name, _ in model.named_parameters()]

    def autograd() -> dict[str, Tensor]:
        images = x.detach().requires_grad_()
        loss = nn.functional.cross_entropy(model(images), y)
        found = torch.autograd.grad(loss, [*model.parameters(), images])
        return dict(zip([*names, "input"], found))

    def ours() -> dict[str, Tensor]:
        return gradients(model, x, y)

    mine, theirs = ours(), autograd()
    worst = max(
        ((mine[n] - theirs[n]).norm() / theirs[n].norm().clamp_min(1e-12)).item()
        for n in theirs
    )
    assert mine.keys() == theirs.keys() and worst < 2e-3, worst
    times = race({"ours": ours, "autograd": autograd}, settings)
    return row(
        "backprop.gradients",
        f"ResNet-18, 8 × {size} px",
        "torch.autograd, the input's gradient included",
        times["ours"],
        times["autograd"],
        goal=goal,
        share=True,
        equal=f"largest relative error of a gradient {worst:.0e}",
    )
