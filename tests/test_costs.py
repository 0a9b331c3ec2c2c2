"""Guards on what things cost, in counts that no machine and no load changes.

A clock on a busy machine says little; calls, operators, bytes and multiplications
say the same everywhere. A number here may fall. If one has to rise, say why.
"""

import platform

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import TensorDataset

from course_book.experiments.roofline import work
from course_lib.backprop import gradients
from course_lib.inference import fast, fold
from course_lib.inference.programs import Formatted, as_graph
from course_lib.ledger import ledger
from course_lib.resnet import BasicBlock, ResNet, resnet18
from course_lib.trainer import Trainer, TrainerConfig

SHAPE = (2, 3, 64, 64)


class Operators(TorchDispatchMode):
    """Counts the operators that run, and the bytes that they allocate."""

    def __init__(self):
        super().__init__()
        self.names, self.allocated = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        known = {
            a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)
        }
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                memory = tensor.untyped_storage()
                if memory.data_ptr() not in known:
                    self.allocated += memory.nbytes()
        return out


class Counted(nn.Module):
    """A network that counts its forward passes."""

    def __init__(self, model):
        super().__init__()
        self.model, self.passes = model, 0

    def forward(self, x):
        self.passes += 1
        return self.model(x)


def small():
    torch.manual_seed(0)
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, stem="small")


def test_the_network_does_not_grow():
    book = ledger(resnet18().eval(), (1, 3, 224, 224))
    assert book.macs <= 1_814_073_344
    assert book.parameters <= 11_689_512
    assert len(book.rows) <= 69
    assert book.output_bytes <= 33.4e6


def test_folding_takes_out_a_quarter_of_the_bytes():
    model = resnet18().eval()
    before, after = (
        work(ledger(network, (4, 3, 224, 224))) for network in (model, fold(model))
    )
    bytes_ = [sum(layer.bytes for layer in layers) for layers in (before, after)]
    assert len(after) == len(before) - 20
    assert bytes_[1] <= 0.76 * bytes_[0]
    flops = [sum(layer.operations for layer in layers) for layers in (before, after)]
    assert flops[1] < flops[0]


def test_a_folded_network_runs_few_operators():
    folded, x = fold(resnet18().eval()), torch.randn(SHAPE)
    with torch.no_grad(), Operators() as seen:
        folded(x)
    # 20 convolutions, 17 ReLUs, 8 additions, pooling, and the head.
    assert len(seen.names) <= 52, sorted(seen.names)
    assert seen.names.count("convolution") == 20
    assert not any("norm" in name for name in seen.names)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN Graph is for x86"
)
def test_the_graph_leaves_fused_groups_only():
    """No convolution, BN or ReLU runs for itself, outside oneDNN's groups."""
    model = Formatted(fold(resnet18().eval()), torch.float32).eval()
    with torch.inference_mode():
        program = as_graph(model, torch.randn(SHAPE))
        program(torch.randn(SHAPE))
        text = str(torch.jit.last_executed_optimized_graph())
    top = text.split("with prim::")[0]
    for name in (
        "aten::conv2d",
        "aten::_convolution",
        "aten::relu",
        "aten::batch_norm",
    ):
        assert name not in top, top


def test_an_answer_takes_one_forward_pass():
    model, x = small().eval(), torch.randn(2, 3, 32, 32)
    counted = Counted(model).eval()
    quick = fast(counted, x, rounds=1)
    before = counted.passes
    quick(x)
    assert counted.passes - before <= 1


def test_a_training_step_runs_one_pass_and_an_epoch_judges_once():
    model = Counted(small())
    x, y = torch.randn(12, 3, 16, 16), torch.arange(12) % 3
    config = TrainerConfig(epochs=2, batch_size=4, progress=False, precision="fp32")
    Trainer(model, config, classes="abc").fit(
        TensorDataset(x, y), TensorDataset(x[:4], y[:4])
    )
    assert model.passes == 2 * (12 // 4 + 1)


def test_gradients_without_autograd_keep_their_operators_and_memory():
    model = resnet18(num_classes=6).train()
    x, y = torch.randn(SHAPE), torch.tensor([0, 5])
    with Operators() as seen:
        gradients(model, x, y)
    with Operators() as theirs:
        images = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(images), y)
        torch.autograd.grad(loss, [*model.parameters(), images])
    assert len(seen.names) <= 4.8 * len(theirs.names)  # was 4.4
    assert seen.allocated <= 1.6 * theirs.allocated  # was 1.5


def test_the_ledger_computes_nothing():
    """Every operator of the ledger runs without numbers, on the meta device."""
    model = resnet18().eval()
    with Operators() as seen:
        ledger(model, (1, 3, 224, 224))
    # 122 make the copy's parameters and buffers; each of 20 BN makes two statistics.
    assert len(seen.names) <= 253
    assert seen.allocated == 0
