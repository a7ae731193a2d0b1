"""Where the voxels of a file lie: sform, qform and units, read as ITK reads them."""

import contextlib
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid, is_invertible, is_sheared

FORMS = ("sform", "qform")
# NIfTI's codes of metre and micron, in mm; ITK takes every other code for millimetres
_UNITS = {1: 1e3, 3: 1e-3}
# readings nearer to each other than this, in voxels, are one place
_APART = 0.1

_preferred: ContextVar[str | None] = ContextVar("preferred_form", default=None)


@contextlib.contextmanager
def prefer_form(form: str | None) -> Iterator[None]:
    """Read files by their sform or their qform, where they have it, not by ITK's choice.

    Args:
        form: "sform", "qform", or None for ITK's choice.

    Raises:
        ValueError: another name.

    Example:
        ```python
        import nibabel as nib
        import numpy as np
        from anyvox_keras.io import load_reference, prefer_form

        scan = nib.Nifti1Image(np.zeros((4, 4, 4), "int16"), np.eye(4))
        with prefer_form("sform"):
            grid = load_reference(scan).grid
        ```
    """
    if form not in (None, *FORMS):
        raise ValueError(f"`form` must be sform, qform or None. Received: form={form!r}")
    token = _preferred.set(form)
    try:
        yield
    finally:
        _preferred.reset(token)


def read_affine(image: Any, name: str) -> np.ndarray:
    """Return the `(4, 4)` voxel to world matrix of a nibabel image, mm, RAS, as ITK reads it.

    ITK takes the sform where it is the only form, or where its code is 1 (scanner) and it has no
    shear, else the qform. Directions and origin are the form's, the spacing is always `pixdim`.
    Without a form the axes run to left, posterior, superior from the origin. Metres and microns
    become millimetres. A warning names both readings where another one lies elsewhere.

    Raises:
        UserError: an axis without voxels, a matrix that cannot be inverted, or with a shear, which
            ITK cannot hold.
    """
    if min(image.shape, default=0) < 1:
        shape = tuple(int(n) for n in image.shape)
        raise UserError(f"{name}: expected voxels along each axis, received shape {shape}")
    affine = _taken(image, name)
    if not is_invertible(affine):
        rows = affine[:3].tolist()
        raise UserError(f"{name}: expected an invertible affine in the header, received {rows}")
    require_no_shear(affine, name)
    return affine


def require_no_shear(affine: np.ndarray, name: str) -> None:
    """Refuse axes that are not at right angles: ITK neither reads nor writes them.

    Raises:
        UserError: naming the image and its matrix.
    """
    if is_sheared(affine):
        rows = np.asarray(affine)[:3].round(4).tolist()
        raise UserError(
            f"{name}: expected axes at right angles, as ITK does, received a shear: {rows}; "
            "resample the image, or take its qform (--form qform) if it has one"
        )


def _taken(image: Any, name: str) -> np.ndarray:
    """Choose a reading, after a word about the others."""
    own = np.eye(4) if image.affine is None else np.asarray(image.affine, "float64")
    header = image.header
    if not isinstance(header, nib.analyze.AnalyzeHeader):
        return own  # MGH and the like have one form
    if not np.allclose(own, header.get_best_affine(), equal_nan=True):
        return own  # made in memory, the header not brought up to date
    forms = _forms(header)
    wanted = _preferred.get()
    if wanted in forms:
        return forms[wanted]
    if not forms and any(int(header[f"{form}_code"]) > 0 for form in _fields(header)):
        return own  # a form that cannot be inverted
    taken, place = _as_itk(forms, header)
    others = forms if forms else {"nibabel's reading": own}
    for other, reading in others.items():
        far = _apart(place, reading, image.shape)
        if far > 0:
            message = f"{name}: {taken} and {other} lie up to {far:.3g} mm apart"
            warnings.warn(f"{message}; took {taken}, as ITK does (see --form)", stacklevel=4)
    # the header holds float32, an image in memory float64
    close = np.allclose(place, own, rtol=1e-6, atol=1e-6 * np.abs(own[:3, :3]).max())
    return own if close else place


def _forms(header: Any) -> dict[str, np.ndarray]:
    """The forms that a header holds, in mm: those with a code above 0 that can be inverted."""
    found = {}
    for form in _fields(header):
        try:
            matrix = getattr(header, f"get_{form}")(coded=False)
        except (ValueError, nib.spatialimages.HeaderDataError):
            continue  # a quaternion longer than 1
        if int(header[f"{form}_code"]) > 0 and is_invertible(matrix):
            found[form] = np.diag([*[_millimetres(header)] * 3, 1.0]) @ matrix
    return found


def _fields(header: Any) -> tuple[str, ...]:
    """The forms that a header has room for: Analyze has none."""
    return FORMS if "sform_code" in header else ()


def _as_itk(forms: dict[str, np.ndarray], header: Any) -> tuple[str, np.ndarray]:
    """What ITK takes, in words, and where that is."""
    zooms = np.abs(np.asarray(header["pixdim"][1:4], "float64"))
    zooms = np.where(np.isfinite(zooms) & (zooms > 0), zooms, 1) * _millimetres(header)
    if not forms:
        return "the spacing alone (no form has a code)", np.diag([-1, -1, 1, 1]) * [*zooms, 1]
    scanner = "sform" in forms and int(header["sform_code"]) == 1
    first = scanner and not is_sheared(forms["sform"])
    form = "sform" if first or "qform" not in forms else "qform"
    place = forms[form].copy()
    lengths = np.linalg.norm(place[:3, :3], axis=0)
    place[:3, :3] *= zooms / lengths
    other = "" if np.allclose(lengths, zooms, rtol=1e-3) else " with the spacing of pixdim"
    return f"the {form} (code {int(header[f'{form}_code'])}){other}", place


def _apart(place: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance, mm, of a corner's two places; 0 if within a tenth of a voxel."""
    here, there = (Grid((*shape, 1, 1, 1)[:3], matrix) for matrix in (place, other))
    if np.abs(here.to_voxel(there.corners()) - here.to_voxel(here.corners())).max() <= _APART:
        return 0.0
    return float(np.linalg.norm(here.corners() - there.corners(), axis=-1).max())


def _millimetres(header: Any) -> float:
    """How many mm the header's unit of length is."""
    return _UNITS.get(int(header["xyzt_units"]) & 7, 1.0) if "xyzt_units" in header else 1.0
