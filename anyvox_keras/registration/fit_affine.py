"""A rigid or affine map through pairs of points."""

import numpy as np

MODELS = ("rigid", "affine")


def fit_affine(
    points: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    model: str = "affine",
    trims: int = 5,
    keep: float = 0.5,
) -> np.ndarray:
    """Fit a matrix by weighted, trimmed least squares.

    "rigid" is the rotation and translation of Kabsch (no mirror image), "affine" has twelve free
    numbers. After the first fit, `trims` times the pairs with the smallest residuals that hold a
    share `keep` of the weight are fitted again, so that up to half of them may be wrong.

    Args:
        points: `(N, 3)`.
        targets: `(N, 3)`, where each point should go.
        weights: `(N,)`, not negative; all one by default.
        model: "rigid" or "affine".
        trims: How often to drop the worst pairs.
        keep: Share of the weight that stays.

    Returns:
        `(4, 4)` float64.

    Raises:
        ValueError: If the model is unknown, or the weights leave fewer than four points.

    Reference:
        Kabsch, A solution for the best rotation to relate two sets of vectors, 1976; Rousseeuw,
        Least median of squares regression, JASA 1984.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import fit_affine

        points = np.random.rand(20, 3)
        matrix = fit_affine(points, points + 1.0, model="rigid")
        ```
    """
    if model not in MODELS:
        raise ValueError(f"`model` must be rigid or affine. Received: model={model}")
    points, targets = np.asarray(points, "float64"), np.asarray(targets, "float64")
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, "float64")
    used = weights > 0
    if used.sum() < 4:
        raise ValueError(f"`weights` must leave at least 4 points. Received: {used.sum()}")
    points, targets, weights = points[used], targets[used], weights[used]
    solve = _rigid if model == "rigid" else _affine
    matrix = solve(points, targets, weights)
    for _ in range(trims):
        best = _smallest(_residuals(matrix, points, targets), weights, keep)
        matrix = solve(points[best], targets[best], weights[best])
    return matrix


def _residuals(matrix: np.ndarray, points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - targets, axis=1)


def _smallest(residuals: np.ndarray, weights: np.ndarray, keep: float) -> np.ndarray:
    order = np.argsort(residuals, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    count = max(4, int(np.searchsorted(share, keep)) + 1)
    return order[:count]


def _rigid(points: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    share = (weights / weights.sum())[:, None]
    middle, goal = (share * points).sum(0), (share * targets).sum(0)
    left, _, right = np.linalg.svd((points - middle).T @ (share * (targets - goal)))
    mirror = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    rotation = (left @ mirror @ right).T
    return _matrix(rotation, goal - rotation @ middle)


def _affine(points: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    root = np.sqrt(weights)[:, None]
    # About the middle and in units of the spread, or the normal equations lose their digits.
    middle = points.mean(0)
    spread = max(float(points.std()), 1e-9)
    columns = np.concatenate([(points - middle) / spread, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(columns * root, targets * root, rcond=None)[0]
    linear = solution[:3].T / spread
    return _matrix(linear, solution[3] - linear @ middle)


def _matrix(linear: np.ndarray, translation: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, translation
    return matrix
