"""Padding and resizing of the three spatial axes."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from anyvox_keras.errors import check_sizes, check_spatial, check_volumes, one_of
from anyvox_keras.ops.sample import as_float
from anyvox_keras.types import Alignment, Array, Interpolation, Padding


def pad(x: Array, pads: Sequence[Sequence[int]], mode: Padding = "reflect") -> Array:
    """Pad axes 1, 2 and 3.

    Each axis is gathered by the index that numpy's own padding gives, which is exact for any width
    on every backend; the backends' padding modes differ.

    Args:
        x: `(B, D, H, W, ...)`, any dtype.
        pads: `((before, after), ...)` for the three axes.
        mode: "reflect" (edge voxel not repeated), "symmetric" (repeated), "edge" or "zeros".

    Returns:
        The padded array.

    Raises:
        ValueError: If `x` has no three spatial axes, `mode` is unknown, or the widths are not
            three pairs of whole numbers from 0 up.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import pad

        padded = pad(np.ones((1, 4, 4, 4, 1), "float32"), ((1, 1),) * 3)
        ```
    """
    check_spatial("x", x)
    _check_pads(pads)
    one_of("mode", mode, Padding)
    if mode == "zeros":
        rest = [(0, 0)] * (len(x.shape) - 4)
        return ops.pad(x, [(0, 0), *(tuple(pair) for pair in pads), *rest])
    for axis, pair in enumerate(pads, start=1):
        if tuple(pair) != (0, 0):
            index = np.pad(np.arange(x.shape[axis], dtype="int32"), tuple(pair), mode)
            x = ops.take(x, index, axis=axis)
    return x


def _check_pads(pads: Sequence[Sequence[int]]) -> None:
    widths = np.asarray(pads, "object")
    whole = all(isinstance(width, int | np.integer) and width >= 0 for width in widths.flat)
    if widths.shape != (3, 2) or not whole:
        raise ValueError(f"`pads` must be >= 0, two for each of three axes. Received: pads={pads}")


def resize(
    x: Array,
    shape: Sequence[int],
    method: Interpolation = "linear",
    align: Alignment = "half_pixel",
) -> Array:
    """Resample axes 1, 2 and 3 to `shape`, one axis after the other.

    Linear coordinates are `(i + 1/2) n/m - 1/2` ("half_pixel") or `i (n - 1)/(m - 1)` ("corners"),
    clipped to the grid; nothing is smoothed before shrinking. Nearest takes `floor(i n / m)`.

    Args:
        x: `(B, D, H, W, C)`, integers count as float32; or labels `(B, D, H, W)` with "nearest".
        shape: New `(D, H, W)`.
        method: "linear" or "nearest".
        align: "half_pixel" or "corners"; only for "linear".

    Returns:
        `(B, *shape, ...)` in the dtype of `x`.

    Raises:
        ValueError: If `method` or `align` is unknown, `x` has too few axes, or `shape` is not
            three sizes.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import resize

        double = resize(np.random.rand(1, 4, 4, 4, 2).astype("float32"), (8, 8, 8))
        ```
    """
    one_of("method", method, Interpolation)
    one_of("align", align, Alignment)
    check_spatial("x", x, least=4 if method == "nearest" else 5)
    check_sizes("shape", shape)
    if method == "linear":
        x = as_float(x)
    for axis, size in enumerate(shape, start=1):
        if x.shape[axis] == size:
            continue
        if method == "nearest":
            index = (np.arange(size) * x.shape[axis]) // size
            x = ops.take(x, index.astype("int32"), axis=axis)
        else:
            x = _lerp_axis(x, axis, _coordinates(x.shape[axis], size, align))
    return x


def resize_displacement(displacement: Array, shape: Sequence[int]) -> Array:
    """Resample a displacement to another grid over the same space, in that grid's voxels.

    Args:
        displacement: `(B, D, H, W, 3)` in voxels of its own grid.
        shape: New `(D, H, W)`.

    Returns:
        `(B, *shape, 3)` in voxels of the new grid.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import resize_displacement

        fine = resize_displacement(np.ones((1, 4, 4, 4, 3), "float32"), (8, 8, 8))
        ```
    """
    check_volumes("displacement", displacement, 3)
    scale = [new / old for new, old in zip(shape, displacement.shape[1:4], strict=True)]
    return resize(displacement, shape) * ops.convert_to_tensor(scale, "float32")


def _coordinates(old: int, new: int, align: Alignment) -> np.ndarray:
    index = np.arange(new, dtype="float64")
    if align == "corners":
        return index * ((old - 1) / max(new - 1, 1))
    return np.clip((index + 0.5) * (old / new) - 0.5, 0, old - 1)


def _lerp_axis(x: Array, axis: int, coordinates: np.ndarray) -> Array:
    # Two gathers rather than a matrix product: a product may run in TF32 on a GPU, and its
    # rounding may depend on the batch.
    low = np.minimum(np.floor(coordinates), x.shape[axis] - 1).astype("int32")
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [-1 if a == axis else 1 for a in range(len(x.shape))]
    weight = ops.cast((coordinates - low).reshape(shape).astype("float32"), x.dtype)
    start = ops.take(x, low, axis=axis)
    return start + (ops.take(x, high, axis=axis) - start) * weight
