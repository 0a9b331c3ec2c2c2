"""Six nets of nearly equal cost that differ in what their shortcut does.

All take digits of 8x8 pixels: a 3x3 convolution, three stages on 8x8, 4x4 and 2x2
positions, global average pooling and a linear layer, as :class:`DigitsNet`. The
sources of the units:

* addition and bottleneck: He et al. (2015), https://arxiv.org/abs/1512.03385;
* pre-activation: He et al. (2016), https://arxiv.org/abs/1603.05027, figure 4e;
* residual scaling: Szegedy et al. (2017), https://arxiv.org/abs/1602.07261,
  section 3.3, who multiply by 0.1 to 0.3;
* concatenation: Huang et al. (2017), https://arxiv.org/abs/1608.06993, without
  their 1x1 bottlenecks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.resnet import BasicBlock, Bottleneck, PlainBlock, conv1x1, conv3x3

__all__ = [
    "KINDS",
    "DenseLayer",
    "DenseNet",
    "PreActBlock",
    "ScaledBlock",
    "UnitNet",
    "build",
]


class PreActBlock(nn.Module):
    """BN and ReLU *before* each convolution, and nothing after the addition."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:  # [B, in, H, W]
        out = self.relu(self.bn1(x))
        # A projection reads the activated map, as the authors' code does.
        identity = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)  # [B, width, H/stride, W/stride]
        out = self.conv2(self.relu(self.bn2(out)))
        return out + identity


class ScaledBlock(BasicBlock):
    """A BasicBlock whose F(x) is multiplied by 0.1 before the addition."""

    scale = 0.1

    def forward(self, x: Tensor) -> Tensor:  # [B, in, H, W]
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))  # [B, width, H/stride, W/stride]
        out = self.bn2(self.conv2(out))
        return self.relu(self.scale * out + identity)


class DenseLayer(nn.Module):
    """One convolution whose new channels are put beside all that came before."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = conv3x3(in_channels, growth)

    def forward(self, x: Tensor) -> Tensor:  # [B, in, H, W]
        return torch.cat([x, self.conv(self.relu(self.bn(x)))], 1)  # in + growth


class UnitNet(nn.Module):
    """Three stages of equal units, with 16, 32 and 64 channels of width."""

    def __init__(self, block: type[nn.Module], units: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(1, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.channels = 16
        self.layer1 = self._make_layer(block, 16, 1, units)
        self.layer2 = self._make_layer(block, 32, 2, units)
        self.layer3 = self._make_layer(block, 64, 2, units)
        # Pre-activated units end in a sum, so their net ends with BN and ReLU.
        last = block is PreActBlock
        self.bn_last = nn.BatchNorm2d(self.channels) if last else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.channels, 10)
        _initialize(self)

    def _make_layer(
        self, block: type[nn.Module], width: int, stride: int, count: int
    ) -> nn.Sequential:
        out_channels = width * block.expansion
        downsample = None
        if block is not PlainBlock and (stride != 1 or self.channels != out_channels):
            downsample = nn.Sequential(
                conv1x1(self.channels, out_channels, stride),
                nn.BatchNorm2d(out_channels),
            )
        first = block(self.channels, width, stride, downsample)
        self.channels = out_channels
        rest = (block(out_channels, width) for _ in range(1, count))
        return nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:  # [B, 1, 8, 8]
        """Return the logits [B, 10]."""
        x = self.relu(self.bn1(self.conv1(x)))  # [B, 16, 8, 8]
        x = self.layer3(self.layer2(self.layer1(x)))  # [B, 64 or 256, 2, 2]
        x = self.bn_last(x)
        if not isinstance(self.bn_last, nn.Identity):
            x = self.relu(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class DenseNet(nn.Module):
    """Three stages of dense layers, with a halving transition between them.

    Args:
        growth: channels that each layer adds.
        layers: dense layers of each stage.
    """

    def __init__(self, growth: int, layers: tuple[int, int, int]) -> None:
        super().__init__()
        channels = 16
        self.conv1 = conv3x3(1, channels)
        stages: list[nn.Module] = []
        for number, count in enumerate(layers):
            if number:  # between two stages: half the channels, half the size
                stages += [
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                    conv1x1(channels, channels // 2),
                    nn.AvgPool2d(2),
                ]
                channels //= 2
            for _ in range(count):
                stages.append(DenseLayer(channels, growth))
                channels += growth
        self.stages = nn.Sequential(*stages)
        self.bn_last = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, 10)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:  # [B, 1, 8, 8]
        """Return the logits [B, 10]."""
        x = self.relu(self.bn_last(self.stages(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _initialize(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


UNITS = 7  # per stage: 44 layers with two convolutions each
BLOCKS = {
    "none": PlainBlock,
    "addition": BasicBlock,
    "bottleneck": Bottleneck,
    "pre-activation": PreActBlock,
    "scaled by 0.1": ScaledBlock,
}
# Chosen so that parameters and multiplications are those of "addition".
DENSE_GROWTH, DENSE_LAYERS = 12, (3, 16, 18)
KINDS = (*BLOCKS, "concatenation")


def build(kind: str, seed: int) -> nn.Module:
    """A freshly initialized net of one kind; the random state stays as it was.

    Args:
        kind: one of ``KINDS``.
        seed: of the weights.

    Raises:
        ValueError: for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "concatenation":
            return DenseNet(DENSE_GROWTH, DENSE_LAYERS)
        return UnitNet(BLOCKS[kind], UNITS)
