"""Maps of points, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp

#: a `(4, 4)` matrix, mm, RAS, or a displacement field
Part = np.ndarray | Warp
# of the inverse of a field: steps, and millimetres that count for nothing
_STEPS, _NOTHING = 60, 1e-3


@dataclass(frozen=True)
class Chain:
    """A point goes through the first part, then through the second, and so on.

    An image goes the other way: the last part is that of the moving image, as for
    `antsApplyTransforms -t` read from the end.

    Args:
        parts: Matrices `(4, 4)`, mm, RAS, and `Warp`s.

    Example:
        ```python
        >>> double = np.diag([2.0, 2, 2, 1])
        >>> Chain((double, double)).points(np.ones((1, 3)))
        array([[4., 4., 4.]])
        ```
    """

    parts: Sequence[Part]

    @property
    def matrix(self) -> np.ndarray | None:
        """The whole map, `(4, 4)`, if all parts are linear."""
        whole = np.eye(4)
        for part in self.parts:
            if isinstance(part, Warp):
                return None
            whole = part @ whole
        return whole

    @property
    def grid(self) -> Grid | None:
        """Where the map is known of itself: the grid of the first part, if that is a field."""
        first = self.parts[0] if self.parts else None
        return first.grid if isinstance(first, Warp) else None

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map `(N, 3)` points, mm, RAS."""
        for part in self.parts:
            if isinstance(part, Warp):
                points = part.points(points)
            else:
                points = points @ part[:3, :3].T + part[:3, 3]
        return points

    def to_warp(self, grid: Grid | None = None) -> Warp:
        """Join all parts into one field.

        Args:
            grid: Where; the default is the grid of the first part.

        Raises:
            UserError: No grid is given, and the first part is linear.
        """
        only = self.parts[0] if len(self.parts) == 1 else None
        if isinstance(only, Warp) and (grid is None or grid.matches(only.grid)):
            return only
        grid = grid or self.grid
        if grid is None:
            raise UserError("a field of transforms that begin with a linear one needs a reference")
        here = grid.to_world(grid.voxels()).reshape(-1, 3)
        vectors = (self.points(here) - here).reshape(*grid.shape, 3)
        return Warp(vectors, grid, self.matrix)

    def inverse(self, grid: Grid | None = None) -> "Chain":
        """Return the map the other way.

        Args:
            grid: Where the inverse of a field is wanted, such as the moving image's grid; the
                default is the field's own.

        Raises:
            UserError: A field that cannot be inverted: it folds.
        """
        matrix = self.matrix
        if matrix is not None:
            return Chain((_inverse(matrix),))
        grid = grid or self.to_warp().grid
        target = grid.to_world(grid.voxels()).reshape(-1, 3)
        found, off = self.points_back(target)
        _require_inverse(off, min(grid.spacing))
        return Chain((Warp((found - target).reshape(*grid.shape, 3), grid),))

    def points_back(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map `(N, 3)` points, mm, RAS, the other way: from the moving to the fixed side.

        Each point `y` is solved for by itself, `x <- x - s A^-1 (T(x) - y)`, where `A` is the map's
        affine part and the step `s` is halved whenever the point came no nearer.

        Returns:
            The points, and how far off each is in mm: `|T(x) - y|`.

        Raises:
            UserError: The affine part has no inverse, or that of a field mirrors: it folds.

        Example:
            ```python
            >>> found, off = Chain((np.diag([2.0, 2, 2, 1]),)).points_back(np.ones((1, 3)))
            >>> found
            array([[0.5, 0.5, 0.5]])
            ```
        """
        fields = (part for part in self.parts if isinstance(part, Warp))
        if any(np.linalg.det(field.affine[:3, :3]) <= 0 for field in fields):
            raise UserError("expected a field that has an inverse, received one that folds")
        back = _inverse(self.affine)
        found = points @ back[:3, :3].T + back[:3, 3]
        wrong = self.points(found) - points
        off = np.linalg.norm(wrong, axis=1)
        step = np.ones(len(points))
        for _ in range(_STEPS):
            open_ = np.flatnonzero(off > _NOTHING)
            if not len(open_):
                break
            tried = found[open_] - step[open_, None] * (wrong[open_] @ back[:3, :3].T)
            error = self.points(tried) - points[open_]
            far = np.linalg.norm(error, axis=1)
            nearer = far < off[open_]
            step[open_[~nearer]] /= 2
            kept = open_[nearer]
            found[kept], wrong[kept], off[kept] = tried[nearer], error[nearer], far[nearer]
        return found, off

    def normals_back(self, found: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Turn normals of a surface of the moving side with the points that `points_back` found.

        A normal goes by the transposed Jacobian of the map, `J(x)^T n`, here by differences of
        0.1 mm to each side.

        Args:
            found: `(N, 3)`, mm, RAS, on the fixed side.
            normals: `(N, 3)`, RAS, on the moving side.

        Returns:
            `(N, 3)`, of length 1; zero where a normal was.
        """
        steps = 0.1 * np.eye(3)
        ahead = [self.points(found + step) - self.points(found - step) for step in steps]
        turned = np.stack([(column * normals).sum(1) for column in ahead], 1)
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        return turned / np.where(length > 0, length, 1)

    @property
    def affine(self) -> np.ndarray:
        """The linear parts and the affine parts of the fields, joined: `(4, 4)`, mm, RAS."""
        whole = np.eye(4)
        for part in self.parts:
            whole = (part.affine if isinstance(part, Warp) else part) @ whole
        return whole


def _inverse(matrix: np.ndarray) -> np.ndarray:
    try:
        inverse: np.ndarray = np.linalg.inv(matrix)
    except np.linalg.LinAlgError as error:
        raise UserError("expected a transform that has an inverse, received a flat one") from error
    return inverse


def _require_inverse(off: np.ndarray, spacing: float) -> None:
    """Refuse a field of which more than one point in twenty finds no way back."""
    far = np.percentile(off, 95)
    if far > 0.5 * spacing:
        raise UserError(
            f"expected a field that has an inverse, received one whose inverse is {far:.2g} mm "
            "off: it folds, or moves by more than it is wide"
        )
