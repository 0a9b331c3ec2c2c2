"""The lines of code that the Backpropagation page prints compute torch's gradients."""

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

PAGE = Path(__file__).parent.parent / "chapters" / "backprop" / "index.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run(part, **names):
    """Execute the one block that contains this part; its names afterwards."""
    (block,) = [block for block in BLOCKS if part in block]
    exec(block, names)
    return names


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def same(found, wanted):
    torch.testing.assert_close(found.reshape(wanted.shape), wanted)


def test_a_graph_of_numbers():
    class Node:
        def __init__(self, *parents):
            self.parents = parents

    x, w = Node(), Node()  # L = (w x) x, at x = 2 and w = 3
    u = Node((w, 2.0), (x, 3.0))
    loss = Node((u, 2.0), (x, 6.0))
    gradient = dict.fromkeys((x, w, u, loss), 0.0)
    run("reversed(graph)", graph=[x, w, u, loss], loss=loss, gradient=gradient)
    assert (gradient[x], gradient[w]) == (12.0, 4.0)


def test_fully_connected():
    x, w, b, delta = randn(5, 3), randn(4, 3), randn(4), randn(5, 4).detach()
    wanted = torch.autograd.grad(F.linear(x, w, b), (x, w, b), delta)
    found = run("delta.T @ x", x=x.detach(), w=w.detach(), delta=delta)
    for name, gradient in zip(("dx", "dw", "db"), wanted):
        same(found[name], gradient)


def test_softmax_and_loss():
    z, labels = randn(5, 6), torch.tensor([0, 5, 2, 2, 1])
    (wanted,) = torch.autograd.grad(F.cross_entropy(z, labels), z)
    given = {"z": z.detach(), "c": labels, "classes": 6, "B": 5}
    same(run("softmax", F=F, **given)["delta"], wanted)


def test_poolings_and_relu():
    x, g = randn(2, 3, 4, 5), randn(2, 3, 4, 5).detach()
    names = {"B": 2, "C": 3, "H": 4, "W": 5, "z": x.detach(), "g": g}
    y, winner = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    average, delta = F.adaptive_avg_pool2d(x, 1), torch.randn_like(y)

    class Maps:  # the block's dx starts as zeros where the winners are added
        def scatter_add_(self, *arguments):
            self.sum = torch.zeros(2, 3, 20).double().scatter_add_(*arguments)

    (block,) = [block for block in BLOCKS if "scatter_add_" in block]
    simple, pooling = block.split("# max pooling")
    found = dict(names, delta=torch.randn_like(average))
    exec(simple, found)
    (wanted,) = torch.autograd.grad(average, x, found["delta"])
    same(found["dx"], wanted)
    (wanted,) = torch.autograd.grad(F.relu(x), x, g)
    same(found["dz"], wanted)
    maps = Maps()
    exec("#" + pooling, {"dx": maps, "winner": winner.flatten(2),
                         "delta": delta.flatten(2)})  # fmt: skip
    (wanted,) = torch.autograd.grad(y, x, delta)
    same(maps.sum, wanted)


def test_convolution():
    x, w, delta = randn(5), randn(3), randn(3).detach()
    z = F.conv1d(x[None, None], w[None, None], None, 2, 1)[0, 0]
    zeros = {"dx": torch.zeros(5).double(), "dw": torch.zeros(3).double()}
    sizes = {"N": 5, "K": 3, "S": 2, "P": 1, "n_out": 3}
    found = run("range(n_out)", x=x, w=w, delta=delta, **zeros, **sizes)
    for name, wanted in zip(("dx", "dw"), torch.autograd.grad(z, (x, w), delta)):
        same(found[name].detach(), wanted)

    for size in (5, 6):  # the floor drops nothing, and a row
        x, w = randn(2, 3, size, size), randn(4, 3, 3, 3)
        z = F.conv2d(x, w, None, 2, 1)
        delta = torch.randn_like(z)
        given = {"x": x, "w": w, "delta": delta, "N": size, "K": 3, "S": 2, "P": 1}
        found = run("conv_transpose2d", F=F, torch=torch, **given)
        for name, wanted in zip(("dx", "dw"), torch.autograd.grad(z, (x, w), delta)):
            same(found[name].detach(), wanted)


def test_batch_normalization():
    z, gamma, beta = randn(3, 2, 4, 5), randn(2), randn(2)
    y = F.batch_norm(z, None, None, gamma, beta, training=True)
    delta = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (z, gamma, beta), delta)
    z = z.detach()
    s = (z.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    z_hat = (z - z.mean((0, 2, 3), keepdim=True)) / s
    per_channel = gamma.detach()[:, None, None]
    found = run("dgamma", delta=delta, z_hat=z_hat, s=s, gamma=per_channel,
                B=3, H=4, W=5)  # fmt: skip
    for name, gradient in zip(("dz", "dgamma", "dbeta"), wanted):
        same(found[name], gradient)


def test_the_step():
    theirs = torch.nn.Parameter(torch.randn(4))
    rule = {"momentum": 0.9, "weight_decay": 5e-4, "lr": 0.05}
    optimizer = torch.optim.SGD([theirs], **rule)
    ours, velocity = theirs.detach().clone(), torch.zeros(4)
    for _ in range(3):
        theirs.grad = torch.randn(4)
        run("weight_decay * w", weights={"w": ours}, velocity={"w": velocity},
            found={"w": theirs.grad}, **rule)  # fmt: skip
        optimizer.step()
    same(ours, theirs.detach())
