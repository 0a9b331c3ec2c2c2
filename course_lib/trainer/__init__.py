"""The trainer of the course: small enough to read, and fit for real use.

    config = TrainerConfig(epochs=6, learning_rate=2e-3, checkpoint_dir="run")
    trainer = Trainer(model, config, classes=CRACK_CLASSES, augment=photo_views)
    history = trainer.fit(train, validation)
    print(trainer.evaluate(test).table())

Read it in this order: ``course_lib.training`` (the step itself), :mod:`.config`,
:mod:`.batches` (which images come when, and how they reach the network), :mod:`.state`
and :mod:`.checkpoints` (what is kept), :mod:`.loop` (all together), :mod:`.distributed`
for several processes, and :mod:`.tensorboard` for curves.
"""

from course_lib.trainer.checkpoints import TrainingInterrupted
from course_lib.trainer.config import TrainerConfig
from course_lib.trainer.distributed import PeerLostError, process_group
from course_lib.trainer.loop import Trainer
from course_lib.trainer.state import History
from course_lib.weights.checkpoints import CheckpointError, model_from
from course_lib.weights.checkpoints import load as load_checkpoint

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
