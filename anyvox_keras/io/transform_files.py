"""Transforms of any kind: ITK's text, MATLAB and HDF5 files, FreeSurfer's, displacement fields."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat, savemat

from anyvox_keras.errors import UserError, reading
from anyvox_keras.geometry.chain import Chain, Part
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io.output import atomic, check_output
from anyvox_keras.io.points import TO_LPS
from anyvox_keras.io.transforms import linear_matrix, load_affine, load_warp, save_affine, save_warp

LINEAR = (".tfm", ".txt", ".mat")
FIELDS = (".nii", ".nii.gz")
KNOWN = (*LINEAR, ".h5", ".hdf5", ".lta", *FIELDS)
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_FIELD = "DisplacementFieldTransform"


def load_transform(path: str | os.PathLike[str]) -> Chain:
    """Read a transform, which maps points of the fixed image to the moving one, as ITK's do.

    Args:
        path: ITK's `.tfm`, `.txt`, `.mat` (as ANTs writes them) or `.h5` (composite; linear parts
            and displacement fields), FreeSurfer's `.lta` (which maps moving to fixed points and is
            turned round), or a displacement field, `.nii` or `.nii.gz` (see `load_warp`).

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
    if name.endswith(FIELDS):
        return Chain((load_warp(path),))
    if name.endswith((".tfm", ".txt")):
        return Chain((load_affine(path),))
    read = {".mat": _of_matlab, ".lta": _of_freesurfer}.get(name[-4:], _of_hdf5)
    with reading(path, "a transform"):
        return Chain(tuple(read(path)))


def save_transform(
    path: str | os.PathLike[str],
    transform: Chain,
    grid: Grid | None = None,
    overwrite: bool = False,
) -> None:
    """Write a transform, the format by the ending.

    Args:
        path: `.tfm`, `.txt`, `.mat` for what is linear; `.nii`, `.nii.gz` for a field of anything.
        transform: What to write.
        grid: Of the field; the default is that of the transform's first part.
        overwrite: Replace an existing file.

    Raises:
        UserError: Another ending; a field for a linear ending; no grid; an existing file.
    """
    name = str(path).lower()
    if name.endswith(FIELDS):
        warp = transform.to_warp(grid)
        save_warp(path, warp.to_voxels(), warp.grid, overwrite=overwrite, beyond=warp.beyond)
        return
    if not name.endswith(LINEAR):
        raise UserError(f"{path}: expected a name ending in {', '.join((*LINEAR, *FIELDS))}")
    matrix = transform.matrix
    if matrix is None:
        raise UserError(f"{path}: expected a linear transform, received a field: write .nii.gz")
    if not name.endswith(".mat"):
        save_affine(path, matrix, overwrite)
        return
    lps = _FLIP @ matrix @ _FLIP
    content = {
        "AffineTransform_double_3_3": np.r_[lps[:3, :3].ravel(), lps[:3, 3]][:, None],
        "fixed": np.zeros((3, 1)),
    }
    with atomic(check_output(path, overwrite)) as temporary:
        savemat(temporary, content, format="4")


def _of_matlab(path: Any) -> Iterator[Part]:
    """ITK's MATLAB file: one variable of the transform's name, and `fixed`, its centre."""
    content = {k: np.ravel(v) for k, v in loadmat(path).items() if not k.startswith("__")}
    fixed = content.pop("fixed")
    (kind, parameters), *others = content.items()
    if others:
        raise ValueError(f"received several transforms: {', '.join(content)}")
    yield _linear(kind, parameters, fixed)


def _linear(kind: str, parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    lps = linear_matrix(kind.split("_")[0], np.asarray(parameters, "float64"), fixed)
    matrix: np.ndarray = _FLIP @ lps @ _FLIP
    return matrix


def _of_hdf5(path: Any) -> Iterator[Part]:
    """ITK's HDF5 file; of a composite, the last part acts first."""
    with h5py.File(path) as file:
        groups = file["TransformGroup"]
        for number in sorted(groups, key=int, reverse=True):
            group = groups[number]
            kind = group["TransformType"][0].decode()
            if kind.startswith("CompositeTransform"):
                continue
            # ITK once wrote the names with a fault
            fixed, parameters = (
                np.asarray(next(group[name] for name in group if name.endswith(end)), "float64")
                for end in ("FixedParameters", "mParameters")
            )
            is_field = kind.startswith(_FIELD)
            yield _field(parameters, fixed) if is_field else _linear(kind, parameters, fixed)


def _field(parameters: np.ndarray, fixed: np.ndarray) -> Warp:
    """A displacement field: its size, origin, spacing and direction are the fixed parameters."""
    size = tuple(int(n) for n in fixed[:3])
    affine = np.eye(4)
    affine[:3, :3] = fixed[9:18].reshape(3, 3) * fixed[6:9]
    affine[:3, 3] = fixed[3:6]
    vectors = parameters.reshape(*size[::-1], 3).transpose(2, 1, 0, 3) * TO_LPS
    return Warp(vectors, Grid(size, _FLIP @ affine))


def _of_freesurfer(path: Any) -> Iterator[np.ndarray]:
    """FreeSurfer's LTA: from voxels to voxels (type 0) or RAS to RAS (type 1), moving to fixed."""
    lines = [line.split("#")[0].strip() for line in Path(path).read_text().splitlines()]
    parted = (line.partition("=") for line in lines if "=" in line)
    fields = [(name.strip(), text.strip()) for name, _, text in parted]
    kind = int(dict(fields)["type"])
    start = lines.index("1 4 4") + 1
    matrix = np.array([line.split() for line in lines[start : start + 4]], "float64")
    if kind == 0:
        moving, fixed = (_lta_affine(fields, which) for which in (0, 1))
        matrix = fixed @ matrix @ np.linalg.inv(moving)
    elif kind != 1:
        raise ValueError(f"received type {kind}: expected 0 (voxels) or 1 (RAS)")
    yield np.linalg.inv(matrix)


def _lta_affine(fields: list[tuple[str, str]], which: int) -> np.ndarray:
    """Voxel to world matrix of the source (0) or the destination (1)."""
    said: dict[str, np.ndarray] = {}
    for name in ("volume", "voxelsize", "xras", "yras", "zras", "cras"):
        texts = [field[1] for field in fields if field[0] == name]
        said[name] = np.array(texts[which].split(), "float64")
    affine = np.eye(4)
    axes = np.stack([said["xras"], said["yras"], said["zras"]], 1)
    affine[:3, :3] = axes * said["voxelsize"]
    affine[:3, 3] = said["cras"] - affine[:3, :3] @ (said["volume"] / 2)
    return affine
