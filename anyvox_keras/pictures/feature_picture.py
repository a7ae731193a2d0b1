"""Features of images beside the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyvox_keras.io.grid import Grid
from anyvox_keras.pictures.feature_pca import feature_pca
from anyvox_keras.pictures.planes import planes
from anyvox_keras.pictures.window import window


def feature_picture(
    images: Sequence[np.ndarray],
    features: Sequence[np.ndarray],
    grid: Grid | None = None,
    titles: Sequence[str] | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    at: Sequence[int] | None = None,
) -> Any:
    """Draw each image and, below it, its features in the colours of a joint PCA.

    Args:
        images: arrays `(D, H, W)` of one shape.
        features: arrays `(D, H, W, C)`, one an image.
        grid: their common lattice.
        titles: one an image.
        masks: where features are shown, one an image.
        at: voxel through which the planes pass.

    Returns:
        A matplotlib `Figure`.

    Example:
        ```python
        >>> noise = np.random.default_rng(0).normal(size=(6, 6, 6, 4))
        >>> figure = feature_picture([noise[..., 0]], [noise])
        ```
    """
    names = list(titles or [f"image {index + 1}" for index in range(len(images))])
    rows, lines = [], []
    colours = feature_pca(features, masks)
    for name, image, colour in zip(names, images, colours, strict=True):
        rows += [np.repeat(window(image)[..., None], 3, -1), colour]
        lines += [name, f"{name}: features, three principal components of all images"]
    return planes(rows, grid, lines, at)
