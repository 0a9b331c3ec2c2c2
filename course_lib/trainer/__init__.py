"""The trainer of the course: small enough to read, and fit for real use.

    config = TrainerConfig(epochs=6, learning_rate=2e-3, checkpoint_dir="run")
    trainer = Trainer(model, config, classes=CRACK_CLASSES, augment=photo_views)
    history = trainer.fit(train, validation)
    print(trainer.evaluate(test).table())

Read it in this order: ``course_lib.training`` (the step itself), :mod:`.config`,
:mod:`.batches` (which images come when), :mod:`.inputs` (how they reach the network),
:mod:`.state` and :mod:`.checkpoints` (what is kept), :mod:`.loop` (all together), and
:mod:`.distributed` for several processes.
"""

from course_lib.trainer.checkpoints import CheckpointError, model_from
from course_lib.trainer.checkpoints import load as load_checkpoint
from course_lib.trainer.config import TrainerConfig
from course_lib.trainer.distributed import PeerLostError, process_group
from course_lib.trainer.history import History
from course_lib.trainer.interrupts import TrainingInterrupted
from course_lib.trainer.loop import Trainer

__all__ = [
    "CheckpointError",
    "History",
    "PeerLostError",
    "Trainer",
    "TrainerConfig",
    "TrainingInterrupted",
    "load_checkpoint",
    "model_from",
    "process_group",
]
