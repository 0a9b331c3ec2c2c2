"""Three epochs from JPEG files: decoded once, or decoded every time."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.racing import Measurement, Settings, peer
from benchmarks.racing import row as make_row
from course_lib.data.augment import photo_views
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.photos import open_photo
from course_lib.data.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from course_lib.data.sources import source
from course_lib.resnet import resnet18
from course_lib.synthetic import SyntheticCracks
from course_lib.trainer import Trainer, TrainerConfig

SIZE, RESIZE = 64, 73  # pixels that the network sees, and that the cache keeps
PIXELS = 256, 1024  # of the files: patches as SDNET2018's, and small photos
COUNTS = {"train": 480, "val": 96, "test": 12}
EPOCHS, BATCH, WORKERS = 3, 64, 2
SAMPLE = 24  # pictures that are compared before
PREPROCESSING = Preprocessing(SIZE, RESIZE)
BICUBIC = Image.Resampling.BICUBIC
Times = tuple[float, float]  # seconds: first epoch with all before it; later ones


def make_files(root: Path, pixels: int) -> None:
    """JPEG files in train/, val/ and test/; larger ones than 256 px are enlarged."""
    names = {"train": "train", "val": "validation", "test": "test"}
    for part, count in COUNTS.items():
        data = SyntheticCracks(names[part], PIXELS[0], count)
        images, labels = data.arrays(workers=2)
        for number, (image, label) in enumerate(zip(images, labels)):
            folder = root / part / CRACK_CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            photo = Image.fromarray(image).resize((pixels, pixels), BICUBIC)
            photo.save(folder / f"{number:05}.jpg", quality=92)


def ours(root: Path, cache: Path, start: dict[str, Tensor]) -> Times:
    """The course's way: decode into a cache, then train from bytes."""
    began = time.perf_counter()
    data = source(str(root), size=SIZE, cache=cache)
    model = resnet18(num_classes=len(data.classes))
    model.load_state_dict(start)
    config = TrainerConfig(
        epochs=EPOCHS, batch_size=BATCH, workers=WORKERS, progress=False
    )
    trainer = Trainer(
        model,
        config,
        classes=data.classes,
        augment=photo_views,
        preprocessing=PREPROCESSING,
    )
    history = trainer.fit(data.parts[0], data.parts[1])
    total = time.perf_counter() - began
    later = sum(row["seconds"] for row in history[1:])
    return total - later, later


def usual(part: Path, train: bool) -> DataLoader:
    """``ImageFolder`` with the usual transforms, on two workers."""
    if train:
        first = [v2.RandomResizedCrop(SIZE, (0.5, 1)), v2.RandomHorizontalFlip()]
    else:
        first = [v2.Resize(RESIZE), v2.CenterCrop(SIZE)]
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    normal = v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    return DataLoader(
        ImageFolder(part, v2.Compose([*first, *last, normal])),
        batch_size=BATCH,
        shuffle=train,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def network(start: dict[str, Tensor]) -> nn.Module:
    """torchvision's, with the same weights as ours."""
    model = torchvision.models.resnet18(num_classes=len(CRACK_CLASSES))
    model.load_state_dict(start)
    return model


def plain(root: Path, cache: Path, start: dict[str, Tensor]) -> Times:
    """The loop of the tutorials."""
    began = time.perf_counter()
    train, val = usual(root / "train", True), usual(root / "val", False)
    model = network(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    ends = []
    for _ in range(EPOCHS):
        model.train()
        for x, y in train:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in val)
        assert 0 <= right <= COUNTS["val"]
        ends.append(time.perf_counter())
    return ends[0] - began, ends[-1] - ends[0]


def with_lightning(root: Path, cache: Path, start: dict[str, Tensor]) -> Times:
    """The same loop in Lightning's hands, without its files and bars."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.ends = network(start), []

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
            (self.network(batch[0]).argmax(1) == batch[1]).sum()

        def on_train_epoch_end(self) -> None:
            self.ends.append(time.perf_counter())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=0.05)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    began = time.perf_counter()
    train, val = usual(root / "train", True), usual(root / "val", False)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    with contextlib.redirect_stderr(io.StringIO()):  # its tips
        trainer.fit(module, train, val)
    return module.ends[0] - began, module.ends[-1] - module.ends[0]


def same_pictures(root: Path, start: dict[str, Tensor]) -> str:
    """But for how JPEGs are reduced, both see the same pictures, and answer alike."""
    from course_lib.inference.choosing import check

    with tempfile.TemporaryDirectory() as cache:
        made = source(str(root), size=SIZE, cache=Path(cache))
        model = resnet18(num_classes=len(made.classes))
        model.load_state_dict(start)
        trainer = Trainer(model, classes=made.classes, preprocessing=PREPROCESSING)
        x, y = trainer.prepare(*made.parts[1].batch(range(SAMPLE)))
    data = usual(root / "val", False).dataset
    data.loader = partial(open_photo, at_least=RESIZE)  # JPEG's own reduction
    pairs = [data[index] for index in range(SAMPLE)]
    other = torch.stack([image for image, _ in pairs])
    torch.testing.assert_close(x, other, rtol=0, atol=1e-5, check_stride=False)
    assert y.tolist() == [label for _, label in pairs]
    assert len(made.parts[0]) == COUNTS["train"]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(x).float()
    with torch.inference_mode():
        found = check(logits, network(start).eval()(other))
    assert found.error <= 1e-2, found
    return f"the same pictures in validation; before training {found}"


def rows(settings: Settings) -> Iterator[Measurement]:
    """Small files and large ones."""
    for pixels in PIXELS:
        yield from runs(settings, pixels)


def runs(settings: Settings, pixels: int) -> Iterator[Measurement]:
    """Whole runs, and the first and the later epochs apart."""
    torch.manual_seed(settings.seed)
    start = resnet18(num_classes=len(CRACK_CLASSES)).state_dict()
    sides: dict[str, Callable[..., Times]] = {"ours": ours, "torchvision": plain}
    if peer("lightning"):
        sides["lightning"] = with_lightning
    times: dict[str, list[Times]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(folder) / "photos"
        make_files(root, pixels)
        equal = same_pictures(root, start)
        draw = random.Random(settings.seed)
        for number in range(-1, 5):
            for name in draw.sample(list(sides), len(sides)):
                with tempfile.TemporaryDirectory(dir=folder) as cache:
                    taken = sides[name](root, Path(cache), start)
                if number >= 0:  # the first round warms up
                    times[name].append(taken)
    against = {"torchvision": "ImageFolder and DataLoader, plain loop"}
    if peer("lightning"):
        against["lightning"] = f"{peer('lightning')} on the same loaders"
    case = f"ResNet-18, {COUNTS['train']} JPEG files of {pixels} px, {SIZE} px, "
    views = {
        f"{EPOCHS} epochs with the cache's building": sum,
        "first epoch with the cache's building": lambda t: t[0],
        "later epochs": lambda t: t[1],
    }
    for name, text in against.items():
        for what, part in views.items():
            goals = {"torchvision": ">= 2.5", "lightning": ">= 1.0"}
            yield make_row(
                "training from files",
                case + what,
                text,
                [part(t) for t in times["ours"]],
                [part(t) for t in times[name]],
                goal=goals[name] if part is sum else "",
                equal=equal,
            )
