"""The lattice on which a network sees a scan."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from anyvox_keras.io.grid import Grid


def ras_grid(grid: Grid, spacing: Sequence[float] | None = None) -> Grid:
    """Turn a scan's axes to the nearest R, A, S and give it the chosen spacing.

    The field of view stays, its centre exactly, its extent to the next whole voxel.

    Args:
        grid: The scan's own lattice.
        spacing: Mm along R, A, S; None keeps the scan's.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.io import Grid
        from anyvox_keras.io import ras_grid

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
