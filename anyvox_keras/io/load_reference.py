"""Read where an image lies."""

from typing import Any

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io._read import copy_header, open_image, read_affine
from anyvox_keras.io.volume import Volume


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
        raise UserError(f"{name}: expected a 3D {what}, received shape {shape}")
    zeros = np.broadcast_to(np.float32(0), shape[:3])
    return Volume(zeros, read_affine(image, name), copy_header(image), None, name)
