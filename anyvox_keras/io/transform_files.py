"""Transforms of any kind: ITK's, FreeSurfer's, FSL's, VoxelMorph's, Learn2Reg's, fields."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.io import loadmat, savemat

from anyvox_keras.errors import UserError, reading
from anyvox_keras.geometry.chain import Chain, Part
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io import freesurfer_fsl, itk_hdf5
from anyvox_keras.io.image_files import open_image, read_values
from anyvox_keras.io.output import atomic, check_output
from anyvox_keras.io.transforms import load_affine, load_warp, save_affine, save_warp

LINEAR = (".tfm", ".txt", ".mat", ".lta")
HDF5 = (".h5", ".hdf5")
FIELDS = (".nii", ".nii.gz")
KNOWN = (*LINEAR, *HDF5, ".npz", *FIELDS)


def load_transform(
    path: str | os.PathLike[str], fixed: Grid | None = None, moving: Grid | None = None
) -> Chain:
    """Read a transform, which maps points of the fixed image to the moving one, as ITK's do.

    Args:
        path: ITK's `.tfm`, `.txt`, `.mat` (as ANTs writes them) or `.h5` (composite; linear parts
            and displacement fields); FreeSurfer's `.lta` and FSL's `.mat` (which map moving to
            fixed points and are turned round); a displacement field, `.nii` or `.nii.gz` (see
            `load_warp`); a field in voxels, `.npz` or `(D, H, W, 3)` NIfTI (see `read_npz`).
        fixed: Grid of the fixed image, for FSL and for fields in voxels, whose files don't know it.
        moving: Grid of the moving image, likewise.

    Raises:
        UserError: A file of another kind, or one that cannot be read.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/affine.tfm"
        >>> save_affine(path, np.eye(4))
        >>> load_transform(path).points(np.ones((1, 3)))
        array([[1., 1., 1.]])
        ```
    """
    name = str(path).lower()
    if not name.endswith(KNOWN):
        raise UserError(f"{path}: expected a transform ({', '.join(KNOWN)})")
    if not Path(path).exists():
        raise UserError(f"{path}: expected a transform, found no such file")
    if name.endswith((".tfm", ".txt")):
        return Chain((load_affine(path),))
    if name.endswith(FIELDS):
        return Chain((_of_nifti(path, fixed, moving),))
    with reading(path, "a transform"):
        return Chain(tuple(_parts(path, name, fixed, moving)))


def _parts(path: Any, name: str, fixed: Grid | None, moving: Grid | None) -> Iterable[Part]:
    if name.endswith(".lta"):
        return freesurfer_fsl.read_lta(path)
    if name.endswith(".npz"):
        return [read_npz(path, fixed, moving)]
    if name.endswith(HDF5):
        return itk_hdf5.read_hdf5(path)
    if freesurfer_fsl.is_text(path):
        return freesurfer_fsl.read_flirt(path, fixed, moving)
    return _of_matlab(path)


def _of_nifti(path: Any, fixed: Grid | None, moving: Grid | None) -> Part:
    """A field in millimetres; one of four axes, which no program writes so, is in voxels."""
    image, name = open_image(path, "warp")
    if fixed is None or len(image.shape) != 4:
        return load_warp(path)
    return in_voxels(read_values(image, name, "warp"), name, fixed, moving)


def save_transform(
    path: str | os.PathLike[str],
    transform: Chain,
    grid: Grid | None = None,
    overwrite: bool = False,
    fixed: Grid | None = None,
    moving: Grid | None = None,
) -> None:
    """Write a transform, the format by the ending.

    Args:
        path: `.tfm`, `.txt`, `.mat`, `.lta` for what is linear; `.h5` for anything; `.nii`,
            `.nii.gz` and, in voxels, `.npz` for a field of anything.
        transform: What to write.
        grid: Of the field; the default is `fixed`, or that of the transform's first part.
        overwrite: Replace an existing file.
        fixed: Grid of the fixed image. With both, `.mat` is FSL's, not ITK's; `.lta` needs both.
        moving: Grid of the moving image.

    Raises:
        UserError: Another ending; a field for a linear ending; no grid; an existing file.
    """
    name = str(path).lower()
    if name.endswith(FIELDS):
        warp = transform.to_warp(grid or fixed)
        save_warp(path, warp.to_voxels(), warp.grid, overwrite=overwrite, beyond=warp.beyond)
    elif name.endswith(".npz"):
        save_npz(path, transform.to_warp(grid or fixed), moving, overwrite)
    elif name.endswith(HDF5):
        itk_hdf5.save_hdf5(path, transform, overwrite)
    elif name.endswith(LINEAR):
        _save_linear(path, transform.matrix, overwrite, fixed, moving)
    else:
        raise UserError(f"{path}: expected a name ending in {', '.join(KNOWN)}")


def _save_linear(
    path: str | os.PathLike[str], matrix: np.ndarray | None, overwrite: bool,
    fixed: Grid | None, moving: Grid | None,
) -> None:  # fmt: skip
    name = str(path).lower()
    if matrix is None:
        raise UserError(
            f"{path}: expected a linear transform, received a field: write .nii.gz or .h5"
        )
    if name.endswith((".tfm", ".txt")):
        save_affine(path, matrix, overwrite)
    elif fixed is not None and moving is not None:
        lta = name.endswith(".lta")
        text = (freesurfer_fsl.lta_text if lta else freesurfer_fsl.flirt_text)(
            matrix, fixed, moving
        )
        with atomic(check_output(path, overwrite)) as temporary:
            temporary.write_text(text, encoding="ascii")
    elif name.endswith(".lta"):
        raise UserError(f"{path}: FreeSurfer's file holds both images' geometry: give both")
    else:
        parameters = itk_hdf5.linear_parameters(matrix)[:, None]
        content = {"AffineTransform_double_3_3": parameters, "fixed": np.zeros((3, 1))}
        with atomic(check_output(path, overwrite)) as temporary:
            savemat(temporary, content, format="4")


def _of_matlab(path: Any) -> Iterator[Part]:
    """ITK's MATLAB file: one variable of the transform's name, and `fixed`, its centre."""
    content = {k: np.ravel(v) for k, v in loadmat(path).items() if not k.startswith("__")}
    fixed = content.pop("fixed")
    (kind, parameters), *others = content.items()
    if others:
        raise ValueError(f"received several transforms: {', '.join(content)}")
    yield itk_hdf5.linear_part(kind, parameters, fixed)


def read_npz(path: Any, fixed: Grid | None, moving: Grid | None) -> Warp:
    """Read the one array of a `.npz` as a field of the fixed image's voxels.

    Args:
        path: `(D, H, W, 3)` as VoxelMorph keeps it; `(3, D, H, W)`, or half of each side, as
            Learn2Reg does.
        fixed: The fixed image's grid.
        moving: The grid whose voxels the targets are; by default the fixed image's.

    Raises:
        UserError: No grid; another shape.
    """
    with np.load(path) as arrays:
        if len(arrays.files) != 1:
            raise ValueError(f"received several arrays: {', '.join(arrays.files)}")
        return in_voxels(arrays[arrays.files[0]], Path(path).name, fixed, moving)


def in_voxels(raw: np.ndarray, name: str, fixed: Grid | None, moving: Grid | None) -> Warp:
    """Take an array for a field of the fixed image's voxels; see `read_npz`."""
    if fixed is None:
        raise UserError(f"{name}: displacements in voxels need the fixed image: --fixed")
    half = tuple(n // 2 for n in fixed.shape)
    if raw.shape in ((3, *fixed.shape), (3, *half)):
        raw = np.moveaxis(raw, 0, -1)
    if raw.shape == (*half, 3):
        # Learn2Reg's evaluation enlarges each component by itself; values count whole voxels
        zoom = np.divide(fixed.shape, half)
        raw = np.stack([ndimage.zoom(x.astype("float32"), zoom, order=2) for x in
                        np.moveaxis(raw, -1, 0)], -1)  # fmt: skip
    if raw.shape != (*fixed.shape, 3):
        expected = f"{(*fixed.shape, 3)}, {(3, *fixed.shape)} or {(3, *half)}"
        raise UserError(f"{name}: expected a field of shape {expected}, received {raw.shape}")
    if not np.isfinite(raw).all():
        raise UserError(f"{name}: expected finite displacements, received NaN or infinity")
    return Warp.from_voxels(raw, fixed, moving)


def save_npz(path: Any, warp: Warp, moving: Grid | None, overwrite: bool = False) -> None:
    """Write `(D, H, W, 3)` float32 in voxels, as VoxelMorph keeps it."""
    with atomic(check_output(path, overwrite)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, warp.to_voxels(moving))
