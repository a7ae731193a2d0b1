"""The lattice on which the network sees a pair."""

from anyvox_keras.io import Grid, ras_grid
from anyvox_keras.registration.working_grid import working_grid


def network_grid(grid: Grid, spacing: float = 0.0) -> Grid:
    """Return a lattice of nearly cubic voxels over a scan, its axes nearest to R, A, S.

    Args:
        grid: The scan's own.
        spacing: Mm of the voxels; 0 keeps the scan's, or, where it has thick slices, cubes of the
            same volume (see `working_grid`).
    """
    return ras_grid(working_grid(grid), (spacing,) * 3 if spacing else None)
