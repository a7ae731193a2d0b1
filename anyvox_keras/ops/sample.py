"""Voxel coordinates, and values of a volume there."""

import itertools
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import grid_sample
from anyvox_keras.errors import check_real, check_sizes, check_spatial, check_volumes, one_of
from anyvox_keras.types import Array, Outside

# Displacements and velocities have three: composed seven times and differentiated, eight gathers
# each take XLA over a minute to compile, one takes three seconds. Features run faster in eight.
_FEW_CHANNELS = 4


def identity_grid(shape: Sequence[int]) -> np.ndarray:
    """Coordinates of every voxel, `(D, H, W, 3)` float32 in `ij` order.

    Example:
        ```python
        from anyvox_keras.ops import identity_grid

        assert identity_grid((2, 3, 4))[1, 2, 3].tolist() == [1.0, 2.0, 3.0]
        ```
    """
    check_sizes("shape", shape)
    axes = [np.arange(side, dtype="float32") for side in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def affine_grid(matrix: Array, shape: Sequence[int]) -> Array:
    """Map every output voxel to input coordinates, `x -> A x + t`.

    The result is a broadcast sum of three vectors per component; no full grid is multiplied.

    Args:
        matrix: `(B, 3, 4)` or `(B, 4, 4)` float32, `[A | t]` from output to input voxels.
        shape: Output shape `(D, H, W)`.

    Returns:
        `(B, D, H, W, 3)` float32.

    Raises:
        ValueError: If `matrix` or `shape` has another layout.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import affine_grid

        coordinates = affine_grid(np.eye(4, dtype="float32")[None], (8, 8, 8))
        ```
    """
    check_sizes("shape", shape)
    check_real("matrix", matrix)
    if len(matrix.shape) != 3 or tuple(matrix.shape[1:]) not in ((3, 4), (4, 4)):
        raise ValueError(
            f"`matrix` must be (B, 3, 4) or (B, 4, 4). Received: shape={tuple(matrix.shape)}"
        )
    matrix = ops.cast(matrix, "float32")[:, None, None, None]
    i, j, k = (ops.arange(side, dtype="float32")[:, None] for side in shape)
    return (
        matrix[..., :3, 0] * i[:, None, None]
        + matrix[..., :3, 1] * j[:, None]
        + matrix[..., :3, 2] * k
        + matrix[..., :3, 3]
    )


def sample_linear(x: Array, coordinates: Array, outside: Outside = "zeros") -> Array:
    """Interpolate trilinearly at voxel coordinates.

    Args:
        x: `(B, D, H, W, C)`; integers count as float32.
        coordinates: `(B, d, h, w, 3)` float32, `ij` order, in voxels.
        outside: "zeros" (each voxel off the grid counts as 0), "edge" (the nearest voxel) or
            "symmetric" (mirrored with the edge voxel repeated).

    Returns:
        `(B, d, h, w, C)` in the floating dtype of `x`.

    Raises:
        ValueError: If `outside` is unknown, `x` is no batch of volumes, or `coordinates` are no
            coordinates of a batch of the same size.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import identity_grid, sample_linear

        x = np.random.rand(1, 8, 8, 8, 1).astype("float32")
        half = sample_linear(x, identity_grid((8, 8, 8))[None] + 0.5, outside="edge")
        ```
    """
    one_of("outside", outside, Outside)
    check_volumes("x", x)
    _check_coordinates(coordinates, x)
    x, coordinates = as_float(ops.convert_to_tensor(x)), ops.cast(coordinates, "float32")
    if outside != "zeros":
        coordinates = _fold(coordinates, x.shape[1:4], outside)
    fast = grid_sample(x, coordinates)
    if fast is not None:
        return fast
    few = x.shape[-1] is not None and x.shape[-1] <= _FEW_CHANNELS
    return (_gather_corners if few else _gather_linear)(x, coordinates)


def sample_nearest(x: Array, coordinates: Array, outside: Outside = "zeros") -> Array:
    """Take the voxel at `floor(c + 1/2)`; arguments as in `sample_linear`, any dtype.

    Label maps `(B, D, H, W)` come back without a channel axis. Ties go up, as in scipy; a
    rounding to even would shift shapes.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import identity_grid, sample_nearest

        labels = np.arange(64, dtype="int32").reshape(1, 4, 4, 4)
        same = sample_nearest(labels, identity_grid((4, 4, 4))[None])
        ```
    """
    one_of("outside", outside, Outside)
    check_spatial("x", x)
    _check_coordinates(coordinates, x)
    x, coordinates = ops.convert_to_tensor(x), ops.cast(coordinates, "float32")
    shape = x.shape[1:4]
    if outside != "zeros":
        coordinates = _fold(coordinates, shape, outside)
    index = ops.cast(ops.floor(coordinates + 0.5), "int32")
    axes = [index[..., axis] for axis in range(3)]
    y = _take_voxels(x, axes)
    if outside == "zeros":
        inside = _inside(axes, shape)
        inside = inside if len(x.shape) == 4 else inside[..., None]
        y = ops.where(inside, y, ops.zeros_like(y))
    return y


def as_float(x: Array) -> Array:
    """Return the same of a floating type: integers and truths become float32."""
    known = keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
    return x if known else ops.cast(x, "float32")


def _check_coordinates(coordinates: Array, x: Array) -> None:
    check_real("coordinates", coordinates)
    shape = tuple(coordinates.shape)
    batches = {n for n in (shape[0], x.shape[0]) if isinstance(n, int)} if shape else set()
    if len(shape) != 5 or shape[-1] != 3 or len(batches) > 1:
        expected = f"({x.shape[0]}, d, h, w, 3), as many as volumes"
        raise ValueError(f"`coordinates` must be {expected}. Received: shape={shape}")


def _gather_linear(x: Array, coordinates: Array) -> Array:
    base = ops.floor(coordinates)
    fraction = coordinates - base
    base = ops.cast(base, "int32")
    total: Array = ops.zeros((), x.dtype)
    for corner in itertools.product((0, 1), repeat=3):
        index = [base[..., axis] + corner[axis] for axis in range(3)]
        weight = ops.cast(_inside(index, x.shape[1:4]), "float32")
        for axis in range(3):
            part = fraction[..., axis]
            weight = weight * (part if corner[axis] else 1.0 - part)
        total = total + _take_voxels(x, index) * ops.cast(weight, x.dtype)[..., None]
    return total


def _gather_corners(x: Array, coordinates: Array) -> Array:
    """All eight corners in one gather: the graph is an eighth of `_gather_linear`'s."""
    corners = np.array(list(itertools.product((0, 1), repeat=3)), "int32")
    base = ops.floor(coordinates)
    fraction = (coordinates - base)[..., None, :]
    index = ops.cast(base, "int32")[..., None, :] + corners
    axes = [index[..., axis] for axis in range(3)]
    weight = ops.cast(_inside(axes, x.shape[1:4]), "float32")
    for axis in range(3):
        part = fraction[..., axis]
        weight = weight * ops.where(corners[:, axis] == 1, part, 1.0 - part)
    voxels = _take_voxels(x, axes)
    return ops.sum(voxels * ops.cast(weight, x.dtype)[..., None], axis=-2)


def _take_voxels(x: Array, index: list[Array]) -> Array:
    """Gather by flat index, clipped: XLA clamps out-of-range gathers silently, torch raises."""
    depth, height, width = x.shape[1:4]
    i, j, k = (ops.clip(part, 0, size - 1) for part, size in zip(index, x.shape[1:4], strict=True))
    batch = ops.shape(x)[0]
    sample = ops.reshape(ops.arange(batch, dtype="int32"), (-1, *[1] * (len(i.shape) - 1)))
    sample = sample * (depth * height * width)
    flat = ops.reshape(x, (-1, *x.shape[4:]))
    return ops.take(flat, sample + (i * height + j) * width + k, axis=0)


def _inside(index: list[Array], shape: tuple[int, ...]) -> Array:
    checks = [(part >= 0) & (part < size) for part, size in zip(index, shape, strict=True)]
    return checks[0] & checks[1] & checks[2]


def _fold(coordinates: Array, shape: tuple[int, ...], outside: Outside) -> Array:
    """Move coordinates outside the grid to where the rule for `outside` reads."""
    size = ops.convert_to_tensor(tuple(shape), "float32")
    if outside == "symmetric":
        shifted = ops.mod(coordinates + 0.5, 2.0 * size)
        coordinates = ops.minimum(shifted, 2.0 * size - shifted) - 0.5
    return ops.clip(coordinates, ops.zeros_like(size), size - 1.0)
