"""A voxel lattice in the world."""

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
