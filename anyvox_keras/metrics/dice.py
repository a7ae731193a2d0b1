"""Overlap of label maps."""

from collections.abc import Iterable

import numpy as np


def dice(a: np.ndarray, b: np.ndarray, labels: Iterable[int] | None = None) -> dict[int, float]:
    """Dice overlap per label, `2 |A and B| / (|A| + |B|)`.

    Args:
        a: integer label map of any shape, such as `(D, H, W)`.
        b: label map of the same shape.
        labels: which labels count; the default is every label above 0 in either map.

    Returns:
        `{label: value}` in `[0, 1]`; NaN for a label that is in neither map.

    Raises:
        ValueError: the shapes differ, or a map is not of integers.

    Example:
        ```python
        >>> dice(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
        {1: 0.6666666666666666, 2: 0.6666666666666666}
        ```
    """
    a, b = check_labels(a, b)
    wanted = label_list(a, b, labels)
    both, size_a, size_b = (_counts(x, wanted) for x in (np.where(a == b, a, -1), a, b))
    with np.errstate(invalid="ignore"):
        values = 2 * both / (size_a + size_b)
    return dict(zip(wanted, values.tolist(), strict=True))


def mean_dice(a: np.ndarray, b: np.ndarray, labels: Iterable[int] | None = None) -> float:
    """Mean of `dice` over the labels that are in at least one map; NaN if there are none."""
    values = [value for value in dice(a, b, labels).values() if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


def check_labels(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both maps as integer arrays of the same shape."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have the same shape. Received: {a.shape} and {b.shape}")
    for name, x in (("a", a), ("b", b)):
        if x.dtype.kind not in "iub":
            raise ValueError(f"`{name}` must hold integer labels. Received: dtype={x.dtype}")
    return a.astype("int64"), b.astype("int64")


def label_list(a: np.ndarray, b: np.ndarray, labels: Iterable[int] | None) -> list[int]:
    """Return the labels that count, sorted if not given."""
    if labels is not None:
        return [int(label) for label in labels]
    found = np.union1d(np.unique(a), np.unique(b))
    return [int(label) for label in found if label > 0]


def _counts(x: np.ndarray, labels: list[int]) -> np.ndarray:
    values, counts = np.unique(x, return_counts=True)
    table = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return np.array([table.get(label, 0) for label in labels], "float64")
