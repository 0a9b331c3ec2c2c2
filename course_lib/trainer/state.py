"""All that changes while a model is trained, and how it goes to a file and back."""

import copy
import time
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from course_lib.metrics import Report
from course_lib.trainer import distributed
from course_lib.trainer.config import TrainerConfig, optimizer_for, schedule_for
from course_lib.weights.checkpoints import CheckpointError, describe


class History(list):
    """One row per epoch: a dictionary of numbers.

    ``epoch`` (from 1), ``learning_rate`` (of the epoch's last step), ``train_loss``,
    ``train_accuracy`` (means over the epoch, while the weights changed),
    ``validation_loss`` (plain cross-entropy, without smoothing or class weights),
    ``validation_accuracy``, ``validation_macro_f1`` and ``seconds``.
    """

    def best(self) -> dict[str, float]:
        """The epoch with the highest macro F1 on validation.

        Among equals the one with the lower loss, and then the earlier one.
        """
        if not self:
            raise ValueError("the history is empty: no epoch has ended yet")
        return max(
            self, key=lambda r: (r["validation_macro_f1"], -r["validation_loss"])
        )

    def line(self, epochs: int) -> str:
        """The last of ``epochs`` epochs, for people."""
        row = self[-1]
        return (
            f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.3f}, "
            f"validation loss {row['validation_loss']:.3f}, "
            f"accuracy {row['validation_accuracy']:.2%}, "
            f"macro F1 {row['validation_macro_f1']:.4f}, {row['seconds']:.1f} s"
        )

    def csv(self) -> str:
        """The rows as CSV with a header; floats are written in full."""
        rows = [self[0].keys(), *(row.values() for row in self)]
        return "".join(",".join(map(str, row)) + "\n" for row in rows)


class RunningTotals:
    """Sums over the steps of an epoch; on the device until they are flushed."""

    def __init__(self, sums: list[float] | None = None) -> None:
        # Losses times images, right answers, images and seconds, of all processes.
        self.sums = sums or [0.0, 0.0, 0.0, 0.0]
        self.pending, self.since = [], time.monotonic()

    def add(self, loss: torch.Tensor, correct: torch.Tensor, images: int) -> None:
        """Note a step: this process's loss and right answers, the joint images."""
        self.pending.append((loss, correct, images))

    def flush(self) -> None:
        """Fetch from the device what was noted; a GPU is waited for."""
        part = [0.0, 0.0, 0.0]
        if self.pending:
            losses, correct, images = zip(*self.pending)
            # Each process's loss is already so scaled that their mean is the joint one.
            joint = torch.tensor(images).double() / distributed.world().size
            part[0] = (torch.stack(losses).cpu().double() * joint).sum().item()
            part[1:] = float(torch.stack(correct).sum()), joint.sum().item()
        now = time.monotonic()
        seen = [*distributed.all_reduce(part), now - self.since]
        self.sums = [before + more for before, more in zip(self.sums, seen)]
        self.pending, self.since = [], now


class State:
    """Model, optimizer, schedule, scaler, history and place of one training.

    ``steps`` are batches per epoch, ``amp`` is the type of autocast (float16 needs a
    scaler), and ``metadata`` what else checkpoints carry.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig,
        steps: int,
        amp: torch.dtype | None,
        metadata: dict[str, Any],
    ) -> None:
        self.model, self.config = model, config
        self.optimizer = optimizer_for(model, config)
        self.scheduler = schedule_for(self.optimizer, config, steps * config.epochs)
        device = next(model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(device, enabled=amp is torch.float16)
        more = {"arch": describe(model), "config": asdict(config)}
        self.metadata = metadata | more
        self.history = History()
        self.best: dict[str, torch.Tensor] | None = None  # weights of the best epoch
        self.step, self.totals = 0, RunningTotals()  # of the epoch under way

    @property
    def epoch(self) -> int:
        """The epoch that is under way, from 1."""
        return len(self.history) + 1

    @property
    def last_was_best(self) -> bool:
        """Whether no epoch was better than the last one that ended."""
        return self.history.best() is self.history[-1]

    def close_epoch(self, judged: Report) -> None:
        """Add the epoch's row; keep its weights if they are the best."""
        self.totals.flush()
        losses, right, images, seconds = self.totals.sums
        last = self.scheduler.lr_lambdas[0](self.scheduler.last_epoch - 1)
        self.history.append(
            {
                "epoch": self.epoch,
                "learning_rate": self.config.learning_rate * last,
                "train_loss": losses / images,
                "train_accuracy": right / images,
                "validation_loss": judged.loss,
                "validation_accuracy": judged.accuracy,
                "validation_macro_f1": judged.macro_f1,
                "seconds": seconds,
            }
        )
        self.step, self.totals = 0, RunningTotals()
        if self.last_was_best:
            self.best = copy.deepcopy(self.model.state_dict())

    def check_weights(self) -> None:
        """Refuse to keep broken weights, with a ``FloatingPointError``."""
        sums = [p.detach().sum().float() for p in self.model.parameters()]
        if not torch.isfinite(torch.stack(sums)).all():
            raise FloatingPointError(
                "weights became infinite or NaN although the loss was finite; the "
                "last checkpoint is from before. Lower the learning rate or set clip"
            )

    def to_predict(self) -> dict[str, Any]:
        """What a prediction needs: the best weights and how to use them."""
        best = {"model": self.best, "epoch": self.history.best()["epoch"]}
        return self.metadata | best | {"history": list(self.history)}

    def to_resume(self) -> dict[str, Any]:
        """What else the next batch needs: order and chance follow from its number."""
        return self.metadata | {
            "model": self.model.state_dict(),
            "best": self.best,
            "epoch": len(self.history),
            "history": list(self.history),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "sums": self.totals.sums,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Resume from what :meth:`to_resume` gave; says what differs if it cannot."""
        problems = [*self.config.differences(saved["config"])]
        for name in ("classes", "images", "preprocessing"):
            was, now = saved[name], self.metadata[name]
            if was != now:
                problems.append(f"the training's {name} were {was} and are {now}")
        if problems:
            raise CheckpointError(
                f"the checkpoint is of another training: {'; '.join(problems)}. "
                "Repeat its settings, or choose another folder"
            )
        try:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint is of another network: {str(error)[:400]}"
            ) from error
        self.scheduler.load_state_dict(saved["scheduler"])
        self.scaler.load_state_dict(saved["scaler"])
        self.history = History(saved["history"])
        self.totals = RunningTotals(saved["sums"])
        self.best, self.step = saved["best"], saved["step"]
