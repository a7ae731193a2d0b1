"""Write an image."""

import os

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError, real_numbers
from anyvox_keras.geometry import Grid, Volume
from anyvox_keras.io.form_codes import FORMS, require_no_shear
from anyvox_keras.io.output import atomic, check_output
from anyvox_keras.io.simpleitk_images import WRITTEN, write_image


def save_volume(
    path: str | os.PathLike[str],
    array: np.ndarray,
    like: Volume | Grid,
    overwrite: bool = False,
) -> None:
    """Write an array on the grid of `like`, with its affine and form codes.

    Floats are written as float32, integers and masks in the smallest of uint8, uint16 and int32.
    The file appears whole or not at all.

    Args:
        path: ends in `.nii` or `.nii.gz`, or, with SimpleITK, in `.nrrd` or `.mha`.
        array: `(D, H, W)`, or `(D, H, W, C)` for features.
        like: the image (or its grid) that the array is aligned with.
        overwrite: replace an existing file.

    Raises:
        UserError: wrong ending, existing file, folder that cannot be written.
        ValueError: the array is not on the grid, not real, or holds values that int32 or float32
            cannot.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/zeros.nii.gz"
        >>> save_volume(path, np.zeros((4, 4, 4)), Grid((4, 4, 4), np.eye(4)))
        ```
    """
    array = real_numbers("array", array)
    if array.ndim not in (3, 4) or array.shape[:3] != like.shape:
        raise ValueError(f"`array` must be {like.shape} or with channels. Received: {array.shape}")
    if not str(path).endswith((".nii", ".nii.gz", *WRITTEN)):
        raise UserError(
            f"{path}: expected a name ending in .nii or .nii.gz, or one of {', '.join(WRITTEN)}"
        )
    require_no_shear(like.grid.affine if isinstance(like, Volume) else like.affine, str(path))
    path = check_output(path, overwrite)
    array = array.astype(_stored_type(array))
    if str(path).endswith(WRITTEN):
        with atomic(path) as temporary:
            write_image(temporary, array, like.affine)
        return
    image = nib.Nifti1Image(array, like.affine, _header(like))
    # the copied header still asks for the old image's type, which would round
    image.set_data_dtype(array.dtype)
    with atomic(path) as temporary:
        nib.save(image, temporary)


def _stored_type(array: np.ndarray) -> str:
    """The type that holds every value; what none does is refused, not wrapped around."""
    if array.dtype.kind == "f":
        beyond = np.isfinite(array) & (np.abs(array) > np.finfo("float32").max)
        if beyond.any():
            raise ValueError(f"`array` must fit float32. Received: {array[beyond][0]:g}")
        return "float32"
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    limits = np.iinfo("int32")
    if low < limits.min or high > limits.max:
        raise ValueError(f"`array` must fit int32. Received: values of {low} to {high}")
    if low < 0 or high > 65535:
        return "int32"
    return "uint8" if high < 256 else "uint16"


def _header(like: Volume | Grid) -> nib.Nifti1Header:
    """Keep the form codes; both forms say the grid's place, in mm; drop what the old values had."""
    header = like.header.copy() if isinstance(like, Volume) and like.header else None
    codes = {form: 0 if header is None else int(header[f"{form}_code"]) for form in FORMS}
    header = header or nib.Nifti1Header()
    # the grid is in mm, whatever the file was in; the unit of time stays
    header["xyzt_units"] = (int(header["xyzt_units"]) & ~7) | 2
    header.set_sform(like.affine, code=codes["sform"] or 1)
    header.set_qform(like.affine, code=codes["qform"] or 1)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("none")
    return header
