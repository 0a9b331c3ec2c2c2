"""Real digits, the small nets that learn them, and their gradients at the start.

The nets are those of He et al. (2015), https://arxiv.org/abs/1512.03385,
section 4.2, built from the course's own units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from course_lib.resnet import BasicBlock, PlainBlock, conv1x1, conv3x3

__all__ = [
    "BLOCKS",
    "Digits",
    "DigitsNet",
    "first_to_last",
    "gradient_norms",
    "load_digits",
    "remove_bn",
]

BLOCKS = {"plain": PlainBlock, "residual": BasicBlock}


class Digits(NamedTuple):
    """Images [B, 1, 8, 8], float32, and labels [B], int64, of each split."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load_digits(device: torch.device | str = "cpu") -> Digits:
    """scikit-learn's 1,797 real handwritten digits of 8x8, split 60/20/20.

    Each class has the same share in every split. It is not the split of
    ``course_lib.data.digits``, 70/15/15, because the tables of the long runs
    (degradation, skip connections) were measured with this one. The pixels are
    shifted and scaled by mean and standard deviation of the training images.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    raw = datasets.load_digits()
    everything = range(len(raw.target))
    train, rest = train_test_split(
        everything, train_size=0.6, stratify=raw.target, random_state=0
    )
    validation, test = train_test_split(
        rest, train_size=0.5, stratify=raw.target[rest], random_state=0
    )
    images = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1)
    images = (images - images[train].mean()) / images[train].std()
    images, labels = images.to(device), torch.tensor(raw.target).to(device)
    return Digits(*((images[part], labels[part]) for part in (train, validation, test)))


class DigitsNet(nn.Module):
    """The small net of He et al. (2015), section 4.2, from the course's units.

    A 3x3 convolution, three stages of n units, global average pooling and a
    fully connected layer: 1 + 3 * 2n + 1 = 6n + 2 layers. One thing differs from
    the paper: where the shape changes, the residual net has a projection, as
    ResNet-18 does, and no zero padding.

    Args:
        kind: ``"plain"`` or ``"residual"``.
        depth: 6n + 2 with n of at least 1.

    Raises:
        ValueError: for another kind or another depth.
    """

    def __init__(self, kind: Literal["plain", "residual"], depth: int) -> None:
        super().__init__()
        if kind not in BLOCKS:
            raise ValueError(f'kind must be "plain" or "residual", got {kind!r}')
        if depth < 8 or depth % 6 != 2:
            raise ValueError(
                f"depth must be 6n + 2, such as 8, 20 or 56, got {depth!r}"
            )
        self.conv1 = conv3x3(1, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        units = (depth - 2) // 6
        self.layer1 = self._make_layer(BLOCKS[kind], 16, 16, 1, units)
        self.layer2 = self._make_layer(BLOCKS[kind], 16, 32, 2, units)
        self.layer3 = self._make_layer(BLOCKS[kind], 32, 64, 2, units)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )

    @staticmethod
    def _make_layer(
        block: type[BasicBlock], channels: int, width: int, stride: int, count: int
    ) -> nn.Sequential:
        downsample = None
        if stride != 1 and block is not PlainBlock:
            downsample = nn.Sequential(
                conv1x1(channels, width, stride), nn.BatchNorm2d(width)
            )
        first = block(channels, width, stride, downsample)
        return nn.Sequential(first, *(block(width, width) for _ in range(1, count)))

    def forward(self, x: Tensor) -> Tensor:  # [B, 1, 8, 8]
        """Return the logits [B, 10]."""
        x = self.relu(self.bn1(self.conv1(x)))  # [B, 16, 8, 8]
        x = self.layer1(x)  # [B, 16, 8, 8]
        x = self.layer2(x)  # [B, 32, 4, 4]
        x = self.layer3(x)  # [B, 64, 2, 2]
        x = torch.flatten(self.avgpool(x), 1)  # [B, 64]
        return self.fc(x)


def remove_bn(net: nn.Module) -> nn.Module:
    """Put ``nn.Identity`` in the place of every BatchNorm2d, in place."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return net


def gradient_norms(net: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Norm of the loss's gradient in the weights of each convolution, input first.

    Counts the 3x3 convolutions of the main path, so that a plain net and its
    residual twin give lists of equal length. Runs in train mode, where BN uses
    the batch's own statistics, and leaves parameters and buffers as they were.

    Args:
        net: a net whose main path has 3x3 convolutions only.
        images: [B, 1, H, W].
        labels: [B].
    """
    convolutions = [
        module
        for module in net.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]
    was_training = net.training
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()
    loss = cross_entropy(net(images), labels)
    gradients = torch.autograd.grad(loss, [conv.weight for conv in convolutions])
    net.train(was_training)
    for name, buffer in net.named_buffers():
        buffer.copy_(buffers[name])
    return [gradient.norm().item() for gradient in gradients]


def first_to_last(norms: Sequence[float]) -> float:
    """Gradient norm in the first unit over that in the last convolution.

    Args:
        norms: as from :func:`gradient_norms`.
    """
    return norms[1] / norms[-1]
