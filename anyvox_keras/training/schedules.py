"""Learning-rate laws as Keras schedules."""

import math
from typing import Any

import keras
from keras import ops

from anyvox_keras.export import export
from anyvox_keras.types import Array

PARTS = (1.0, 0.8, 0.6, 0.4, 0.2)


def stepped_decay(rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The paper's law: `rate` x 1, .8, .6, .4, .2 over five equal parts of `steps`.

    Example:
        ```python
        keras.optimizers.AdamW(stepped_decay(2e-4, steps=600_000))
        ```
    """
    # Keras keeps a value up to and including its boundary; steps count from 0.
    boundaries = [steps * part // len(PARTS) - 1 for part in range(1, len(PARTS))]
    values = [rate * part for part in PARTS]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def warm_cosine(
    rate: float, steps: int, warmup: int = 1000
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rise linearly from 0 to `rate` in `warmup` steps, then fall to 0 by a cosine at `steps`.

    Raises:
        ValueError: If `warmup` is not below `steps`.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"`warmup` must be in [0, steps). Received: {warmup}, steps={steps}")
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=rate, warmup_steps=warmup
    )


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
        from anyvox_keras.training import EpochCosine

        keras.optimizers.Adam(EpochCosine(2e-4, steps=500 * 75))
        ```
    """

    def __init__(self, rate: float, steps: int, epoch_steps: int = 75) -> None:
        if min(steps, epoch_steps) < 1:
            raise ValueError(
                f"`steps` and `epoch_steps` must be >= 1. Received: {steps}, {epoch_steps}"
            )
        self.rate, self.steps, self.epoch_steps = rate, steps, epoch_steps

    def __call__(self, step: Array) -> Array:
        """Return the rate of a step, counted from 0."""
        epoch = ops.cast(ops.floor_divide(ops.cast(step, "int32"), self.epoch_steps), "float32")
        part = ops.minimum(epoch / -(-self.steps // self.epoch_steps), 1.0)
        return self.rate * (1 + ops.cos(math.pi * part)) / 2

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"rate": self.rate, "steps": self.steps, "epoch_steps": self.epoch_steps}
