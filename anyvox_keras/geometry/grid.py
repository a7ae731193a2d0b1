"""A voxel lattice in the world."""

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError, real_numbers

#: beyond this ratio of spacings a cube of voxels is no longer a neighbourhood
ANISOTROPY = 1.5
#: fewest voxels along an axis: two blocks of the finest pooling and the reach of MIND
FEWEST = 8

# voxels of a grid that a spacing may ask for: 4 GB of float32
_LARGEST = 2**30


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and affine: where the voxels of an image lie.

    World coordinates are millimetres in RAS, `world = affine @ (i, j, k, 1)`.

    Args:
        shape: voxels along each axis, `(D, H, W)`.
        affine: `(4, 4)`, voxel to world.

    Raises:
        ValueError: no voxel along an axis; the affine is not finite or cannot be inverted.

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
        affine = real_numbers("affine", self.affine, "float64")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(
                f"`affine` must be a finite (4, 4) matrix. Received: {affine.tolist()}"
            )
        if not is_invertible(affine):
            raise ValueError(f"`affine` must be invertible. Received: {affine.tolist()}")
        sizes = real_numbers("shape", self.shape)
        if sizes.shape != (3,) or not (sizes >= 1).all() or (sizes % 1 != 0).any():
            raise ValueError(f"`shape` must be three sizes >= 1. Received: shape={self.shape}")
        shape = tuple(int(n) for n in sizes)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels along each axis."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def orientation(self) -> str:
        """The world direction of each axis, such as `RAS` or `PIR`."""
        return "".join(nib.aff2axcodes(self.affine))

    def __str__(self) -> str:
        """Say it as a person reads it."""
        shape = " x ".join(map(str, self.shape))
        return f"{shape} voxels of {_numbers(self.spacing, ' x ')} mm, {self.orientation}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What a person asks of it, by name, for tables."""
        extent = np.multiply(self.shape, self.spacing)
        return [
            ("voxels", " x ".join(map(str, self.shape))),
            ("spacing, mm", _numbers(self.spacing, " x ")),
            ("axes run to", self.orientation),
            ("field of view, mm", _numbers(extent, " x ")),
            ("centre, mm (R, A, S)", _numbers(self.centre, ", ")),
        ]

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

    @property
    def centre(self) -> np.ndarray:
        """World coordinates of the middle of the field of view."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    def recentred(self, shape: Sequence[int], axes: np.ndarray) -> "Grid":
        """Make a lattice of other voxels about the same centre.

        Args:
            shape: Its voxels along each axis.
            axes: `(3, 3)`, the step in the world along each axis, one per column.
        """
        affine = np.eye(4)
        affine[:3, :3] = axes
        affine[:3, 3] = self.centre - axes @ ((np.asarray(shape) - 1) / 2)
        return Grid(tuple(int(n) for n in shape), affine)

    def to_ras(self, spacing: float | Sequence[float] | None = None) -> "Grid":
        """Turn the axes to the nearest R, A, S, over the same field of view.

        The centre stays exactly, the extent to the next whole voxel.

        Args:
            spacing: Millimetres along R, A, S, or one number for all; None keeps the grid's own.

        Raises:
            UserError: More than 2^30 voxels, and more than the grid has.

        Example:
            ```python
            >>> grid = Grid((20, 30, 40), np.diag([-1.0, 2, 1, 1])).to_ras((2, 2, 2))
            >>> grid.shape, grid.orientation
            ((10, 30, 20), 'RAS')
            ```
        """
        turns = nib.io_orientation(self.affine)
        order = np.argsort(turns[:, 0])  # the array axis of R, of A, of S
        matrix = self.affine[:3, :3][:, order] * turns[order, 1]
        own = np.asarray(self.spacing)[order]
        wanted = own if spacing is None else np.broadcast_to(np.asarray(spacing, "float64"), 3)
        # One thousandth of a voxel forgives the rounding of a header.
        size = np.ceil(np.asarray(self.shape)[order] * own / wanted - 1e-3)
        if size.prod() > max(_LARGEST, np.prod(self.shape)):
            shape = " x ".join(f"{n:.0f}" for n in size)
            raise UserError(
                f"spacing: {wanted.tolist()} mm would make a grid of {shape} voxels, "
                f"{size.prod() * 4 / 1e9:.3g} GB; received a scan of {own.round(6).tolist()} mm"
            )
        return self.recentred(np.maximum(size, 1).astype(int), matrix / own * wanted)

    def to_nearly_cubic(self) -> "Grid":
        """Make voxels nearly cubic, over the same field of view.

        A grid whose spacings differ by at most half is its own. Otherwise (thick slices) voxels
        become cubes of the same volume; an axis shorter than eight voxels is continued at both
        ends.

        Example:
            ```python
            >>> Grid((100, 100, 20), np.diag([1.0, 1.0, 8.0, 1.0])).to_nearly_cubic().shape
            (50, 50, 80)
            ```
        """
        spacing = np.array(self.spacing)
        thick = spacing.max() > ANISOTROPY * spacing.min()
        if not thick and min(self.shape) >= FEWEST:
            return self
        return self._cubes(np.cbrt(np.prod(spacing)) if thick else spacing)

    def to_cubes(self, voxels: int) -> "Grid":
        """Make about so many cubes over the same field of view, none finer than the finest axis."""
        spacing = np.array(self.spacing)
        side = np.cbrt(np.prod(spacing * self.shape) / voxels)
        return self._cubes(max(float(side), float(spacing.min())))

    def padded(self, margin: int | Sequence[tuple[int, int]]) -> "Grid":
        """Add so many voxels at both ends of every axis, or at the first and last end of each."""
        margins = np.broadcast_to(np.array(margin), (3, 2))
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(-margins[:, 0])
        shape = np.array(self.shape) + margins.sum(1)
        return Grid(tuple(int(n) for n in shape), affine)

    def _cubes(self, side: float | np.ndarray) -> "Grid":
        spacing = np.array(self.spacing)
        shape = np.ceil(spacing * np.array(self.shape) / side - 1e-6).astype(int)
        return self.recentred(np.maximum(shape, FEWEST), self.affine[:3, :3] / spacing * side)


def _numbers(values: Sequence[float] | np.ndarray, between: str) -> str:
    return between.join(f"{value:.4g}" for value in values)


def is_invertible(affine: np.ndarray) -> bool:
    """Say whether the axes of a `(4, 4)` matrix span the space, whatever their unit.

    Example:
        ```python
        >>> is_invertible(np.diag([1e-6, 1e-6, 1e-6, 1.0]))
        True
        ```
    """
    axes = np.asarray(affine, "float64")[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        return False
    return bool(abs(np.linalg.det(axes / lengths)) > 1e-6)


# of a cosine between two axes: beyond it ITK refuses a direction
_SHEAR = 1.01e-4


def is_sheared(affine: np.ndarray) -> bool:
    """Say whether the axes of an invertible `(4, 4)` matrix are not at right angles, as for ITK.

    Example:
        ```python
        >>> matrix = np.eye(4)
        >>> matrix[0, 1] = 0.1
        >>> is_sheared(matrix)
        True
        ```
    """
    axes = np.asarray(affine, "float64")[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR)
