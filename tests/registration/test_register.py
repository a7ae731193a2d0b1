import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.geometry import Warp
from anyvox_keras.io import load_volume, load_warp, save_points
from anyvox_keras.networks import preset_metadata
from anyvox_keras.registration import (
    AdamSettings,
    DeformSettings,
    FeatureSettings,
    Level,
    Registration,
    deform,
    image_features,
    landmarks_of,
    register,
    room,
    settings_of,
)

SHAPE = (28, 32, 30)
SPACING = np.diag([2.0, 2.0, 2.0, 1.0])
QUICK = DeformSettings(adam=AdamSettings(iterations=15, smoothness=1.5))


@pytest.fixture(scope="module")
def pair():
    """A textured head-like blob, and the same blob moved by a smooth field and inverted."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    centre = (np.array(SHAPE)[:, None, None, None] - 1) / 2
    distance = np.sqrt((((grid - centre) / [[[[10]]], [[[12]]], [[[11]]]]) ** 2).sum(0))
    texture = gaussian_filter(rng.normal(size=SHAPE), 1.5) * 8
    moving = (np.clip(3 * (1 - distance), 0, 1) * (2 + texture)).astype("float32")
    labels = (np.digitize(texture, [-0.5, 0.5]) + 1) * (distance < 0.9)
    shift = np.array([1.5, -2.0, 1.0])
    wave = gaussian_filter(rng.normal(size=(*SHAPE, 3)), (5, 5, 5, 0)) * 60
    truth = shift + wave
    where = grid + np.moveaxis(truth, -1, 0)
    fixed = map_coordinates(moving, where, order=1)
    fixed_labels = map_coordinates(labels, where, order=0)
    image = lambda x: nib.Nifti1Image(x, SPACING)  # noqa: E731
    return {
        "fixed": image((5 - fixed).astype("float32")),
        "moving": image(moving),
        "fixed_seg": image(fixed_labels.astype("int16")),
        "moving_seg": image(labels.astype("int16")),
        "truth": truth,
        "inside": distance < 0.8,
    }


def _images(pair, *names):
    return {name: pair[name] for name in names or ("fixed", "moving", "fixed_seg", "moving_seg")}


@pytest.fixture(scope="module")
def result(pair):
    return register(**_images(pair))


def _error(pair, found):
    apart = np.linalg.norm(found - pair["truth"], axis=-1)
    return apart[pair["inside"]].mean()


def test_known_deformation_is_found_across_contrasts(pair, result):
    start = _error(pair, np.zeros_like(result.displacement))
    assert _error(pair, result.displacement) < 0.35 * start
    overlap = result.metrics["mean_dice"]
    assert overlap["after"] > overlap["before"] + 0.1
    assert set(result.metrics["dice"]) == {"1", "2", "3"}
    assert result.metrics["folds_percent"] <= 0.1


def test_inverse_composes_to_identity(result):
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    where = grid + np.moveaxis(result.inverse, -1, 0)
    back = [
        map_coordinates(result.displacement[..., a], where, order=1, mode="nearest")
        for a in range(3)
    ]
    residual = np.linalg.norm(np.stack(back, -1) + result.inverse, axis=-1)
    assert residual.mean() < 0.02


def test_saved_warp_is_what_simpleitk_applies(pair, result, tmp_path):
    result.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "moved.nii.gz", "moved_seg.nii.gz", "warp.nii.gz", "inverse_warp.nii.gz", "affine.tfm",
        "report.png", "report.html", "metrics.json",
    }  # fmt: skip
    moving = sitk.GetImageFromArray(pair["moving"].get_fdata().T.astype("float32"))
    nib.save(pair["moving"], tmp_path / "moving.nii.gz")
    moving = sitk.ReadImage(str(tmp_path / "moving.nii.gz"))
    field = sitk.ReadImage(str(tmp_path / "warp.nii.gz"), sitk.sitkVectorFloat64)
    moved = sitk.Resample(moving, moving, sitk.DisplacementFieldTransform(field))
    np.testing.assert_allclose(sitk.GetArrayFromImage(moved).T, result.moved, atol=1e-3)

    nib.save(pair["fixed"], tmp_path / "fixed.nii.gz")
    fixed = sitk.ReadImage(str(tmp_path / "fixed.nii.gz"))
    field = sitk.ReadImage(str(tmp_path / "inverse_warp.nii.gz"), sitk.sitkVectorFloat64)
    theirs = sitk.Resample(fixed, moving, sitk.DisplacementFieldTransform(field))
    ours = load_warp(tmp_path / "inverse_warp.nii.gz").resample(load_volume(pair["fixed"])).array
    apart = np.abs(sitk.GetArrayFromImage(theirs).T - ours)
    # rounding puts some voxels of the rim on the other side of the last half voxel
    assert np.quantile(apart, 0.999) < 1e-3
    np.testing.assert_allclose(apart[4:-4, 4:-4, 4:-4], 0, atol=1e-3)

    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert {"dice", "mean_dice", "folds_percent", "sd_log_jacobian", "seconds"} <= set(saved)
    labels = nib.load(tmp_path / "moved_seg.nii.gz")
    assert labels.get_data_dtype().kind in "iu"
    sitk.ReadTransform(str(tmp_path / "affine.tfm"))
    with pytest.raises(UserError, match="overwrite"):
        result.save(tmp_path)


def test_saved_warp_is_what_ants_applies(pair, result, tmp_path):
    import ants

    result.save(tmp_path)
    paths = {name: str(tmp_path / f"{name}.nii.gz") for name in ("fixed", "moving", "moving_seg")}
    for name, path in paths.items():
        nib.save(pair[name], path)
    fixed, moving, labels = (ants.image_read(path) for path in paths.values())
    warp = [str(tmp_path / "warp.nii.gz")]
    moved = ants.apply_transforms(fixed, moving, warp, interpolator="linear")
    np.testing.assert_allclose(moved.numpy(), result.moved, atol=1e-3)
    moved = ants.apply_transforms(fixed, labels, warp, interpolator="nearestNeighbor")
    # a tie of nearest may go either way
    assert (moved.numpy() != result.moved_seg).mean() < 1e-3
    there = ants.apply_transforms(
        moving, fixed, [str(tmp_path / "inverse_warp.nii.gz")], interpolator="linear"
    )
    inverse = Warp.from_voxels(result.inverse, result.moving.grid)
    ours = inverse.resample(load_volume(pair["fixed"])).array
    np.testing.assert_allclose(there.numpy(), ours, atol=1e-3)


def test_moving_image_of_another_grid_and_orientation(pair, result):
    """Flipped and permuted storage of the same scan gives the same map in the world."""
    image = pair["moving"]
    turned = image.as_reoriented(np.array([[2, 1], [0, -1], [1, -1]]))
    other = register(pair["fixed"], turned)
    np.testing.assert_allclose(other.displacement, result.displacement, atol=0.02)
    np.testing.assert_allclose(other.moved, result.moved, atol=0.05)
    assert other.inverse.shape[:3] == turned.shape


def test_initial_affine_is_part_of_the_map(pair, result):
    away = np.eye(4)
    away[:3, 3] = [40, -30, 20]
    image = nib.Nifti1Image(pair["moving"].get_fdata().astype("float32"), away @ SPACING)
    other = register(pair["fixed"], image, initial=away)
    expected = result.displacement + np.array([20, -15, 10])
    np.testing.assert_allclose(other.displacement, expected, atol=0.02)
    np.testing.assert_allclose(other.moved, result.moved, atol=0.05)


def test_apply_takes_images_labels_and_points(pair, result):
    np.testing.assert_array_equal(result.apply(pair["moving"]), result.moved)
    array = pair["moving"].get_fdata().astype("float32")
    np.testing.assert_array_equal(result.apply(array), result.moved)
    np.testing.assert_array_equal(result.apply(pair["moving_seg"], labels=True), result.moved_seg)
    voxel = np.array([14, 15, 13])
    moved = result.apply((SPACING[:3, :3] @ voxel)[None].astype(float))
    expected = 2 * (voxel + result.displacement[tuple(voxel)])
    np.testing.assert_allclose(moved[0], expected, atol=1e-4)
    with pytest.raises(UserError, match="moving grid"):
        result.apply(array[1:])


def test_what_masks_hide_does_not_matter(pair):
    mask = gaussian_filter(pair["inside"].astype("float32"), 2) > 0.1
    masks = {"fixed_mask": mask.astype("uint8"), "moving_mask": mask.astype("uint8")}
    found = []
    for noise in (0, 50):
        outside = np.random.default_rng(0).normal(size=SHAPE) * noise * ~mask
        images = [pair[k].get_fdata() + outside for k in ("fixed", "moving")]
        images = [nib.Nifti1Image(image.astype("float32"), SPACING) for image in images]
        found.append(register(*images, **masks, settings=QUICK).displacement)
    np.testing.assert_allclose(*found, atol=1e-5)


def test_thick_slices_and_thin_axes_are_registered(pair):
    thick = [
        nib.Nifti1Image(pair[k].get_fdata()[:, :, ::3].astype("float32"), np.diag([2, 2, 6, 1.0]))
        for k in ("fixed", "moving")
    ]
    found = register(*thick, settings=QUICK)
    truth = pair["truth"][:, :, ::3] / [1, 1, 3]
    apart = np.abs(found.displacement - truth)[pair["inside"][:, :, ::3]].mean()
    assert apart < 0.6 * np.abs(truth)[pair["inside"][:, :, ::3]].mean()


def test_two_voxels_thin(pair):
    """Two slices of the same plane, moved within it."""
    plane = pair["moving"].get_fdata()[..., 14:15].repeat(2, axis=2).astype("float32")
    moved = np.roll(plane, (-2, 3), (0, 1))
    images = [nib.Nifti1Image(array, SPACING) for array in (5 - moved, plane)]
    found = register(*images).displacement
    assert found.shape == (*SHAPE[:2], 2, 3)
    inside = gaussian_filter((moved > 1).astype("float32"), (2, 2, 0)) > 0.8
    assert np.abs(found - [2, -3, 0])[inside].mean() < 0.4


def test_oblique_and_left_handed_headers_give_the_same_map(pair, result):
    """The world turned, the moving image's first axis stored backwards: a mirrored matrix."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [35, -50, 20], degrees=True).as_matrix()
    turn[:3, 3] = 40, -90, 15
    backwards = np.diag([-1.0, 1.0, 1.0, 1.0])
    backwards[0, 3] = SHAPE[0] - 1
    arrays = [pair[name].get_fdata().astype("float32") for name in ("fixed", "moving")]
    fixed = nib.Nifti1Image(arrays[0], turn @ SPACING)
    moving = nib.Nifti1Image(arrays[1][::-1].copy(), turn @ SPACING @ backwards)
    assert np.linalg.det(fixed.affine) * np.linalg.det(moving.affine) < 0
    other = register(fixed, moving)
    np.testing.assert_allclose(other.displacement, result.displacement, atol=0.02)
    np.testing.assert_allclose(other.moved, result.moved, atol=0.05)


@pytest.mark.filterwarnings("ignore:.*not finite")
def test_nan_outside_the_field_of_view_is_left_out(pair):
    mask = gaussian_filter(pair["inside"].astype("float32"), 2) > 0.1
    arrays = [pair[name].get_fdata().astype("float32") for name in ("fixed", "moving")]
    spoilt = [nib.Nifti1Image(np.where(mask, x, np.nan), SPACING) for x in arrays]
    found = register(*spoilt, settings=QUICK).displacement
    truth, inside = pair["truth"], pair["inside"]
    assert np.abs(found - truth)[inside].mean() < 0.6 * np.abs(truth)[inside].mean()


def test_the_network_is_the_packaged_one_as_its_card_advises(pair):
    arguments = _images(pair, "fixed", "moving")
    found = register(**arguments, features="both", settings=QUICK)
    extractor = FeatureExtractor.from_preset("anyvox-base")
    factor = preset_metadata("anyvox-base")["registration"]["factor"]
    expected = register(
        **arguments,
        settings=QUICK,
        feature_settings=FeatureSettings("both", (extractor,), network_weights=(factor,)),
    )
    np.testing.assert_array_equal(found.displacement, expected.displacement)


def edges(image):
    found = np.stack(np.gradient(image), -1) ** 2
    return found / found.max()


def test_features_side_by_side_count_by_their_weights(pair):
    def noise(image):
        return np.random.default_rng(0).normal(size=(*image.shape, 2)).astype("float32")

    image = pair["moving"].get_fdata().astype("float32")

    def found(kind, extractors=(), *weights):
        settings = FeatureSettings(kind, extractors, *weights)
        return to_numpy(image_features(image, None, None, settings))

    together = found("both", (edges, noise), 2.0, (0.5, 3.0))
    apart = [2 * found("mind")]
    apart += [
        weight * found("network", (extractor,), 1.0, (1.0,))
        for extractor, weight in ((edges, 0.5), (noise, 3.0))
    ]
    np.testing.assert_allclose(together, np.concatenate(apart, axis=-1), atol=1e-5)
    assert together.shape == (1, *(n // 2 for n in SHAPE), 12 + 3 + 2)


def test_the_network_sees_the_clipped_image(pair):
    seen = []

    def extractor(image):
        seen.append((float(image.min()), float(image.max())))
        if len(seen) == 2:
            raise RuntimeError("both seen")
        return edges(image)

    images = _images(pair, "fixed", "moving")
    with pytest.raises(RuntimeError, match="both seen"):
        register(**images, extractor=extractor, fixed_clip=(2, 4), moving_clip=(0.5, 2))
    assert seen == [(2, 4), (0.5, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "edges"}, "expected one of"),
        ({"preset": "best"}, "preset"),
        ({"fixed_mask": np.zeros(SHAPE)}, "received none"),
        ({"fixed_mask": np.ones((3, 3, 3))}, "shape"),
        ({"moving_seg": np.ones((3, 3, 3), int)}, "shape"),
        ({"fixed_seg": np.ones(SHAPE, int), "moving_seg": np.full(SHAPE, 4)}, "share a label"),
        ({"fixed_seg": np.zeros(SHAPE, int), "moving_seg": np.zeros(SHAPE, int)}, "share a label"),
        ({"initial": np.zeros((4, 4))}, "invertible"),
        ({"fixed_points": np.zeros((2, 3))}, "both images"),
        ({"fixed_points": np.zeros((2, 3)), "moving_points": np.zeros((3, 3))}, "same"),
        ({"memory": 0.1}, "at least"),
        ({"moving_clip": (450, -450)}, "LO below HI"),
        ({"moving_clip": 450.0}, "LO below HI"),
        ({"fixed_points": [[np.nan] * 3], "moving_points": [[0.0] * 3]}, "finite points"),
        ({"fixed": np.random.rand(1, 8, 8)}, "two voxels along each axis"),
        (
            {"features": "network", "extractor": lambda x: np.full((*x.shape, 2), np.nan)},
            "finite features",
        ),
        ({"moving": "absent.nii.gz"}, "does not exist"),
    ],
)
def test_mistakes_get_one_clear_line(pair, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        register(**{**_images(pair, "fixed", "moving"), **change})
    assert "\n" not in str(caught.value)


def test_scans_that_do_not_overlap_are_a_mistake(pair):
    away = np.eye(4)
    away[:3, 3] = 1000
    image = nib.Nifti1Image(pair["moving"].get_fdata().astype("float32"), away @ SPACING)
    with pytest.raises(UserError, match="overlap"):
        register(pair["fixed"], image)


def test_what_lies_beside_the_fixed_field_of_view_is_seen(rng):
    scene = gaussian_filter(rng.random((32, 24, 24)), 2).astype("float32")
    fixed, moving = scene[4:24, :20, :20], -scene[2:22, :20, :20]
    beside = np.eye(4)
    beside[0, 3] = 5  # what fits lies two voxels further, and five more
    found = register(fixed, nib.Nifti1Image(moving, beside), "mind", settings=QUICK)
    middle = found.displacement[5:-5, 5:-5, 5:-5]
    assert np.abs(np.median(middle, (0, 1, 2)) - (7, 0, 0)).max() < 1
    assert found.folds_percent == 0


def test_memory_is_bounded_by_slabs_that_change_nothing(rng):
    fixed, moving = (rng.random((1, 12, 10, 11, 4)).astype("float32") for _ in range(2))
    settings = DeformSettings(levels=(Level(4, 1), Level(2, 2)), adam=QUICK.adam)
    arguments = (fixed, moving, (24, 20, 22), (2.0, 2.0, 2.0), settings)
    # the finer search holds 12 planes of 110 voxels and 125 displacements: not in 1 MB
    slabs, whole = (to_numpy(deform(*arguments, memory=m)) for m in (1 / 1024, 1.0))
    np.testing.assert_allclose(slabs, whole, atol=1e-4)
    assert np.abs(whole).mean() > 0.1


def test_fine_channels_are_left_to_the_descent(rng):
    fixed, moving = (rng.random((1, 12, 10, 11, 4)).astype("float32") for _ in range(2))
    at_rest = AdamSettings(iterations=1, passes=1)  # the first step returns its start
    settings = DeformSettings(levels=(Level(4, 1), Level(2, 2)), adam=at_rest)
    plain, fine, longer = (
        to_numpy(deform(*pair, (24, 20, 22), (2.0, 2.0, 2.0), chosen, fine=channels))
        for pair, chosen, channels in (
            ((fixed[..., :3], moving[..., :3]), settings, 0),
            ((fixed, moving), settings, 1),
            ((fixed, moving), replace(settings, adam=QUICK.adam), 1),
        )
    )
    np.testing.assert_allclose(fine, plain, atol=1e-5)
    assert np.abs(longer - plain).mean() > 0.01


def test_room_is_what_the_program_and_the_images_leave():
    assert room(12.0, (8, 8, 8)) == pytest.approx(11.0, abs=0.01)
    assert 0 < room(12.0, (256, 256, 256)) < 11
    with pytest.raises(UserError, match=r"at least 1\.2 GB for an image of \(64, 64, 64\)"):
        room(0.5, (64, 64, 64))
    assert room(0.5, (64, 64, 64), strict=False) > 0


def test_landmarks_and_surfaces_are_measured(pair, result, tmp_path):
    """Points that the true deformation moves; the same from CSV files, in ITK's convention."""
    voxels = np.argwhere(pair["inside"])[::400]
    here = voxels * 2.0
    there = here + 2 * pair["truth"][tuple(voxels.T)]
    found = register(**_images(pair), settings=QUICK, fixed_points=here, moving_points=there)
    error = found.metrics["tre_mm"]
    assert error["before"] == pytest.approx(np.linalg.norm(there - here, axis=1).mean())
    assert error["after"] < 0.5 * error["before"]
    assert found.metrics["mean_hd95"]["after"] < found.metrics["mean_hd95"]["before"]
    assert "TRE" in found.summary
    for name, points in (("here", here), ("there", there)):
        save_points(tmp_path / f"{name}.csv", points * [-1, -1, 1])
    files = {"fixed_points": tmp_path / "here.csv", "moving_points": tmp_path / "there.csv"}
    read = Registration(
        *(load_volume(pair[k]) for k in ("fixed", "moving")), found.deformation,
        landmarks=landmarks_of(*files.values()),
    )  # fmt: skip
    assert read.metrics["tre_mm"] == pytest.approx(error, abs=1e-4)


def test_levels_from_coarse_to_fine_and_diffeomorphic(pair):
    levels = DeformSettings(levels=(Level(4, 2), Level(2, 1)), adam=QUICK.adam)
    images = _images(pair, "fixed", "moving")
    start = _error(pair, np.zeros((*SHAPE, 3)))
    assert _error(pair, register(**images, settings=levels).displacement) < 0.5 * start
    smooth = register(**images, preset="diffeomorphic")
    assert smooth.metrics["folds_percent"] == 0
    assert _error(pair, smooth.displacement) < 0.5 * start
    assert settings_of("diffeomorphic").adam.symmetric


@pytest.mark.parametrize("spacing", [0.5, 0.9, 1.0, 1.5, 2.0, 3.0, 5.0])
def test_chosen_levels_reach_the_capture_range(spacing):
    for capture in (20.0, 30.0):
        settings = DeformSettings(capture=capture)
        levels = settings.levels_for((96, 96, 96), (spacing, spacing, 1.2 * spacing))
        assert sum(level.grid * level.half_width for level in levels) * spacing >= capture
        assert levels[0].grid >= levels[-1].grid


@pytest.mark.parametrize("side", [40, 96, 256])
def test_levels_follow_the_voxels_not_their_size(side):
    found = [DeformSettings().levels_for((side,) * 3, (mm,) * 3) for mm in (50.0, 1.0, 1e-3)]
    assert found[0] == found[1] == found[2]
    assert sum(level.grid * level.half_width for level in found[0]) >= max(12, side // 8)
    # whole blocks are many enough to tell organs apart, and few enough to hold their costs
    assert 10 <= side / found[0][0].grid <= 30


@pytest.mark.parametrize("shift", [(10, 0, 0), (0, 0, -10), (6, -6, 6)])
def test_twenty_millimetres_are_found(rng, shift):
    """A texture with parts of 6 mm, moved by 20 mm, in another contrast."""
    texture = gaussian_filter(rng.normal(size=np.add(SHAPE, 20)), 1.5).astype("float32")
    fixed, moving = (
        texture[tuple(slice(a, a + n) for a, n in zip(corner, SHAPE, strict=True))]
        for corner in (np.array([10, 10, 10]), 10 - np.array(shift))
    )
    images = [nib.Nifti1Image(array, SPACING) for array in (1 - fixed, moving)]
    found = register(*images).displacement
    seen = tuple(
        slice(max(0, -d) + 5, n - 5 - max(0, d)) for d, n in zip(shift, SHAPE, strict=True)
    )
    assert np.abs(found[seen] - shift).mean() < 0.3


def _disagreement(pair, settings):
    """Mean distance in voxels from a point to where the maps there and back lead it."""
    images = [pair["fixed"], pair["moving"]]
    there, back = (
        np.moveaxis(register(*pair_, settings=settings).displacement, -1, 0)
        for pair_ in (images, images[::-1])
    )
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    returned = [map_coordinates(part, grid + there, order=1, mode="nearest") for part in back]
    return np.linalg.norm(there + returned, axis=0).mean()


def test_symmetric_settings_agree_there_and_back(pair):
    free = _disagreement(pair, DeformSettings())
    averaged = _disagreement(pair, DeformSettings(both_ways=True))
    velocity = _disagreement(pair, settings_of("diffeomorphic"))
    assert averaged < 0.15 * free
    assert velocity < 0.15 * free
