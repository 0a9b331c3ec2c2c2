"""What the trainer tells TensorBoard."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.trainer import batches
from course_lib.trainer.inputs import Inputs
from course_lib.training import evaluate

__all__ = ["Log"]

SHOWN = 16  # pictures with their predictions


class Log:
    """One training's log, or nothing at all.

    Args:
        log_dir: its folder; None writes nothing.
        inputs: how images reach the network.
        classes: the names.
        amp: the type that the network computes in.
    """

    def __init__(
        self,
        log_dir: str | None,
        inputs: Inputs,
        classes: tuple[str, ...],
        amp: torch.dtype | None,
    ) -> None:
        self.log_dir, self.inputs = log_dir, inputs
        self.classes, self.amp = classes, amp
        self.board: Any = None

    def start(self, model: nn.Module, train: Any, epoch: int) -> None:
        """Open the log at an epoch; the first one begins with the graph.

        Raises:
            ImportError: if the package ``tensorboard`` is missing.
        """
        if self.log_dir is None:
            return
        from course_lib.trainer.tensorboard import TensorBoardLog

        again = epoch > 1
        self.board = TensorBoardLog(self.log_dir, resume_at=epoch if again else None)
        if not again:
            self.board.graph(model, self._examples(train, 1)[1])

    def epoch(self, model: nn.Module, row: dict[str, float], validation: Any) -> None:
        """Write a row of the history, the weights, and what is said to examples."""
        if self.board is None:
            return
        number = int(row["epoch"])
        self.board.epoch(number, row, model)
        raw, x, y = self._examples(validation, SHOWN)
        seen = evaluate(model, [(x, y)], amp=self.amp)
        shown = self.inputs.to_show(raw)
        self.board.predictions(
            number, shown, seen["labels"], seen["logits"], self.classes
        )

    def _examples(self, data: Any, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The first images as they are, as the network sees them, and their labels."""
        order = partial(batches.in_order, min(count, len(data)), count)
        _, _, x, y = next(iter(batches.load(data, order, 0, False)))
        return x, *self.inputs(x, y)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self.board is not None:
            self.board.close()
