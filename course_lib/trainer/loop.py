"""The trainer: fit, evaluate, and what a long training needs around them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from course_lib.data.images import ByteImages
from course_lib.metrics import Report, report
from course_lib.trainer import batches, distributed
from course_lib.trainer.checkpoints import CheckpointError, Folder
from course_lib.trainer.config import TrainerConfig
from course_lib.trainer.history import History
from course_lib.trainer.inputs import (
    Augment,
    Inputs,
    check_classes,
    check_data,
    check_parts,
)
from course_lib.trainer.interrupts import StopSignals, TrainingInterrupted
from course_lib.trainer.log import Log
from course_lib.trainer.precision import precision_type
from course_lib.trainer.progress import Progress
from course_lib.trainer.state import State, Tally
from course_lib.training import evaluate, training_steps

__all__ = ["Trainer"]

SAVE_SECONDS = 300.0  # between two checkpoints within an epoch
AGREE_STEPS = 16  # steps between two questions of all processes whether to stop


class Trainer:
    """Trains one classifier and judges it.

    Args:
        model: gives logits [B, K]; trained in place, where its parameters are.
        config: the settings; the defaults unless given.
        classes: the K names.
        augment: changes a whole batch of normalized images [B, C, H, W] on the
            device; draws from the generator it gets (on the CPU) and from nothing
            else, as ``course_lib.data.augment.photo_views`` does.
        preprocessing: ``{"size", "mean", "std", "channels"}``. Images that come as
            bytes are cut to ``size``, divided by 255 and normalized with ``mean`` and
            ``std``; checkpoints carry it, so that a prediction sees the same.

    Attributes:
        history: the epochs so far.
        amp: the type that autocast computes in; None computes in the model's own.
        saved: False after a checkpoint that could not be written.

    Raises:
        ValueError: if an argument does not fit; says which and what would.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig | None = None,
        *,
        classes: Sequence[str],
        augment: Augment | None = None,
        preprocessing: dict[str, Any] | None = None,
    ) -> None:
        self.config = config = config or TrainerConfig()
        self.classes, self.preprocessing = tuple(map(str, classes)), preprocessing
        weights = config.class_weights
        if len(self.classes) < 2:
            raise ValueError(f"classes must be at least two names, got {self.classes}")
        if weights is not None and len(weights) != len(self.classes):
            raise ValueError(
                f"class_weights has {len(weights)} numbers for "
                f"{len(self.classes)} classes"
            )
        self.me = distributed.world()
        self.device = next(model.parameters()).device
        if self.me.size > 1 and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.channels_last:
            model = model.to(memory_format=torch.channels_last)
        self.model = model
        self.inputs = Inputs(
            model,
            len(self.classes),
            channels_last=config.channels_last,
            augment=augment,
            preprocessing=preprocessing,
        )
        self.amp = precision_type(config.precision, self.device)
        self.loss = distributed.JointLoss(
            None if weights is None else torch.tensor(weights, device=self.device),
            config.label_smoothing,
        )
        self.history, self.saved = History(), True
        self.folder = config.checkpoint_dir and Folder(config.checkpoint_dir)

    def evaluate(self, data: Any) -> Report:
        """Judge the model as it is: after :meth:`fit` with its best weights.

        Args:
            data: a map-style data set of (image, label).

        Returns:
            The report; its loss is the plain cross-entropy, without class weights
            or smoothing.

        Raises:
            ValueError: if there is no data, or an image or label does not fit.
            FloatingPointError: if a logit is not finite.
        """
        images = check_data(data, "data")
        order = partial(batches.in_order, images, self.config.batch_size, *self.me)
        with batches.random_state_kept(), distributed.peers():
            loader = self._load(data, order)
            pairs = (self.inputs(x, y) for _, _, x, y in loader)
            seen = evaluate(self.model, pairs, amp=self.amp)
            logits = distributed.gather(seen["logits"], images)
            labels = distributed.gather(seen["labels"], images)
        if not torch.isfinite(logits).all():
            raise FloatingPointError(
                "the network gives logits that are not finite: it has diverged"
            )
        loss = nn.functional.cross_entropy(logits, labels).item()
        return report(logits, labels, self.classes, loss=loss)

    def fit(self, train: Any, validation: Any, *, resume: bool = False) -> History:
        """Train, judge each epoch on ``validation``, and keep the best weights.

        The best epoch is that of ``History.best``: highest macro F1. Afterwards the
        model holds its weights.

        Args:
            train: a map-style data set of (image, label): a ``TensorDataset``,
                :class:`course_lib.data.images.ByteImages`, or any other. Images are
                floats [C, H, W], or bytes if ``preprocessing`` was given.
            validation: the same for choosing the best epoch.
            resume: go on from the newest good checkpoint of ``checkpoint_dir``, in
                the middle of an epoch if need be; start anew if there is none.

        Returns:
            One row per epoch, those before an interruption included.

        Raises:
            ValueError: if data do not fit, such as a single class.
            CheckpointError: if the folder holds checkpoints and ``resume`` is False,
                or they are those of another training.
            FloatingPointError: if the loss is not finite; the last checkpoint is
                from before.
            TrainingInterrupted: after Ctrl-C or SIGTERM, when all is saved.
            PeerLostError: if another process of a distributed training is gone.
        """
        images, config = check_data(train, "train"), self.config
        check_data(validation, "validation")
        check_classes(train, self.classes)
        plan = batches.Plan(images, config.batch_size, config.seed, *self.me)
        check_parts(plan, self.model)
        self.state = State(
            self.model,
            config,
            self.classes,
            steps=plan.steps,
            images=images,
            fp16=self.amp is torch.float16,
            preprocessing=self.preprocessing,
        )
        with batches.random_state_kept(), distributed.peers(), StopSignals() as signals:
            self._signals = signals
            self._take_up(resume)
            self.history = self.state.history
            network = distributed.wrap(self.model, self.device)
            self._network = torch.compile(network) if config.compile else network
            self._progress = Progress(config.progress and self.me.writes, config.epochs)
            with self._open_log(train) as self._log:
                try:
                    self._run(plan, train, validation)
                finally:
                    self._progress.end()
        self.model.load_state_dict(self.state.best)
        return self.history

    def _run(self, plan: batches.Plan, train: Any, validation: Any) -> None:
        state, epochs = self.state, self.config.epochs
        rest = partial(plan.rest, epochs, state.epoch, state.step)
        stream = iter(self._load(train, rest))
        self._saved_at = time.monotonic()
        while state.epoch <= epochs:
            self._progress.start(state.epoch, plan.steps, state.step)
            self._train_epoch(plan.steps, stream)
            began = time.monotonic()
            distributed.share_statistics(self.model)
            judged = self.evaluate(validation)
            state.sums[3] += time.monotonic() - began
            state.close_epoch(judged.loss, judged.accuracy, judged.macro_f1)
            self._progress.end(self.history.rows[-1])
            self._log.epoch(self.model, self.history.rows[-1], validation)
            self._save()
            if state.epoch <= epochs and self._wanted()[0]:
                raise self._interruption(plan.steps)

    def _train_epoch(self, steps: int, stream: Iterator) -> None:
        """Train the rest of an epoch; between two batches save, or save and stop."""
        state, tally, began = self.state, Tally(self.me.size), time.monotonic()

        def pairs() -> Iterator[tuple[Tensor, Tensor]]:
            for seed, joint, x, y in islice(stream, steps - state.step):
                tally.sizes.append(joint)
                yield self.inputs(x, y, seed)

        def take_stock() -> None:
            nonlocal began
            now = time.monotonic()
            seen = [*distributed.sums(tally.take()), now - began]
            state.sums = [before + more for before, more in zip(state.sums, seen)]
            began = now

        for seen in training_steps(
            self._network,
            pairs(),
            state.optimizer,
            loss_function=self.loss,
            scheduler=state.scheduler,
            amp=self.amp,
            scaler=state.scaler,
            clip=self.config.clip,
        ):
            tally.seen.append(seen)
            state.step += 1
            self._progress.step(seen[0])
            stop, save = self._wanted()
            if stop or save:
                take_stock()
                self._save()
            if stop:
                raise self._interruption(steps)
        take_stock()

    def _wanted(self) -> tuple[bool, bool]:
        """Whether to stop, and whether to save now; all processes agree."""
        if self.me.size > 1 and self.state.step % AGREE_STEPS:
            return False, False
        overdue = time.monotonic() - self._saved_at > SAVE_SECONDS
        stop, save = distributed.largest([self._signals.asked, overdue])
        return bool(stop), bool(save)

    def _take_up(self, resume: bool) -> None:
        """Restore a checkpoint, if one is there and wanted."""
        if self.folder is None:
            if resume:
                raise ValueError("resume=True needs checkpoint_dir in the config")
            return
        if not resume and self.me.writes and self.folder:
            raise CheckpointError(
                f"{self.folder.path} holds the checkpoints of a training; pass "
                "resume=True to go on with it, or choose another checkpoint_dir"
            )
        if resume:
            found = self.folder.load() if self.me.writes else None
            found = distributed.spread(found)
            if found is not None:
                self.state.restore(found)

    def _save(self) -> None:
        """Write a checkpoint, and after an epoch ``history.csv`` and the best weights.

        A full disk does not end the training: the files before are as they were, and
        the next time may succeed.
        """
        self.state.check_weights()
        self._saved_at = time.monotonic()
        if self.folder is None:
            return
        try:
            if self.me.writes:
                self.folder.save(self.state)
            self.saved = True
        except OSError as error:
            self.saved = False
            warnings.warn(
                f"no checkpoint could be written ({error}); the one before is intact, "
                "and the training goes on",
                stacklevel=2,
            )

    def _interruption(self, steps: int) -> TrainingInterrupted:
        state = self.state
        where = f"stopped in epoch {state.epoch} after {state.step} of {steps} batches"
        if self.folder is None:
            return TrainingInterrupted(
                f"{where}; nothing is saved, because checkpoint_dir is None"
            )
        if not self.saved:
            return TrainingInterrupted(f"{where}; this place could not be saved")
        return TrainingInterrupted(
            f"{where} and saved in {self.folder.path}; the same call with resume=True "
            "goes on there"
        )

    def _load(self, data: Any, order: Any) -> Any:
        kind, workers = self.device.type, self.config.workers
        # Where network and workers share the processors, one that only hands on what
        # is ready takes more time than it saves.
        if kind == "cpu" and isinstance(data, TensorDataset | ByteImages):
            workers = 0
        return batches.load(data, order, workers, pin=kind == "cuda")

    def _open_log(self, train: Any) -> Log:
        log_dir = self.config.log_dir if self.me.writes else None
        log = Log(log_dir, self.inputs, self.classes, self.amp)
        log.start(self.model, train, self.state.epoch)
        return log
