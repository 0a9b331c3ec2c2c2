"""A mistake in a backward by hand is found by the checks of test_backprop.py.

The mutants are the layer's own source with one piece replaced; the same check, on
the same kind of cases, must find each of them.
"""

import inspect

import pytest
from test_backprop import CHECKS, run

from course_lib.backprop import layers


def mutant(name, old, new):
    """A function of layers.py with one piece of its source replaced."""
    source = inspect.getsource(getattr(layers, name))
    assert source.count(old) == 1, f"{name} has {source.count(old)} times {old!r}"
    namespace = dict(vars(layers))
    exec(source.replace(old, new), namespace)
    return namespace[name]


# A tie goes to the last column of the window, with the same output.
LAST_WINS = (
    "winner = F.max_pool2d(x + 1e-9 * torch.arange(x.shape[3]), kernel_size, stride, "
    "padding, dilation, return_indices=True)[1]"
)
MUTANTS = {
    "conv2d_backward": [
        ("return dx,", "return -dx,"),  # sign
        ("delta, w, None", "delta, w.flip(2, 3), None"),  # no flip
        ("stride, padding, dropped", "stride, padding, (0, 0)"),  # the floor forgotten
        ("delta.sum(dim=(0, 2, 3))", "delta.mean(dim=(0, 2, 3))"),  # ∂b
    ],
    "conv2d_weight_gradient": [
        ("dilation, padding, stride)", "stride, padding, dilation)"),
        ("bop,bcp->oc", "bop,bcp->co"),
        ("delta.flatten(2)", "delta.flip(2).flatten(2)"),
    ],
    "fast_weight_gradient": [
        ("flatten(1, 2)[..., None]", "flatten(1, 2).flip(2)[..., None]"),  # a flip here
        ("(dilation_k, 1)", "(1, 1)"),  # dilation forgotten
        ("0, (step_i, 1)", "0, (1, 1)"),  # δ not spread by the stride
        ("start + reach : step_j", "start + delta.shape[3]"),
        ("range(0, dilation_l * columns, dilation_l)", "range(columns)"),
        ("pad_i, pad_i, pad_j, pad_j)", "2 * pad_i, 0, 2 * pad_j, 0)"),
        ("[:, :, :rows]", "[:, :, -rows:]"),  # the wrong rows cut off
    ],
    "batch_norm_forward": [
        ("(biased + eps)", "(biased + 2 * eps)"),
        ("var * ((m - 1) / m) if own", "var if own"),  # the unbiased variance
        ("momentum=1.0, ", ""),  # a tenth of the batch's statistics
        ("z - mu[:, None, None]", "z.clone()"),
    ],
    "batch_norm_backward": [
        ("delta - (dbeta / m)[:, None, None]", "delta.clone()"),  # through the mean
        ("(dgamma / m)[:, None, None], value=-1", "scale, value=0"),  # through σ²
        ("value=-1", "value=1"),
        ("m = z_hat.numel()", "m = -1 + z_hat.numel()"),  # the unbiased m - 1
        ("if not own:", "if False:"),  # eval mode as train mode
        ("if not own:", "if True:"),  # train mode as eval mode
        ("dz *= scale", "dz = dz"),
        ("gamma * inv_sigma", "inv_sigma"),  # γ forgotten
        ("gamma * inv_sigma", "gamma / inv_sigma"),
        ("(delta * z_hat)", "(delta * z_hat * inv_sigma[:, None, None])"),
        ("return dz, dgamma, dbeta", "return dz, dbeta, dgamma"),
    ],
    "relu_backward": [("y.sign()", "(y >= 0)"), ("delta *", "-delta *")],
    "max_pool_forward": [("return y,", f"{LAST_WINS}; return y,")],
    "max_pool_backward": [
        ("scatter_add_", "scatter_"),  # overlapping windows overwrite each other
        ("delta.flatten(2))", "delta.flatten(2).abs())"),
    ],
    "global_average_pool_backward": [
        ("height * width", "1"),
        ("height * width", "height * height"),
    ],
    "linear_backward": [
        ("delta @ w", "delta @ w.abs()"),
        ("delta.T @ x", "(delta.sum(0)[:, None] * x.sum(0))"),  # sums before products
        ("delta.sum(dim=0)", "delta.mean(dim=0)"),
    ],
    "cross_entropy_forward": [
        ("target * weight /", "target /"),
        ("weight[labels].sum()", "len(labels)"),
        ("/ z.shape[1]", "/ (z.shape[1] + 1)"),
        ("(1 - label_smoothing) * one_hot", "one_hot"),
    ],
    "cross_entropy_backward": [
        (" - share)", ")"),  # p without y
        ("share.sum(dim=1, keepdim=True)", "1 / len(p)"),
        ("delta *", "1 *"),
    ],
    "fork_backward": [
        ("of_branch + of_shortcut", "of_branch"),
        ("of_branch + of_shortcut", "of_shortcut"),
        ("of_branch + of_shortcut", "(of_branch + of_shortcut) / 2"),
    ],
    "add_backward": [
        ("delta, delta", "delta, -delta"),
        ("return delta, delta", "return delta / 2, delta / 2"),
    ],
}


@pytest.mark.parametrize(
    "name, old, new",
    [(name, *change) for name, changes in MUTANTS.items() for change in changes],
)
def test_mutant_is_caught(monkeypatch, name, old, new):
    monkeypatch.setattr(layers, name, mutant(name, old, new))
    operation = "fork" if name == "add_backward" else name.rpartition("_")[0]
    operation = "conv2d" if name.endswith("weight_gradient") else operation
    with pytest.raises((AssertionError, RuntimeError)):
        run(operation, cases=100)


def test_mutation_itself_is_no_mistake(monkeypatch):
    """The same machinery with nothing replaced: every check passes."""
    for name in MUTANTS:
        monkeypatch.setattr(layers, name, mutant(name, f"def {name}", f"def {name}"))
    for operation in CHECKS:
        run(operation, cases=20)


def test_every_backward_has_a_mutant():
    backwards = {name for name in dir(layers) if name.endswith("_backward")}
    assert backwards <= set(MUTANTS)
