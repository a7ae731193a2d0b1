"""The multi-positive contrastive loss."""

from typing import Any

import keras
from keras import ops

from anyvox_keras._export import export

WEIGHTINGS = (None, "raw", "sqrt")
# Similarities held at once: 2^22 floats are 16 MB. Longer row lists are worked off in parts whose
# similarities the gradient computes again, so memory grows with rows, not their square.
BLOCK = 2**22
FAR = -1e30


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
        rows = _unit(ops.cast(y_pred, "float32"))
        labels = ops.cast(y_true, "int32")
        counts = self._counts(labels)
        losses, positives = self._anchors(rows, labels, counts)
        weights = ops.cast(positives > 0, "float32")
        if self.rarity:
            weights = weights / _power(counts, self.rarity)
        total = ops.sum(weights, axis=1)
        return ops.sum(weights * losses, axis=1) / ops.maximum(total, 1e-12)

    def _parts(self, labels: Any) -> list[slice]:
        pairs, count = labels.shape
        size = max(1, BLOCK // ((pairs or 1) * count))
        return [slice(start, start + size) for start in range(0, count, size)]

    def _counts(self, labels: Any) -> Any:
        """Count the rows of each row's class."""
        parts = [
            ops.sum(ops.cast(_same(labels[:, part], labels), "float32"), axis=2)
            for part in self._parts(labels)
        ]
        return ops.concatenate(parts, axis=1)

    def _anchors(self, rows: Any, labels: Any, counts: Any) -> tuple[Any, Any]:
        parts = self._parts(labels)
        block = self._block if len(parts) == 1 else keras.remat(self._block)
        order = ops.arange(labels.shape[1], dtype="int32")
        results = [
            block(rows[:, part], rows, labels[:, part], labels, order[part], order, counts)
            for part in parts
        ]
        losses, positives = zip(*results, strict=True)
        return ops.concatenate(losses, axis=1), ops.concatenate(positives, axis=1)

    def _block(
        self, anchors: Any, rows: Any, own: Any, labels: Any, index: Any, order: Any, counts: Any
    ) -> tuple[Any, Any]:
        """Losses of some anchors and the number of positives of each."""
        similarity = ops.matmul(anchors, ops.transpose(rows, (0, 2, 1))) / self.temperature
        other = index[:, None] != order[None, :]
        same = _same(own, labels)
        positive = ops.cast(ops.logical_and(same, other), "float32")
        count = ops.sum(positive, axis=2)
        attracted = ops.sum(positive * similarity, axis=2) / ops.maximum(count, 1.0)
        if self.balance:
            valid = ops.maximum(counts[:, None, :] - ops.cast(same, "float32"), 1.0)
            similarity = similarity - ops.log(_power(valid, self.balance))
        repelled = ops.logsumexp(ops.where(other, similarity, FAR), axis=2)
        return repelled - attracted, count

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


def _same(some: Any, labels: Any) -> Any:
    return ops.equal(some[:, :, None], labels[:, None, :])


def _power(counts: Any, weighting: str) -> Any:
    return counts if weighting == "raw" else ops.sqrt(counts)
