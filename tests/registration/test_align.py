import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from anyvox_keras.io import Volume
from anyvox_keras.registration import affine_starts, align, register

SHAPE = (40, 44, 42)


def _turned(degrees, scale=1.0):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) * scale


@pytest.fixture(scope="module")
def head():
    """A textured blob with no symmetry, 2 mm voxels."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    radius = (((grid - (np.array(SHAPE) - 1) / 2) / [13, 17, 15]) ** 2).sum(-1)
    texture = gaussian_filter(rng.normal(size=SHAPE), 2.0) * 12
    return (np.clip(4 * (1 - radius), 0, 1) * (3 + texture)).astype("float32")


def _scene(head, linear, shift):
    """The head, and the head after a known map of the world, contrast inverted."""
    spacing = np.diag([2.0, 2.0, 2.0, 1.0])
    centre = np.array(SHAPE) - 1.0
    truth = np.eye(4)
    truth[:3, :3], truth[:3, 3] = linear, centre - linear @ centre + shift
    # fixed(p) = moving(truth p): voxels share the spacing, so millimetres only scale the offset
    fixed = affine_transform(head, linear, truth[:3, 3] / 2, order=1)
    return Volume((4 - fixed).astype("float32"), spacing), Volume(head, spacing), truth


def _error(found, truth):
    """Mean distance in mm over the corners of a 60 mm cube at the centre."""
    signs = np.stack(np.meshgrid([-30, 30], [-30, 30], [-30, 30]), -1).reshape(-1, 3)
    points = np.concatenate([signs + np.array(SHAPE) - 1.0, np.ones((8, 1))], axis=1).T
    return np.linalg.norm((found @ points - truth @ points)[:3], axis=0).mean()


def test_rigid_undoes_rotation_and_shift(head):
    fixed, moving, truth = _scene(head, _turned(20), [8.0, -6.0, 4.0])
    matrix = align(fixed, moving, "rigid")
    assert _error(matrix, truth) < 0.2 * _error(np.eye(4), truth)
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-8)


def test_affine_undoes_scale_too(head):
    fixed, moving, truth = _scene(head, _turned(12, 1.12), [6.0, 4.0, -4.0])
    rigid, affine = (align(fixed, moving, model) for model in ("rigid", "affine"))
    assert _error(affine, truth) < 0.25 * _error(np.eye(4), truth)
    assert _error(affine, truth) < _error(rigid, truth)


def test_register_with_affine_maps_scans_that_are_far_apart(head):
    fixed, moving, truth = _scene(head, _turned(15), [4.0, 0.0, -4.0])
    away = np.eye(4)
    away[:3, 3] = [300, -200, 100]
    far = nib.Nifti1Image(moving.array, away @ moving.affine)
    found = register(fixed.image, far, affine="rigid")
    assert _error(np.linalg.inv(away) @ found.affine, truth) < 5


def test_starts_lay_the_centres_on_each_other(head):
    fixed, moving, _ = _scene(head, np.eye(3), [0.0, 0.0, 0.0])
    moved = Volume(moving.array, moving.affine + np.outer([50, 0, 0, 0], [0, 0, 0, 1]))
    starts = affine_starts(fixed, moved)
    assert len(starts) == 1 + 2 * 13
    np.testing.assert_allclose(starts[1][:3, 3], [50, 0, 0], atol=1e-9)
    assert all(np.isclose(np.linalg.det(start[:3, :3]), 1) for start in starts)


def test_refuses_an_unknown_model(head):
    volume = Volume(head, np.eye(4))
    with pytest.raises(ValueError, match="model"):
        align(volume, volume, "similarity")
