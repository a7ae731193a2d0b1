"""Features of two images, and where they are known."""

from collections.abc import Sequence

import numpy as np
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.descriptors.pair_features import (
    FeatureSettings,
    image_features,
    nearest,
)
from anyvox_keras.registration.pair_inputs import Clip, Placed
from anyvox_keras.types import Array

# voxels beyond a mask whose descriptor still sees what is in it: MIND's patches reach three, and
# features are pooled by two
_REACH = 4
# Dice of two masks of the same structure in images that are roughly aligned
_SAME = 0.9


def known_features(
    images: Sequence[Placed],
    masked: Sequence[bool],
    clips: Sequence[Clip],
    settings: FeatureSettings,
    pads: Sequence[int] = (0, 0, 0),
    memory: float | None = None,
) -> tuple[list[Array], tuple[Array, Array] | None]:
    """Compute the features of both images, pooled by two, and how much of each voxel is known.

    Outside a mask the features of the nearest voxel inside stand in, and weigh nothing. Of two
    masks each counts as it is, and what they leave out is dark, so that nothing that lies there
    matters. Where the two cover each other (Dice of at least 0.9) they delineate the same structure
    and its outline counts as well: both are widened by what the descriptor reaches, holes (a lesion
    left out) excepted. So is one mask alone, whose outline shows in the other image.

    Args:
        images: The fixed and the moving image on one lattice.
        masked: Whether the user gave a mask of each.
        clips: Lowest and highest value of each image for the network, or none.
        settings: Which features.
        pads: Voxels to add behind each axis, repeating the edge.
        memory: GB that a network may take, as in `image_features`.

    Returns:
        Two arrays `(1, d, h, w, C)` float32, and their weights `(1, d, h, w, 1)`, 0 or 1, or
        none if both images are known everywhere.
    """
    outlined = not all(masked) or _same(images[0].inside, images[1].inside)
    features, weights = [], []
    for (array, inside, seen), given, clip in zip(images, masked, clips, strict=True):
        if inside is not None and all(masked):
            array, seen = np.where(inside, array, array[inside].min()), None
        if inside is not None and given and outlined:
            inside = _widened(inside, seen)
        found = image_features(array, seen, clip, settings, pads, memory)
        known = np.ones(found.shape[1:4], bool) if inside is None else _pooled(inside, pads)
        features.append(found if known.all() else _continued(found, known))
        weights.append(ops.convert_to_tensor(known[None, ..., None].astype("float32")))
    if all(image.inside is None for image in images):
        return features, None
    return features, (weights[0], weights[1])


def _same(here: np.ndarray | None, there: np.ndarray | None) -> bool:
    if here is None or there is None:
        return here is there
    return bool(2 * (here & there).sum() >= _SAME * (here.sum() + there.sum()))


def _widened(mask: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    holes = ndimage.binary_fill_holes(mask) & ~mask
    wide: np.ndarray = ndimage.maximum_filter(mask, 2 * _REACH + 1) & ~holes
    return wide if seen is None else wide & seen


def _pooled(inside: np.ndarray, pads: Sequence[int]) -> np.ndarray:
    """Whether at least half of a pooled voxel is known, or as much as of any."""
    padded = np.pad(inside.astype("float32"), [(0, int(n)) for n in pads], "edge")
    with no_gradient():
        share = to_numpy(average_pool(ops.convert_to_tensor(padded[None, ..., None])))[0, ..., 0]
    known: np.ndarray = share >= min(0.5, float(share.max()))
    return known


def _continued(features: Array, known: np.ndarray) -> Array:
    """Features of the nearest known voxel where a voxel is not."""
    return ops.convert_to_tensor(to_numpy(features)[0][nearest(known)][None])
