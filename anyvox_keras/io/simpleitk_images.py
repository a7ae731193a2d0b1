"""Images that SimpleITK reads and writes: NRRD, MetaImage, DICOM series."""

import locale
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError, one_line
from anyvox_keras.extras import load_extra

#: read, in upper or lower case; what holds header and values in one file is written as well
READ = (".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")
WRITTEN = (".nrrd", ".mha")
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
# DICOM's names of where a slice lies, and how its rows and columns run
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
# of the distance between slices: what may lie that far from an even, straight stack
_UNEVEN = 0.05


def read_image(path: Path, what: str = "image") -> Any:
    """Read a file, or the DICOM series of a folder, as a nibabel image.

    Args:
        path: A file of `READ`, or a folder that holds one DICOM series.
        what: What to call it in messages.

    Returns:
        A `nibabel.Nifti1Image` that lies where SimpleITK says.

    Raises:
        UserError: SimpleITK is not installed; a file that cannot be read; a folder of no series, of
            several, or of one that is no even, straight stack.
    """
    sitk = load_extra("SimpleITK", f"{path}")
    # GDCM leaves the process in the C locale, where Python's files are ASCII
    kept = locale.setlocale(locale.LC_CTYPE)
    try:
        files = _series(sitk, path, what) if path.is_dir() else str(path)
        return from_simpleitk(sitk.ReadImage(files), str(path), what)
    except RuntimeError as error:
        reason = one_line(error)[-160:]
        message = f"{path}: expected {what}, received what cannot be read ({reason})"
        raise UserError(message) from error
    finally:
        locale.setlocale(locale.LC_CTYPE, kept)


def from_simpleitk(image: Any, name: str, what: str = "image") -> Any:
    """Turn a SimpleITK image into a nibabel image of the same place.

    Args:
        image: The SimpleITK image.
        name: What to call it in messages.
        what: What it should be.

    Raises:
        UserError: Several values a voxel, such as colours; fewer than three axes.
    """
    count = image.GetNumberOfComponentsPerPixel()
    if count > 1:
        colours = " (colours?)" if count in (3, 4) else ""
        raise UserError(f"{name}: expected one value per voxel, received {count}{colours}")
    if image.GetDimension() < 3:
        size = image.GetSize()
        raise UserError(f"{name}: expected a 3D {what}, received one slice of shape {size}")
    sitk = load_extra("SimpleITK", name)
    dimension = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    array = sitk.GetArrayFromImage(image).T
    return nib.Nifti1Image(array, _FLIP @ affine, dtype=array.dtype)


def is_simpleitk(source: Any) -> bool:
    """Say whether something is a SimpleITK image, without loading SimpleITK."""
    return type(source).__module__.split(".")[0] == "SimpleITK"


def write_image(path: str | os.PathLike[str], array: np.ndarray, affine: np.ndarray) -> None:
    """Write an array as SimpleITK does, the format by the ending.

    Args:
        path: Ends in one of `WRITTEN`.
        array: `(D, H, W)`, or `(D, H, W, C)` with C values a voxel.
        affine: `(4, 4)`, voxel to world, mm, RAS.
    """
    sitk = load_extra("SimpleITK", f"{path}")
    vector = array.ndim == 4
    axes = (2, 1, 0, 3) if vector else (2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(axes)), isVector=vector)
    lps = _FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def _series(sitk: Any, folder: Path, what: str) -> Sequence[str]:
    """The files of a folder's one series, in the order of their place."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ours is the one line that is said
    known = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    if not known:
        raise UserError(f"{folder}: expected {what}, received a folder without a DICOM series")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames
    series = {one: names(str(folder), one) for one in known}
    if len(series) > 1:
        held = "; ".join(f"{_said(sitk, f[0])}, {len(f)} files" for f in series.values())
        raise UserError(f"{folder}: expected one DICOM series, received {len(series)}: {held}")
    files: Sequence[str] = series[known[0]]
    if len(files) > 1:
        _require_stack(sitk, files, folder)
    return files


def _header(sitk: Any, file: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.LoadPrivateTagsOff()
    reader.ReadImageInformation()
    return reader


def _said(sitk: Any, file: str) -> str:
    """What a series calls itself."""
    header = _header(sitk, file)
    said = header.GetMetaData("0008|103e").strip() if header.HasMetaDataKey("0008|103e") else ""
    return said or "no description"


def _require_stack(sitk: Any, files: Sequence[str], folder: Path) -> None:
    """Refuse slices that ITK would stack evenly and straight though they are not."""
    headers = [_header(sitk, file) for file in files]
    if not all(h.HasMetaDataKey(_POSITION) and h.HasMetaDataKey(_ORIENTATION) for h in headers):
        return  # secondary captures say nothing of where they lie
    places = np.array([h.GetMetaData(_POSITION).split("\\") for h in headers], "float64")
    rows = np.array(headers[0].GetMetaData(_ORIENTATION).split("\\"), "float64").reshape(2, 3)
    normal = np.cross(*rows)
    along = (places - places[0]) @ normal
    steps = np.diff(along)
    step = float(steps[np.abs(steps).argmin()])
    if not step:
        raise UserError(f"{folder}: expected slices at different places, received several at one")
    if (wrong := np.abs(steps / step - 1) > _UNEVEN).any():
        k = int(np.argmax(wrong))
        raise UserError(
            f"{folder}: expected slices {abs(step):g} mm apart, received {abs(steps[k]):g} mm "
            f"between {Path(files[k]).name} and {Path(files[k + 1]).name}: is one missing?"
        )
    aside = np.linalg.norm(places - places[0] - along[:, None] * normal, axis=1).max()
    if aside > _UNEVEN * abs(step) * len(files):
        raise UserError(
            f"{folder}: expected slices straight above each other, received a tilted gantry "
            f"({aside:.3g} mm aside at the end); straighten the series first"
        )
