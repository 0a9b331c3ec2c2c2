"""What a shift of one pixel does to small nets, with three ways to halve a map.

    python -m course_book.experiments.shift  # course_book/results/shift.csv

Nets of :class:`.digits.DigitsNet`, depth 14, with a max pooling after the stem, learn
digits that lie anywhere on a canvas of 24 x 24. Each halves its maps in one of three
ways, everything else being equal:

* stride: as ResNet-18 does, K = 3, S = 2 on the main path, K = 1, S = 2 beside it;
* average: the mean of 2 x 2 before the 1 x 1 convolution of the shortcut (ResNet-D,
  He et al. 2019, https://arxiv.org/abs/1812.01187, section 4.2);
* blur: every operation with stride 1, and then a blur with stride 2 (Zhang 2019,
  https://arxiv.org/abs/1904.11486, section 3.2).
"""

from __future__ import annotations

import csv
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_book.experiments.digits import DigitsNet, load_digits

__all__ = ["WAYS", "BlurPool", "halve_by", "place"]

WAYS = ("stride", "average", "blur")
SEEDS = (0, 1, 2, 3, 4)
CANVAS, EPOCHS, BATCH, RATE = 24, 15, 64, 0.05
TABLE = Path(__file__).parents[1] / "results" / "shift.csv"


class BlurPool(nn.Module):
    """Weighted mean of 3 x 3 with stride 2, each channel by itself.

    [B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]; the edges are mirrored.
    """

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        kernel = self.kernel.expand(channels, 1, 3, 3)
        return F.conv2d(padded, kernel, stride=2, groups=channels)


def halve_by(way: str, net: nn.Module) -> nn.Module:
    """Change in place how a net of basic blocks halves its maps; see the module.

    Raises:
        ValueError: for another way.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {WAYS}, got {way!r}")
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if way == "blur" and isinstance(child, nn.MaxPool2d):
                pool = nn.MaxPool2d(child.kernel_size, 1, child.padding)
                setattr(parent, name, nn.Sequential(pool, BlurPool()))
        if way == "stride" or getattr(parent, "downsample", None) is None:
            continue
        projection, bn = parent.downsample
        projection.stride = (1, 1)
        before = BlurPool() if way == "blur" else nn.AvgPool2d(2, ceil_mode=True)
        parent.downsample = nn.Sequential(before, projection, bn)
        if way == "blur":
            parent.conv1.stride = (1, 1)
            parent.conv2 = nn.Sequential(BlurPool(), parent.conv2)
    return net


def place(digits: Tensor, corners: Tensor) -> Tensor:
    """Digits [B, 1, 8, 8] on dark canvases [B, 1, 24, 24], at corners [B, 2]."""
    canvas = digits.amin().expand(len(digits), 1, CANVAS, CANVAS).clone()
    for own, digit, (row, column) in zip(canvas, digits, corners.tolist()):
        own[:, row : row + 8, column : column + 8] = digit
    return canvas


def build(way: str, seed: int) -> nn.Module:
    """A fresh net; all ways start from the same weights."""
    torch.manual_seed(seed)
    net = DigitsNet("residual", 14)
    net.layer1.insert(0, nn.MaxPool2d(3, 2, 1))
    return halve_by(way, net)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    """Train in place; each digit lies at another place in each epoch."""
    draw = torch.Generator().manual_seed(seed)
    steps = len(images) // BATCH
    optimizer = torch.optim.SGD(net.parameters(), RATE, 0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    net.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=draw)
        for batch in order[: steps * BATCH].split(BATCH):
            corners = torch.randint(0, CANVAS - 7, (BATCH, 2), generator=draw)
            logits = net(place(images[batch], corners))
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[batch]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def measure(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Error, and what a shift of one pixel changes, both in percent.

    Each image lies at eight random places, and at each is shifted by one pixel to the
    right and by one pixel down. ``changed`` is the share of shifts after which the
    net gives another answer; ``moved`` how far the probability of the true class
    moves on average.
    """
    net.eval()
    draw = torch.Generator().manual_seed(0)
    wrong, changed, moved = [], [], []
    for _ in range(8):
        corners = torch.randint(0, CANVAS - 8, (len(images), 2), generator=draw)
        first = net(place(images, corners))
        true = first.softmax(1).gather(1, labels[:, None])
        wrong.append(first.argmax(1) != labels)
        for shift in ((0, 1), (1, 0)):
            second = net(place(images, corners + torch.tensor(shift)))
            changed.append(first.argmax(1) != second.argmax(1))
            moved.append((second.softmax(1).gather(1, labels[:, None]) - true).abs())
    found = {"error": wrong, "changed": changed, "moved": moved}
    return {
        name: round(100 * torch.stack(values).float().mean().item(), 3)
        for name, values in found.items()
    }


def runs() -> Iterator[dict[str, object]]:
    digits = load_digits()
    for seed in SEEDS:
        for way in WAYS:
            net = build(way, seed)
            train(net, *digits.train, seed)
            found = measure(net, *digits.test)
            row = {"way": way, "seed": seed} | {
                k: round(v, 3) for k, v in found.items()
            }
            print(row, flush=True)
            yield row


def main() -> None:
    torch.set_num_threads(1)
    rows = list(runs())
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        file.write(
            "# python -m course_book.experiments.shift\n"
            f"# torch {torch.__version__}, Python {platform.python_version()}, one "
            f"thread of a CPU; {EPOCHS} epochs\n"
        )
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
