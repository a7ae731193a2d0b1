import keras
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.linalg import polar
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation
from scipy.stats import entropy
from skimage.metrics import normalized_mutual_information

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume
from anyvox_keras.io import save_affine
from anyvox_keras.registration import (
    AdamSettings,
    DeformSettings,
    affine_descent,
    affine_starts,
    align,
    mutual_information,
    register,
    without_padding,
)
from anyvox_keras.registration.affine.affine_descent import linear_part, stretch_of, volume_factor

SHAPE = (28, 32, 30)
SPACING = np.diag([4.0, 4.0, 4.0, 1.0])
QUICK = DeformSettings(adam=AdamSettings(iterations=3))


@pytest.fixture(scope="module")
def head():
    """A textured blob with no symmetry, nothing around it, 4 mm voxels."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    radius = (((grid - (np.array(SHAPE) - 1) / 2) / [9, 12, 10]) ** 2).sum(-1)
    texture = gaussian_filter(rng.normal(size=SHAPE), 2.5) * 20
    return (np.clip(4 * (1 - radius), 0, 1) * (3 + texture)).astype("float32")


def scene(head, linear, shift, away=None):
    """The head after a known map of the world, contrast inverted; the head, taken far away."""
    centre = 2 * (np.array(SHAPE) - 1.0)
    truth = np.eye(4)
    truth[:3, :3], truth[:3, 3] = linear, centre - linear @ centre + shift
    # fixed(p) = moving(truth p): equal spacings, so millimetres only scale the offset
    fixed = affine_transform(head, linear, truth[:3, 3] / 4, order=1)
    away = np.eye(4) if away is None else away
    images = nib.Nifti1Image(4 - fixed, SPACING), nib.Nifti1Image(head, away @ SPACING)
    return *images, away @ truth


def error(found, truth):
    """Mean distance in mm over the corners of a 60 mm cube at the centre."""
    signs = np.stack(np.meshgrid([-30, 30], [-30, 30], [-30, 30]), -1).reshape(-1, 3)
    corners = np.concatenate([signs + 2 * (np.array(SHAPE) - 1.0), np.ones((8, 1))], axis=1).T
    return np.linalg.norm((found @ corners - truth @ corners)[:3], axis=0).mean()


TURN = Rotation.from_euler("z", 20, degrees=True).as_matrix()
AWAY = np.eye(4)
AWAY[:3, 3] = 300, -200, 100


@pytest.fixture(scope="module")
def far(head):
    """Turned, moved, with other headers; and what the affine stage finds."""
    fixed, moving, truth = scene(head, TURN * [1.1, 1.0, 1.0], [10.0, -8.0, 6.0], AWAY)
    return fixed, moving, truth, register(fixed, moving, affine="affine", settings=QUICK)


@pytest.mark.slow
def test_affine_stage_finds_scans_far_apart(far):
    _, _, truth, result = far
    assert error(result.affine, truth) < 6  # a voxel and a half, of the 370 mm before


@pytest.mark.slow
def test_affine_and_deformation_are_one_map_that_itk_reads(far, tmp_path):
    fixed, moving, _, result = far
    result.save(tmp_path)
    for name, image in (("fixed", fixed), ("moving", moving)):
        nib.save(image, tmp_path / f"{name}.nii.gz")
    fixed, moving = (sitk.ReadImage(str(tmp_path / f"{n}.nii.gz")) for n in ("fixed", "moving"))
    field = sitk.ReadImage(str(tmp_path / "warp.nii.gz"), sitk.sitkVectorFloat64)
    moved = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field))
    np.testing.assert_allclose(sitk.GetArrayFromImage(moved).T, result.moved, atol=1e-3)
    affine = sitk.ReadTransform(str(tmp_path / "affine.tfm"))
    expected = (result.affine @ [10, 20, 30, 1])[:3]
    got = np.array(affine.TransformPoint([-10, -20, 30])) * [-1, -1, 1]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.slow
def test_rigid_stage_keeps_lengths_and_starts_where_told(far, tmp_path):
    fixed, moving, truth, _ = far
    close = truth.copy()
    close[:3, :3] = TURN
    close[:3, 3] += (truth[:3, :3] - TURN) @ np.full(3, 55.0) + 6
    save_affine(tmp_path / "start.tfm", close)
    found = register(
        fixed, moving, affine="rigid", initial=tmp_path / "start.tfm", settings=QUICK
    ).affine
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
    assert error(found, truth) < error(close, truth)
    kept = register(fixed, moving, initial=tmp_path / "start.tfm", settings=QUICK).affine
    np.testing.assert_allclose(kept, close, atol=1e-9)


@pytest.mark.slow
def test_masks_hide_what_misleads(head):
    """A bright box outside the masks, elsewhere in each image, does not matter."""
    fixed, _, truth = scene(head, np.eye(3), [12.0, 0.0, -8.0])
    mask = head > 0
    arrays = [fixed.get_fdata().astype("float32"), head.copy()]
    shown = affine_transform(mask.astype("float32"), np.eye(3), [3.0, 0.0, -2.0], order=0) > 0
    arrays[0][:5, :5, :5], arrays[1][-5:, -5:, -5:] = 40, 40
    volumes = [Volume(array, SPACING) for array in arrays]
    found = align(*volumes, "rigid", masks=(shown, mask))
    assert error(found, truth) < 4  # a voxel


def test_descent_needs_no_start_for_a_small_turn(head):
    """Features that turn with the image: the intensity itself, and its square."""
    small = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
    centre = (np.array(SHAPE) - 1) / 2
    offset = centre - small @ centre + [0.6, -0.5, 0.4]
    fixed = affine_transform(head, small, offset, order=1)
    padded = np.pad(head, 3)
    stack = [np.stack([x, x**2, np.ones_like(x)], -1)[None] for x in (fixed, padded)]
    matrix, before, after = affine_descent(*stack, "rigid", iterations=100)
    assert after < before
    np.testing.assert_allclose(matrix[:3, :3], small, atol=0.01)
    np.testing.assert_allclose(matrix[:3, 3], offset, atol=0.2)


def test_a_translation_turns_and_stretches_nothing(head):
    fixed, moving, truth = scene(head, np.eye(3), [9.0, -6.0, 5.0], AWAY)
    small = affine_transform(head, np.eye(3), [0.6, -0.5, 0.4], order=1)
    stack = [np.stack([x, x**2, np.ones_like(x)], -1)[None] for x in (small, np.pad(head, 3))]
    matrix, before, after = affine_descent(*stack, "translation", iterations=60)
    assert after < before
    np.testing.assert_array_equal(matrix[:3, :3], np.eye(3))
    np.testing.assert_allclose(matrix[:3, 3], [0.6, -0.5, 0.4], atol=0.1)
    if keras.backend.backend() == "torch":  # the stages above it are the same everywhere
        volumes = [Volume(image.get_fdata().astype("float32"), image.affine)
                   for image in (fixed, moving)]  # fmt: skip
        found = align(*volumes, "translation")
        np.testing.assert_allclose(found[:3, :3], np.eye(3), atol=1e-12)
        assert error(found, truth) < 2  # half a voxel


def test_none_leaves_it_at_the_affine_stage(head, tmp_path):
    fixed, moving, truth = scene(head, TURN, [10.0, -8.0, 6.0], AWAY)
    result = register(fixed, moving, initial=truth, method="none")
    assert not result.deformation.any()
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(
        result.moved[inner], (4 - fixed.get_fdata())[inner], atol=1e-3 * head.max()
    )
    assert register(fixed, moving, initial=truth, preset="none").folds_percent == 0
    with pytest.raises(UserError, match="--affine"):
        register(fixed, moving, method="none")


def test_parameters_are_rotation_and_stretch(rng):
    parameters = rng.normal(size=12).astype("float32") * 0.1
    linear = to_numpy(linear_part(parameters))
    np.testing.assert_allclose(
        to_numpy(volume_factor(parameters)), np.linalg.det(linear), rtol=1e-5
    )
    rotation, stretch = polar(linear)
    angles = 2 * np.arctan(np.linalg.norm(parameters[3:6]) / 2)
    assert Rotation.from_matrix(rotation).magnitude() == pytest.approx(angles, rel=1e-4)
    np.testing.assert_allclose(stretch_of(linear), parameters[6:], atol=1e-5)
    np.testing.assert_allclose(np.diag(stretch) - 1, parameters[6:9], atol=1e-5)


def test_mutual_information_is_scikit_images(rng):
    first = np.clip(rng.normal(size=4000), -1, 1)
    second = np.clip(first**2 + 0.3 * rng.normal(size=4000), 0, 1)
    one, two = (np.histogram(x, 32)[0] for x in (first, second))
    joint = np.histogram2d(first, second, 32)[0]
    ratio = normalized_mutual_information(first, second, bins=32)
    expected = ratio * entropy(joint.ravel())
    assert expected == pytest.approx(entropy(one) + entropy(two))
    got = mutual_information(first, second)
    assert got == pytest.approx(expected - entropy(joint.ravel()), abs=1e-6)


def test_a_constant_surround_is_found(head):
    volume = Volume(head, np.eye(4))
    inside = without_padding(volume)
    assert not inside[0].any()
    assert inside[tuple(n // 2 for n in SHAPE)]
    noise = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    assert without_padding(Volume(noise, np.eye(4))) is None


def test_starts_lay_the_centres_on_each_other(head):
    volume = Volume(head, np.eye(4))
    moved = Volume(head, AWAY)
    starts = affine_starts(volume, moved)
    assert len(starts) == 1 + 2 * 13
    np.testing.assert_allclose(starts[1], AWAY, atol=1e-9)
    assert all(np.isclose(np.linalg.det(start[:3, :3]), 1) for start in starts)


def test_mistakes_are_one_line(head, tmp_path):
    fixed, moving, _ = scene(head, TURN, [10.0, -8.0, 6.0], AWAY)
    with pytest.raises(UserError, match="rigid, affine"):
        register(fixed, moving, affine="similarity")
    with pytest.raises(UserError, match="--affine"):
        register(fixed, moving)
    (tmp_path / "text.tfm").write_text("no transform")
    with pytest.raises(UserError, match="ITK"):
        register(fixed, moving, initial=tmp_path / "text.tfm")
    with pytest.raises(ValueError, match="model"):
        align(Volume(np.eye(8)[None].repeat(8, 0), np.eye(4)), None, "similarity")
