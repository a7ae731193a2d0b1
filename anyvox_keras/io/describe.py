"""What a file is, where it lies, and what is odd about it."""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.geometry.chain import Chain
from anyvox_keras.geometry.grid import ANISOTROPY, Grid
from anyvox_keras.geometry.volume import Volume
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io.image_files import open_image
from anyvox_keras.io.load import load_reference, load_volume
from anyvox_keras.io.transform_files import FIELDS, KNOWN, load_transform

# degrees that rounding explains; mm that a field of view of a body has
_OBLIQUE, _SMALL, _LARGE = 1.0, 10.0, 2500.0
# a label map has so few values, and neighbours that agree
_LABELS, _ALIKE = 200, 0.8


class Description(NamedTuple):
    """What a file is, in words; names and values; what may surprise."""

    kind: str
    facts: list[tuple[str, Any]]
    odd: list[str]


def describe(path: str | os.PathLike[str]) -> Description:
    """Describe an image, a label map, a displacement field or another transform.

    Args:
        path: Whatever `load_volume` or `load_transform` reads, also series of volumes.

    Raises:
        UserError: A file that neither reads.

    Example:
        ```python
        >>> import nibabel as nib, tempfile
        >>> path = tempfile.mkdtemp() + "/scan.nii.gz"
        >>> nib.save(nib.Nifti1Image(np.arange(64.0).reshape(4, 4, 4), np.diag([1, 1, 5, 1])), path)
        >>> describe(path).odd
        ['slices are 5 mm apart, voxels within them 1 mm', 'a field of view of 4 mm']
        ```
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = _describe(Path(path))
    said = [str(warning.message).removeprefix(f"{path}: ") for warning in caught]
    return found._replace(odd=[*said, *found.odd])


def _describe(path: Path) -> Description:
    name = path.name.lower()
    if name.endswith(KNOWN) and not name.endswith(FIELDS):
        return _transform(load_transform(path))
    image, _ = open_image(path)
    shape = tuple(int(n) for n in image.shape)
    if len(shape) == 5 and shape[3:] == (1, 3):
        return _warp(load_transform(path).to_warp())
    if len(shape) > 3 and max(shape[3:]) > 1:
        grid = load_reference(path).grid
        volumes = " x ".join(map(str, shape[3:]))
        return Description("series of volumes", [*grid.facts, ("volumes", volumes)], _odd(grid))
    return _volume(path, image)


def _volume(path: Path, image: Any) -> Description:
    stored = ("stored as", str(image.get_data_dtype()))
    volume = load_volume(path, varies=False)
    odd = _odd(volume.grid)
    if volume.array.min() == volume.array.max():
        odd.append(f"{volume.array.min():g} everywhere")
    elif _is_label_map(volume):
        volume = Volume(volume.array.astype("int32"), volume.affine)
        return Description("label map", [*volume.glance().facts, stored], odd)
    return Description("image", [*volume.glance().facts, stored], odd)


def _is_label_map(volume: Volume) -> bool:
    """Whether values are few integers from 0 up, in pieces."""
    array = volume.array
    if volume.finite is not None or array.min() < 0 or array.max() > 2**24 or (array % 1).any():
        return False
    return len(np.unique(array)) < _LABELS and float((array[1:] == array[:-1]).mean()) > _ALIKE


def _warp(warp: Warp) -> Description:
    return Description("displacement field", list(warp.glance().facts), _odd(warp.grid))


def _transform(chain: Chain) -> Description:
    facts: list[tuple[str, Any]] = []
    for number, part in enumerate(chain.parts, 1):
        prefix = f"part {number}: " if len(chain.parts) > 1 else ""
        told = part.glance().facts if isinstance(part, Warp) else _linear(part)
        facts += [(prefix + name, value) for name, value in told]
    matrix = chain.matrix
    odd = ["it mirrors"] if matrix is not None and np.linalg.det(matrix) < 0 else []
    kind = "transform of several parts" if len(chain.parts) > 1 else "transform"
    return Description("linear transform" if matrix is not None else kind, facts, odd)


def _linear(matrix: np.ndarray) -> list[tuple[str, str]]:
    """Turn, scale and shift of a matrix in the world."""
    left, scales, right = np.linalg.svd(matrix[:3, :3])
    rotation = left @ right
    cosine = (np.trace(rotation) * np.sign(np.linalg.det(rotation)) - 1) / 2
    rows = "; ".join(" ".join(f"{x:.4g}" for x in row) for row in matrix[:3])
    return [
        ("turns by, degrees", f"{np.degrees(np.arccos(np.clip(cosine, -1, 1))):.4g}"),
        ("scales by", ", ".join(f"{scale:.4g}" for scale in scales)),
        ("shifts by, mm (R, A, S)", ", ".join(f"{x:.4g}" for x in matrix[:3, 3])),
        ("matrix, mm, RAS", rows),
    ]


def _odd(grid: Grid) -> list[str]:
    """What surprises in a lattice: thick slices, oblique axes, sizes of no body."""
    odd, spacing = [], sorted(grid.spacing)
    if spacing[2] > ANISOTROPY * spacing[0]:
        odd.append(f"slices are {spacing[2]:.4g} mm apart, voxels within them {spacing[0]:.4g} mm")
    axes = np.abs(grid.affine[:3, :3] / grid.spacing).max(0)
    if (turned := float(np.degrees(np.arccos(np.clip(axes.min(), -1, 1))))) > _OBLIQUE:
        odd.append(f"oblique: {turned:.3g} degrees off right, front, head")
    extent = np.multiply(grid.shape, grid.spacing)
    if extent.min() < _SMALL or extent.max() > _LARGE:
        wrong = extent.min() if extent.min() < _SMALL else extent.max()
        odd.append(f"a field of view of {wrong:.4g} mm")
    return odd
