r"""Batch normalization in eval mode, folded into the convolution before it.

In eval mode BN (Ioffe and Szegedy 2015, section 3.1, algorithm 2) applies one fixed
line to each channel c, with the running mean :math:`\mu` and variance
:math:`\sigma^2`:

.. math:: y_c = \gamma_c \frac{z_c - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c
              = s_c z_c + (\beta_c - s_c \mu_c),
          \qquad s_c = \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}}.

The convolution before it is linear, :math:`z_c = \sum_k W_{ck} x_k + b_c`, so

.. math:: y_c = \sum_k (s_c W_{ck}) x_k + s_c (b_c - \mu_c) + \beta_c,

a convolution with the weights :math:`s_c W_{ck}` and the bias
:math:`s_c (b_c - \mu_c) + \beta_c`. Nothing is lost but rounding, and a map is read
and written once less. Padding stays right, because zeros of x give the bias in both.
"""

import copy
from collections import Counter

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def folded_weights(conv: nn.Module, bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights and bias [C] of a convolution of C output channels with its BN folded in.

    Computed in float64 and rounded once, to the dtype of ``conv.weight``. ValueError
    if the channels differ or ``bn`` keeps no running statistics.
    """
    if bn.running_var is None or bn.running_mean is None:
        raise ValueError("bn keeps no running statistics (track_running_stats=False)")
    if conv.out_channels != bn.num_features:
        raise ValueError(
            f"conv has {conv.out_channels} output channels and bn {bn.num_features}"
        )
    scale = (bn.running_var.detach().double() + bn.eps).rsqrt()
    if bn.weight is not None:
        scale = scale * bn.weight.detach().double()
    bias = -bn.running_mean.detach().double()
    if conv.bias is not None:
        bias = bias + conv.bias.detach().double()
    bias = bias * scale
    if bn.bias is not None:
        bias = bias + bn.bias.detach().double()
    weight = conv.weight.detach()
    by_channel = scale.view(-1, *[1] * (weight.ndim - 1))
    return (weight.double() * by_channel).to(weight.dtype), bias.to(weight.dtype)


def fold(model: nn.Module) -> fx.GraphModule:
    """A copy of a network in which each BN that can be folded is gone.

    Folded is a BN whose input is the result of a convolution that nothing else
    reads; others stay. The copy is for inference, without hooks and gradients.

    Raises:
        ValueError: in train mode, where BN depends on the batch, or if ``torch.fx``
            cannot follow the model, as where ``forward`` branches on values.
    """
    batch_norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if model.training or any(bn.training for bn in batch_norms):
        raise ValueError("model is in train mode; call model.eval() first")
    try:
        graph = fx.symbolic_trace(copy.deepcopy(model))
    except Exception as error:  # whatever the model's own code makes of a proxy
        raise ValueError(
            f"torch.fx cannot follow {type(model).__name__}, so its BN cannot be "
            f"folded: {error}"
        ) from error
    modules = dict(graph.named_modules())
    calls = Counter(n.target for n in graph.graph.nodes if n.op == "call_module")
    for node in list(graph.graph.nodes):
        if not _foldable(node, modules, calls):
            continue
        before = node.args[0]
        conv = modules[before.target]
        weight, bias = folded_weights(conv, modules[node.target])
        conv.weight = nn.Parameter(weight, requires_grad=False)
        conv.bias = nn.Parameter(bias, requires_grad=False)
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph.eval().requires_grad_(False)


def _foldable(
    node: fx.Node, modules: dict[str, nn.Module], calls: Counter[str]
) -> bool:
    """Whether a node is a BN that reads a convolution which it has to itself."""
    if node.op != "call_module" or not isinstance(modules[node.target], _BatchNorm):
        return False
    before = node.args[0] if node.args else None
    return (
        isinstance(before, fx.Node)
        and before.op == "call_module"
        and type(modules[before.target]) in _CONVOLUTIONS
        and len(before.users) == 1
        and calls[before.target] == 1  # a second call would see folded weights
        and modules[node.target].running_var is not None
    )
