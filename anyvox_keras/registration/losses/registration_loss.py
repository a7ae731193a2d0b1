"""What the losses of registration share."""

from typing import Any

import keras


class RegistrationLoss(keras.losses.Loss):
    """A loss in float32 under any policy; masks are Keras's `sample_weight`.

    Losses that compare voxels return `(B, D, H, W)`; with a mask of that shape the mean is over
    the mask. The others return `(B,)`.

    Attributes:
        of_voxels: Whether there is a value a voxel, which a mask can weigh.
    """

    of_voxels = True

    def __init__(self, name: str, **kwargs: Any) -> None:
        defaults = {"dtype": "float32", "reduction": "mean_with_sample_weight"}
        super().__init__(name=name, **{**defaults, **kwargs})
