"""How well images match: overlap of labels, distances, folds of a displacement."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from anyvox_keras import backend
from anyvox_keras.ops import jacobian_determinant


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
        ValueError: the shapes differ, a map is not of integers, or the spacing is not three
            positive numbers.

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
    mm = np.asarray(spacing, "float64")
    if mm.shape != (3,) or not (np.isfinite(mm) & (mm > 0)).all():
        raise ValueError(f"`spacing` must be three lengths > 0 mm. Received: spacing={spacing}")
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


def folds_percent(displacement: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Percentage of voxels where the map folds: Jacobian determinant <= 0.

    Args:
        displacement: `(D, H, W, 3)` in voxels.
        mask: `(D, H, W)`; only voxels above zero are counted.

    Raises:
        ValueError: not `(D, H, W, 3)`, not finite, or a mask of another shape or without voxels.

    Example:
        ```python
        >>> folds_percent(np.zeros((4, 4, 4, 3), "float32"))
        0.0
        ```
    """
    return float(100.0 * (jacobian(displacement, mask) <= 0).mean())


def sd_log_jacobian(displacement: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Standard deviation of the logarithm of the Jacobian determinant.

    0 for a rigid map. Determinants are clipped to `[1e-9, 1e9]`, as Learn2Reg does, so that a
    folded voxel counts as a strong compression.

    Args and errors as in `folds_percent`.
    """
    return float(np.log(np.clip(jacobian(displacement, mask), 1e-9, 1e9)).std())


def jacobian(displacement: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Jacobian determinants of `x + u(x)` on the host, `(D, H, W)`, or the `(N,)` in a mask."""
    field = np.asarray(displacement, "float32")
    if field.ndim != 4 or field.shape[-1] != 3:
        raise ValueError(f"`displacement` must be (D, H, W, 3). Received: {field.shape}")
    if not np.isfinite(field).all():  # NaN would count as no fold
        raise ValueError("`displacement` must be finite. Received: NaN or infinite values")
    with backend.no_gradient():
        values = np.asarray(backend.to_numpy(jacobian_determinant(field[None])))[0]
    if mask is None:
        return values
    inside = np.asarray(mask) > 0
    if inside.shape != values.shape or not inside.any():
        raise ValueError(
            f"`mask` must be {values.shape} with voxels above 0. Received: {inside.shape}"
        )
    return np.asarray(values[inside])
