"""Each operation of ResNet forward, and right beside it its backward by hand.

``*_forward`` returns the output and ``saved``, what backward will need.
``*_backward(delta, saved)`` takes δ, the gradient of the loss L at that output, and
returns the gradients at the operation's inputs, in their order. Nothing asks autograd.

Shapes: B images, C channels in, O out, maps of H x W before and H' x W' after a window.
The course's chapter on backpropagation derives all of this.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = int | tuple[int, int]
Saved = tuple[Any, ...]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def conv2d_forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> tuple[Tensor, Saved]:
    """z[b,o,i,j] = b[o] + Σ_c,k,l w[o,c,k,l] · x[b,c,iS−P+kD,jS−P+lD].

    From x [B, C, H, W], w [O, C, K, K] and b [O] to z [B, O, H', W'] and saved. The
    stride S, the padding P (zeros on each side) and the dilation D are one number or
    (rows, columns); K may be two sizes as well.
    """
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    z = F.conv2d(x, w, b, stride, padding, dilation)
    return z, (x, w, b is not None, stride, padding, dilation)


def conv2d_backward(
    delta: Tensor, saved: Saved
) -> tuple[Tensor, Tensor, Tensor | None]:
    """∂L/∂x, ∂L/∂w and ∂L/∂b (None without b) for δ = ∂L/∂z [B, O, H', W']."""
    x, w, has_bias, stride, padding, dilation = saved

    # ∂x: δ goes back through the weights that it came by. A transposed convolution
    # moves δ's values S apart and runs the flipped kernels over them. Rows of x that
    # the floor of the size formula dropped were read by no window: they get 0.
    dropped = [
        (x.shape[n + 2] + 2 * padding[n] - dilation[n] * (w.shape[n + 2] - 1) - 1)
        % stride[n]
        for n in (0, 1)
    ]
    dx = F.conv_transpose2d(delta, w, None, stride, padding, dropped, dilation=dilation)
    dw = fast_weight_gradient(delta, saved)
    db = delta.sum(dim=(0, 2, 3)) if has_bias else None
    return dx, dw, db


def conv2d_weight_gradient(delta: Tensor, saved: Saved) -> Tensor:
    """∂w[o,c,k,l] = Σ_b,i,j δ[b,o,i,j] · x[b,c,iS−P+kD,jS−P+lD], as it reads.

    ``unfold`` makes a column of each window; one sum over batch and positions is left.
    """
    x, w, _, stride, padding, dilation = saved
    windows = F.unfold(x, w.shape[2:], dilation, padding, stride)  # [B, C·K·K, H'·W']
    dw = torch.einsum("bop,bcp->oc", delta.flatten(2), windows)
    return dw.view(w.shape)


def fast_weight_gradient(delta: Tensor, saved: Saved) -> Tensor:
    """The same without K² copies of x: x convolved with δ, whose values lie S apart.

    For each column l of the kernel, gather the columns of x that it met. Then only i
    is left to slide; b and j, which are summed over, take the place of the channels,
    and c that of a column.
    """
    x, w, _, (step_i, step_j), (pad_i, pad_j), (dilation_k, dilation_l) = saved
    rows, columns = w.shape[2:]
    x = F.pad(x.permute(0, 3, 2, 1), (0, 0, pad_i, pad_i, pad_j, pad_j))
    reach = (delta.shape[3] - 1) * step_j + 1
    starts = range(0, dilation_l * columns, dilation_l)
    met = torch.stack([x[:, start : start + reach : step_j] for start in starts])
    met = met.flatten(1, 2)  # [K, B·W', H + 2P, C]
    kernel = delta.permute(1, 0, 3, 2).flatten(1, 2)[..., None]  # [O, B·W', H', 1]
    dw = F.conv2d(met, kernel, None, (dilation_k, 1), 0, (step_i, 1))
    return dw[:, :, :rows].permute(1, 3, 2, 0)  # [K, O, K, C] to [O, C, K, K]


def batch_norm_forward(
    z: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    running: tuple[Tensor, Tensor] | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Saved]:
    """BN: y = γ ẑ + β with ẑ = (z − μ) / √(σ² + ε), channel by channel.

    Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167, section 3.

    Args:
        z: [B, C, H, W], as y.
        gamma: γ [C].
        beta: β [C].
        running: mean and variance [C] to use in eval mode; None is train mode,
            where the batch's own mean and biased variance are used. No running
            statistics are updated.
        eps: ε.
    """
    own = running is None
    # torch computes y, so that it is rounded as torch's: at a ReLU's kink another
    # last bit would turn a slope of 0 into 1. With momentum 1 the "running" mean and
    # variance that it updates are the batch's own, the variance divided by m − 1.
    mu, var = (torch.zeros_like(gamma), torch.zeros_like(gamma)) if own else running
    y = F.batch_norm(z, mu, var, gamma, beta, training=own, momentum=1.0, eps=eps)
    m = z.numel() // z.shape[1]  # values per channel: B·H·W
    biased = var * ((m - 1) / m) if own else var
    inv_sigma = (biased + eps).rsqrt()
    z_hat = z - mu[:, None, None]
    z_hat *= inv_sigma[:, None, None]
    return y, (z_hat, gamma, inv_sigma, own, (mu, var))


def batch_norm_backward(delta: Tensor, saved: Saved) -> tuple[Tensor, Tensor, Tensor]:
    """∂L/∂z, ∂L/∂γ and ∂L/∂β for δ = ∂L/∂y, in the mode (train, eval) of forward."""
    z_hat, gamma, inv_sigma, own, _ = saved
    m = z_hat.numel() // z_hat.shape[1]  # values per channel: B·H·W

    dbeta = delta.sum(dim=(0, 2, 3))
    dgamma = (delta * z_hat).sum(dim=(0, 2, 3))

    scale = (gamma * inv_sigma)[:, None, None]
    if not own:  # μ and σ are constants: there is only the direct path
        return delta * scale, dgamma, dbeta
    # z also moves μ and σ of its channel. These two paths take away from δ its mean
    # and its share along ẑ; in place, because new memory costs more than the sums.
    dz = delta - (dbeta / m)[:, None, None]
    dz.addcmul_(z_hat, (dgamma / m)[:, None, None], value=-1)  # − ẑ · mean of δ ẑ
    dz *= scale
    return dz, dgamma, dbeta


def relu_forward(z: Tensor) -> tuple[Tensor, Saved]:
    """ReLU: y = max(z, 0), for any shape."""
    y = F.relu(z)
    return y, (y,)


def relu_backward(delta: Tensor, saved: Saved) -> Tensor:
    """∂L/∂z: δ where z > 0, else 0. At the kink, z = 0, PyTorch takes slope 0."""
    (y,) = saved
    return delta * y.sign()  # y is never negative: 1 where z > 0, else 0


def max_pool_forward(
    x: Tensor,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> tuple[Tensor, Saved]:
    """The largest number of each window: [B, C, H, W] to [B, C, H', W'].

    The sizes are those of a convolution. The padding never wins; it is at most half
    of ``kernel_size``, which is also the stride unless told.
    """
    # winner: for each window the flat position i·W + j of its largest number; at
    # a tie, the first in reading order.
    y, winner = F.max_pool2d(
        x, kernel_size, stride, padding, dilation, return_indices=True
    )
    return y, (x.shape, winner)


def max_pool_backward(delta: Tensor, saved: Saved) -> Tensor:
    """∂L/∂x [B, C, H, W]: each window hands its δ to its winner, and these add up."""
    shape, winner = saved
    dx = delta.new_zeros(shape).flatten(2)
    dx.scatter_add_(2, winner.flatten(2), delta.flatten(2))
    return dx.view(shape)


def global_average_pool_forward(x: Tensor) -> tuple[Tensor, Saved]:
    """The mean of each map: [B, C, H, W] to [B, C]."""
    return x.mean(dim=(2, 3)), (x.shape,)


def global_average_pool_backward(delta: Tensor, saved: Saved) -> Tensor:
    """∂L/∂x [B, C, H, W]: each of the H·W places gets an equal share of δ [B, C]."""
    ((batch, channels, height, width),) = saved
    share = (delta / (height * width))[:, :, None, None]
    return share.expand(batch, channels, height, width)


def linear_forward(
    x: Tensor, w: Tensor, b: Tensor | None = None
) -> tuple[Tensor, Saved]:
    """FC: z = x wᵀ + b for x [B, C], w [O, C], b [O] or None; z [B, O] and saved."""
    return F.linear(x, w, b), (x, w, b is not None)


def linear_backward(
    delta: Tensor, saved: Saved
) -> tuple[Tensor, Tensor, Tensor | None]:
    """∂L/∂x [B, C], ∂L/∂w [O, C], ∂L/∂b [O] (None without b) for δ [B, O]."""
    x, w, has_bias = saved
    dx = delta @ w
    dw = delta.T @ x  # ∂L/∂w[o,c] = Σ_b δ[b,o] · x[b,c]: two indices, not one
    db = delta.sum(dim=0) if has_bias else None
    return dx, dw, db


def check_labels(labels: Tensor, images: int, classes: int) -> None:
    """Refuse labels that are not one class for each image, int64 [B]."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor, got {type(labels).__name__}")
    if labels.dtype != torch.int64 or labels.shape != (images,):
        raise ValueError(
            f"labels must be int64 [{images}], one class per image, got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    for wrong in labels[(labels < 0) | (labels >= classes)][:1].tolist():
        raise ValueError(
            f"labels must lie in 0 ... {classes - 1}, as there are {classes} "
            f"outputs, got {wrong}"
        )


def cross_entropy_forward(
    z: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Saved]:
    """Softmax and cross-entropy in one, the mean over the batch.

    Args:
        z: logits [B, O].
        labels: the true classes, int64 [B].
        weight: of each class [O]; the mean is then a weighted one, as torch's.
        label_smoothing: s of 0 to 1; the target is (1 − s) for the label plus s / O
            for every class.

    Returns:
        L, a tensor without dimensions, and saved.
    """
    log_p = z.log_softmax(dim=1)
    one_hot = F.one_hot(labels, z.shape[1]).to(z)
    target = (1 - label_smoothing) * one_hot + label_smoothing / z.shape[1]
    if weight is None:
        weight = z.new_ones(z.shape[1])
    # How much each −ln p[b,o] counts. The mean is weighted by the labels' classes,
    # also where smoothing lets other classes take part in the sum.
    share = target * weight / weight[labels].sum()  # [B, O]
    return -(share * log_p).sum(), (log_p.exp(), share)


def cross_entropy_backward(delta: Tensor | float, saved: Saved) -> Tensor:
    """∂L/∂z [B, O]. δ is the gradient at L itself: 1 where L is what we minimize."""
    p, share = saved
    # Without weights and smoothing: (p − y) / B, with y the one-hot label.
    return delta * (p * share.sum(dim=1, keepdim=True) - share)


def fork_forward(x: Tensor) -> tuple[tuple[Tensor, Tensor], Saved]:
    """Send x down two ways, the branch F and the shortcut (He et al. 2015, eq. 1)."""
    return (x, x), ()


def fork_backward(delta: tuple[Tensor, Tensor], saved: Saved) -> Tensor:
    """∂L/∂x: what comes back along the two ways adds up."""
    of_branch, of_shortcut = delta
    return of_branch + of_shortcut


def add_forward(f: Tensor, shortcut: Tensor) -> tuple[Tensor, Saved]:
    """Join the two ways: y = F(x) + shortcut, of one shape."""
    return f + shortcut, ()


def add_backward(delta: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """∂L/∂F and ∂L/∂shortcut: both are δ itself, which the addition passes on."""
    return delta, delta
