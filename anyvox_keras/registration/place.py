"""An image on a lattice of the fixed world."""

import numpy as np

from anyvox_keras.io import Grid, Volume, resample_to


def place(
    image: Volume, mask: np.ndarray | None, grid: Grid, affine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resample an image and its mask onto a grid through an affine map.

    Args:
        image: The image, on its own grid.
        mask: `(D, H, W)` bool on the image's grid, or none.
        grid: The lattice, in the fixed world.
        affine: `(4, 4)`, mm, RAS: fixed world to the image's world; the identity by default.

    Returns:
        The image `(d, h, w)` float32 on the grid, its smallest value beyond its own field of view;
        and where it is known: inside the mask, finite and within the field of view, or `None` if
        that is everywhere.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.io import Grid, Volume
        from anyvox_keras.registration import place

        image = Volume(np.random.rand(8, 8, 8).astype("float32"), np.eye(4))
        array, inside = place(image, None, Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0])))
        ```
    """
    placed = image.affine if affine is None else np.linalg.inv(affine) @ image.affine
    volume = resample_to(Volume(image.array, placed, None, image.finite, image.name), grid)
    inside = volume.finite
    if mask is not None:
        part = resample_to(Volume(mask, placed), grid).array
        inside = part if inside is None else part & inside
    return volume.array, inside
