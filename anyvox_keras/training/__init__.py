"""A training run that survives anything: settings, checkpoint, progress, schedules.

Written by hand: Keras's `BackupAndRestore`, Orbax and `CSVLogger` keep neither the stream's place
nor the 60-second rule nor an exact log.
"""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.training.checkpoint import Checkpoint as Checkpoint
    from anyvox_keras.training.progress import StopOnNonFinite as StopOnNonFinite
    from anyvox_keras.training.schedules import (
        EpochCosine as EpochCosine,
        stepped_decay as stepped_decay,
        warm_cosine as warm_cosine,
    )

lazy(__name__)
