"""Values of an image at other places, and on another grid."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.volume import Volume


def resample_to(
    volume: Volume, grid: Grid, order: int | None = None, outside: float | None = None
) -> Volume:
    """Resample an image onto a grid by the two affines: same world point, same value.

    Args:
        volume: image, label map or mask.
        grid: the lattice of the result.
        order: 1 linear, 0 nearest (a tie goes up, `floor(x + 1/2)`); the default is 1 for
            float arrays and 0 for integers and masks.
        outside: value beyond the image; the default is the smallest value of an image (air), and
            0 for labels and masks.

    Returns:
        A `Volume` on `grid`; `finite` is false beyond the image too.

    Example:
        ```python
        >>> fine = Volume(np.ones((4, 4, 4), "float32"), np.eye(4))
        >>> resample_to(fine, Grid((2, 2, 2), np.diag([2.0, 2, 2, 1]))).shape
        (2, 2, 2)
        ```
    """
    if volume.grid.matches(grid, tolerance=1e-4):
        return volume
    image = volume.array.dtype.kind == "f"
    order = int(image) if order is None else order
    fill = (volume.array.min() if image else 0) if outside is None else outside
    array = _transform(volume.array, grid.to(volume.grid), grid.shape, order, fill)
    finite = np.ones(volume.shape, bool) if volume.finite is None else volume.finite
    inside = _transform(finite, grid.to(volume.grid), grid.shape, 0, 0)
    return Volume(array, grid.affine, None, None if inside.all() else inside, volume.name)


def continued(array: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give voxels that are not known the value of the nearest one that is.

    Interpolation beside them then mixes in nothing invented.

    Args:
        array: `(D, H, W)`.
        known: `(D, H, W)` bool, somewhere true.

    Example:
        ```python
        >>> continued(np.array([[[1.0, -9.0, 3.0, 4.0]]]), np.array([[[True, False, True, True]]]))
        array([[[1., 1., 3., 4.]]])
        ```
    """
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(array[tuple(nearest)])


def background(volume: Volume) -> float:
    """What lies beyond an image: the dark end of its border, and 0 for labels and masks.

    The border is the outermost voxels of the six faces that are finite; the value is their first
    percentile: air in a CT, zero in a map of t values, whatever a few odd voxels hold.

    Example:
        ```python
        >>> background(Volume(np.full((4, 4, 4), -1000, "float32"), np.eye(4)))
        -1000.0
        ```
    """
    if volume.array.dtype.kind != "f":
        return 0.0
    border = np.ones(volume.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    if volume.finite is not None and (border & volume.finite).any():
        border &= volume.finite
    return float(np.percentile(volume.array[border], 1, method="lower"))


def _transform(
    array: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], order: int, fill: float
) -> np.ndarray:
    """Pull `array` back through an output-to-input voxel matrix."""

    def values(voxels: np.ndarray) -> np.ndarray:
        return sample(array, voxels @ matrix[:3, :3].T + matrix[:3, 3], order, fill)

    return by_slabs(shape, values)


def sample(array: np.ndarray, voxels: np.ndarray, order: int, fill: float) -> np.ndarray:
    """Values of `array` at `(..., 3)` voxel coordinates, linear (1), nearest (0), B-spline (3).

    As in ITK the image reaches half a voxel beyond its outer voxels' centres, where the edge is
    repeated (mirrored by splines); beyond that comes `fill`. A tie of nearest goes up.
    """
    last = np.asarray(array.shape[:3]) - 1
    inside = ((voxels >= -0.5) & (voxels < last + 0.5)).all(-1)
    source = array.astype("uint8") if array.dtype == bool else array
    if order > 1:  # ITK's splines mirror what lies at the edge
        where, mode = voxels, "mirror"
    else:
        where, mode = np.clip(voxels, 0, last), "nearest"
    values = ndimage.map_coordinates(source, np.moveaxis(where, -1, 0), order=order, mode=mode)
    return np.where(inside, values, fill).astype(array.dtype)


def by_slabs(
    shape: tuple[int, ...], compute: Callable[[np.ndarray], np.ndarray], voxels: int = 2**20
) -> np.ndarray:
    """Fill an array of `shape` by `compute(voxel coordinates)`, about `voxels` at a time.

    Coordinates take 24 bytes per voxel, six times a float image: never hold them all.
    """
    step = max(1, voxels // int(np.prod(shape[1:])))
    parts = []
    for start in range(0, shape[0], step):
        rows = np.arange(start, min(start + step, shape[0]))
        axes = np.meshgrid(rows, *map(np.arange, shape[1:]), indexing="ij")
        parts.append(compute(np.stack(axes, -1).astype("float64")))
    return np.concatenate(parts)


def resample_deformation(field: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Express a displacement of one grid on another grid over the same world.

    Args:
        field: `(D, H, W, 3)` in voxels of `source`.
        source: Where it is given; beyond it the edge's value holds.
        target: Where it is wanted.

    Returns:
        `(d, h, w, 3)` float32 in voxels of `target`: the same millimetres.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry.grid import Grid
        from anyvox_keras.registration import resample_deformation

        coarse, fine = Grid((4, 4, 4), np.diag([2, 2, 2, 1])), Grid((8, 8, 8), np.eye(4))
        double = resample_deformation(np.ones((4, 4, 4, 3)), coarse, fine)
        ```
    """
    if source.matches(target, tolerance=1e-4):
        return np.asarray(field, "float32")
    matrix = target.to(source)
    where = np.moveaxis(target.voxels() @ matrix[:3, :3].T + matrix[:3, 3], -1, 0)
    parts = [
        ndimage.map_coordinates(field[..., axis], where, order=1, mode="nearest")
        for axis in range(3)
    ]
    linear = source.to(target)[:3, :3]
    return (np.stack(parts, -1) @ linear.T).astype("float32")
