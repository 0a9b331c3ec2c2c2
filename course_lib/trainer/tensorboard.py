"""TensorBoard: what a training writes down about itself, one entry per epoch.

    tensorboard --logdir runs

reads the files while they are being written. Needs the package ``tensorboard``;
training without ``log_dir`` does not.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor, nn

__all__ = ["TensorBoardLog", "scalar_tag"]

SPLITS = ("train", "validation", "test")
BINS = 64  # of each histogram, from the least to the greatest value
SHOWN = 16  # example images at most


def scalar_tag(name: str) -> str:
    """``"train_loss"`` → ``"loss/train"``: TensorBoard groups by the first part."""
    split, _, quantity = name.partition("_")
    return f"{quantity}/{split}" if split in SPLITS and quantity else name


class TensorBoardLog:
    """One run's log. Steps are epochs, 1 for the first.

    Args:
        log_dir: the run's folder, made if missing. Sibling folders are runs that
            TensorBoard shows side by side.
        resume_at: when a training goes on after an interruption, the first epoch
            that will be written again: entries from there on are hidden.

    Raises:
        ImportError: if the package ``tensorboard`` is missing.
    """

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
        self.log_dir = Path(log_dir)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.writer = SummaryWriter(str(self.log_dir), purge_step=resume_at)
        self._has_layout = False

    def graph(self, model: nn.Module, example: Tensor) -> bool:
        """Write the network's graph, traced in eval mode; the model is left as it was.

        Args:
            model: gives logits for ``example``.
            example: float [B, C, H, W]; one picture is enough. Moved to the model.

        Returns:
            Whether it could be traced. If not, a warning says why, and training
            can go on without the graph.
        """
        model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            # Tracing warns of every comparison of shapes in Python, and newer
            # versions of torch warn of tracing itself; add_graph prints errors.
            with (
                torch.no_grad(),
                warnings.catch_warnings(),
                redirect_stdout(io.StringIO()),
            ):
                warnings.simplefilter("ignore")
                self.writer.add_graph(model, example.to(device))
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"no graph in TensorBoard: {reason}", stacklevel=2)
            return False
        finally:
            for module, mode in modes:
                module.training = mode
        self.writer.flush()
        return True

    def epoch(
        self,
        number: int,
        row: Mapping[str, float],
        model: nn.Module | None = None,
        gradients: bool = True,
    ) -> None:
        """Write one epoch: numbers, and histograms of the weights.

        Args:
            number: of the epoch, from 1.
            row: name → number. ``train_loss`` becomes the tag ``loss/train``; other
                names, ``learning_rate`` for one, stay. ``epoch`` is left out.
            model: its parameters become histograms ``weights/…``.
            gradients: histograms ``gradients/…`` too, of the gradients that the
                parameters hold: those of the last batch.
        """
        self._layout(row)
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(scalar_tag(name), float(value), number)
        if model is not None:
            for name, parameter in model.named_parameters():
                name = name.removeprefix("_orig_mod.")
                self._histogram(f"weights/{name}", parameter, number)
                if gradients and parameter.grad is not None:
                    self._histogram(f"gradients/{name}", parameter.grad, number)
        self.writer.flush()  # so that an interruption loses nothing

    def predictions(
        self,
        number: int,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
        classes: Sequence[str],
    ) -> None:
        """Write example images, each with its class, the guess and how sure it is.

        Args:
            number: of the epoch.
            images: float [B, C, H, W] in 0 … 1, C 1 or 3; the first 16 are drawn.
            labels: int [B].
            logits: float [B, K].
            classes: K names.
        """
        from course_book.figures.code.judging import draw_answers

        count = min(SHOWN, len(images))
        parts = (images[:count], labels[:count], logits[:count])
        figure = draw_answers(*parts, classes, columns=4)
        self.writer.add_figure("examples", figure, number)  # closes the figure
        self.writer.flush()

    def close(self) -> None:
        """Write what is left and close the file. Safe to call twice."""
        self.writer.close()

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _layout(self, row: Mapping[str, float]) -> None:
        """One chart with both curves for what is measured on several splits."""
        if self._has_layout:
            return
        groups: dict[str, list[str]] = {}
        for tag in map(scalar_tag, row):
            groups.setdefault(tag.partition("/")[0], []).append(tag)
        charts = {q: ["Multiline", tags] for q, tags in groups.items() if len(tags) > 1}
        if charts:
            self.writer.add_custom_scalars({"curves": charts})
        self._has_layout = True

    def _histogram(self, tag: str, tensor: Tensor, number: int) -> None:
        """Equal bins from the least to the greatest finite value.

        SummaryWriter's own histogram sorts into 1,500 bins in NumPy, which takes
        longer than a training step.
        """
        values = tensor.detach().float().cpu().flatten()
        values = values[torch.isfinite(values)]
        if values.numel() == 0:
            return
        low, high = values.min().item(), values.max().item()
        if low == high:  # histc needs a range: γ = 1 everywhere before training
            low, high = low - 0.5, high + 0.5
        counts = torch.histc(values, BINS, low, high)
        limits = torch.linspace(low, high, BINS + 1, dtype=torch.float64)[1:]
        wide = values.double()
        self.writer.add_histogram_raw(
            tag,
            min=values.min().item(),
            max=values.max().item(),
            num=values.numel(),
            sum=wide.sum().item(),
            sum_squares=(wide @ wide).item(),
            bucket_limits=limits.tolist(),
            bucket_counts=counts.tolist(),
            global_step=number,
        )
