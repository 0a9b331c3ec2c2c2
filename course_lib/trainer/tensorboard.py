"""TensorBoard: what a training writes down about itself, one entry per epoch.

    tensorboard --logdir runs

reads the files while they are being written. Needs the package ``tensorboard``, and
matplotlib for the example images; training without ``log_dir`` needs neither.
"""

from __future__ import annotations

import copy
import io
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["TensorBoardLog", "scalar_tag"]

SPLITS = ("train", "validation", "test")
BINS = 64  # of each histogram, from the least to the greatest value


def scalar_tag(name: str) -> str:
    """``"train_loss"`` → ``"loss/train"``: TensorBoard groups by the first part."""
    split, _, quantity = name.partition("_")
    return f"{quantity}/{split}" if split in SPLITS and quantity else name


class TensorBoardLog:
    """One run's log in a folder of its own; its siblings are shown side by side.

    A training that resumes names the first epoch that it will write again: entries
    from there on are hidden.

    Raises:
        ImportError: if the package ``tensorboard`` is missing.
    """

    EXAMPLES = 16  # images with their answers

    def __init__(
        self, log_dir: str | os.PathLike, *, resume_at: int | None = None
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "a TensorBoard log needs the package tensorboard: "
                "pip install tensorboard, or train with log_dir=None"
            ) from error
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        self.writer = SummaryWriter(str(log_dir), purge_step=resume_at)

    def graph(self, model: nn.Module, example: Tensor) -> None:
        """Trace the network on ``example`` [1, C, H, W]; a warning says if it fails."""
        try:
            # Tracing warns of every comparison of shapes in Python, and newer
            # versions of torch warn of tracing itself; add_graph prints errors.
            with (
                torch.no_grad(),
                warnings.catch_warnings(),
                redirect_stdout(io.StringIO()),
            ):
                warnings.simplefilter("ignore")
                self.writer.add_graph(copy.deepcopy(model).eval(), example)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"no graph in TensorBoard: {reason}", stacklevel=2)

    def epoch(self, row: Mapping[str, float], model: nn.Module) -> None:
        """Write a row of the history, and histograms of weights and last gradients."""
        number = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(scalar_tag(name), float(value), number)
        for name, parameter in model.named_parameters():
            self._histogram(f"weights/{name}", parameter, number)
            if parameter.grad is not None:
                self._histogram(f"gradients/{name}", parameter.grad, number)
        self.writer.flush()  # so that an interruption loses nothing

    def answers(
        self,
        number: int,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
        classes: Sequence[str],
    ) -> None:
        """Draw images [B, C, H, W] with the answers, how sure they are, and the truth.

        Each is stretched from black to white: normalized ones have no scale of theirs.
        """
        from matplotlib.figure import Figure

        images, labels = images.detach().float().cpu(), labels.tolist()
        low, high = (
            f(images, (1, 2, 3), keepdim=True) for f in (torch.amin, torch.amax)
        )
        images = (images - low) / (high - low).clamp_min(1e-12)
        rows = -(-len(images) // 4)
        figure = Figure((9, 2.6 * rows), layout="constrained")
        for ax in (axes := figure.subplots(rows, 4, squeeze=False)).flat:
            ax.set_axis_off()
        chances, guesses = logits.softmax(1).max(1)
        for ax, x, y, p, k in zip(axes.flat, images, labels, chances, guesses):
            ax.imshow(x.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1)
            truth = "right" if y == k else f"is {classes[y]}"
            title = f"{classes[k]}, {p:.0%}\n{truth}"
            ax.set_title(title, fontsize=8, color="black" if y == k else "firebrick")
        self.writer.add_figure("examples", figure, number)
        self.writer.flush()

    def _histogram(self, tag: str, tensor: Tensor, number: int) -> None:
        """Equal bins: SummaryWriter's own 1,500 take longer than a training step."""
        values = tensor.detach().float().cpu().flatten()
        values = values[torch.isfinite(values)]
        if values.numel() == 0:
            return
        counts, edges = torch.histogram(values, BINS)
        wide = values.double()
        self.writer.add_histogram_raw(
            tag,
            min=values.min().item(),
            max=values.max().item(),
            num=values.numel(),
            sum=wide.sum().item(),
            sum_squares=(wide @ wide).item(),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=number,
        )

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()
