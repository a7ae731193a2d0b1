"""Dice of each class while training."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.export import export
from anyvox_keras.segmentation.dice_cross_entropy import one_hot


@export
class DiceScore(keras.metrics.Metric):
    """Dice per class of the most likely labels, over all voxels since the last reset.

    The result is a dictionary: `dice_1`, `dice_2` ..., and `dice`, the mean of the classes that
    occurred. A class that neither labels nor prediction held counts as 0 in its own entry.

    Args:
        classes: Number of classes beside the background.
        ignore_label: Voxels of this label count nowhere.

    Raises:
        ValueError: If `classes` is below 1.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.segmentation import DiceScore

        score = DiceScore(classes=1)
        score.update_state(np.ones((1, 4, 4, 4), "int32"), np.zeros((1, 4, 4, 4, 2), "float32"))
        score.result()  # dice_1 and dice
        ```
    """

    def __init__(
        self, classes: int, ignore_label: int | None = None, name: str = "dice", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        if classes < 1:
            raise ValueError(f"`classes` must be >= 1. Received: classes={classes}")
        self.classes, self.ignore_label = int(classes), ignore_label
        shape = (self.classes + 1,)
        self.both = self.add_variable(shape, "zeros", dtype="float32", name="both")
        self.sizes = self.add_variable(shape, "zeros", dtype="float32", name="sizes")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count voxels; weights of samples are refused by nothing and used by nothing."""
        onehot, counts = one_hot(y_true, self.classes + 1, self.ignore_label)
        found = ops.argmax(y_pred, axis=-1)
        predicted, _ = one_hot(found, self.classes + 1, None)
        predicted = predicted * counts
        axes = (0, 1, 2, 3)
        self.both.assign_add(ops.sum(onehot * predicted, axes))
        self.sizes.assign_add(ops.sum(onehot, axes) + ops.sum(predicted, axes))

    def result(self) -> dict[str, Any]:
        """Dice of each class, and their mean."""
        both, sizes = ops.convert_to_tensor(self.both)[1:], ops.convert_to_tensor(self.sizes)[1:]
        dice = 2 * both / ops.maximum(sizes, 1.0)
        present = ops.cast(sizes > 0, "float32")
        mean = ops.sum(dice * present) / ops.maximum(ops.sum(present), 1.0)
        return {**{f"dice_{i + 1}": dice[i] for i in range(self.classes)}, "dice": mean}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        own = {"classes": self.classes, "ignore_label": self.ignore_label}
        return {**super().get_config(), **own}
