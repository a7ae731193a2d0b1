"""The learning-rate law of few-shot training."""

import math
from typing import Any

import keras
from keras import ops

from anyvox_keras._export import export


@export
class EpochCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Fall to 0 by a cosine that steps once an epoch: `rate (1 + cos(pi e / epochs)) / 2`.

    Args:
        rate: Rate of the first epoch.
        steps: Length of the training.
        epoch_steps: Steps an epoch.

    Raises:
        ValueError: If a length is below 1.

    Example:
        ```python
        import keras
        from anyvox_keras.segmentation import EpochCosine

        keras.optimizers.Adam(EpochCosine(2e-4, steps=500 * 75))
        ```
    """

    def __init__(self, rate: float, steps: int, epoch_steps: int = 75) -> None:
        if min(steps, epoch_steps) < 1:
            raise ValueError(
                f"`steps` and `epoch_steps` must be >= 1. Received: {steps}, {epoch_steps}"
            )
        self.rate, self.steps, self.epoch_steps = rate, steps, epoch_steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from 0."""
        epoch = ops.cast(ops.floor_divide(ops.cast(step, "int32"), self.epoch_steps), "float32")
        part = ops.minimum(epoch / -(-self.steps // self.epoch_steps), 1.0)
        return self.rate * (1 + ops.cos(math.pi * part)) / 2

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"rate": self.rate, "steps": self.steps, "epoch_steps": self.epoch_steps}
