"""Loss of each anchor and its gradient, one block of similarities at a time."""

import functools
from collections.abc import Callable
from typing import Any

from keras import ops

from anyvox_keras.backend import compiled, repeat

# Similarities held at once: 2^20 floats are 4 MB. Memory grows with rows, not with their square.
BLOCK = 2**20
FAR = -1e30


def class_counts(labels: Any) -> Any:
    """Count the rows of each row's class, `(B, R)` float32."""

    def add(start: Any, size: int, counts: Any) -> Any:
        same = _same(_part(labels, start, size), labels)
        return _put(counts, ops.sum(ops.cast(same, "float32"), axis=2), start)

    return _by_blocks(add, ops.zeros_like(labels, dtype="float32"), labels)


def anchor_losses(rows: Any, labels: Any, counts: Any, temperature: float, balance: Any) -> Any:
    """Return each anchor's loss `(B, R)`; its gradient is written out.

    Differentiated by the backends, all blocks of similarities would be alive at once, since none
    waits for another. Here they are the steps of a loop, forward and backward.

    Args:
        rows: `(B, R, C)` float32 of length 1.
        labels: `(B, R)` int32.
        counts: What `class_counts` returns.
        temperature: Of the loss.
        balance: None, `"raw"` or `"sqrt"`.
    """
    forward, backward = _compiled_law(temperature, balance)

    @ops.custom_gradient
    def losses_of(rows: Any) -> tuple[Any, Callable[..., Any]]:
        def gradient(*given: Any, upstream: Any = None) -> Any:
            # Keras's convention: torch names the slope, the others hand it over alone.
            slope = given[-1] if upstream is None else upstream
            return backward(rows, labels, counts, slope)

        # Or TensorFlow would look for the gradient of the loop as well.
        return forward(ops.stop_gradient(rows), labels, counts), gradient

    return losses_of(rows)


@functools.cache
def _compiled_law(temperature: float, balance: str | None) -> tuple[Any, Any]:
    law = _Law(temperature, balance)
    return compiled(law.losses), compiled(law.gradient)


class _Law:
    """`L_i = log sum_{a != i} exp(s_ia) / w_ia - mean_{p in P(i)} s_ip`, `s = z z' / t`."""

    def __init__(self, temperature: float, balance: str | None) -> None:
        self.temperature = temperature
        self.balance = balance

    def losses(self, rows: Any, labels: Any, counts: Any) -> Any:
        """Loss of each row as an anchor."""

        def add(start: Any, size: int, losses: Any) -> Any:
            attracted, repelled, share = self._terms(rows, labels, counts, start, size)
            positive = ops.sum(share * attracted, axis=2)
            return _put(losses, ops.logsumexp(repelled, axis=2) - positive, start)

        return _by_blocks(add, ops.zeros_like(counts), labels)

    def gradient(self, rows: Any, labels: Any, counts: Any, slope: Any) -> Any:
        """Slope of the losses' weighted sum: `dL_i / ds_ia = softmax_a - [a in P(i)] / |P(i)|`."""

        def add(start: Any, size: int, total: Any) -> Any:
            _, repelled, share = self._terms(rows, labels, counts, start, size)
            weight = _part(slope, start, size)[:, :, None] / self.temperature
            pull = (ops.softmax(repelled, axis=2) - share) * weight
            total = total + ops.matmul(ops.transpose(pull, (0, 2, 1)), _part(rows, start, size))
            own = _part(total, start, size) + ops.matmul(pull, rows)
            return _put(total, own, start)

        return _by_blocks(add, ops.zeros_like(rows), labels)

    def _terms(self, rows: Any, labels: Any, counts: Any, start: Any, size: int) -> Any:
        """Similarities of some anchors, those of the denominator, and each positive's share."""
        anchors, own = _part(rows, start, size), _part(labels, start, size)
        similarity = ops.matmul(anchors, ops.transpose(rows, (0, 2, 1))) / self.temperature
        order = ops.arange(labels.shape[1], dtype="int32")
        other = (start + order[:size])[:, None] != order[None, :]
        same = _same(own, labels)
        positive = ops.cast(ops.logical_and(same, other), "float32")
        share = positive / ops.maximum(_part(counts, start, size)[:, :, None] - 1.0, 1.0)
        repelled = similarity
        if self.balance:
            valid = ops.maximum(counts[:, None, :] - ops.cast(same, "float32"), 1.0)
            repelled = similarity - ops.log(weighted(valid, self.balance))
        return similarity, ops.where(other, repelled, FAR), share


def weighted(counts: Any, weighting: str) -> Any:
    """Counts, or their square roots."""
    return counts if weighting == "raw" else ops.sqrt(counts)


def _by_blocks(add: Callable[[Any, int, Any], Any], state: Any, labels: Any) -> Any:
    """Apply `add(start, size, state)` to blocks of rows, one after another."""
    pairs, count = labels.shape
    size = min(count, max(1, BLOCK // ((pairs or 1) * count)))
    if size == count:
        return add(0, count, state)
    state = repeat(count // size, lambda block, state: add(block * size, size, state), state)
    return add(count - count % size, count % size, state) if count % size else state


def _part(x: Any, start: Any, size: int) -> Any:
    rest = tuple(ops.shape(x)[2:])
    return ops.slice(x, (0, start, *[0] * len(rest)), (ops.shape(x)[0], size, *rest))


def _put(x: Any, part: Any, start: Any) -> Any:
    return ops.slice_update(x, (0, start, *[0] * (len(x.shape) - 2)), part)


def _same(some: Any, labels: Any) -> Any:
    return ops.equal(some[:, :, None], labels[:, None, :])
