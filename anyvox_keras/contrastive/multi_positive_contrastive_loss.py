"""The multi-positive contrastive loss."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.contrastive.anchor_losses import anchor_losses, class_counts, weighted
from anyvox_keras.export import export

WEIGHTINGS = (None, "raw", "sqrt")


@export
class MultiPositiveContrastiveLoss(keras.losses.Loss):
    r"""Pull rows of one class together and push the others apart (Dey et al., 2025, section 3).

    For L2-normalised rows `z_i` of class `y_i`, with P(i) the other rows of class `y_i` and A(i)
    all rows but `i`,

        L_i = -1/|P(i)| sum_{p in P(i)} log( exp(z_i.z_p / t) / sum_{a in A(i)} exp(z_i.z_a / t) )

    and the loss is the mean over the rows that have a positive; other rows are ignored. Nothing
    larger than a block of the Gram matrix is stored. Arithmetic is float32 under any policy.

    Call with labels `(B, R)` and rows `(B, R, C)`, normalised or not: one value for each of the B
    pairs of views. No term crosses pairs.

    Args:
        temperature: t.
        rarity: Weight of an anchor: None (equal), `"raw"` (1 / rows of its class) or `"sqrt"` (its
            square root).
        balance: Divisor of each term of the inner sum: None, `"raw"` (the number of rows of that
            term's class, the anchor not counted) or `"sqrt"`.

    Example:
        ```python
        loss = MultiPositiveContrastiveLoss(temperature=0.33)
        loss(np.array([[0, 1, 0, 1]]), np.random.normal(size=(1, 4, 8)))
        ```
    """

    def __init__(
        self,
        temperature: float = 0.33,
        rarity: str | None = None,
        balance: str | None = None,
        name: str = "multi_positive_contrastive_loss",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(name=name, **kwargs)
        if temperature <= 0:
            raise ValueError(f"`temperature` must be > 0. Received: temperature={temperature}")
        for option, value in (("rarity", rarity), ("balance", balance)):
            if value not in WEIGHTINGS:
                raise ValueError(
                    f"`{option}` must be None, 'raw' or 'sqrt'. Received: {option}={value!r}"
                )
        self.temperature = temperature
        self.rarity = rarity
        self.balance = balance

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one loss per pair, `(B,)`."""
        return self.of_labellings(ops.expand_dims(y_true, 0), y_pred)[0]

    def of_labellings(self, labels: Any, rows: Any) -> Any:
        """Return the losses of the same rows under several labellings, `(S, B)`.

        They cost hardly more than one: the similarities are shared.

        Args:
            labels: `(S, B, R)` integers.
            rows: `(B, R, C)`.
        """
        unit, labels = _unit(ops.cast(rows, "float32")), ops.cast(labels, "int32")
        counts = ops.stack([class_counts(labels[number]) for number in range(labels.shape[0])])
        losses = anchor_losses(unit, labels, counts, self.temperature, self.balance)
        weights = ops.cast(counts > 1, "float32")
        if self.rarity:
            weights = weights / weighted(counts, self.rarity)
        total = ops.sum(weights, axis=2)
        return ops.sum(weights * losses, axis=2) / ops.maximum(total, 1e-12)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "rarity": self.rarity,
            "balance": self.balance,
        }


def _unit(x: Any) -> Any:
    # Not `ops.normalize`: its gradient at a zero row is not finite.
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
