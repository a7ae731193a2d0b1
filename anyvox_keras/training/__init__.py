"""A training run that survives anything: settings, checkpoint, progress, schedules.

Written by hand: Keras's `BackupAndRestore`, Orbax and `CSVLogger` keep neither the stream's place
nor the 60-second rule nor an exact log.
"""

from anyvox_keras.training.checkpoint import Checkpoint
from anyvox_keras.training.schedules import EpochCosine, stepped_decay, warm_cosine
from anyvox_keras.training.stop_on_non_finite import StopOnNonFinite

__all__ = [
    "Checkpoint",
    "EpochCosine",
    "StopOnNonFinite",
    "stepped_decay",
    "warm_cosine",
]
