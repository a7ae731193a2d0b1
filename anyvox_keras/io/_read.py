"""What every reader of an image file checks first."""

import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras._errors import UserError

#: what nibabel, gzip and numpy raise on a file that is cut short or is something else
_BROKEN = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError,
           OSError, EOFError, zlib.error, ValueError, OverflowError)  # fmt: skip


def open_image(source: Any, what: str = "image") -> tuple[Any, str]:
    """Return the nibabel image that `source` is or names, and its name for messages."""
    if isinstance(source, nib.spatialimages.SpatialImage):
        return source, str(source.get_filename() or what)
    if not isinstance(source, str | os.PathLike):
        raise UserError(f"{what}: expected a path or a nibabel image, received {type(source)}")
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path}: expected a NIfTI {what}, received a path that does not exist")
    if path.is_dir():
        raise UserError(f"{path}: expected a NIfTI {what}, received a folder")
    try:
        image = nib.load(path)
    except _BROKEN as error:
        raise UserError(_broken(path, what, error)) from error
    if not isinstance(image, nib.spatialimages.SpatialImage):
        raise UserError(f"{path}: expected a NIfTI {what}, received {type(image).__name__}")
    return image, str(path)


def read_array(image: Any, name: str, what: str = "image") -> np.ndarray:
    """Return the values of a 3D image; trailing axes of one are dropped."""
    shape = tuple(image.shape)
    spatial, rest = shape[:3], shape[3:]
    if len(spatial) < 3 or min(spatial) < 2:
        raise UserError(f"{name}: expected a 3D {what}, received a 2D one of shape {shape}")
    if any(n != 1 for n in rest):
        raise UserError(f"{name}: expected a 3D {what} of one volume, received shape {shape}")
    if image.get_data_dtype().fields is not None or image.get_data_dtype().kind == "c":
        raise UserError(f"{name}: expected one number a voxel, received {image.get_data_dtype()}")
    try:
        return np.asanyarray(image.dataobj).reshape(spatial)
    except _BROKEN as error:
        raise UserError(_broken(name, what, error)) from error


def read_affine(image: Any, name: str) -> np.ndarray:
    """Return the voxel to world matrix; a useless one is the user's mistake."""
    affine = np.asarray(image.affine, "float64") if image.affine is not None else np.eye(4)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        rows = affine[:3].tolist()
        raise UserError(f"{name}: expected an invertible affine in the header, received {rows}")
    return affine


def copy_header(image: Any) -> nib.Nifti1Header:
    """Return a single-file NIfTI-1 header with the image's units and form codes."""
    if type(image.header) is nib.Nifti1Header:
        return image.header.copy()
    return nib.Nifti1Header.from_header(image.header)


def _broken(name: Any, what: str, error: BaseException) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{name}: expected a NIfTI {what}, received a file that cannot be read ({reason})"
