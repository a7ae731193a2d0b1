"""The lattice on which features are compared."""

import numpy as np

from anyvox_keras.io import Grid

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
        from anyvox_keras.io import Grid
        from anyvox_keras.registration import working_grid

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
