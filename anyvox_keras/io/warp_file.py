"""Displacement fields on disk as ITK, ANTs and SimpleITK read them."""

import os

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io.load import open_image, read_affine
from anyvox_keras.io.output import atomic, check_output

#: NIfTI's world is RAS, ITK's is LPS
TO_LPS = np.array([-1.0, -1.0, 1.0])


def save_warp(
    path: str | os.PathLike[str],
    displacement: np.ndarray,
    fixed_grid: Grid,
    moving_grid: Grid | None = None,
    overwrite: bool = False,
) -> None:
    """Write a displacement in voxels as an ITK displacement field.

    The file is a 5D NIfTI `(X, Y, Z, 1, 3)` with intent *vector*; a vector is millimetres in LPS
    and leads from a fixed physical point to the moving physical point.

    Args:
        path: ends in `.nii` or `.nii.gz`.
        displacement: `(D, H, W, 3)` on the fixed grid; `x + u(x)` is a voxel of `moving_grid`.
        fixed_grid: where the field lives.
        moving_grid: what the target is counted in; the default is the fixed grid's voxels, as in
            `Registration.displacement`.
        overwrite: replace an existing file.

    Raises:
        UserError: wrong ending, existing file, folder that cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/warp.nii.gz"
        >>> save_warp(path, np.zeros((4, 4, 4, 3)), Grid((4, 4, 4), np.eye(4)))
        >>> load_warp(path).grid.shape
        (4, 4, 4)
        ```
    """
    if not str(path).endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: expected a name ending in .nii or .nii.gz")
    path = check_output(path, overwrite)
    warp = Warp.from_voxels(displacement, fixed_grid, moving_grid)
    vectors = (warp.vectors * TO_LPS).astype("float32")[:, :, :, None, :]
    image = nib.Nifti1Image(vectors, fixed_grid.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    # both forms, the same: ITK and nibabel prefer different ones
    image.set_sform(fixed_grid.affine, code="scanner")
    image.set_qform(fixed_grid.affine, code="scanner", strip_shears=True)
    with atomic(path) as temporary:
        nib.save(image, temporary)


def load_warp(source: str | os.PathLike[str]) -> Warp:
    """Read an ITK displacement field, ours or another program's.

    Raises:
        UserError: missing, unreadable, not `(X, Y, Z, 1, 3)`, not finite.
    """
    image, name = open_image(source, "warp")
    shape = tuple(image.shape)
    if len(shape) != 5 or shape[3:] != (1, 3):
        raise UserError(f"{name}: expected a warp of shape (X, Y, Z, 1, 3), received {shape}")
    affine = read_affine(image, name)
    try:
        vectors = np.asarray(image.dataobj, "float64")[:, :, :, 0, :] * TO_LPS
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{name}: expected a warp, received a file cut short") from error
    if not np.isfinite(vectors).all():
        raise UserError(f"{name}: expected finite displacements, received NaN or infinity")
    return Warp(vectors, Grid(shape[:3], affine))
