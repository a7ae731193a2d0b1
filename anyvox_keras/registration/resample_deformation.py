"""A displacement on another lattice."""

import numpy as np
from scipy import ndimage

from anyvox_keras.geometry.grid import Grid


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
