"""How far features agree on labels across contrasts."""

from typing import Any

from keras import ops


def alignment(first: Any, second: Any, labels: Any, second_labels: Any = None) -> Any:
    """Mean cosine of same-label rows across two views, minus that of different labels.

    0 for features that know nothing of the label, at most 2. A pair of views with but one label
    counts as 0.

    Args:
        first: `(B, k, C)` features at k voxels of one view.
        second: `(B, k, C)` features of the other view.
        labels: `(B, k)` integers, of the first view's voxels.
        second_labels: `(B, k)` integers, of the second view's where it shows others; None where
            both views were read at the same voxels.

    Returns:
        `(B,)` float32.

    Example:
        ```python
        alignment(np.eye(4)[None], np.eye(4)[None], np.arange(4)[None])  # [1.]
        ```
    """
    cosine = ops.matmul(_unit(first), ops.transpose(_unit(second), (0, 2, 1)))
    second_labels = labels if second_labels is None else second_labels
    same = ops.cast(labels[:, :, None] == second_labels[:, None, :], "float32")
    other = 1.0 - same
    counts = ops.sum(other, axis=(1, 2))
    gap = _mean(cosine, same) - _mean(cosine, other)
    return ops.where(counts > 0, gap, ops.zeros_like(gap))


def _unit(x: Any) -> Any:
    x = ops.cast(x, "float32")
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def _mean(x: Any, mask: Any) -> Any:
    return ops.sum(x * mask, axis=(1, 2)) / ops.maximum(ops.sum(mask, axis=(1, 2)), 1.0)
