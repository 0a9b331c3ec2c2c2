r"""Make the weights file of the network that the book looks inside.

    python -m course_book.experiments.course_weights --out NEW.npz

A net learns from windows of 64 px, exactly as the first net of
``synthetic_to_real`` does; ``--start`` takes one that is there already. Training
continues with pictures normalized with ImageNet's numbers, as everywhere in the
course: first of 128 px, then of 128 and 224 px in turn, so that it works at both.
Then its weights are rounded to int8, and both nets are tested on synthetic
pictures that neither has seen. Put the file into ``course_lib/weights`` and its
SHA-256 into ``course_lib/weights/__init__.py``; another processor or version of
torch makes slightly different weights.
"""

from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor
from torchvision.transforms.v2.functional import normalize

from course_book.experiments import synthetic_to_real
from course_book.experiments.synthetic_to_real import Windows
from course_lib import weights
from course_lib.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from course_lib.resnet import ResNet, resnet18
from course_lib.synthetic import SyntheticCracks
from course_lib.training import evaluate, train_one_epoch

# Size in pixels: how many pictures to learn from, how many to be tested on. The
# first stage has the first size only.
SIZES = {128: (6000, 1200), 224: (3000, 600)}
EPOCHS, RATES, BATCH = (3, 1), (7e-4, 3e-4), 32


def imagenet(x: Tensor) -> Tensor:
    """Floats in 0 ... 1, [B, 3, H, W], normalized with ImageNet's numbers."""
    return normalize(x, list(IMAGENET_MEAN), list(IMAGENET_STD))


def plain(pictures: np.ndarray, labels: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in order, without augmentation."""
    pairs = zip(
        torch.from_numpy(pictures).split(50), torch.from_numpy(labels).split(50)
    )
    for x, y in pairs:
        yield imagenet(x.permute(0, 3, 1, 2).float() / 255), y


def report(name: str, model: ResNet, test: tuple[np.ndarray, np.ndarray]) -> None:
    """Print accuracy, macro-F1 and how well cracks alone are told."""
    seen = evaluate(model, plain(*test), amp=torch.bfloat16)
    guess, truth = seen["logits"].argmax(1), seen["labels"]
    print(
        f"{name}: accuracy {seen['accuracy']:.4f}, "
        f"macro-F1 {f1_score(truth, guess, average='macro'):.4f}, "
        f"cracked or not {(guess % 2 == truth % 2).float().mean():.4f}, "
        f"surface {(guess // 2 == truth // 2).float().mean():.4f}, "
        f"{len(truth)} pictures",
        flush=True,
    )


def pack(state: dict[str, Tensor]) -> bytes:
    """A ``state_dict`` as the bytes of an ``.npz`` file, weights rounded to int8.

    Each weight with two or more dimensions is divided by a scale per output
    channel, so that the largest becomes ±127, and rounded to the nearest integer
    (symmetric, per channel: Jacob et al. 2018, section 2.1, with zero point 0).
    """
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().numpy()
        if value.ndim < 2:
            arrays[name] = value
            continue
        largest = np.abs(value).reshape(len(value), -1).max(1)
        scale = np.maximum(largest, 1e-12).astype(np.float32) / np.float32(127)
        shape = (-1,) + (1,) * (value.ndim - 1)
        arrays[name] = np.rint(value / scale.reshape(shape)).astype(np.int8)
        arrays[name + weights.SCALE] = scale
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def in_turn(loaders: list[Windows], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of several loaders in random turn, each batch of one size."""
    turns = np.repeat(np.arange(len(loaders)), [len(loader) for loader in loaders])
    np.random.default_rng(seed).shuffle(turns)
    running = [iter(loader) for loader in loaders]
    for turn in turns:
        yield next(running[turn])


def first(start: Path | None, threads: int) -> ResNet:
    """The net that this training starts from: made here, or read from a file."""
    if start is None:
        made = synthetic_to_real.pictures(threads)
        return synthetic_to_real.train(*made, seed=0).train()
    if start.suffix == ".npz":  # an earlier result
        return weights.course_resnet18(start, sha256=None).train()
    model = resnet18(num_classes=6)
    model.load_state_dict(torch.load(start, weights_only=True))
    return model


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=Path, help="a net to start from: .pt or .npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, nargs=2, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = first(options.start, options.threads).to(memory_format=torch.channels_last)
    loaders, tests = {}, {}
    for size, (count, unseen) in SIZES.items():
        # Another seed than the windows': new scenes, not the same ones larger.
        made = SyntheticCracks("train", size, count, seed=1, clear=False)
        generator = torch.Generator().manual_seed(0)
        made = made.arrays(workers=options.threads)
        loaders[size] = Windows(*made, generator, BATCH, imagenet)
        made = SyntheticCracks("test", size, unseen, clear=False)
        tests[size] = made.arrays(workers=options.threads)
    stages = (list(loaders.values())[:1], list(loaders.values()))
    for chosen, epochs, rate in zip(stages, options.epochs, RATES):
        if not epochs:
            continue
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
        steps = epochs * sum(len(loader) for loader in chosen)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps, pct_start=0.15
        )
        for epoch in range(epochs):
            batches = in_turn(chosen, epoch)
            seen = train_one_epoch(
                model, batches, optimizer, scheduler=cycle, amp=torch.bfloat16
            )
            print(f"epoch {epoch + 1}: {seen}", flush=True)
    model.eval()
    data = pack(model.state_dict())
    options.out.write_bytes(data)
    small = weights.course_resnet18(options.out, sha256=None)
    small = small.to(memory_format=torch.channels_last)
    for size, test in tests.items():
        report(f"{size} px, float32", model, test)
        report(f"{size} px, int8", small, test)
    print(f"{len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
