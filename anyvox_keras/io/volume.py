"""An image with its geometry."""

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.io.grid import Grid


@dataclass(frozen=True, eq=False)
class Volume:
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
