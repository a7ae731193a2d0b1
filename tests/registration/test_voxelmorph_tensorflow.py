"""Weights of VoxelMorph's TensorFlow line: files and answers of voxelmorph 0.2 itself."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError

FOLDER = Path(__file__).parent / "voxelmorph_0_2"  # made by its `make.py`


@pytest.mark.parametrize("name", ["vxm_dense", "vxm_dense_half"])
def test_equals_voxelmorph(name):
    with np.load(FOLDER / f"{name}.npz") as arrays:
        expected = dict(arrays)
    model = avx.VoxelMorph.from_voxelmorph(FOLDER / f"{name}.h5")
    pair = {key: expected.pop(key) for key in ("fixed", "moving")}
    actual = model.predict_on_batch(pair)
    assert np.abs(expected["displacement"]).max() > 1
    for key, theirs in expected.items():
        np.testing.assert_allclose(to_numpy(actual[key]), theirs, rtol=0, atol=1e-4, err_msg=key)


def test_sizes_are_read_from_the_file():
    config = avx.VoxelMorph.from_voxelmorph(FOLDER / "vxm_dense_half.h5").get_config()
    assert (config["encoder"], config["decoder"]) == ([4, 6], [6, 6, 4])
    assert (config["steps"], config["flow_stride"], config["integration_stride"]) == (5, 2, 2)


def test_older_names_are_understood(tmp_path):
    """Files of voxelmorph 0.1 say `unet_half_res` and `int_downsize`."""
    old = edited(tmp_path, {"svf_resolution": 1, "unet_half_res": True, "int_downsize": 4})
    config = avx.VoxelMorph.from_voxelmorph(old).get_config()
    assert (config["flow_stride"], config["integration_stride"]) == (2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_probs": True}, "has use_probs, which"),
        ({"inshape": [8, 8]}, "dimensions other than three"),
        ({"class_name": "VxmAffine"}, "expected a VxmDense .* found VxmAffine"),
    ],
)
def test_foreign_parts_are_named(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        avx.VoxelMorph.from_voxelmorph(edited(tmp_path, changes))


def test_unreadable_files_are_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        avx.VoxelMorph.from_voxelmorph(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("weights")
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        avx.VoxelMorph.from_voxelmorph(tmp_path / "text.h5")


def edited(folder, changes):
    """A copy of the file whose configuration says otherwise."""
    path = folder / "edited.h5"
    path.write_bytes((FOLDER / "vxm_dense_half.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        model["class_name"] = changes.pop("class_name", model["class_name"])
        model["config"] |= changes
        file.attrs["model_config"] = json.dumps(model)
    return path
