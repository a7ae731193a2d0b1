"""Files, grids and crops."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from segmentation.made_data import made_folder, made_pair, write

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid
from anyvox_keras.io import by_case, case_name, list_images
from anyvox_keras.segmentation import (
    Case,
    CropStream,
    SegmentationRun,
    SegmentationSettings,
    class_numbers,
    count_classes,
    load_case,
    pair_files,
    read_dataset,
)


@pytest.fixture
def folder(tmp_path):
    return made_folder(tmp_path / "data")


def test_the_decathlons_folders_are_read(folder):
    dataset = read_dataset(folder)
    assert [case.name for case in dataset.training] == ["case_0", "case_1"]
    assert [case.name for case in dataset.validation] == ["case_90"]
    assert dataset.classes == ("front", "back")
    assert [path.name for path in list_images([folder / "imagesTs"])] == ["case_91.nii.gz"]


@pytest.mark.parametrize(
    "labels",
    [{"0": "background", "1": "front", "2": "back"}, {"background": 0, "back": 2, "front": 1}],
)
def test_names_of_classes_are_read_in_both_fashions(folder, labels):
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert read_dataset(folder).classes == ("front", "back")


@pytest.mark.parametrize(
    "labels",
    [{"0": "air", "1": "front", "2": "ignore"}, {"air": 0, "front": 1, "Ignore": 255}],
)
def test_what_is_named_ignore_is_no_class(folder, labels):
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    dataset = read_dataset(folder)
    assert dataset.classes == ("front",)
    assert dataset.ignore == max(2, labels.get("Ignore", 0))
    settings = SegmentationSettings(data=str(folder))
    assert SegmentationRun(folder / "run", settings).ignored == dataset.ignore
    own = SegmentationSettings(data=str(folder), ignore_label=7)
    assert SegmentationRun(folder / "run", own).ignored == 7


def test_a_folder_is_read_whole_or_says_what_is_left_out(tmp_path):
    for name in ("a.nii.gz", "B.NII.GZ", "d.mgz", "e.mnc", "._a.nii.gz", "notes.txt"):
        (tmp_path / name).write_text("")
    with pytest.warns(UserWarning, match=r"1 images are left out: e\.mnc"):
        found = list_images([tmp_path])
    assert [path.name for path in found] == ["B.NII.GZ", "a.nii.gz", "d.mgz"]
    assert [case_name(path) for path in found] == ["B", "a", "d"]
    (tmp_path / "a.nii").write_text("")
    with pytest.raises(UserError, match="expected one file of that name"):
        by_case([tmp_path / "a.nii", tmp_path / "a.nii.gz"])


def test_every_label_map_needs_its_prediction(tmp_path):
    for name in ("truth/a.nii.gz", "truth/b.nii.gz", "found/a.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="1 are missing: b"):
        pair_files(tmp_path / "found", tmp_path / "truth")
    (tmp_path / "found" / "b.nii").write_text("")
    assert [found.name for found, _ in pair_files(tmp_path / "found", tmp_path / "truth")] == [
        "a.nii.gz",
        "b.nii",
    ]


def test_a_spacing_asks_for_no_giant_grid():
    with pytest.raises(UserError, match=r"2000 x 2000 x 2000 voxels, 32 GB"):
        Grid((20, 20, 20), np.eye(4)).to_ras(0.01)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "dataset.json: expected labels by number"),
        ("[]", "dataset.json: expected labels by number"),
        ('{"labels": {"1": "front", "2": "back"}}', "dataset.json: expected labels 0 and above"),
    ],
)
def test_a_spoilt_dataset_json_is_one_clear_line(folder, text, reason):
    (folder / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        read_dataset(folder)
    assert "\n" not in str(error.value)


def _empty(folder):
    for path in (folder / "imagesVal").iterdir():
        path.unlink()


def _lonely(folder):
    (folder / "labelsTr" / "case_1.nii.gz").unlink()


def _halves(folder):
    write(folder / "labelsTr" / "case_0.nii.gz", made_pair(0)[1] * np.float32(0.5), np.eye(4))


def _smaller(folder):
    path = folder / "labelsTr" / "case_0.nii.gz"
    write(path, made_pair(0)[1][1:], np.diag([-1.0, 1.0, 1.5, 1.0]))


def _elsewhere(folder):
    write(folder / "labelsVal" / "case_90.nii.gz", made_pair(90)[1], np.eye(4))


def _one_class(folder):
    for seed in (0, 1):
        labels = np.minimum(made_pair(seed)[1], 1)
        path = folder / "labelsTr" / f"case_{seed}.nii.gz"
        write(path, labels, np.diag([-1.0, 1.0, 1.5, 1.0]))


def _third_class(folder):
    labels = made_pair(90)[1] + np.uint8(1)
    write(folder / "labelsVal" / "case_90.nii.gz", labels, np.diag([-1.0, 1.0, 1.5, 1.0]))


def load_all(folder):
    dataset = read_dataset(folder)
    training, validation = (
        [load_case(files) for files in part] for part in (dataset.training, dataset.validation)
    )
    return count_classes(training, validation, dataset.classes)


@pytest.mark.parametrize("named", [True, False])
def test_gaps_between_labels_are_no_classes(folder, named):
    """Files hold 0, 3, 7 and an ignored 5, which the network counts as 0, 1, 2 and 3."""
    for path in [*folder.glob("labelsTr/*"), *folder.glob("labelsVal/*")]:
        labels = np.array([0, 3, 7])[np.asarray(nib.load(path).dataobj)]
        labels[-1] = 5
        write(path, labels.astype("uint8"), nib.load(path).affine)
    names = {"0": "air", "3": "front", "7": "back", "5": "ignore"}
    (folder / "dataset.json").write_text(json.dumps({"labels": names}))
    if not named:
        (folder / "dataset.json").unlink()
    own = {} if named else {"ignore_label": 5}
    settings = SegmentationSettings(data=str(folder), steps=2, weights="scratch", **own)
    run = SegmentationRun(folder / "run", settings)
    run.prepare()
    run.folder.mkdir()
    run.begin()
    assert run.classes == (["front", "back"] if named else ["3", "7"])
    assert class_numbers(folder / "run") == run.numbers == (3, 7)
    for case in (*run.cases[0], *run.cases[1]):
        assert case.labels == [0, 1, 2, 3]
        assert (case.label_map[-1] == 3).all() or (case.label_map[0] == 3).all()
    labels = np.asarray(nib.load(folder / "labelsVal" / "case_90.nii.gz").dataobj)
    labels[0] = 4
    write(folder / "labelsVal" / "case_90.nii.gz", labels, np.diag([-1.0, 1.0, 1.5, 1.0]))
    with pytest.raises(UserError, match="case_90: expected labels 0, 3, 7, 5, received 4"):
        SegmentationRun(folder / "run", settings).prepare()


def test_classes_are_counted(folder):
    assert load_all(folder) == 2
    (folder / "dataset.json").unlink()
    assert load_all(folder) == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_empty, "imagesVal: expected validation images, received an empty"),
        (_lonely, "case_1.nii.gz: its label map .* does not exist"),
        (_halves, "expected integer labels, received 0.5"),
        (_smaller, "expected the shape"),
        (_elsewhere, "expected the affine"),
        (_one_class, "no training case has label 2"),
        (_third_class, "case_90: expected labels 0..2, received 3"),
    ],
)
def test_bad_input_is_one_clear_line(folder, spoil, reason):
    spoil(folder)
    with pytest.raises(UserError, match=reason) as error:
        load_all(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_any_orientation_gives_the_same_case(tmp_path, axes):
    """The same scan stored with its axes permuted and flipped is the same case."""
    image, labels = made_pair(5)
    affine = np.diag([1.0, 1.2, 2.0, 1.0])
    straight = load_case(_files(tmp_path / "a", image, labels, affine))
    order = np.eye(4)
    order[:3, :3] = np.eye(3)[:, axes]
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = image.shape[axes[0]] - 1
    turned = [np.transpose(a, axes)[::-1] for a in (image, labels)]
    other = load_case(_files(tmp_path / "b", *turned, affine @ order @ flip))
    np.testing.assert_allclose(other.image, straight.image, atol=1e-5)
    np.testing.assert_array_equal(other.label_map, straight.label_map)


def _files(folder, image, labels, affine):
    from anyvox_keras.segmentation import CaseFiles

    paths = [write(folder / f"{n}.nii.gz", a, affine) for n, a in (("i", image), ("l", labels))]
    return CaseFiles("case", *paths)


def test_resampling_keeps_the_field_of_view():
    own = Grid(
        (20, 30, 41), np.array([[0, 0, 1.5, 7], [-2, 0, 0, 5], [0, 1, 0, 3], [0, 0, 0, 1.0]])
    )
    grid = own.to_ras((1, 1, 1))
    assert grid.orientation == "RAS"
    np.testing.assert_allclose(np.multiply(grid.shape, grid.spacing), (62, 40, 30))
    middles = [g.to_world((np.asarray(g.shape) - 1) / 2) for g in (own, grid)]
    np.testing.assert_allclose(*middles, atol=1e-9)


def test_linear_resampling_equals_scipy(tmp_path):
    image, labels = made_pair(3)
    case = load_case(_files(tmp_path, image, labels, np.eye(4)), (2.0, 2.0, 2.0))
    axes = [np.arange(n) * 2 - (2 * (n - 1) - (m - 1)) / 2
            for n, m in zip(case.image.shape, image.shape, strict=True)]  # fmt: skip
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    inside = ((places >= 0) & (places <= np.reshape(image.shape, (3, 1, 1, 1)) - 1)).all(0)
    expected = ndimage.map_coordinates(image, places, order=1)
    low, high = (float(f(expected[inside])) for f in (np.min, np.max))
    unit = (expected[inside] - low) / (high - low)
    # Beyond the scan lies its minimum, which widens the range that is mapped to [0, 1].
    fit = np.polyfit(unit, case.image[inside], 1)
    np.testing.assert_allclose(case.image[inside], np.polyval(fit, unit), atol=1e-5)


@pytest.fixture
def case(rng):
    labels = np.zeros((20, 18, 22), "int32")
    labels[3:5, 4:6, 7:9] = 1
    labels[12:14, 14:16, 18:20] = 2
    return Case("a", rng.random(labels.shape).astype("float32"), labels)


def test_crops_are_the_same_in_any_batch_and_after_a_seek(case):
    one, two = (CropStream([case, case], 8, size, seed=4) for size in (1, 2))
    pair = two.batch(range(2, 4))
    for place in range(2):
        single = one.batch(range(2 + place, 3 + place))
        for name, array in single.items():
            np.testing.assert_array_equal(array[0], pair[name][place])
    two.seek(2)
    np.testing.assert_array_equal(two[0][0]["image"], pair["image"])


def test_crops_are_windows_of_a_case_and_reach_its_ends(case):
    numbers = np.arange(case.image.size, dtype="float32").reshape(case.image.shape)
    stream = CropStream([Case("n", numbers, case.label_map)], 16, 64)
    batch = stream.batch(range(64))
    corners = {tuple(np.argwhere(numbers == crop.min())[0]) for crop in batch["image"][..., 0]}
    assert {c[1] for c in corners} == {0, 1, 2}
    for crop, labels in zip(batch["image"][..., 0], batch["label_map"], strict=True):
        np.testing.assert_array_equal(labels, case.label_map.ravel()[crop.astype(int)])


def test_balanced_crops_hold_each_label_as_often(case):
    stream = CropStream([case], 8, 300, balanced=True)
    label_maps = stream.batch(range(300))["label_map"]
    for label in (1, 2):
        share = (label_maps == label).any((1, 2, 3)).mean()
        # A third of the crops are centred on it; 4 standard errors.
        assert share > 1 / 3 - 0.11
    uniform = CropStream([case], 8, 300).batch(range(300))["label_map"]
    assert (uniform == 1).any((1, 2, 3)).mean() < 0.25


def test_a_small_volume_is_padded_by_its_minimum():
    image = np.full((4, 20, 5), 0.5, "float32")
    image[0, 0, 0] = 0.25
    stream = CropStream([Case("s", image, np.ones(image.shape, "int32"))], 8, 2)
    batch = stream.batch(range(2))
    assert batch["image"].shape == (2, 8, 8, 8, 1)
    outside = batch["label_map"] == 0
    assert outside.sum() == 2 * (8**3 - 4 * 8 * 5)
    assert (batch["image"][..., 0][outside] == 0.25).all()
