"""ITK's HDF5 files of transforms, one or a composite of several."""

import os
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from anyvox_keras.geometry.chain import Chain, Part
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io.output import atomic_hdf5, check_output
from anyvox_keras.io.points import TO_LPS
from anyvox_keras.io.transforms import linear_matrix

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_COMPOSITE = "CompositeTransform_double_3_3"
_FIELD = "DisplacementFieldTransform"
# deflate packs no more than this many bytes into one
_DEFLATED = 1032


def read_hdf5(path: Any) -> Iterator[Part]:
    """Read an ITK HDF5 file; of a composite, the last part acts first."""
    with h5py.File(path) as file:
        groups = file["TransformGroup"]
        for number in sorted(groups, key=int, reverse=True):
            group = groups[number]
            kind = _text(group["TransformType"])
            if kind.startswith("CompositeTransform"):
                continue
            # ITK once wrote the names with a fault
            fixed, parameters = (
                _values(next(group[name] for name in group if name.endswith(end)))
                for end in ("FixedParameters", "mParameters")
            )
            is_field = kind.startswith(_FIELD)
            yield _field(parameters, fixed) if is_field else linear_part(kind, parameters, fixed)


def _values(stored: h5py.Dataset) -> np.ndarray:
    """The numbers of a data set, unless it claims more than the file can hold."""
    size = os.path.getsize(stored.file.filename) * (_DEFLATED if stored.chunks else 1)
    if stored.nbytes > size:
        raise ValueError(f"it claims {stored.nbytes / 1e6:.3g} MB, more than the file can hold")
    return np.asarray(stored, "float64")


def _text(stored: h5py.Dataset) -> str:
    """One text; its length stands in the file before it, and HDF5 would make room for any."""
    if (place := stored.id.get_offset()) is not None and stored.dtype == object:
        with open(stored.file.filename, "rb") as file:
            file.seek(place)
            length = int.from_bytes(file.read(4), "little")
        if length > os.path.getsize(stored.file.filename):
            raise ValueError(f"it claims a text of {length / 1e6:.3g} MB")
    text: str = stored[0].decode()
    return text


def linear_part(kind: str, parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return one of ITK's linear transforms as a matrix, mm, RAS; see `linear_matrix`."""
    lps = linear_matrix(kind.split("_")[0], np.asarray(parameters, "float64"), fixed)
    matrix: np.ndarray = _FLIP @ lps @ _FLIP
    return matrix


def linear_parameters(matrix: np.ndarray) -> np.ndarray:
    """Return the parameters of ITK's `AffineTransform`, about the origin, LPS."""
    lps = _FLIP @ matrix @ _FLIP
    return np.r_[lps[:3, :3].ravel(), lps[:3, 3]]


def _field(parameters: np.ndarray, fixed: np.ndarray) -> Warp:
    """A displacement field: its size, origin, spacing and direction are the fixed parameters."""
    size = tuple(int(n) for n in fixed[:3])
    affine = np.eye(4)
    affine[:3, :3] = fixed[9:18].reshape(3, 3) * fixed[6:9]
    affine[:3, 3] = fixed[3:6]
    vectors = parameters.reshape(*size[::-1], 3).transpose(2, 1, 0, 3) * TO_LPS
    return Warp(vectors, Grid(size, _FLIP @ affine))


def save_hdf5(path: str | os.PathLike[str], chain: Chain, overwrite: bool = False) -> None:
    """Write a chain as ITK's composite of affine transforms and displacement fields.

    Args:
        path: Ends in `.h5` or `.hdf5`.
        chain: Its first part acts first, which is the composite's last.
        overwrite: Replace an existing file.
    """
    with atomic_hdf5(check_output(path, overwrite)) as file:
        file["HDFVersion"] = file["ITKVersion"] = [b"0"]
        file["OSName"] = file["OSVersion"] = [b"unknown"]
        groups = file.create_group("TransformGroup")
        groups["0/TransformType"] = [_COMPOSITE.encode()]
        for number, part in enumerate(reversed(chain.parts), 1):
            kind, parameters, fixed = _parts_of(part)
            groups[f"{number}/TransformType"] = [kind.encode()]
            groups[f"{number}/TransformParameters"] = parameters
            groups[f"{number}/TransformFixedParameters"] = fixed


def _parts_of(part: Part) -> tuple[str, np.ndarray, np.ndarray]:
    """ITK's name, parameters and fixed parameters."""
    if not isinstance(part, Warp):
        return "AffineTransform_double_3_3", linear_parameters(part), np.zeros(3)
    lps = _FLIP @ part.grid.affine
    spacing = np.asarray(part.grid.spacing)
    fixed = [part.grid.shape, lps[:3, 3], spacing, (lps[:3, :3] / spacing).ravel()]
    parameters = (part.vectors * TO_LPS).transpose(2, 1, 0, 3).ravel()
    return f"{_FIELD}_double_3_3", parameters, np.concatenate(fixed)
