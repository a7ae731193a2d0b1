"""Small images on disk, good and bad."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


def blob(shape, centre, width=4.0):
    """A bright ball on a noisy ground."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance = np.linalg.norm(grid - np.asarray(centre), axis=-1)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 1)
    return (100 * (distance < width) + 20 * noise).astype("float32")


def write(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def images(tmp_path):
    """`name -> path`: a fixed and a moving image with labels, and every kind of bad file."""
    folder = tmp_path / "in"
    folder.mkdir()
    fixed, moving = blob((20, 18, 16), (10, 9, 8)), blob((18, 20, 16), (8, 11, 8))
    shifted = AFFINE.copy()
    shifted[:3, 3] = 2, -2, 1
    spoilt = fixed.copy()
    spoilt[2, 3, 4] = np.nan
    (folder / "text.nii.gz").write_text("no image")
    arrays = {
        "fixed": fixed,
        "spoilt": spoilt,
        "fixed_seg": (fixed > 60).astype("uint8") * 3,
        "mask": np.ones(fixed.shape, "uint8"),
        "small_mask": np.ones((5, 5, 5), "uint8"),
        "empty_mask": np.zeros(fixed.shape, "uint8"),
        "flat": fixed[0],
        "series": np.stack([fixed, fixed], -1),
        "constant": np.full(fixed.shape, 3.0, "float32"),
        "nothing": np.full(fixed.shape, np.nan, "float32"),
    }
    paths = {name: write(folder / f"{name}.nii.gz", array) for name, array in arrays.items()}
    paths["moving"] = write(folder / "moving.nii.gz", moving, shifted)
    paths["moving_seg"] = write(
        folder / "moving_seg.nii.gz", (moving > 60).astype("uint8") * 3, shifted
    )
    return paths | {"text": folder / "text.nii.gz", "missing": folder / "missing.nii.gz"}
