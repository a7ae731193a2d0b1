"""Dice as a loss with cross-entropy, and as a metric."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import mean_over_devices
from anyvox_keras.export import export
from anyvox_keras.types import Array

#: added to numerator and denominator, so that a class absent on both sides costs nothing
SMOOTH = 1e-5


@export
class DiceCrossEntropy(keras.losses.Loss):
    """Soft Dice loss plus cross-entropy, each with its weight.

    Per sample and class, `1 - (2 sum p g + s) / (sum p + sum g + s)`, p the softmax, g the one-hot
    labels, s = 1e-5; averaged over classes and samples. Cross-entropy is averaged over all voxels
    and classes count by their weight. The law of MONAI's `DiceCELoss(softmax=True,
    to_onehot_y=True)`. Dice is taken over the foreground classes unless `background` is set.

    Of many classes the rare ones hardly count in that average, and are learnt last. With `rarity`
    r a voxel of a class of n voxels weighs `(m / n)^r`, where m is the number of the most frequent
    class in the batch, and one of the background 1: of a single class nothing changes.

    Called with label maps `(B, D, H, W)` of integers and logits `(B, D, H, W, classes + 1)`.

    Args:
        dice_weight: Weight of the Dice loss.
        cross_entropy_weight: Weight of the cross-entropy.
        background: Whether the background counts as a class of the Dice loss.
        class_weights: Weight of each class, background first, in both losses; None weighs alike.
        ignore_label: Voxels of this label count nowhere; None for none.
        rarity: How much more a voxel of a rare class weighs in the cross-entropy: 0 is alike, with
            1 each class beside the background weighs alike.

    Raises:
        ValueError: If a weight or `rarity` is negative, or `class_weights` do not match the logits.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.segmentation import DiceCrossEntropy

        loss = DiceCrossEntropy(class_weights=[0.2, 1, 1], ignore_label=255)
        value = loss(np.zeros((1, 8, 8, 8), "int32"), np.zeros((1, 8, 8, 8, 3), "float32"))
        ```
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        background: bool = False,
        class_weights: Sequence[float] | None = None,
        ignore_label: int | None = None,
        rarity: float = 0.0,
        name: str = "dice_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        weights = [dice_weight, cross_entropy_weight, *(class_weights or ())]
        if min(weights) < 0:
            raise ValueError(f"weights must be >= 0. Received: {weights}")
        if rarity < 0:
            raise ValueError(f"`rarity` must be >= 0. Received: rarity={rarity}")
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight
        self.background, self.ignore_label = background, ignore_label
        self.rarity = float(rarity)
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return the loss of each sample; the mean of their cross-entropies is the batch's."""
        logits = ops.cast(y_pred, "float32")
        onehot, counts = one_hot(y_true, logits.shape[-1], self.ignore_label)
        weights = self._weights(logits.shape[-1])
        dice = 1 - soft_dice(ops.softmax(logits) * counts, onehot)
        first = 0 if self.background else 1
        loss = self.dice_weight * ops.mean(dice[:, first:] * weights[first:], axis=1)
        share = onehot * weights * self._more_where_rare(onehot)
        entropy = -ops.sum(share * ops.log_softmax(logits), axis=(1, 2, 3, 4))
        total = ops.sum(share)
        if self.class_weights is not None or self.ignore_label is not None or self.rarity:
            # Samples weigh by their voxels that count, those of other devices among them.
            total = mean_over_devices(total)
        mean_share = ops.maximum(total, 1e-6) / ops.cast(ops.shape(logits)[0], "float32")
        return loss + self.cross_entropy_weight * entropy / mean_share

    def _more_where_rare(self, onehot: Array) -> Array:
        """Weights of classes by their numbers of voxels that count, on all devices."""
        if not self.rarity:
            return ops.ones((), "float32")
        voxels = mean_over_devices(ops.sum(onehot, (0, 1, 2, 3)))[1:]
        # What a class without voxels weighs does not matter, if it is finite.
        times = ops.max(voxels) / ops.maximum(voxels, 1e-6)
        return ops.concatenate([ops.ones((1,), "float32"), ops.power(times, self.rarity)])

    def _weights(self, classes: int) -> Array:
        weights = self.class_weights or [1.0] * classes
        if len(weights) != classes:
            raise ValueError(
                f"`class_weights` must be {classes} numbers, background first. Received: {weights}"
            )
        return ops.convert_to_tensor(weights, "float32")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("dice_weight", "cross_entropy_weight", "background", "class_weights", "rarity")
        own = {name: getattr(self, name) for name in (*names, "ignore_label")}
        return {**super().get_config(), **own}


def one_hot(label_map: Array, classes: int, ignore_label: int | None) -> tuple[Array, Array]:
    """Return `(B, D, H, W, classes)` one-hot labels and `(B, D, H, W, 1)` which voxels count."""
    labels = ops.cast(label_map, "int32")
    if len(labels.shape) == 5:
        labels = labels[..., 0]
    counts = ops.ones_like(labels, dtype="float32")
    if ignore_label is not None:
        counts = ops.cast(labels != ignore_label, "float32")
        labels = ops.where(labels == ignore_label, 0, labels)
    counts = counts[..., None]
    # Compared, not `ops.one_hot`: JAX and torch differ on labels beyond the last class.
    known = ops.arange(classes, dtype="int32")
    return ops.cast(labels[..., None] == known, "float32") * counts, counts


def soft_dice(p: Array, g: Array) -> Array:
    """Soft Dice of `(B, D, H, W, C)` shares, `(B, C)`."""
    axes = (1, 2, 3)
    sizes = ops.sum(p, axes) + ops.sum(g, axes)
    return (2 * ops.sum(p * g, axes) + SMOOTH) / (sizes + SMOOTH)


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

    def update_state(
        self, y_true: Array, y_pred: Array, sample_weight: Array | None = None
    ) -> None:
        """Count voxels; `sample_weight` is accepted and ignored."""
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
