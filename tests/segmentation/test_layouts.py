"""Folders as the Decathlon, nnU-Net and BIDS lay them out; scans of several channels."""

import json
from pathlib import Path

import numpy as np
import pytest
from segmentation.made_data import made_pair, write

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume
from anyvox_keras.io import load_channels
from anyvox_keras.segmentation import (
    Case,
    CaseFiles,
    CropStream,
    join_channels,
    load_case,
    read_dataset,
    read_scan,
)

AFFINE = np.diag([-1.0, 1.0, 1.5, 1.0])


def nnunet_folder(folder):
    """Case a has both channels, case b lacks the first."""
    for seed, (name, channels) in enumerate({"a": (0, 1), "b_1": (1,)}.items()):
        image, labels = made_pair(seed)
        for channel in channels:
            file = folder / "imagesTr" / f"{name}_{channel:04}.nii.gz"
            write(file, image * (1 + channel), AFFINE)
        write(folder / "labelsTr" / f"{name}.nii.gz", labels, AFFINE)
    named = {"labels": {"background": 0, "front": 1, "back": 2}, "channel_names": {"0": "T1"}}
    (folder / "dataset.json").write_text(json.dumps(named))
    return folder


def test_a_file_for_each_channel_is_nnunets_layout(tmp_path):
    dataset = read_dataset(nnunet_folder(tmp_path))
    a, b = dataset.training
    images = tmp_path / "imagesTr"
    assert (a.name, b.name, dataset.classes) == ("a", "b_1", ("front", "back"))
    assert a.channels == (images / "a_0000.nii.gz", images / "a_0001.nii.gz")
    assert b.channels == (None, images / "b_1_0001.nii.gz")
    assert (b.image, b.labels) == (b.channels[1], tmp_path / "labelsTr" / "b_1.nii.gz")
    case = load_case(b)
    assert case.image.shape == (*case.label_map.shape, 2)
    assert not case.image[..., 0].any()
    whole = load_case(CaseFiles("b", b.image, b.labels))
    np.testing.assert_array_equal(case.image[..., 1], whole.image)


def test_names_that_end_in_digits_are_cases_where_label_maps_have_them(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        write(tmp_path / folder / "scan_0001.nii.gz", made_pair(0)[1], AFFINE)
    (case,) = read_dataset(tmp_path).training
    assert (case.name, case.channels) == ("scan_0001", ())


def test_channels_are_joined_by_case():
    paths = [Path(f"{name}.nii.gz") for name in ("a_0000", "b_0000", "b_0001")]
    assert join_channels(paths) == {"a": (paths[0], None), "b": (paths[1], paths[2])}
    with pytest.raises(UserError, match="expected 1 channels, received 2"):
        join_channels(paths, 1)
    with pytest.raises(UserError, match="a name as NAME_0000"):
        join_channels([Path("a.nii.gz")])


def test_label_maps_of_derivatives_find_their_images(tmp_path):
    for name in ("sub-01/anat/sub-01_T1w", "sub-01/anat/sub-01_T2w", "sub-02/anat/sub-02_T1w"):
        write(tmp_path / f"{name}.nii.gz", made_pair(0)[0], AFFINE)
    derived = tmp_path / "derivatives" / "manual"
    for name in ("sub-01/anat/sub-01_T1w_dseg", "sub-02/anat/sub-02_desc-brain_dseg"):
        write(derived / f"{name}.nii.gz", made_pair(0)[1], AFFINE)
    (derived / "dseg.tsv").write_text("index\tname\n1\tfront\n2\tback\n")
    dataset = read_dataset(tmp_path)
    found = [case.image.name for case in dataset.training]
    assert found == ["sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"]
    assert dataset.classes == ("front", "back")
    write(tmp_path / "sub-02/anat/sub-02_T2w.nii.gz", made_pair(0)[0], AFFINE)
    with pytest.raises(UserError, match=r"one image .* received sub-02_T1w.nii.gz, sub-02_T2w"):
        read_dataset(tmp_path)


def test_an_image_of_four_axes_holds_channels(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype("float32")
    channels = load_channels(write(tmp_path / "a.nii.gz", values, AFFINE))
    for channel, expected in zip(channels, np.moveaxis(values, -1, 0), strict=True):
        np.testing.assert_allclose(channel.array, expected, rtol=1e-6)
        np.testing.assert_array_equal(channel.affine, AFFINE)
    assert len(load_channels(values[..., 0])) == 1
    with pytest.raises(UserError, match="expected the shape"):
        read_scan([values[..., 0], values[1:, ..., 0]])
    with pytest.raises(UserError, match="a channel at least"):
        read_scan([None, None])


def test_a_channel_is_scaled_alone_and_a_missing_one_is_zero():
    image = Volume(np.arange(24, dtype="float32").reshape(2, 3, 4), np.eye(4))
    found = read_scan([None, image]).on(image.grid, lambda x: x / x.max())
    assert not found[..., 0].any()
    assert found[..., 1].max() == 1


def test_crops_lack_channels_now_and_then_but_never_all():
    image = np.ones((8, 8, 8, 2), "float32")
    case = Case("a", image, np.ones((8, 8, 8), "int32"))
    stream = CropStream([case], side=8, missing=0.3)
    kept = stream.batch(range(600))["image"][:, 0, 0, 0]
    assert kept.max(1).min() == 1
    # The channel of the larger draw always stays: each is left out in 0.3 - 0.3^2 / 2.
    np.testing.assert_allclose(1 - kept.mean(0), 0.255, atol=0.05)
    whole = CropStream([case], side=8).batch(range(4))["image"]
    assert whole.min() == 1
