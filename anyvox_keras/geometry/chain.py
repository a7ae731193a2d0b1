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
            return Chain((np.linalg.inv(matrix),))
        grid = grid or self.to_warp().grid
        target = grid.to_world(grid.voxels()).reshape(-1, 3)
        found, off = target, np.full(len(target), np.inf)
        for _ in range(_STEPS):
            wrong = self.points(found) - target
            off = np.linalg.norm(wrong, axis=1)
            if off.max() < _NOTHING:
                break
            found = found - wrong
        if np.percentile(off, 95) > 0.5 * min(grid.spacing):
            raise UserError(
                "expected a field that has an inverse, received one whose inverse is "
                f"{np.percentile(off, 95):.2g} mm off: it folds, or moves by more than it is wide"
            )
        return Chain((Warp((found - target).reshape(*grid.shape, 3), grid),))
