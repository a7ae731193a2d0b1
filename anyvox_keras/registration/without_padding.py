"""Where an image holds something."""

import numpy as np
from scipy import ndimage

from anyvox_keras.io import Volume

# This share of the outermost voxels at exactly the smallest value is no coincidence.
_CONSTANT = 0.5


def without_padding(image: Volume) -> np.ndarray | None:
    """Find the constant surround of an image that was cut out (a stripped skull) or reoriented.

    Where at least half of the outermost voxels hold exactly the smallest value, that value marks
    the surround; holes in the rest belong to the rest.

    Args:
        image: Any image.

    Returns:
        `(D, H, W)` bool, false in the surround; `None` if there is none.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.io import Volume
        from anyvox_keras.registration import without_padding

        array = np.pad(np.random.rand(6, 6, 6).astype("float32") + 1, 2)
        inside = without_padding(Volume(array, np.eye(4)))
        ```
    """
    array = image.array
    lowest = array.min()
    ends = [array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    if (np.concatenate(ends) == lowest).mean() < _CONSTANT:
        return None
    inside: np.ndarray = ndimage.binary_fill_holes(array > lowest)
    return inside
