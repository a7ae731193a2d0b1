"""Distances of surfaces (HD95) and of landmarks (TRE)."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from anyvox_keras.metrics.dice import check_labels, label_list


def hd95(
    a: np.ndarray,
    b: np.ndarray,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    labels: Iterable[int] | None = None,
    percentile: float = 95.0,
) -> dict[int, float]:
    """Robust Hausdorff distance per label, in mm.

    From each surface voxel of one shape to the nearest of the other; the 95th percentile, and the
    larger of both directions. A surface voxel has a face neighbour outside the shape. With
    `percentile=100` this is the Hausdorff distance of the surfaces.

    Args:
        a: integer label map `(D, H, W)`.
        b: label map of the same shape.
        spacing: mm between voxels along each axis.
        labels: which labels count; the default is every label above 0 in either map.
        percentile: 95, or 100 for the maximum.

    Returns:
        `{label: mm}`; infinity if the label is missing from one map, NaN if from both.

    Raises:
        ValueError: the shapes differ, or a map is not of integers.

    Example:
        ```python
        >>> a, b = np.zeros((2, 4, 4, 8), int)
        >>> a[..., 1], b[..., 4] = 1, 1
        >>> hd95(a, b, spacing=(1, 1, 2))
        {1: 6.0}
        ```
    """
    a, b = check_labels(a, b)
    wanted = label_list(a, b, labels)
    return {label: _distance(a == label, b == label, spacing, percentile) for label in wanted}


def _distance(a: np.ndarray, b: np.ndarray, spacing: Sequence[float], percentile: float) -> float:
    if not a.any() and not b.any():
        return float("nan")
    if not a.any() or not b.any():
        return float("inf")
    # only the shapes' common box matters; a border of one voxel keeps the surfaces
    box = ndimage.find_objects((a | b).astype("uint8"))[0]
    a, b = (_surface(np.pad(x[box], 1)) for x in (a, b))
    to_a, to_b = (ndimage.distance_transform_edt(~x, sampling=spacing) for x in (a, b))
    return float(max(np.percentile(to_b[a], percentile), np.percentile(to_a[b], percentile)))


def _surface(mask: np.ndarray) -> np.ndarray:
    return np.asarray(mask & ~ndimage.binary_erosion(mask))


def target_registration_error(points_a: np.ndarray, points_b: np.ndarray) -> float:
    """Mean Euclidean distance of corresponding points (TRE), mm.

    Args:
        points_a: `(N, 3)`, mm.
        points_b: `(N, 3)`, mm, in the same order and the same convention (RAS or LPS).

    Raises:
        ValueError: not `(N, 3)`, or no point.

    Example:
        ```python
        >>> target_registration_error(np.zeros((2, 3)), np.array([[3.0, 4, 0], [0, 0, 1]]))
        3.0
        ```
    """
    a, b = np.asarray(points_a, "float64"), np.asarray(points_b, "float64")
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 3 or not a.size:
        raise ValueError(f"points must be two (N, 3) arrays. Received: {a.shape} and {b.shape}")
    return float(np.linalg.norm(a - b, axis=1).mean())
