"""Geometry, warps and affines against SimpleITK."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid, Volume, Warp, resample_to
from anyvox_keras.io import (
    load_affine,
    load_points,
    load_warp,
    save_affine,
    save_points,
    save_volume,
    save_warp,
)

LPS = np.array([-1.0, -1.0, 1.0])


def affine(angles, spacing, origin, mirror=False):
    """Rotation, spacing, origin; `mirror` makes the axes left-handed."""
    matrix = np.eye(4)
    signs = np.array([-1.0 if mirror else 1.0, 1, 1])
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, :3] = rotation * (np.array(spacing) * signs)
    matrix[:3, 3] = origin
    return matrix


SPACES = {
    "straight": (affine((0, 0, 0), (2, 2, 2), (0, 0, 0)), affine((0, 0, 0), (2, 2, 2), (0, 0, 0))),
    "oblique": (
        affine((10, -20, 30), (1.5, 2, 2.5), (-10, 4, 7)),
        affine((-15, 5, 40), (2, 1.2, 2), (-30, -5, 10)),
    ),
    "left-handed": (
        affine((0, 90, 0), (2, 2, 3), (5, -9, 0), mirror=True),
        affine((4, 80, 12), (2.5, 2, 2), (0, -15, 20), mirror=True),
    ),
}


def smooth(rng, shape, sigma=3.0):
    values = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return (values / np.abs(values).max()).astype("float32")


@pytest.fixture(params=sorted(SPACES))
def case(request, rng, tmp_path):
    """A moving image, a fixed grid and a smooth displacement between their voxels."""
    fixed = Grid((22, 20, 18), SPACES[request.param][0])
    moving = Grid((24, 26, 20), SPACES[request.param][1])
    image = Volume(smooth(rng, moving.shape, 1.5), moving.affine)
    save_volume(tmp_path / "moving.nii.gz", image.array, image)
    bend = np.stack([smooth(rng, fixed.shape) for _ in range(3)], -1) * 2.5
    centre = np.asarray(moving.shape) / 2 - np.asarray(fixed.shape) / 2
    save_warp(tmp_path / "warp.nii.gz", bend + centre, fixed, moving)
    return image, fixed, moving, bend + centre, tmp_path


def field_transform(folder):
    field = sitk.ReadImage(str(folder / "warp.nii.gz"), sitk.sitkVectorFloat64)
    reference = sitk.Image(field.GetSize(), sitk.sitkFloat32)
    reference.CopyInformation(field)
    return sitk.DisplacementFieldTransform(field), reference


def inside(case, margin=1.0):
    _, fixed, moving, displacement, _ = case
    target = fixed.voxels() + displacement
    last = np.asarray(moving.shape) - 1
    return ((target > margin) & (target < last - margin)).all(-1)


def test_warped_image_equals_sitk(case):
    image, _, _, _, folder = case
    transform, reference = field_transform(folder)
    moving = sitk.ReadImage(str(folder / "moving.nii.gz"))
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, reference, transform)).T
    ours = load_warp(folder / "warp.nii.gz").resample(image).array
    assert inside(case).mean() > 0.3
    np.testing.assert_allclose(ours[inside(case)], theirs[inside(case)], atol=1e-4)
    # the rim too, but for voxels that rounding puts on the other side of the last half voxel
    assert (np.abs(ours - theirs) < 1e-4).mean() > 0.999


def test_warped_image_equals_scipy_in_voxels(case):
    image, fixed, _, displacement, folder = case
    where = np.moveaxis(fixed.voxels() + displacement, -1, 0)
    truth = ndimage.map_coordinates(image.array, where, order=1)
    ours = load_warp(folder / "warp.nii.gz").resample(image).array
    np.testing.assert_allclose(ours[inside(case)], truth[inside(case)], atol=1e-4)


def test_warped_labels_equal_sitk(case):
    image, _, _, _, folder = case
    labels = Volume(np.digitize(image.array, [-0.3, 0, 0.3]).astype("int32"), image.affine)
    save_volume(folder / "labels.nii.gz", labels.array, labels)
    transform, reference = field_transform(folder)
    moving = sitk.ReadImage(str(folder / "labels.nii.gz"))
    nearest = sitk.sitkNearestNeighbor
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, reference, transform, nearest)).T
    ours = load_warp(folder / "warp.nii.gz").resample(labels).array
    assert ours.dtype == np.int32
    assert (ours == theirs).mean() > 0.999


def test_points_equal_sitk_inside_and_outside(case, rng):
    _, fixed, _, _, folder = case
    transform, _ = field_transform(folder)
    voxels = rng.uniform(-4, np.asarray(fixed.shape) + 4, (200, 3))
    points = fixed.to_world(voxels)
    theirs = [transform.TransformPoint((p * LPS).tolist()) for p in points]
    ours = load_warp(folder / "warp.nii.gz").points(points) * LPS
    within = fixed.contains(points)
    np.testing.assert_allclose(ours[within], np.array(theirs)[within], atol=1e-3)


def test_points_beyond_the_warp_go_by_its_affine_part(tmp_path):
    grid = Grid((5, 6, 7), affine((10, -20, 30), (2, 3, 2.5), (100, -40, 7)))
    matrix = affine((3, 0, -8), (1.1, 0.9, 1.0), (30, -5, 12))
    points = grid.to_world(np.array([[-9.0, 3, 30], [2, 2, 2]]))
    truth = points @ matrix[:3, :3].T + matrix[:3, 3]
    where = grid.to_world(grid.voxels())
    vectors = where @ matrix[:3, :3].T + matrix[:3, 3] - where
    np.testing.assert_allclose(Warp(vectors, grid).points(points), truth, atol=1e-6)
    # kept in the file, where the field alone would tell another
    displacement = np.zeros((*grid.shape, 3))
    save_warp(tmp_path / "w.nii.gz", displacement, grid, beyond=matrix)
    moved = load_warp(tmp_path / "w.nii.gz").points(points)
    np.testing.assert_allclose(moved, [truth[0], points[1]], atol=1e-5)
    assert sitk.ReadImage(str(tmp_path / "w.nii.gz")).GetSize() == grid.shape


@pytest.mark.parametrize("intent", ["vector", "displacement vector"])
def test_vectors_turn_with_their_intent_as_in_sitk(tmp_path, rng, intent):
    raw = rng.normal(size=(4, 5, 6, 1, 3)).astype("float32")
    image = nib.Nifti1Image(raw, affine((5, 6, 7), (2, 2, 3), (0, 9, 0)))
    image.header.set_intent(intent)
    nib.save(image, tmp_path / "w.nii.gz")
    field = sitk.ReadImage(str(tmp_path / "w.nii.gz"), sitk.sitkVectorFloat64)
    theirs = sitk.GetArrayFromImage(field).transpose(2, 1, 0, 3) * LPS
    np.testing.assert_allclose(load_warp(tmp_path / "w.nii.gz").vectors, theirs, atol=1e-6)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
def test_a_map_of_coordinates_is_no_warp(tmp_path, signs):
    grid = Grid((6, 6, 6), affine((5, 6, 7), (2, 2, 3), (0, 9, 0)))
    coordinates = (grid.to_world(grid.voxels()) * signs + 0.5).astype("float32")
    image = nib.Nifti1Image(coordinates[:, :, :, None], grid.affine)
    image.header.set_intent("vector")
    nib.save(image, tmp_path / "y_scan.nii")
    with pytest.raises(UserError, match="received coordinates"):
        load_warp(tmp_path / "y_scan.nii")


def test_warp_file_round_trip(case):
    _, fixed, moving, displacement, folder = case
    warp = load_warp(folder / "warp.nii.gz")
    np.testing.assert_allclose(warp.to_voxels(moving), displacement, atol=1e-4)
    header = nib.load(folder / "warp.nii.gz").header
    assert header.get_intent()[0] == "vector"
    assert header.get_data_shape() == (*fixed.shape, 1, 3)


def test_without_a_moving_grid_displacements_are_fixed_voxels():
    grid = Grid((6, 6, 6), affine((10, 20, 30), (1, 2, 3), (0, 0, 0), mirror=True))
    warp = Warp.from_voxels(np.broadcast_to([1.0, 0, 0], (6, 6, 6, 3)), grid)
    start = grid.to_world(np.array([[2.0, 3, 1]]))
    np.testing.assert_allclose(warp.points(start), grid.to_world(np.array([[3.0, 3, 1]])))


def test_smaller_reference_gives_the_same_voxels(case):
    image, fixed, _, _, folder = case
    warp = load_warp(folder / "warp.nii.gz")
    shifted = fixed.affine.copy()
    shifted[:3, 3] = fixed.to_world(np.array([3.0, 2, 1]))
    part = warp.resample(image, Grid((10, 9, 8), shifted)).array
    np.testing.assert_allclose(part, warp.resample(image).array[3:13, 2:11, 1:9], atol=1e-5)


def test_reference_beyond_the_warp_is_refused(case):
    image, fixed, _, _, folder = case
    wider = Grid(tuple(n + 3 for n in fixed.shape), fixed.affine)
    with pytest.raises(UserError, match="inside the warp's"):
        load_warp(folder / "warp.nii.gz").resample(image, wider)


def test_image_is_no_warp(case):
    with pytest.raises(UserError, match="X, Y, Z, 1, 3"):
        load_warp(case[-1] / "moving.nii.gz")


def test_resample_to_equals_sitk(case):
    image, fixed, moving, _, folder = case
    grid = Grid(fixed.shape, moving.affine @ np.diag([0.9, 1.1, 1.2, 1]))
    save_volume(folder / "grid.nii.gz", np.zeros(grid.shape), grid)
    source = sitk.ReadImage(str(folder / "moving.nii.gz"))
    target = sitk.ReadImage(str(folder / "grid.nii.gz"))
    fill = float(image.array.min())
    theirs = sitk.Resample(source, target, sitk.Transform(), sitk.sitkLinear, fill)
    ours = resample_to(image, grid)
    close = np.abs(ours.array - sitk.GetArrayFromImage(theirs).T) < 1e-4
    assert close.mean() > 0.99
    assert close[1:-1, 1:-1, 1:-1].mean() > 0.999
    np.testing.assert_array_equal(ours.affine, grid.affine)


def test_resample_to_its_own_grid_is_identity(case):
    image = case[0]
    assert resample_to(image, image.grid) is image


def test_resample_marks_what_lies_beyond_the_image():
    image = Volume(np.full((4, 4, 4), 5.0, "float32"), np.eye(4))
    moved = resample_to(image, Grid((8, 4, 4), np.eye(4)), outside=-1.0)
    assert (moved.array[:4] == 5).all()
    assert (moved.array[4:] == -1).all()
    np.testing.assert_array_equal(moved.finite[:, 0, 0], np.arange(8) < 4)


def test_affine_file_is_read_by_sitk(tmp_path, rng):
    matrix = affine((10, 20, 30), (1.1, 0.9, 1.0), (4, -5, 6))
    save_affine(tmp_path / "a.tfm", matrix)
    transform = sitk.ReadTransform(str(tmp_path / "a.tfm"))
    for point in rng.normal(size=(5, 3)) * 50:
        theirs = np.array(transform.TransformPoint((point * LPS).tolist())) * LPS
        np.testing.assert_allclose(theirs, matrix[:3, :3] @ point + matrix[:3, 3], atol=1e-9)


def test_affine_with_a_centre_is_read_from_sitk(tmp_path):
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(affine((5, 6, 7), (1, 1, 1), (0, 0, 0))[:3, :3].ravel().tolist())
    transform.SetCenter((10.0, -20.0, 30.0))
    transform.SetTranslation((1.0, 2.0, 3.0))
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    matrix = load_affine(tmp_path / "a.tfm")
    point = np.array([7.0, 8, 9])
    theirs = np.array(transform.TransformPoint((point * LPS).tolist())) * LPS
    np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], theirs, atol=1e-9)


def test_points_file_round_trip_and_mistakes(tmp_path, rng):
    points = rng.normal(size=(7, 3)) * 100
    save_points(tmp_path / "p.csv", points)
    np.testing.assert_allclose(load_points(tmp_path / "p.csv"), points, atol=1e-6)
    for text, reason in (
        ("a,b\n1,2\n", "columns x,y,z"),
        ("x,y,z\n", "columns x,y,z"),
        ("x,y,z\n1,2,three\n", "line 2"),
        ("x,y,z\n1,2\n", "line 2"),
        ("x,y,z\n1,2,nan\n", "line 2"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UserError, match=reason):
            load_points(tmp_path / "bad.csv")
    with pytest.raises(UserError, match="nothing"):
        load_points(tmp_path / "nothing.csv")


def transforms():
    """SimpleITK's linear transforms, each with a centre where it can have one."""
    moved = [sitk.Euler3DTransform(), sitk.VersorRigid3DTransform(), sitk.Similarity3DTransform()]
    moved[0].SetRotation(0.3, -0.2, 0.5)
    moved[1].SetRotation((1.0, 2.0, -1.0), 0.7)
    moved[2].SetRotation((0.0, 2.0, -1.0), 0.4)
    moved[2].SetScale(1.2)
    ordered = sitk.Euler3DTransform()
    ordered.SetRotation(0.3, -0.2, 0.5)
    ordered.SetComputeZYX(True)
    for transform in (*moved, ordered):
        transform.SetCenter((10.0, -20.0, 30.0))
        transform.SetTranslation((4.0, 5.0, -6.0))
    shift = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    return [*moved, ordered, shift, sitk.CompositeTransform([moved[0], shift, moved[2]])]


@pytest.mark.parametrize("which", range(6))
def test_linear_transforms_are_read_and_composed_as_sitk_does(tmp_path, which):
    transform = transforms()[which]
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    matrix = load_affine(tmp_path / "a.tfm")
    point = np.array([3.0, -7.0, 11.0])
    theirs = np.array(transform.TransformPoint((point * LPS).tolist())) * LPS
    np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], theirs, atol=1e-6)


def test_other_transforms_are_refused_by_name(tmp_path):
    sitk.WriteTransform(sitk.ComposeScaleSkewVersor3DTransform(), str(tmp_path / "a.tfm"))
    with pytest.raises(UserError, match="received ComposeScaleSkewVersor3DTransform"):
        load_affine(tmp_path / "a.tfm")
