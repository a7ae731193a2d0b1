"""Image files: which there are, and what nibabel or SimpleITK finds in one."""

import logging
import math
import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError, one_line
from anyvox_keras.io.gzip_check import require_whole_gzip
from anyvox_keras.io.simpleitk_images import READ, from_simpleitk, is_simpleitk, read_image

#: what nibabel, gzip and numpy raise on a file that is cut short or is something else
_BROKEN = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError,
           OSError, EOFError, zlib.error, ValueError, OverflowError)  # fmt: skip
# gzip cannot pack more than this into a byte
_GZIP = 1032
#: in upper or lower case
ENDINGS = (".nii", ".nii.gz", ".mgh", ".mgz", ".nrrd", ".nhdr", ".mha", ".mhd")
# of a DICOM file: where, and what
_DICOM_MARK = (128, b"DICM")
# images that a folder may hold and that are not read from there
_OTHERS = (".mnc", ".hdr", ".dcm", ".nii.bz2", ".nii.zst")


def open_image(source: Any, what: str = "image") -> tuple[Any, str]:
    """Return the nibabel image that `source` is or names, and its name for messages."""
    if isinstance(source, nib.spatialimages.SpatialImage):
        return source, str(source.get_filename() or what)
    if is_simpleitk(source):
        return from_simpleitk(source, what, what), what
    if not isinstance(source, str | os.PathLike):
        raise UserError(f"{what}: expected a path or a nibabel image, received {type(source)}")
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path}: expected a NIfTI {what}, received a path that does not exist")
    if path.is_dir() or path.name.lower().endswith(READ):
        return read_image(path, what), str(path)
    try:
        image = _loaded(path)
    # readers of a dozen formats, which raise whatever junk makes them raise
    except Exception as error:
        raise UserError(_broken(path, what, error)) from error
    if not isinstance(image, nib.spatialimages.SpatialImage):
        raise UserError(f"{path}: expected a NIfTI {what}, received {type(image).__name__}")
    return image, str(path)


def _loaded(path: Path) -> Any:
    """Load by nibabel, and say once what it says of a header that it mends."""
    logger, said = logging.getLogger("nibabel.global"), _Said()
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate, logger.level = [said], False, logging.WARNING
    try:
        image = nib.load(path)
    finally:
        logger.handlers, logger.propagate, logger.level = before
    kept = _keep_forms(image) if any("form_code" in x for x in said.messages) else {}
    messages = [kept.get(message.split()[0], message) for message in said.messages]
    if messages:
        warnings.warn(f"{path}: {'; '.join(dict.fromkeys(messages))}", stacklevel=3)
    return image


def _keep_forms(image: Any) -> dict[str, str]:
    """Give back the forms that nibabel drops as it does not know their code, and say so by code."""
    files = image.file_map
    with files["header" if "header" in files else "image"].get_prepare_fileobj("rb") as file:
        stored = type(image.header).from_fileobj(file, check=False)
    kept = {}
    for form in ("qform", "sform"):
        code = int(stored[f"{form}_code"])
        if code > 0 and int(image.header[f"{form}_code"]) == 0:
            # "aligned": unlike "scanner" it does not come before the other form, in ITK too
            getattr(image, f"set_{form}")(getattr(stored, f"get_{form}")(), "aligned")
            kept[f"{form}_code"] = f"{form}_code {code} is not NIfTI's; the form counts, as in ITK"
    return kept


class _Said(logging.Handler):
    """Keep messages; what only another program could not read is none of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "should be positive" in message:
            message += "; ITK mirrors such an axis"
        if "SPM" not in message:
            self.messages.append(message)


def read_array(image: Any, name: str, what: str = "image") -> np.ndarray:
    """Return the values of a 3D image; trailing axes of one are dropped."""
    shape = tuple(image.shape)
    if any(n != 1 for n in shape[3:]):
        received = f"{len(shape)}D of shape {shape}"
        raise UserError(f"{name}: expected a 3D {what} of one volume, received {received}")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise UserError(f"{name}: expected a 3D {what}, received one slice of shape {shape}")
    return read_values(image, name, what).reshape(shape[:3])


def read_values(image: Any, name: str, what: str) -> np.ndarray:
    """Return the values as stored, scaled by slope and intercept; any number of axes."""
    try:
        kind = image.get_data_dtype()
        if kind.fields is not None or kind.kind not in "iufb":
            raise UserError(f"{name}: expected one real number per voxel, received {kind}")
        path = _path_of_values(image)
        if path is not None:
            claimed = math.prod(int(n) for n in image.shape) * kind.itemsize
            _require_bytes(path, claimed, name, what)
            require_whole_gzip(path, most=2 * claimed + 2**24)
        return np.asanyarray(image.dataobj)
    except UserError:
        raise
    except (*_BROKEN, MemoryError) as error:
        raise UserError(_broken(name, what, error)) from error


def _require_bytes(path: Any, claimed: int, name: str, what: str) -> None:
    """Refuse a header that claims more bytes than the file can hold, before room is made."""
    packed = {".gz": _GZIP, ".mgz": _GZIP}.get(Path(path).suffix.lower())
    plain = Path(path).suffix.lower() in (".nii", ".img", ".mgh")
    size = os.path.getsize(path)
    if claimed > size * (packed or (1 if plain else math.inf)):
        reason = f"its header claims {claimed / 1e6:.3g} MB, it holds {size / 1e6:.2g} MB"
        raise UserError(_broken(name, what, ValueError(reason)))


def _path_of_values(image: Any) -> Any:
    """The file whose voxels are still to be read, if there is one."""
    holder = image.file_map.get("image") if getattr(image, "file_map", None) else None
    return holder.filename if holder is not None and nib.is_proxy(image.dataobj) else None


def copy_header(image: Any) -> nib.Nifti1Header:
    """Return a single-file NIfTI-1 header with the image's units and form codes."""
    if type(image.header) is nib.Nifti1Header:
        return image.header.copy()
    try:
        return nib.Nifti1Header.from_header(image.header)
    except nib.spatialimages.HeaderDataError as error:  # spacings of zero or below
        raise UserError(_broken(image.get_filename(), "image", error)) from error


def _broken(name: Any, what: str, error: BaseException) -> str:
    reason = one_line(error) or type(error).__name__
    return f"{name}: expected a NIfTI {what}, received a file that cannot be read ({reason})"


def list_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the images that are named, and those of each folder named, sorted.

    The folder of a DICOM series is one image.

    A warning names the images of other formats that a folder holds.

    Raises:
        UserError: A path that does not exist, or no image at all.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        found += _of_folder(path) if path.is_dir() and not is_series(path) else [path]
    found = [path for path in found if path.is_dir() or path.name.lower().endswith(ENDINGS)]
    if not found:
        named = ", ".join(str(path) for path in paths)
        raise UserError(f"{named}: expected NIfTI images, received none")
    return found


def is_series(folder: Path) -> bool:
    """Whether a folder holds a DICOM series, by the mark in its first file, and no other images."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    if not files or any(path.name.lower().endswith(ENDINGS) for path in files):
        return False
    with files[0].open("rb") as file:
        return file.read(_DICOM_MARK[0] + 4)[_DICOM_MARK[0] :] == _DICOM_MARK[1]


def _of_folder(folder: Path) -> list[Path]:
    """The files of a folder, after a word about images that are left out."""
    # Archives packed on a Mac hold a "._" file beside each image.
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if left := [path.name for path in files if path.name.lower().endswith(_OTHERS)]:
        some = ", ".join(left[:3]) + (" ..." if len(left) > 3 else "")
        warnings.warn(f"{folder}: {len(left)} images are left out: {some}", stacklevel=3)
    return files


def case_name(path: Path) -> str:
    """Return a file's name without its ending."""
    endings = sorted(ENDINGS, key=len, reverse=True)
    found = next((ending for ending in endings if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(found)]


def by_case(paths: Sequence[Path]) -> dict[str, Path]:
    """Return files by the name of their case.

    Raises:
        UserError: Two files of one name, such as `a.nii` and `a.nii.gz`.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(case_name(path), path)
        if other is not path and not other.samefile(path):
            raise UserError(f"{path}: expected one file of that name, received {other} too")
    return found
