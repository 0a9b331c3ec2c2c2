"""The network of the course: ResNet-18 and its family, and plain nets beside it.

Names, shapes, initialization and results equal torchvision's, so that a
``state_dict`` of one loads into the other. The sources:

* He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015),
  https://arxiv.org/abs/1512.03385, table 1 and section 4.1;
* torchvision for the stride of a bottleneck, in its 3x3 convolution ("v1.5");
* He, Zhang, Ren, Sun: Delving Deep into Rectifiers (2015),
  https://arxiv.org/abs/1502.01852, for the initialization (fan-out);
* Goyal et al.: Accurate, Large Minibatch SGD (2017), section 5.1,
  https://arxiv.org/abs/1706.02677, for ``zero_init_residual``.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

# Residual units per stage, table 1 of the paper.
LAYERS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the size at stride 1 and halves it at 2."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution; with stride 2 it reads one position in four."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size=1, stride=stride, bias=False
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the unit of ResNet-18 and 34."""

    expansion = 1  # output channels per unit of width

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:  # [B, in, H, W]
        identity = x

        out = self.conv1(x)  # [B, width, H/stride, W/stride]
        out = self.bn1(out)
        out = self.relu(out)

        out = self.conv2(out)
        out = self.bn2(out)  # no ReLU here: F must be free to subtract

        if self.downsample is not None:
            identity = self.downsample(x)

        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1 reduces, 3x3 works, 1x1 expands: the unit of ResNet-50 and deeper."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, width * self.expansion)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:  # [B, in, H, W]
        identity = x

        out = self.conv1(x)  # [B, width, H, W]
        out = self.bn1(out)
        out = self.relu(out)

        out = self.conv2(out)  # [B, width, H/stride, W/stride]
        out = self.bn2(out)
        out = self.relu(out)

        out = self.conv3(out)  # [B, 4 * width, H/stride, W/stride]
        out = self.bn3(out)

        if self.downsample is not None:
            identity = self.downsample(x)

        out += identity
        return self.relu(out)


class PlainBlock(BasicBlock):
    """A BasicBlock without its shortcut: the same two convolutions in a row."""

    def forward(self, x: Tensor) -> Tensor:  # [B, in, H, W]
        out = self.relu(self.bn1(self.conv1(x)))  # [B, width, H/stride, W/stride]
        return self.relu(self.bn2(self.conv2(out)))


class ResNet(nn.Module):
    """Stem, four stages of residual units, global average pooling, head.

    Args:
        block: ``BasicBlock``, ``Bottleneck`` or ``PlainBlock``.
        layers: units per stage, four positive integers.
        num_classes: outputs of the head, at least 1.
        in_channels: channels of the input, 3 for color and 1 for gray.
        stem: ``"imagenet"`` is the paper's 7x7 convolution with stride 2 and
            max pooling, ``"small"`` a 3x3 convolution without pooling, for
            images of about 64 px and below.
        zero_init_residual: start the last BN of every unit at γ = 0, so that
            each unit starts as the identity (Goyal et al. 2017, section 5.1).

    Raises:
        ValueError: names the argument, its value and the remedy.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Literal["imagenet", "small"] = "imagenet",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        if len(layers) != 4 or any(count < 1 for count in layers):
            raise ValueError(
                f"layers must be four positive integers, got {layers!r}; "
                f"ResNet-18 has {list(LAYERS[18])}"
            )
        counts = {"num_classes": num_classes, "in_channels": in_channels}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        if stem not in ("imagenet", "small"):
            raise ValueError(f'stem must be "imagenet" or "small", got {stem!r}')
        if zero_init_residual and block is PlainBlock:
            raise ValueError(
                "zero_init_residual=True needs shortcuts: a plain net whose last BN "
                "starts at γ = 0 passes nothing on"
            )

        self.inplanes = 64  # channels that the next unit receives
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(
                in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False
            )
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        else:
            self.conv1 = conv3x3(in_channels, 64)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], stride=2)
        self.layer3 = self._make_layer(block, 256, layers[2], stride=2)
        self.layer4 = self._make_layer(block, 512, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )
            elif zero_init_residual and isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
            elif zero_init_residual and isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def _make_layer(
        self, block: type[nn.Module], width: int, count: int, stride: int = 1
    ) -> nn.Sequential:
        """One stage: its first unit may change size and channels, the rest not."""
        out_channels = width * block.expansion
        downsample = None
        # A projection is needed exactly where x and F(x) differ in shape.
        if (stride != 1 or self.inplanes != out_channels) and block is not PlainBlock:
            downsample = nn.Sequential(
                conv1x1(self.inplanes, out_channels, stride),
                nn.BatchNorm2d(out_channels),
            )
        units = [block(self.inplanes, width, stride, downsample)]
        self.inplanes = out_channels
        units += [block(self.inplanes, width) for _ in range(1, count)]
        return nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:  # [B, in_channels, H, W]
        """Return the logits [B, num_classes] of float images [B, C, H, W]."""
        x = self.conv1(x)  # [B, 64, H/2, W/2]; small stem [B, 64, H, W]
        x = self.bn1(x)
        x = self.relu(x)
        x = self.maxpool(x)  # [B, 64, H/4, W/4]

        x = self.layer1(x)  # [B, 64, H/4, W/4] (times 4 with bottlenecks)
        x = self.layer2(x)  # [B, 128, H/8, W/8]
        x = self.layer3(x)  # [B, 256, H/16, W/16]
        x = self.layer4(x)  # [B, 512, H/32, W/32]

        x = self.avgpool(x)  # [B, 512, 1, 1]
        x = torch.flatten(x, 1)  # [B, 512]
        return self.fc(x)  # [B, num_classes]


def check_batch(model: ResNet, x: Tensor) -> None:
    """Say what is wrong with a batch before torch does so less clearly.

    ``forward`` stays the bare network, so whoever takes images ``x`` from outside
    calls this first, with the model in the mode in which it will see them.

    Raises:
        ValueError: names what is wrong with ``x``, and the remedy.
    """
    w, shape = model.conv1.weight, list(x.shape)
    channels = w.shape[1]
    if x.ndim != 4 or x.numel() == 0:
        raise ValueError(
            f"x must have 4 dimensions [B, {channels}, H, W], none of them 0, got "
            f"shape {shape}; a single image needs x.unsqueeze(0)"
        )
    if x.shape[1] != channels:
        raise ValueError(
            f"x must have {channels} channels, got {x.shape[1]} (shape {shape}); "
            f"build the network with in_channels={x.shape[1]}"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"x must hold floating-point numbers, got {x.dtype}; "
            "bytes become floats with x.float() / 255"
        )
    if (x.dtype, x.device) != (w.dtype, w.device):
        raise ValueError(
            f"x is {x.dtype} on {x.device}, and the weights are {w.dtype} on "
            f"{w.device}; use x.to(model.conv1.weight)"
        )
    # Every halving rounds up, so layer4's map has ceil(N / 2^k) rows.
    halvings = 3 if isinstance(model.maxpool, nn.Identity) else 5
    rows, columns = (-(-size // 2**halvings) for size in x.shape[2:])
    if model.layer4[0].bn1.training and len(x) * rows * columns == 1:
        raise ValueError(
            f"in train mode x of shape {shape} leaves BN one value per channel in "
            "layer4, and one value has no variance; use a batch of at least 2, "
            "a larger image, or model.eval()"
        )


def resnet(depth: int, **options: object) -> ResNet:
    """The residual net of depth 18, 34, 50, 101 or 152; ValueError for others.

    Options as for :class:`ResNet`.
    """
    if depth not in LAYERS:
        raise ValueError(f"depth must be one of {sorted(LAYERS)}, got {depth!r}")
    return ResNet(BasicBlock if depth < 50 else Bottleneck, LAYERS[depth], **options)


def resnet18(**options: object) -> ResNet:
    """ResNet-18: 8 basic blocks. Options as for :class:`ResNet`."""
    return resnet(18, **options)


def resnet34(**options: object) -> ResNet:
    """ResNet-34: 16 basic blocks. Options as for :class:`ResNet`."""
    return resnet(34, **options)


def resnet50(**options: object) -> ResNet:
    """ResNet-50: 16 bottlenecks. Options as for :class:`ResNet`."""
    return resnet(50, **options)


def resnet101(**options: object) -> ResNet:
    """ResNet-101: 33 bottlenecks. Options as for :class:`ResNet`."""
    return resnet(101, **options)


def resnet152(**options: object) -> ResNet:
    """ResNet-152: 50 bottlenecks. Options as for :class:`ResNet`."""
    return resnet(152, **options)


def plain18(**options: object) -> ResNet:
    """ResNet-18 without its shortcuts. Options as for :class:`ResNet`."""
    return ResNet(PlainBlock, LAYERS[18], **options)


def plain34(**options: object) -> ResNet:
    """ResNet-34 without its shortcuts. Options as for :class:`ResNet`."""
    return ResNet(PlainBlock, LAYERS[34], **options)
