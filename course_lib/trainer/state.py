"""All that changes while a model is trained, and how it goes to a file and back."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.trainer.checkpoints import CheckpointError, describe
from course_lib.trainer.config import TrainerConfig
from course_lib.trainer.history import History
from course_lib.trainer.optimizers import optimizer_for, schedule_for

__all__ = ["State", "Tally"]


class Tally:
    """Sums over the steps of an epoch, kept on the device until someone asks."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.sizes: list[int] = []  # images of each joint batch
        self.seen: list[tuple[Tensor, Tensor, int]] = []  # of training_steps

    def take(self) -> list[float]:
        """This process's part of: losses times images, right answers, images."""
        done, self.seen = self.seen, []
        sizes, self.sizes = self.sizes[: len(done)], self.sizes[len(done) :]
        if not done:
            return [0.0, 0.0, 0.0]
        # Each process's loss is already so scaled that their mean is the joint one.
        losses = torch.stack([loss for loss, _, _ in done]).cpu().double()
        joint = torch.tensor(sizes, dtype=torch.float64) / self.processes
        right = torch.stack([correct for _, correct, _ in done]).sum().item()
        return [(losses * joint).sum().item(), float(right), joint.sum().item()]


class State:
    """Model, optimizer, schedule, scaler, history and place of one training.

    Args:
        model: trained in place.
        config: the settings.
        classes: their names.
        steps: batches per epoch.
        images: in the training set.
        fp16: whether gradients need a scaler.
        preprocessing: for the checkpoints.
        arch: for the checkpoints.

    Attributes:
        history: the epochs that have ended.
        best: weights of the best of them, on the model's device.
        step: batches done in the epoch after those.
        sums: of these batches: losses, right answers, images, seconds.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig,
        classes: tuple[str, ...],
        *,
        steps: int,
        images: int,
        fp16: bool,
        preprocessing: dict[str, Any] | None,
    ) -> None:
        self.model, self.config, self.images = model, config, images
        self.optimizer = optimizer_for(model, config)
        self.scheduler = schedule_for(self.optimizer, config, steps * config.epochs)
        device = next(model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(device, enabled=fp16)
        self.about = {
            "arch": describe(model),
            "classes": list(classes),
            "config": config.as_dict(),
            "preprocessing": preprocessing,
        }
        self.history, self.best, self.step = History(), None, 0
        self.sums = [0.0, 0.0, 0.0, 0.0]

    @property
    def epoch(self) -> int:
        """The epoch that is under way, from 1."""
        return len(self.history) + 1

    @property
    def last_was_best(self) -> bool:
        """Whether no epoch was better than the last one that ended."""
        return self.history.best["epoch"] == len(self.history)

    def close_epoch(self, loss: float, accuracy: float, macro_f1: float) -> None:
        """Add the epoch's row; keep its weights if they are the best."""
        losses, right, images, seconds = self.sums
        last = self.scheduler.lr_lambdas[0](self.scheduler.last_epoch - 1)
        self.history.rows.append(
            {
                "epoch": self.epoch,
                "learning_rate": self.config.learning_rate * last,
                "train_loss": losses / images,
                "train_accuracy": right / images,
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "validation_macro_f1": macro_f1,
                "seconds": seconds,
            }
        )
        self.step, self.sums = 0, [0.0, 0.0, 0.0, 0.0]
        if self.last_was_best:
            self.best = copy.deepcopy(self.model.state_dict())

    def check_weights(self) -> None:
        """Refuse to keep weights that are broken.

        Raises:
            FloatingPointError: if one is infinite or NaN.
        """
        worst: list[Tensor] = [p.detach().sum() for p in self.model.parameters()]
        if not torch.isfinite(torch.stack([s.float() for s in worst])).all():
            raise FloatingPointError(
                "weights became infinite or NaN although the loss was finite; the "
                "last checkpoint is from before. Lower the learning rate or set clip"
            )

    def to_predict(self) -> dict[str, Any]:
        """What a prediction needs: the best weights and how to use them."""
        history = self.history.rows
        return self.about | {
            "model": self.best,
            "epoch": self.history.best["epoch"],
            "history": history,
        }

    def to_go_on(self) -> dict[str, Any]:
        """What it takes to go on with the next batch as if nothing had happened."""
        return self.about | {
            "model": self.model.state_dict(),
            "best": self.best,
            "epoch": len(self.history),
            "history": self.history.rows,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "sums": self.sums,
            "images": self.images,
            # Order, augmentation and dropout follow from seed, epoch and step.
            "random": {"seed": self.config.seed},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`to_go_on` gave.

        Raises:
            CheckpointError: if it is of another training; says what differs.
        """
        problems = [*self.config.differences(state["config"])]
        if state["classes"] != self.about["classes"]:
            problems.append(f"the classes were {', '.join(state['classes'])}")
        if state["images"] != self.images:
            problems.append(
                f"it had {state['images']} training images, now {self.images}"
            )
        if problems:
            raise CheckpointError(
                f"the checkpoint is of another training: {'; '.join(problems)}. "
                "Repeat its settings, or choose another folder"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint is of another network: {str(error)[:400]}"
            ) from error
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = History(state["history"])
        self.best, self.step = state["best"], state["step"]
        self.sums = list(state["sums"])
