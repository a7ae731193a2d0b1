"""Features of two images, and where they are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.descriptors.masked_image import nearest
from anyvox_keras.registration.descriptors.pair_features import FeatureSettings, image_features
from anyvox_keras.registration.pair_inputs import Clip, Placed

Array = Any
# voxels beyond a mask whose descriptor still sees what is in it: MIND's patches reach three, and
# features are pooled by two
_REACH = 4


def known_features(
    images: Sequence[Placed],
    masked: Sequence[bool],
    clips: Sequence[Clip],
    settings: FeatureSettings,
    pads: Sequence[int] = (0, 0, 0),
    memory: float | None = None,
) -> tuple[list[Array], tuple[Array, Array] | None]:
    """Compute the features of both images, pooled by two, and how much of each voxel is known.

    Features are those of the whole image, so that the outline of a structure counts as far as it
    is seen from inside the mask; outside, the features of the nearest voxel inside stand in, and
    weigh nothing. Of two masks each counts as it is. The outline of one alone shows in the other
    image, too, which nothing cuts off: it is widened by what the descriptor reaches, holes (a
    lesion left out) excepted.

    Args:
        images: The fixed and the moving image on one lattice.
        masked: Whether the user gave a mask of each.
        clips: Lowest and highest value of each image for the network, or none.
        settings: Which features.
        pads: Voxels to add behind each axis, repeating the edge.
        memory: GB that a network may take, as in `image_features`.

    Returns:
        Two arrays `(1, d, h, w, C)` float32, and their weights `(1, d, h, w, 1)` in `[0, 1]`, or
        none if both images are known everywhere.
    """
    features, weights = [], []
    for (array, inside, seen), given, clip in zip(images, masked, clips, strict=True):
        found = image_features(array, seen, clip, settings, pads, memory)
        if given and not all(masked) and inside is not None:
            inside = _widened(inside, seen)
        weight = np.ones(found.shape[:4], "float32") if inside is None else _pooled(inside, pads)
        features.append(found if inside is None else _continued(found, weight))
        weights.append(ops.convert_to_tensor(weight[..., None]))
    if all(image.inside is None for image in images):
        return features, None
    return features, (weights[0], weights[1])


def _widened(mask: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    holes = ndimage.binary_fill_holes(mask) & ~mask
    wide: np.ndarray = ndimage.maximum_filter(mask, 2 * _REACH + 1) & ~holes
    return wide if seen is None else wide & seen


def _pooled(inside: np.ndarray, pads: Sequence[int]) -> np.ndarray:
    padded = np.pad(inside.astype("float32"), [(0, int(n)) for n in pads], "edge")
    with no_gradient():
        pooled: np.ndarray = to_numpy(average_pool(ops.convert_to_tensor(padded[None, ..., None])))
    return pooled[..., 0]


def _continued(features: Array, weight: np.ndarray) -> Array:
    """Features of the nearest voxel that is mostly known, where a voxel is not."""
    known = weight[0] >= min(0.5, float(weight.max()))
    return ops.convert_to_tensor(to_numpy(features)[0][nearest(known)][None])
