"""A voxel lattice in the world."""

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and affine: where the voxels of an image lie.

    World coordinates are millimetres in RAS, `world = affine @ (i, j, k, 1)`.

    Args:
        shape: voxels along each axis, `(D, H, W)`.
        affine: `(4, 4)`, voxel to world.

    Raises:
        ValueError: the affine is not finite or cannot be inverted.

    Example:
        ```python
        >>> grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> grid.to_world(np.array([[1.0, 2.0, 3.0]]))
        array([[2., 4., 6.]])
        ```
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    def __post_init__(self) -> None:
        """Normalise the arguments to plain integers and float64."""
        affine = np.asarray(self.affine, "float64")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(
                f"`affine` must be a finite (4, 4) matrix. Received: {affine.tolist()}"
            )
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError(f"`affine` must be invertible. Received: {affine.tolist()}")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels along each axis."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def orientation(self) -> str:
        """The world direction of each axis, such as `RAS` or `PIR`."""
        return "".join(nib.aff2axcodes(self.affine))

    def to_world(self, voxels: np.ndarray) -> np.ndarray:
        """Map `(..., 3)` voxel coordinates to millimetres."""
        return np.asarray(voxels, "float64") @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_voxel(self, points: np.ndarray) -> np.ndarray:
        """Map `(..., 3)` points in millimetres to voxel coordinates."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points, "float64") @ inverse[:3, :3].T + inverse[:3, 3]

    def voxels(self) -> np.ndarray:
        """`(D, H, W, 3)` coordinates of every voxel."""
        return np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), -1).astype(float)

    def corners(self) -> np.ndarray:
        """`(8, 3)` world coordinates of the corner voxels' centres."""
        ends = [(0, n - 1) for n in self.shape]
        return self.to_world(np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3))

    def to(self, other: "Grid") -> np.ndarray:
        """`(4, 4)` matrix from this grid's voxels to the voxels of `other` at the same point."""
        return np.linalg.inv(other.affine) @ self.affine

    def matches(self, other: "Grid", tolerance: float = 0.1) -> bool:
        """Say whether both hold the same voxels: corners within `tolerance` voxels."""
        if self.shape != other.shape:
            return False
        apart = np.abs(other.to_voxel(self.corners()) - other.to_voxel(other.corners()))
        return bool(apart.max() <= tolerance)

    def contains(self, points: np.ndarray, margin: float = 0.5) -> np.ndarray:
        """Say for `(..., 3)` world points whether they lie within `margin` voxels of the grid."""
        voxels = self.to_voxel(points)
        # one millionth of a voxel forgives the rounding of the two affines
        low, high = -margin - 1e-6, np.asarray(self.shape) - 1 + margin + 1e-6
        return np.asarray(((voxels >= low) & (voxels <= high)).all(-1))


def ras_grid(grid: Grid, spacing: Sequence[float] | None = None) -> Grid:
    """Turn a scan's axes to the nearest R, A, S and give it the chosen spacing.

    The field of view stays, its centre exactly, its extent to the next whole voxel.

    Args:
        grid: The scan's own lattice.
        spacing: Mm along R, A, S; None keeps the scan's.

    Example:
        ```python
        import numpy as np



        grid = ras_grid(Grid((20, 30, 40), np.diag([-1.0, 2, 1, 1])), (2, 2, 2))
        grid.shape, grid.orientation  # (10, 30, 20), "RAS"
        ```
    """
    turns = nib.io_orientation(grid.affine)
    order = np.argsort(turns[:, 0])  # the array axis of R, of A, of S
    shape = np.asarray(grid.shape)[order]
    matrix = grid.affine[:3, :3][:, order] * turns[order, 1]
    own = np.asarray(grid.spacing)[order]
    wanted = own if spacing is None else np.asarray(spacing, "float64")
    # One thousandth of a voxel forgives the rounding of a header.
    size = np.maximum(np.ceil(shape * own / wanted - 1e-3), 1).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = matrix / own * wanted
    centre = grid.to_world((np.asarray(grid.shape) - 1) / 2)
    affine[:3, 3] = centre - affine[:3, :3] @ ((size - 1) / 2)
    return Grid(tuple(size), affine)


# Beyond this ratio of spacings a cube of voxels is no longer a neighbourhood.
_ANISOTROPY = 1.5
# Two blocks of the finest pooling and the reach of MIND.
_SHORTEST = 8


def working_grid(grid: Grid) -> Grid:
    """Return a lattice of nearly cubic voxels over the same field of view.

    A grid whose spacings differ by at most half is its own. Otherwise (thick slices) voxels are
    cubes of the same volume; an axis shorter than eight voxels is continued at both ends.

    Example:
        ```python
        import numpy as np



        thick = Grid((100, 100, 20), np.diag([1.0, 1.0, 5.0, 1.0]))
        cubes = working_grid(thick)
        ```
    """
    spacing = np.array(grid.spacing)
    if spacing.max() <= _ANISOTROPY * spacing.min() and min(grid.shape) >= _SHORTEST:
        return grid
    if spacing.max() <= _ANISOTROPY * spacing.min():
        side = spacing
    else:
        side = np.full(3, float(np.prod(spacing) ** (1 / 3)))
    extent = spacing * np.array(grid.shape)
    shape = np.maximum(np.ceil(extent / side - 1e-6).astype(int), _SHORTEST)
    axes = grid.affine[:3, :3] / spacing * side
    centre = grid.to_world((np.array(grid.shape) - 1) / 2)
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = centre - axes @ ((shape - 1) / 2)
    return Grid(tuple(int(n) for n in shape), affine)


def network_grid(grid: Grid, spacing: float = 0.0) -> Grid:
    """Return a lattice of nearly cubic voxels over a scan, its axes nearest to R, A, S.

    Args:
        grid: The scan's own.
        spacing: Mm of the voxels; 0 keeps the scan's, or, where it has thick slices, cubes of the
            same volume (see `working_grid`).
    """
    return ras_grid(working_grid(grid), (spacing,) * 3 if spacing else None)
