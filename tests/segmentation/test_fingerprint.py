"""What a training takes from its scans: crops, poolings, intensities."""

import nibabel as nib
import numpy as np
import pytest
from segmentation.made_data import write

from anyvox_keras.segmentation import CaseFiles, Scaling
from anyvox_keras.segmentation.fingerprint import Fingerprint, read_fingerprint


@pytest.mark.parametrize(
    ("spacing", "shape", "side", "crop"),
    [
        ((1, 1, 1), (200, 200, 200), 48, (48, 48, 48)),
        ((1, 1, 1), (36, 50, 35), 48, (32, 48, 32)),
        ((1.56, 1.56, 10), (110, 109, 9), 48, (112, 112, 8)),
        ((5, 0.8, 0.8), (20, 256, 256), 64, (20, 112, 112)),
        ((1, 1, 1.5), (14, 12, 13), 12, (12, 12, 12)),
    ],
)
def test_crops_are_cubes_but_for_thick_slices_and_small_scans(spacing, shape, side, crop):
    found = Fingerprint(spacing, True, shape, None).crop(side, levels=4 if side > 12 else 1)
    assert found == crop


@pytest.fixture
def cases(tmp_path, rng):
    """Two CTs of other voxel sizes, their labels at HU of 30 to 70."""
    found = []
    for name, mm in (("a", 1.0), ("b", 2.0)):
        image = rng.uniform(-1000, 900, (20, 18, 16)).astype("float32")
        labels = np.zeros(image.shape, "uint8")
        labels[4:12, 4:12, 4:12] = 1
        image[labels > 0] = rng.uniform(30, 70, (labels > 0).sum())
        affine = np.diag([mm, mm, 4.0, 1])
        files = [write(tmp_path / f"{name}_{k}.nii.gz", x, affine) for k, x in
                 (("image", image), ("labels", labels))]  # fmt: skip
        found.append(CaseFiles(name, *files))
    return found


def test_a_ct_gives_the_window_of_its_labels(cases):
    facts = read_fingerprint(cases)
    assert facts.spacing == (1.5, 1.5, 4.0)
    assert not facts.alike
    assert facts.shape == (20, 18, 16)
    low, high = facts.window
    assert 29 <= low <= 33
    assert 67 <= high <= 71
    assert read_fingerprint(cases[:1]).alike
    image = nib.load(cases[0].image)
    nib.save(nib.Nifti1Image(np.abs(image.get_fdata()), image.affine), cases[0].image)
    assert read_fingerprint(cases).window is None


def test_scalings_cut_off_tails(rng):
    image = rng.normal(size=(30, 30, 30))
    image[0, 0, 0] = 1e4
    unit = Scaling()(image)
    low, high = np.percentile(image, (0.5, 99.5))
    np.testing.assert_allclose(unit, np.clip((image - low) / (high - low), 0, 1), atol=1e-6)
    windowed = Scaling(window=(-1.0, 3.0))(image)
    np.testing.assert_allclose(windowed, np.clip((image + 1) / 4, 0, 1), atol=1e-6)
    mask = (image > 3).astype("float32")
    np.testing.assert_array_equal(Scaling()(mask), mask)
