"""An image continued beyond where it is known."""

import numpy as np
from scipy import ndimage


def masked_image(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replace voxels outside a mask by the nearest voxel inside.

    Outside is where the 3x3x3 mean of the mask (border replicated) is at most 0.9. The nearest
    voxel is found on every second voxel and interpolated back (linear, half-pixel centres), so
    that a descriptor of local structure sees neither the mask's edge nor what lies beyond.

    Args:
        image: `(D, H, W)` float32.
        mask: `(D, H, W)`, inside above zero.

    Returns:
        `(D, H, W)` float32.

    Raises:
        ValueError: If the shapes differ or the mask is empty.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import masked_image

        image = np.random.rand(8, 8, 8).astype("float32")
        filled = masked_image(image, image > 0.1)
        ```
    """
    if image.shape != mask.shape or not np.any(mask):
        raise ValueError(
            f"`mask` must be {image.shape} with voxels above 0. Received: {mask.shape}"
        )
    inside = ndimage.uniform_filter((mask > 0).astype("float32"), 3, mode="nearest") > 0.9
    if inside[::2, ::2, ::2].any():
        coarse = image[::2, ::2, ::2][nearest(inside[::2, ::2, ::2])]
        filled = _double(coarse.astype("float32"), image.shape)
    else:
        # A mask thinner than the erosion, two slices say: its own voxels are all there is.
        inside = mask > 0
        filled = image[nearest(inside)]
    return np.where(inside, image, filled).astype("float32")


def nearest(inside: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the index of the nearest voxel inside, for every voxel."""
    return tuple(
        ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    )


def _double(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Linear upsampling by two, half-pixel centres, edge repeated."""
    for axis, size in enumerate(shape):
        where = np.clip(np.arange(size) / 2 - 0.25, 0, coarse.shape[axis] - 1)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        weight = (where - low).astype("float32")
        weight = weight.reshape([-1 if a == axis else 1 for a in range(3)])
        start = coarse.take(low, axis)
        coarse = start + weight * (coarse.take(high, axis) - start)
    return coarse
