"""TensorBoard: what a training writes down about itself, one entry per epoch.

``tensorboard --logdir runs`` reads the files while they are being written.
"""

import copy
import io
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout

import torch
from torch import Tensor, nn

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise ImportError(
        "a TensorBoard log needs the package tensorboard: pip install tensorboard, or "
        "train with log_dir=None"
    ) from error

BINS = 64  # of each histogram, from the least to the greatest value


class TensorBoardLog(SummaryWriter):
    """One run's log in a folder of its own; its siblings are shown side by side.

    A training that resumes names the first epoch that it will write again as
    ``purge_step``: entries from there on are hidden.
    """

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
                self.add_graph(copy.deepcopy(model).eval(), example)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"no graph in TensorBoard: {reason}", stacklevel=2)

    def epoch(self, row: Mapping[str, float], model: nn.Module) -> None:
        """Write a row of the history, and histograms of weights and last gradients."""
        number = int(row["epoch"])
        for name, value in row.items():
            split, _, rest = name.partition("_")  # TensorBoard groups by the first part
            tag = f"{rest}/{split}" if split in ("train", "validation") else name
            if name != "epoch":
                self.add_scalar(tag, float(value), number)
        for name, parameter in model.named_parameters():
            for tag, values in ("weights", parameter), ("gradients", parameter.grad):
                if values is None or not (finite := values.isfinite()).any():
                    continue
                values = values.detach()[finite].float().cpu()
                # Equal bins: the writer's own 1,500 take longer than a training step.
                self.add_histogram(f"{tag}/{name}", values, number, bins=BINS)
        self.flush()  # so that an interruption loses nothing
