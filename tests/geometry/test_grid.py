"""Grids: lattices of other voxels over the same field of view."""

import numpy as np
import pytest

from anyvox_keras.geometry import Grid

OBLIQUE = np.array([[0.0, -1.8, 0.3, 10], [2.0, 0.1, 0, -4], [0, 0.2, 4.9, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (4, 4, -1)])
def test_a_grid_has_voxels_along_three_axes(shape):
    with pytest.raises(ValueError, match="`shape` must be three sizes"):
        Grid(shape, np.eye(4))


def test_nearly_cubic_voxels_are_kept():
    grid = Grid((20, 30, 10), np.diag([1.0, 1.0, 1.2, 1.0]))
    assert grid.to_nearly_cubic() is grid


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((100, 90, 20), (1, 1, 5)), ((40, 40, 2), (2, 2, 8)), ((64, 64, 3), (1, 1, 1))],
)
def test_thick_slices_become_cubes_over_the_same_field(shape, spacing):
    grid = Grid(shape, np.diag([*map(float, spacing), 1.0]))
    cubes = grid.to_nearly_cubic()
    assert np.ptp(cubes.spacing) < 1e-6
    assert min(cubes.shape) >= 8
    assert cubes.contains(grid.corners(), margin=1.0).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda grid: grid.to_ras(),
        lambda grid: grid.to_ras((1, 2, 3)),
        lambda grid: grid.to_nearly_cubic(),
        lambda grid: grid.to_cubes(900),
        lambda grid: grid.padded(3),
    ],
)
def test_other_lattices_keep_the_centre_and_cover_the_field(change):
    grid = Grid((14, 9, 11), OBLIQUE)
    other = change(grid)
    np.testing.assert_allclose(other.centre, grid.centre, atol=1e-9)
    assert other.contains(grid.corners(), margin=1.0).all()


def test_voxels_added_at_either_end_lie_where_they_should():
    grid = Grid((14, 9, 11), OBLIQUE)
    other = grid.padded([(0, 2), (3, 0), (1, 1)])
    assert other.shape == (16, 12, 13)
    np.testing.assert_allclose(grid.to_voxel(other.to_world([0, 0, 0])), [0, -3, -1], atol=1e-9)
    np.testing.assert_allclose(other.spacing, grid.spacing)


def test_ras_has_the_asked_spacing_and_no_turn_left():
    grid = Grid((14, 9, 11), OBLIQUE).to_ras(2.0)
    assert grid.orientation == "RAS"
    np.testing.assert_allclose(grid.spacing, 2.0)


def test_cubes_are_about_as_many_as_asked():
    grid = Grid((60, 50, 20), np.diag([1.0, 1.0, 3.0, 1.0])).to_cubes(8000)
    assert np.ptp(grid.spacing) < 1e-9
    assert 0.8 < np.prod(grid.shape) / 8000 < 1.3
