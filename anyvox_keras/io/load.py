"""Read images, label maps, masks and references."""

import math
import warnings
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError, real_numbers
from anyvox_keras.geometry.volume import Volume, require_same_grid
from anyvox_keras.io.form_codes import read_affine, require_no_shear
from anyvox_keras.io.image_files import copy_header, open_image, read_array, read_values

# float32 must tell so many values apart between the smallest and the largest
_LEVELS = 1000
#: how far a scaled float may lie from its integer
TOLERANCE = 1e-3


def load_volume(source: Any, what: str = "image", varies: bool = True) -> Volume:
    """Read a 3D image as float32, with its geometry, and refuse one that cannot be used.

    Scattered NaN and infinities become the smallest finite value; `Volume.finite` remembers where
    they were, a mask should leave them out, and a warning says how many there are. Where float32
    would round an image's steps away (2^30 + 0..49), the smallest value is subtracted, with a
    warning. A header that claims more voxels than its file can hold is refused unread.

    Args:
        source: path of a file (NIfTI, MGH; with SimpleITK NRRD, MetaImage, or the folder of a DICOM
            series), nibabel or SimpleITK image, `Volume`, or an array `(D, H, W)`, which gets
            voxels of 1 mm; what a masked array masks counts as not finite.
        what: what to call the image in messages, such as `"fixed image"`.
        varies: refuse an image that is the same everywhere, where nothing can be matched.

    Returns:
        A `Volume`; its array is float32 `(D, H, W)`, axes as stored.

    Raises:
        UserError: missing, unreadable, not 3D, more than one volume, constant, nothing finite.

    Example:
        ```python
        >>> load_volume(np.arange(8.0).reshape(2, 2, 2)).shape
        (2, 2, 2)
        ```
    """
    if isinstance(source, Volume):
        return _volume(source)
    if isinstance(source, np.ndarray):
        array, finite = _usable(source, what, varies)
        return Volume(array, np.eye(4), None, finite, what)
    image, name = open_image(source, what)
    affine = read_affine(image, name)
    array, finite = _usable(read_array(image, name, what), name, varies)
    return Volume(array, affine, copy_header(image), finite, name)


def load_series(source: Any, what: str = "image") -> list[Volume]:
    """Read an image of one volume or of several, such as the frames of a 4D file.

    Args:
        source: As for `load_volume`; one axis more may count the volumes.
        what: What to call it in messages.

    Raises:
        UserError: What cannot be read, or has more axes of several than four.

    Example:
        ```python
        >>> import nibabel as nib
        >>> len(load_series(nib.Nifti1Image(np.random.rand(4, 4, 4, 3), np.eye(4))))
        3
        ```
    """
    if isinstance(source, Volume | np.ndarray):
        return [load_volume(source, what, varies=False)]
    image, name = open_image(source, what)
    if len(image.shape) != 4 or image.shape[3] == 1:
        return [load_volume(source, what, varies=False)]
    affine, header = read_affine(image, name), copy_header(image)
    raw = read_values(image, name, what)
    usable = (_usable(raw[..., k], f"{name}, volume {k}", False) for k in range(raw.shape[3]))
    return [Volume(array, affine, header, finite, name) for array, finite in usable]


def _volume(source: Volume) -> Volume:
    """Make sure of what a file's reader makes sure of: no shear, float32, finite."""
    require_no_shear(source.grid.affine, source.name)
    if source.array.dtype == "float32" and np.isfinite(source.array).all():
        return source
    array, finite = _usable(source.array, source.name, varies=False)
    if source.finite is not None:
        finite = source.finite if finite is None else source.finite & finite
    return Volume(array, source.affine, source.header, finite, source.name)


def _usable(raw: np.ndarray, name: str, varies: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return float32 values without NaN, and where they were finite (`None`: everywhere)."""
    if raw.ndim != 3:
        raise UserError(f"{name}: expected a 3D array (D, H, W), received shape {raw.shape}")
    if min(raw.shape) < 2:
        raise UserError(f"{name}: expected two voxels along each axis, received shape {raw.shape}")
    if raw.dtype.kind not in "iufb":
        raise UserError(f"{name}: expected one real number per voxel, received {raw.dtype}")
    if isinstance(raw, np.ma.MaskedArray):
        raw = np.ma.filled(raw.astype("float64"), np.nan)
    array, finite = _float32(raw)
    if not finite.any():
        raise UserError(f"{name}: expected finite values, received none (all NaN or infinite)")
    array = _without_offset(raw, array, finite, name)
    low, high = array[finite].min(), array[finite].max()
    if varies and low == high:
        raise UserError(f"{name}: expected an image that varies, received {low:g} everywhere")
    if finite.all():
        return array, None
    bad = int(finite.size - finite.sum())
    message = f"{name}: {bad} voxels are not finite; they count as outside the mask"
    warnings.warn(message, stacklevel=3)
    array[~finite] = low
    return array, finite


def _float32(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values in float32 and where they are finite; beyond its range they are not."""
    with np.errstate(over="ignore"):
        array = np.array(raw, "float32", order="C")
    return array, np.isfinite(array)


def _without_offset(
    raw: np.ndarray, array: np.ndarray, finite: np.ndarray, name: str
) -> np.ndarray:
    """Take the smallest value off, with a word, where float32 alone would round the rest away."""
    low, high = array[finite].min(), array[finite].max()
    if high - low >= _LEVELS * np.spacing(max(abs(low), abs(high))):
        return array
    known = raw[finite]
    offset, largest = known.min(), known.max()
    if raw.dtype.itemsize < 4 or offset == largest:
        return array
    message = f"{name}: float32 cannot tell its values of {offset:.12g} to {largest:.12g} apart"
    warnings.warn(f"{message}; {offset:.12g} is subtracted from them", stacklevel=4)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(raw - offset, "float32", order="C")


def load_channels(source: Any, what: str = "image") -> list[Volume]:
    """Read an image of one channel or several: 3D, or 4D with a channel in each volume.

    Args:
        source: As `load_volume`; an array of several channels is `(D, H, W, C)`.
        what: what to call it in messages.

    Returns:
        A `Volume` for each channel, as `load_volume` reads it; of several, one may be constant.

    Raises:
        UserError: as `load_volume`.

    Example:
        ```python
        >>> len(load_channels(np.random.rand(4, 5, 6, 2)))
        2
        ```
    """
    if isinstance(source, np.ndarray) and source.ndim == 4:
        return _split(source, np.eye(4), None, what)
    if isinstance(source, Volume | np.ndarray):
        return [load_volume(source, what)]
    image, name = open_image(source, what)
    shape = tuple(image.shape)
    # A vector image of NIfTI has its components on the fifth axis.
    if len(shape) not in (4, 5) or math.prod(shape[3:]) == 1 or min(shape[:3]) < 2:
        return [load_volume(source, what)]
    values = read_values(image, name, what).reshape(*shape[:3], -1)
    return _split(values, read_affine(image, name), copy_header(image), name)


def _split(values: np.ndarray, affine: np.ndarray, header: Any, name: str) -> list[Volume]:
    volumes = []
    for channel in range(values.shape[3]):
        array, finite = _usable(values[..., channel], f"{name}, channel {channel}", varies=False)
        volumes.append(Volume(array, affine, header, finite, name))
    return volumes


def load_labels(source: Any, what: str = "label map") -> Volume:
    """Read a 3D label map: integers from 0 (background) up.

    Args:
        source: path of a NIfTI file, nibabel image, integer `Volume`, or integer array
            `(D, H, W)`, which gets voxels of 1 mm.
        what: what to call it in messages.

    Returns:
        A `Volume` whose array is int32 `(D, H, W)`.

    Raises:
        UserError: missing, unreadable, not 3D, not integer, negative.

    Example:
        ```python
        >>> load_labels(np.ones((2, 2, 2), int)).array.dtype
        dtype('int32')
        ```
    """
    if isinstance(source, Volume):
        labels = _integers(source.array, source.name)
        return Volume(labels, source.affine, source.header, None, source.name)
    if isinstance(source, np.ndarray):
        return Volume(_integers(source, what), np.eye(4), None, None, what)
    image, name = open_image(source, what)
    affine = read_affine(image, name)
    labels = _integers(read_array(image, name, what), name)
    return Volume(labels, affine, copy_header(image), None, name)


def _integers(raw: np.ndarray, name: str) -> np.ndarray:
    """Return int32 labels; what is not an integer from 0 up is a mistake."""
    if raw.dtype.kind not in "iub":
        raw = real_numbers(name, raw, "float64")
        wrong = ~(np.abs(raw - np.rint(raw)) <= TOLERANCE)  # catches NaN too
        if wrong.any():
            raise UserError(f"{name}: expected integer labels, received {raw[wrong][0]:g}")
        raw = np.rint(raw)
    low, high = int(raw.min()), int(raw.max())
    if low < 0:
        raise UserError(f"{name}: expected labels from 0 up, received {low}")
    if high > np.iinfo("int32").max:
        raise UserError(f"{name}: expected labels below 2**31, received {high}")
    return np.array(raw, "int32", order="C")


def load_mask(source: Any, of: Volume | None = None, what: str = "mask") -> Volume:
    """Read a 3D mask: inside where the value is above zero.

    Args:
        source: path of a NIfTI file, nibabel image, `Volume`, or array `(D, H, W)` on the grid
            of `of`.
        of: the image the mask belongs to; both must have the same grid.
        what: what to call it in messages.

    Returns:
        A `Volume` whose array is bool `(D, H, W)`.

    Raises:
        UserError: missing, unreadable, not 3D, empty, or on another grid than `of`.

    Example:
        ```python
        >>> int(load_mask(np.ones((2, 2, 2))).array.sum())
        8
        ```
    """
    mask = _read(source, of, what)
    if not mask.array.any():
        raise UserError(f"{mask.name}: expected a mask with voxels above zero, received none")
    if of is not None:
        require_same_grid(mask, of)
    return mask


def _read(source: Any, of: Volume | None, what: str) -> Volume:
    if isinstance(source, Volume):
        return Volume(source.array > 0, source.affine, source.header, None, source.name)
    if isinstance(source, np.ndarray):
        affine = np.eye(4) if of is None else of.affine
        if source.ndim != 3:
            raise UserError(f"{what}: expected (D, H, W), received shape {source.shape}")
        return Volume(real_numbers(what, source) > 0, affine, None, None, what)
    image, name = open_image(source, what)
    affine = read_affine(image, name)
    return Volume(read_array(image, name, what) > 0, affine, copy_header(image), None, name)


def load_reference(source: Any, what: str = "reference") -> Volume:
    """Read the grid and the header of an image, not its values.

    Args:
        source: path of a NIfTI file, nibabel image, or `Volume` (returned as it is). Of an image
            with more than three axes the first three count.
        what: what to call it in messages.

    Returns:
        A `Volume` of zeros that take no memory.

    Raises:
        UserError: missing, not a NIfTI, fewer than three axes.

    Example:
        ```python
        >>> import nibabel as nib
        >>> load_reference(nib.Nifti1Image(np.ones((4, 5, 6), "int16"), np.eye(4))).shape
        (4, 5, 6)
        ```
    """
    if isinstance(source, Volume):
        return source
    image, name = open_image(source, what)
    shape = tuple(image.shape)
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise UserError(f"{name}: expected a 3D {what}, received one slice of shape {shape}")
    zeros = np.broadcast_to(np.float32(0), shape[:3])
    return Volume(zeros, read_affine(image, name), copy_header(image), None, name)
