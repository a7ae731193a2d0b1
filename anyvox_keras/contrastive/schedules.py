"""Learning-rate laws as Keras schedules."""

import keras

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
