"""A map between two images in millimetres, as ITK keeps it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anyvox_keras.errors import UserError, real_numbers
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.resample import by_slabs, continued, sample
from anyvox_keras.geometry.volume import Volume
from anyvox_keras.glance import Glance, Shown


@dataclass(frozen=True, eq=False)
class Warp(Shown):
    """A displacement field in the world: the point `p` of its grid goes to `p + d(p)`.

    For a registration the grid is the fixed image's, and `p + d(p)` lies in the moving image.
    Between voxels `d` is linear, as in ITK's `DisplacementFieldTransform`; beyond the grid, where
    that is zero, the map is its affine part.

    Args:
        vectors: `(D, H, W, 3)`, millimetres, RAS.
        grid: where the vectors are given.
        beyond: `(4, 4)`, mm, RAS: where points outside the grid go; the default is the field's
            affine part by least squares.

    Raises:
        ValueError: the vectors are not finite numbers, one vector for each voxel of the grid, or
            `beyond` is no finite matrix.

    Example:
        ```python
        >>> warp = Warp(np.ones((4, 4, 4, 3)), Grid((4, 4, 4), np.eye(4)))
        >>> warp.points(np.array([[1.0, 1.0, 1.0], [9.0, 9.0, 9.0]]))
        array([[ 2.,  2.,  2.],
               [10., 10., 10.]])
        ```
    """

    vectors: np.ndarray
    grid: Grid
    beyond: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check the layout, since every later step trusts it."""
        if not isinstance(self.grid, Grid):
            raise ValueError(f"`grid` must be a Grid. Received: {type(self.grid).__name__}")
        vectors = real_numbers("vectors", self.vectors)
        expected = (*self.grid.shape, 3)
        if vectors.shape != expected or not np.isfinite(vectors).all():
            raise ValueError(f"`vectors` must be finite, {expected}. Received: {vectors.shape}")
        # what scipy interpolates
        vectors = vectors if vectors.dtype in ("float32", "float64") else vectors.astype("float64")
        object.__setattr__(self, "vectors", vectors)
        if self.beyond is not None:
            beyond = real_numbers("beyond", self.beyond, "float64")
            if beyond.shape != (4, 4) or not np.isfinite(beyond).all():
                raise ValueError(
                    f"`beyond` must be a finite (4, 4) matrix. Received: {beyond.tolist()}"
                )
            object.__setattr__(self, "beyond", beyond)

    def __repr__(self) -> str:
        """Say what it is in one line, without its vectors."""
        return f"Warp({self.grid}, by up to {self._lengths().max():.4g} mm)"

    def glance(self) -> Glance:
        """How far it moves each point, and where to."""
        lengths = self._lengths()
        longest = max(float(lengths.max()), 1e-6)
        moved = [("moves by, mm", f"{lengths.mean():.4g} on average, at most {longest:.4g}")]
        images = {
            "displacement, mm": lengths.astype("float32"),
            "its direction: red right, green front, blue head": (
                0.5 + self.vectors / (2 * longest)
            ).astype("float32"),
        }
        return Glance("warp", [*self.grid.facts, *moved], images, self.grid.affine)

    def _lengths(self) -> np.ndarray:
        lengths: np.ndarray = np.linalg.norm(self.vectors, axis=-1)
        return lengths

    @classmethod
    def from_voxels(
        cls,
        displacement: np.ndarray,
        grid: Grid,
        moving_grid: Grid | None = None,
        beyond: np.ndarray | None = None,
    ) -> "Warp":
        """Build from a displacement in voxels: `x` of `grid` goes to `x + u(x)` of `moving_grid`.

        Without `moving_grid` the target is counted in the voxels of `grid` too, as
        `Registration.displacement` is.
        """
        target = grid.voxels() + np.asarray(displacement, "float64")
        vectors = (moving_grid or grid).to_world(target) - grid.to_world(grid.voxels())
        return cls(vectors, grid, beyond)

    def to_voxels(self, moving_grid: Grid | None = None) -> np.ndarray:
        """Return the displacement in voxels, float32: the inverse of `from_voxels`."""
        target = self.grid.to_world(self.grid.voxels()) + self.vectors
        voxels = (moving_grid or self.grid).to_voxel(target) - self.grid.voxels()
        return voxels.astype("float32")

    @cached_property
    def affine(self) -> np.ndarray:
        """The map beyond the grid, `(4, 4)`, mm, RAS."""
        if self.beyond is not None:
            return self.beyond
        step = tuple(slice(None, None, max(1, n // 24)) for n in self.grid.shape)
        where = self.grid.to_world(self.grid.voxels()[step]).reshape(-1, 3)
        # about the centre, so that far from the origin the columns stay independent
        centre = where.mean(0)
        design = np.c_[where - centre, np.ones(len(where))]
        fit = np.linalg.lstsq(design, self.vectors[step].reshape(-1, 3), rcond=None)[0]
        matrix = np.eye(4)
        matrix[:3, :3] += fit[:3].T
        matrix[:3, 3] = fit[3] - fit[:3].T @ centre
        return matrix

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map `(..., 3)` points, mm, RAS; one outside the grid is moved by the affine part.

        Raises:
            UserError: what is no point: not three finite numbers.
        """
        points = real_numbers("points", points, "float64")
        if points.ndim == 0 or points.shape[-1] != 3 or not np.isfinite(points).all():
            raise UserError(f"points: expected (N, 3), finite; received shape {points.shape}")
        voxels = self.grid.to_voxel(points)
        parts = [sample(self.vectors[..., axis], voxels, 1, 0.0) for axis in range(3)]
        moved = points + np.stack(parts, -1)
        beyond = ~self.grid.contains(points)
        moved[beyond] = points[beyond] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return moved

    def resample(
        self,
        volume: Volume,
        reference: Grid | None = None,
        order: int | None = None,
        outside: float = 0.0,
    ) -> Volume:
        """Pull a moving image or label map back onto the fixed grid, in one interpolation.

        Args:
            volume: the moving image.
            reference: grid of the result, inside the warp's; the default is the warp's own.
            order: 1 linear, 0 nearest, 3 B-spline; the default is 1 for float arrays and 0 for
                labels.
            outside: value where the warp points beyond the moving image, 0 as in ITK if not given;
                see `background` for an image's own.

        Returns:
            A `Volume` on the reference; `finite` is false beyond the moving image, and where that
            was not finite.

        Raises:
            UserError: the reference reaches beyond the warp, where nothing is known; or the warp
                nowhere leads into the image.
            ValueError: an order that is none of these, or an `outside` that the image's type of
                integer does not hold.
        """
        if not isinstance(volume, Volume):
            raise ValueError(f"`volume` must be a Volume. Received: {type(volume).__name__}")
        if order not in (None, 0, 1, 3):
            raise ValueError(f"`order` must be 0, 1 or 3. Received: order={order}")
        _require_held(outside, volume.array.dtype)
        grid = reference or self.grid
        self._require_inside(grid)
        order = int(volume.array.dtype.kind == "f") if order is None else order
        array, known = volume.array, volume.finite
        if known is None:
            known = np.ones(volume.shape, bool)
        elif order and known.any():
            array = continued(array, known)

        def values(voxels: np.ndarray) -> np.ndarray:
            there = volume.grid.to_voxel(self.points(grid.to_world(voxels)))
            value = sample(array, there, order, outside)
            inside = sample(known, there, 0, 0)
            return np.stack([np.where(inside, value, outside), inside], -1)

        moved, inside = np.moveaxis(by_slabs(grid.shape, values), -1, 0)
        if not inside.any():
            where = _describe(volume.grid)
            raise UserError(f"{volume.name}: the warp leads elsewhere; this image has {where}")
        finite = None if inside.all() else inside.astype(bool)
        moved = np.ascontiguousarray(moved, volume.array.dtype)
        return Volume(moved, grid.affine, finite=finite, name=volume.name)

    def _require_inside(self, grid: Grid) -> None:
        """Refuse a reference that the field does not cover: zero there would be wrong."""
        if not self.grid.contains(grid.corners()).all():
            raise UserError(
                f"reference: expected a grid inside the warp's, {_describe(self.grid)}; "
                f"received {_describe(grid)}"
            )


def _require_held(outside: float, dtype: np.dtype) -> None:
    """Refuse a value that would be another one among these integers."""
    if dtype.kind not in "iu":
        return
    kind = np.iinfo(dtype)
    if not (kind.min <= outside <= kind.max and float(outside).is_integer()):
        raise ValueError(f"`outside` must be a value of {dtype}. Received: outside={outside:g}")


def _describe(grid: Grid) -> str:
    low, high = grid.corners().min(0).round(1).tolist(), grid.corners().max(0).round(1).tolist()
    return f"{grid.shape} voxels from {low} to {high} mm"
