import numpy as np
import pytest

from anyvox_keras.geometry import Grid, working_grid
from anyvox_keras.registration import resample_deformation


def test_nearly_cubic_voxels_are_kept():
    grid = Grid((20, 30, 10), np.diag([1.0, 1.0, 1.2, 1.0]))
    assert working_grid(grid) is grid


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((100, 90, 20), (1, 1, 5)), ((40, 40, 2), (2, 2, 8)), ((64, 64, 3), (1, 1, 1))],
)
def test_thick_slices_become_cubes_over_the_same_field(shape, spacing):
    grid = Grid(shape, np.diag([*map(float, spacing), 1.0]))
    cubes = working_grid(grid)
    assert np.ptp(cubes.spacing) < 1e-6
    assert min(cubes.shape) >= 8
    assert cubes.contains(grid.corners(), margin=1.0).all()


def test_deformation_keeps_its_millimetres():
    coarse = Grid((6, 6, 6), np.diag([-2.0, 2.0, 3.0, 1.0]))
    fine = Grid((9, 9, 9), np.eye(4))
    field = np.broadcast_to([1.0, 2.0, 1.0], (6, 6, 6, 3))
    found = resample_deformation(field, coarse, fine)
    np.testing.assert_allclose(found, np.broadcast_to([-2.0, 4.0, 3.0], found.shape), atol=1e-5)
