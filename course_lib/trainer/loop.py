"""The trainer: fit, evaluate, and what a long training needs around them."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from course_lib.data.preprocessing import Preprocessing
from course_lib.metrics import Report, report
from course_lib.resnet import ResNet, check_batch
from course_lib.trainer import batches, distributed
from course_lib.trainer.checkpoints import Folder, StopSignals, TrainingInterrupted
from course_lib.trainer.config import TrainerConfig, precision_type
from course_lib.trainer.state import History, State
from course_lib.training import evaluate, training_steps
from course_lib.weights.checkpoints import CheckpointError

SAVE_SECONDS = 300.0  # between two checkpoints within an epoch
AGREE_STEPS = 16  # steps between two questions of all processes whether to stop


class Trainer:
    """Trains one classifier and judges it.

    Args:
        model: gives logits [B, K]; trained in place, where its parameters are.
        classes: the K names.
        augment: changes a batch of normalized images [B, C, H, W] on the device; draws
            from the generator it gets (on the CPU) and from nothing else, as
            ``course_lib.data.augment.photo_views`` does.
        preprocessing: makes inputs of images that come as bytes; checkpoints carry it.

    Attributes:
        history: the epochs so far.
        amp: the type that autocast computes in; None computes in the model's own.
        saved: False after a checkpoint that could not be written.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig | None = None,
        *,
        classes: Sequence[str],
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.config = config = config or TrainerConfig()
        self.classes = tuple(map(str, classes))
        self.augment, self.preprocessing = augment, preprocessing
        weights = config.class_weights
        if len(self.classes) < 2:
            raise ValueError(f"classes must be at least two names, got {self.classes}")
        if weights is not None and len(weights) != len(self.classes):
            sizes = f"{len(weights)} numbers for {len(self.classes)} classes"
            raise ValueError(f"class_weights has {sizes}")
        self.world = distributed.world()
        self.device = next(model.parameters()).device
        if self.world.size > 1 and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.channels_last:
            model = model.to(memory_format=torch.channels_last)
        self.model, self.amp = model, precision_type(config.precision, self.device)
        if weights is not None:
            weights = torch.tensor(weights, device=self.device)
        self.loss = distributed.JointLoss(weights, config.label_smoothing)
        self.history, self.saved, folder = History(), True, config.checkpoint_dir
        self.folder = None if folder is None else Folder(folder)

    def prepare(
        self, x: Tensor, y: Tensor, seed: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """From a batch as the data set gives it to what the network sees.

        Args:
            x: images [B, C, H, W], floats, or bytes to preprocess.
            y: labels int64 [B].
            seed: for random windows and augmentation; None is as in evaluation.
        """
        if y.ndim != 1 or y.min() < 0 or y.max() >= len(self.classes):
            raise ValueError(
                f"labels must be whole numbers from 0 to {len(self.classes) - 1} for "
                f"{len(self.classes)} classes, got {y.flatten()[:8].tolist()} ..."
            )
        generator = None
        if seed is not None:
            batches.seed_all(seed)  # dropout draws from the global generator
            generator = torch.Generator().manual_seed(seed)
        x = x.to(self.device, non_blocking=True)
        if x.dtype == torch.uint8:
            if self.preprocessing is None:
                raise ValueError("images are bytes: pass a Preprocessing to Trainer")
            x = self.preprocessing.normalize(self.preprocessing.windows(x, generator))
        x = x.to(next(self.model.parameters()).dtype)
        if generator is not None and self.augment is not None:
            x = self.augment(x, generator)
        if self.config.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y.to(self.device, non_blocking=True)

    def evaluate(self, data: Any) -> Report:
        """Judge the model as it is: after :meth:`fit` with its best weights.

        The loss is the plain cross-entropy, without class weights or smoothing.

        Raises:
            ValueError: if there is no data, or an image or label does not fit.
            FloatingPointError: if a logit is not finite.
        """
        images = batches.check_data(data, "data")
        order = batches.in_order(images, self.config.batch_size, *self.world)
        with batches.random_state_kept(), distributed.peers():
            seen = evaluate(self.model, self._batches(data, order), amp=self.amp)
            logits = distributed.gather(seen["logits"], images)
            labels = distributed.gather(seen["labels"], images)
        return report(logits, labels, self.classes)

    def fit(self, train: Any, validation: Any, *, resume: bool = False) -> History:
        """Train, judge each epoch, and end with the weights of ``History.best``.

        The history has a row per epoch, those before an interruption included.

        Args:
            train: a map-style data set of (image, label), such as a ``TensorDataset``
                or ``course_lib.data.images.ByteImages``. Images are floats [C, H, W],
                or bytes if ``preprocessing`` was given.
            validation: the same for choosing the best epoch.
            resume: continue from the newest good checkpoint of ``checkpoint_dir``, in
                the middle of an epoch if need be; start anew if there is none.

        Raises:
            ValueError: if data do not fit, such as a single class.
            CheckpointError: if ``checkpoint_dir`` is in use, damaged, of another
                training, or, unless ``resume``, not empty.
            FloatingPointError: if the loss is not finite; the last checkpoint is good.
            TrainingInterrupted: after Ctrl-C, SIGTERM or SIGHUP, when all is saved.
            PeerLostError: if another process of a distributed training is gone.
        """
        images, config = batches.check_data(train, "train"), self.config
        batches.check_data(validation, "validation")
        plan = batches.Plan(images, config.batch_size, config.seed, *self.world)
        batches.check_training(train, self.classes, plan, self.model)
        metadata = {
            "classes": list(self.classes),
            "preprocessing": self.preprocessing and asdict(self.preprocessing),
            "images": images,
        }
        self.state = State(self.model, config, plan.steps, self.amp, metadata)
        with (
            batches.random_state_kept(),
            self.folder.lock() if self.folder and self.world.writes else nullcontext(),
            distributed.peers(),
            StopSignals() as self._signals,
        ):
            self._resume(resume)
            self.history = self.state.history
            network = distributed.wrap(self.model, self.device)
            self._network = torch.compile(network) if config.compile else network
            with self._open_log(train) as log:
                self._run(plan, train, validation, log)
        self.model.load_state_dict(self.state.best)
        return self.history

    def _run(self, plan: batches.Plan, train: Any, validation: Any, log: Any) -> None:
        state, epochs = self.state, self.config.epochs
        order = plan.rest(epochs, state.epoch, state.step)
        stream = self._batches(train, order, training=True)
        self._saved_at = time.monotonic()
        while state.epoch <= epochs:
            self._train_epoch(plan, stream)
            distributed.share_statistics(self.model)
            state.close_epoch(self.evaluate(validation))
            if log is not None:
                log.epoch(self.history[-1], self.model)
            self._save()
            if self.config.progress and self.world.writes:
                with suppress(OSError):  # nobody reads any more (train | head)
                    print(self.history.line(epochs), flush=True)

    def _train_epoch(self, plan: batches.Plan, stream: Iterator) -> None:
        """Train the rest of an epoch; between two batches save, or save and stop."""
        state, config = self.state, self.config
        steps = training_steps(
            self._network,
            islice(stream, plan.steps - state.step),
            state.optimizer,
            loss_function=self.loss,
            scheduler=state.scheduler,
            amp=self.amp,
            scaler=state.scaler,
            clip=config.clip,
        )
        shown = config.progress and self.world.writes
        with tqdm(
            steps,
            total=plan.steps,
            initial=state.step,
            desc=f"epoch {state.epoch}/{config.epochs}",
            leave=False,
            disable=None if shown else True,  # None: no bar but in a terminal
        ) as bar:
            for loss, correct, _ in bar:
                state.totals.add(loss, correct, plan.sizes[state.step])
                state.step += 1
                stop, save = self._should_stop_or_save()
                if stop or save:
                    state.totals.flush()
                    self._save()
                if stop:
                    raise self._interruption(plan.steps)

    def _should_stop_or_save(self) -> list[float]:
        """Whether to stop, and whether to save now; all processes agree."""
        if self.world.size > 1 and self.state.step % AGREE_STEPS:
            return [False, False]
        overdue = time.monotonic() - self._saved_at > SAVE_SECONDS
        return distributed.all_reduce([self._signals.asked, overdue], "MAX")

    def _resume(self, resume: bool) -> None:
        """Restore a checkpoint, if one is there and wanted."""
        if self.folder is None:
            if resume:
                raise ValueError("resume=True needs checkpoint_dir in the config")
        elif resume:
            found = self.folder.load() if self.world.writes else None
            found = distributed.broadcast_object(found)
            if found is not None:
                self.state.restore(found)
        elif self.world.writes and self.folder.exists():
            raise CheckpointError(
                f"{self.folder.path} holds the checkpoints of a training; pass "
                "resume=True to continue it, or choose another checkpoint_dir"
            )

    def _save(self) -> None:
        """Write a checkpoint; a full disk, which may get room again, ends nothing."""
        self.state.check_weights()
        self._saved_at, self.saved = time.monotonic(), self.folder is not None
        try:
            if self.saved and self.world.writes:
                self.folder.save(self.state)
        except OSError as error:
            self.saved = False
            warnings.warn(
                f"no checkpoint could be written ({error}); the one before is intact, "
                "and the training continues",
                stacklevel=2,
            )

    def _interruption(self, steps: int) -> TrainingInterrupted:
        saved = "nothing is saved, because checkpoint_dir is None"
        if self.saved:
            saved = f"saved in {self.folder.path}: call again with resume=True"
        elif self.folder is not None:
            saved = "this place could not be saved"
        place = f"epoch {self.state.epoch} after {self.state.step} of {steps} batches"
        return TrainingInterrupted(f"stopped in {place}; {saved}")

    def _batches(self, data: Any, order: Iterator, training: bool = False) -> Iterator:
        """Images and labels of each batch, as the network takes them."""
        for seed, x, y in batches.load(data, order, self.config.workers, self.device):
            x, y = self.prepare(x, y, seed if training else None)
            if isinstance(self.model, ResNet):
                check_batch(self.model, x)
            yield x, y

    def _open_log(self, train: Any) -> Any:
        """The TensorBoard writer, with the network's graph, or nothing."""
        if self.config.log_dir is None or not self.world.writes:
            return nullcontext()
        from course_lib.trainer.tensorboard import TensorBoardLog

        log = TensorBoardLog(self.config.log_dir, purge_step=self.state.epoch)
        if self.state.epoch == 1:
            _, x, y = next(batches.load(train, batches.in_order(1, 1), 0, self.device))
            log.graph(self.model, self.prepare(x, y)[0])
        return log
