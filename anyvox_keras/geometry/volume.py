"""An image with its geometry, and checks of two."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.glance import Glance, Shown

# of the voxels, at either end
_TAIL = 0.5
# times the range of the others
_HOT = 10.0
# between it and its inverse the squares of values are far from the ends of float32
_SMALL = 2.0**-30
# voxels that tell the range
_SAMPLED = 100_000
# labels that are told one by one
_TOLD = 20


@dataclass(frozen=True, eq=False)
class Volume(Shown):
    """A 3D array, the affine that places it in the world, and the header to copy on saving.

    Args:
        array: `(D, H, W)`, axes as stored in the file: float32 for images, int32 for label maps,
            bool for masks.
        affine: `(4, 4)`, voxel to world, mm, RAS (NIfTI's convention).
        header: the NIfTI header that an output on the same grid copies (units, form codes).
        finite: `(D, H, W)` bool, false where the file held NaN or infinity; the array holds the
            smallest finite value there. `None` stands for finite everywhere.
        name: what to call the image in messages.

    Example:
        ```python
        >>> import numpy as np
        >>> Volume(np.zeros((4, 5, 6), "float32"), np.diag([2.0, 2, 3, 1])).spacing
        (2.0, 2.0, 3.0)
        ```
    """

    array: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header | None = None
    finite: np.ndarray | None = None
    name: str = "image"

    def __post_init__(self) -> None:
        """Check the layout, since every later step trusts it."""
        if self.array.ndim != 3:
            raise ValueError(f"`array` must be (D, H, W). Received: shape={self.array.shape}")
        if self.array.dtype.kind not in "iufb":
            raise ValueError(f"`array` must be real. Received: dtype={self.array.dtype}")

    def __repr__(self) -> str:
        """Say what it is in one line, without its values."""
        return f"{type(self).__name__}({self.name}: {self.grid}, {self.array.dtype})"

    def glance(self) -> Glance:
        """Three planes, the geometry and the range of values."""
        name = Path(self.name).name
        facts = [*self.grid.facts, *self._facts_of_values()]
        return Glance(name, facts, {name: self.array}, self.affine)

    def _facts_of_values(self) -> list[tuple[str, str]]:
        if self.array.dtype.kind == "f":
            low, high = float(self.array.min()), float(self.array.max())
            facts = [("values", f"{low:.5g} to {high:.5g}, {self.array.dtype}")]
        else:
            labels = np.unique(self.array)
            told = ", ".join(map(str, labels[:_TOLD])) + ", ..." * (len(labels) > _TOLD)
            facts = [("labels", f"{len(labels)}: {told}")]
        if self.finite is not None:
            facts.append(("voxels that are not finite", f"{int((~self.finite).sum())}"))
        return facts

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(self.array.shape)

    @property
    def grid(self) -> Grid:
        """The lattice without the values."""
        return Grid(self.shape, self.affine)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels along each axis."""
        return self.grid.spacing

    @property
    def image(self) -> Any:
        """The same as a nibabel image."""
        array = self.array.astype("uint8") if self.array.dtype == bool else self.array
        return nib.Nifti1Image(array, self.affine, self.header)


def require_same_grid(volume: Volume, of: Volume) -> None:
    """Raise unless both images have the same shape and lie at the same place.

    Corners may be a tenth of a voxel apart: headers of one scan differ by rounding.

    Raises:
        UserError: naming both files, and the shape or the affine that differs.

    Example:
        ```python
        >>> import numpy as np
        >>> image = Volume(np.zeros((4, 4, 4)), np.eye(4))
        >>> require_same_grid(image, image)
        ```
    """
    if volume.shape != of.shape:
        raise UserError(
            f"{volume.name}: expected the shape {of.shape} of {of.name}, received {volume.shape}"
        )
    if not volume.grid.matches(of.grid):
        expected, received = (v.affine[:3].round(4).tolist() for v in (of, volume))
        raise UserError(
            f"{volume.name}: expected the affine of {of.name}, {expected}, received {received}"
        )


def min_max(image: np.ndarray) -> np.ndarray:
    """Map the minimum to 0 and the maximum to 1, in float32; a constant image becomes 0.

    Hot voxels do not count, see `without_hot_voxels`.

    Example:
        ```python
        >>> min_max(np.array([1.0, 2.0, 3.0]))
        array([0. , 0.5, 1. ], dtype=float32)
        ```
    """
    image = without_hot_voxels(image)
    low, high = float(image.min()), float(image.max())
    return ((image - low) / (high - low if high > low else 1.0)).astype("float32")


def without_hot_voxels(image: np.ndarray) -> np.ndarray:
    """Bring a few voxels far outside the range of all others (an electrode, a clip) back into it.

    The range is that of the inner 99 % of the values. What lies more than ten times the range
    beyond it becomes the largest, or smallest, of the other values. An image without such voxels,
    as nearly every one is, is returned as it is.

    Args:
        image: Any shape, finite.

    Example:
        ```python
        >>> image = np.arange(1000.0)
        >>> image[7] = 1e7
        >>> without_hot_voxels(image)[6:9]
        array([  6., 999.,   8.])
        ```
    """
    some = image.reshape(-1)[:: max(1, image.size // _SAMPLED)]
    low, high = np.percentile(some, (_TAIL, 100 - _TAIL))
    reach = _HOT * (high - low)
    if reach == 0 or (image.min() >= low - reach and image.max() <= high + reach):
        return image
    others = image[(image >= low - reach) & (image <= high + reach)]
    return np.clip(image, others.min(), others.max())


def of_moderate_range(image: np.ndarray) -> np.ndarray:
    """Multiply by a power of two, which rounds nothing, where squares would leave float32.

    For what does not depend on the factor: a descriptor of contrast, a correlation. An image whose
    values span 1e-9 to 1e9, as nearly every one's do, is returned as it is.

    Args:
        image: Any shape, finite.

    Example:
        ```python
        >>> of_moderate_range(np.array([0.0, 1e-30]))
        array([0.       , 0.6338253])
        ```
    """
    span = float(image.max()) - float(image.min())
    if span == 0 or _SMALL < span < 1 / _SMALL:
        return image
    return np.asarray(np.ldexp(image, -math.frexp(span)[1]))
