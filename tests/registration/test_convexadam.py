import nibabel as nib
import numpy as np
import pytest
import torch
from convexAdam.convex_adam_MIND import convex_adam_pt

from anyvox_keras.registration import register


@pytest.fixture(scope="module")
def spine(data):
    folder = data / "data" / "registration" / "spine_ct_mr"
    return [
        np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj).astype("float32")
        for name in ("fixed", "moving")
    ]


def test_displacement_equals_convexadam_on_a_real_pair(spine):
    settings = {"lambda_weight": 0.75, "grid_sp": 2, "disp_hw": 1, "dtype": torch.float32}
    theirs = convex_adam_pt(*spine, **settings, device=torch.device("cpu"))
    ours = register(*spine, preset="convexadam").displacement
    assert np.abs(ours - theirs).mean() < 0.05
    assert np.abs(theirs).mean() > 1
