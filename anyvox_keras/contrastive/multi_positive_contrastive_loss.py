"""The contrastive loss with several positives, one block of similarities at a time."""

import functools
import math
from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import compiled, repeat
from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.types import Array, Function, Weighting

# Similarities held at once: 2^20 floats are 4 MB. Memory grows with rows, not with their square.
BLOCK = 2**20
FAR = -1e30
#: First row of a block: a number, or a tensor inside a loop.
Start = int | Array


def class_counts(labels: Array) -> Array:
    """Count the rows of each row's class, `(B, R)` float32."""

    def add(start: Start, size: int, counts: Array) -> Array:
        same = _same(_part(labels, start, size), labels)
        return _put(counts, ops.sum(ops.cast(same, "float32"), axis=2), start)

    return _by_blocks(add, ops.zeros_like(labels, dtype="float32"), labels)


def anchor_losses(
    rows: Array, labels: Array, counts: Array, temperature: float, balance: Weighting | None
) -> Array:
    """Return each anchor's loss under each labelling `(S, B, R)`; its gradient is written out.

    Labellings of the same rows share their similarities and, without `balance`, the denominator,
    which is where the time goes: a second labelling costs next to nothing.

    Differentiated by the backends, all blocks of similarities would be alive at once, since none
    waits for another. Here they are the steps of a loop, forward and backward.

    Args:
        rows: `(B, R, C)` float32 of length 1.
        labels: `(S, B, R)` int32.
        counts: What `class_counts` returns for each labelling, `(S, B, R)`.
        temperature: Divisor of the cosines.
        balance: None, `"raw"` or `"sqrt"`.
    """
    if balance and labels.shape[0] > 1:  # each labelling has a denominator of its own
        return ops.concatenate(
            [
                anchor_losses(rows, own[None], numbers[None], temperature, balance)
                for own, numbers in _each(labels, counts)
            ]
        )
    forward, backward = _compiled_law(temperature, balance)

    @ops.custom_gradient
    def losses_of(rows: Array) -> tuple[Array, Function]:
        # Or TensorFlow would look for the gradient of the loop as well.
        losses, denominators = forward(ops.stop_gradient(rows), labels, counts)

        def gradient(*given: Array, upstream: Array | None = None) -> Array:
            # Keras's convention: torch names the slope, the others hand it over alone.
            slopes = given[-1] if upstream is None else upstream
            return backward(rows, labels, counts, denominators, slopes)

        return losses, gradient

    return losses_of(rows)


@functools.cache
def _compiled_law(temperature: float, balance: Weighting | None) -> tuple[Function, Function]:
    law = _Law(temperature, balance)
    return compiled(law.losses), compiled(law.gradient)


class _Law:
    """`L_i = D_i - mean_{p in P(i)} s_ip`, `D_i = log sum_{a != i} exp(s_ia) / w_ia`.

    Here `s = z z' / t`. The denominators' logarithms D are kept: with them `dL_i / ds_ia =
    exp(s_ia - D_i) / w_ia - [a in P(i)] / |P(i)|` and `dL_a / ds_ai` come from one block of
    similarities, so that the gradient to a block of rows is one product, `sum_a (dL_i / ds_ia +
    dL_a / ds_ai) z_a / t`.
    """

    def __init__(self, temperature: float, balance: Weighting | None) -> None:
        self.temperature = temperature
        self.balance = balance

    def losses(self, rows: Array, labels: Array, counts: Array) -> tuple[Array, Array]:
        """Loss of each row as an anchor `(S, B, R)`, and D `(B, R)`."""

        def add(start: Start, size: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
            similarity, other = self._similarity(rows, start, size)
            repelled = similarity
            if self.balance:
                repelled = similarity - self._log_weight(labels, counts, start, size)[0]
            denominator = ops.logsumexp(ops.where(other, repelled, FAR), axis=2)
            losses = [
                denominator - ops.sum(self._share(*own, other, start, size) * similarity, axis=2)
                for own in _each(labels, counts)
            ]
            return (
                _put(state[0], ops.stack(losses), start, axis=2),
                _put(state[1], denominator, start),
            )

        nothing = ops.zeros_like(counts), ops.zeros_like(counts[0])
        return _by_blocks(add, nothing, labels[0])

    def gradient(
        self, rows: Array, labels: Array, counts: Array, denominators: Array, slopes: Array
    ) -> Array:
        """Slope of the losses' weighted sum."""
        slope = ops.sum(slopes, axis=0)

        def add(start: Start, size: int, total: Array) -> Array:
            similarity, other = self._similarity(rows, start, size)
            here, there = similarity, similarity
            if self.balance:
                weights = self._log_weight(labels, counts, start, size)
                here, there = similarity - weights[0], similarity - weights[1]
            of_own = ops.exp(here - _part(denominators, start, size)[:, :, None])
            of_others = ops.exp(there - denominators[:, None, :])
            pull = of_own * _part(slope, start, size)[:, :, None] + of_others * slope[:, None, :]
            pull = ops.where(other, pull, 0.0)
            for number, own in enumerate(_each(labels, counts)):
                both = _part(slopes[number], start, size)[:, :, None] + slopes[number][:, None, :]
                pull = pull - self._share(*own, other, start, size) * both
            return _put(total, ops.matmul(pull, rows) / self.temperature, start)

        return _by_blocks(add, ops.zeros_like(rows), labels[0])

    def _similarity(self, rows: Array, start: Start, size: int) -> tuple[Array, Array]:
        """Similarities of some anchors to all rows, and where the two are not the same row."""
        anchors = _part(rows, start, size)
        similarity = ops.matmul(anchors, ops.transpose(rows, (0, 2, 1))) / self.temperature
        order = ops.arange(rows.shape[1], dtype="int32")
        return similarity, (start + order[:size])[:, None] != order[None, :]

    def _share(self, labels: Array, counts: Array, other: Array, start: Start, size: int) -> Array:
        """`[a in P(i)] / |P(i)|`, symmetric in i and a."""
        positive = ops.logical_and(_same(_part(labels, start, size), labels), other)
        each = 1.0 / ops.maximum(_part(counts, start, size) - 1.0, 1.0)
        return ops.where(positive, each[:, :, None], 0.0)

    def _log_weight(
        self, labels: Array, counts: Array, start: Start, size: int
    ) -> tuple[Array, Array]:
        """`log w_ia` and `log w_ai` of some anchors i and all rows a."""
        same = ops.cast(_same(_part(labels[0], start, size), labels[0]), "float32")
        numbers = counts[0][:, None, :], _part(counts[0], start, size)[:, :, None]
        here, there = (ops.maximum(number - same, 1.0) for number in numbers)
        return ops.log(weighted(here, self.balance)), ops.log(weighted(there, self.balance))


def _each(labels: Array, counts: Array) -> list[tuple[Array, Array]]:
    return [(labels[number], counts[number]) for number in range(labels.shape[0])]


def weighted(counts: Array, weighting: Weighting | None) -> Array:
    """Counts, or their square roots."""
    return counts if weighting == "raw" else ops.sqrt(counts)


def _by_blocks(add: Function, state: Any, labels: Array) -> Any:
    """Apply `add(start, size, state)` to blocks of rows, one after another."""
    pairs, count = labels.shape
    size = min(count, max(1, BLOCK // ((pairs or 1) * count)))
    if size == count:
        return add(0, count, state)
    state = repeat(count // size, lambda block, state: add(block * size, size, state), state)
    return add(count - count % size, count % size, state) if count % size else state


def _part(x: Array, start: Start, size: int) -> Array:
    rest = tuple(ops.shape(x)[2:])
    return ops.slice(x, (0, start, *[0] * len(rest)), (ops.shape(x)[0], size, *rest))


def _put(x: Array, part: Array, start: Start, axis: int = 1) -> Array:
    place: list[Start] = [0] * len(x.shape)
    place[axis] = start
    return ops.slice_update(x, place, part)


def _same(some: Array, labels: Array) -> Array:
    return ops.equal(some[:, :, None], labels[:, None, :])


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
        rarity: Weighting | None = None,
        balance: Weighting | None = None,
        name: str = "multi_positive_contrastive_loss",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(name=name, **kwargs)
        if not 0 < temperature < math.inf:
            raise ValueError(f"`temperature` must be > 0. Received: temperature={temperature}")
        for option, value in (("rarity", rarity), ("balance", balance)):
            if value is not None:
                one_of(option, value, Weighting)
        self.temperature = temperature
        self.rarity = rarity
        self.balance = balance

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return one loss per pair, `(B,)`."""
        return self.of_labellings(ops.expand_dims(y_true, 0), y_pred)[0]

    def of_labellings(self, labels: Array, rows: Array) -> Array:
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


def _unit(x: Array) -> Array:
    # Not `ops.normalize`: its gradient at a zero row is not finite.
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
