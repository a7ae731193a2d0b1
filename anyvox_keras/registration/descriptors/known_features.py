"""Features of two images, and where they are known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.descriptors.pair_features import (
    FeatureSettings,
    channel_features,
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


class KnownFeatures(NamedTuple):
    """What is compared; pairs of the fixed and the moving image, pooled by two.

    Attributes:
        features: `(1, d, h, w, C)` float32.
        weights: `(1, d, h, w, 1)`, 1 where a voxel is known and 0 where it is not; none if both
            images are known everywhere.
        images: `(1, d, h, w, n)` float32, each channel zero where darkest, of variance one.
    """

    features: tuple[Array, Array]
    weights: tuple[Array, Array] | None
    images: tuple[Array, Array]


def known_features(
    images: Sequence[Placed],
    masked: Sequence[bool],
    clips: Sequence[Clip],
    settings: FeatureSettings,
    pads: Sequence[int] = (0, 0, 0),
    memory: float | None = None,
) -> KnownFeatures:
    """Compute the features of both images, pooled by two, and how much of each voxel is known.

    Outside a mask the features of the nearest voxel inside stand in, and weigh nothing. Of two
    masks each counts as it is, and what they leave out is dark, so that nothing that lies there
    matters. Where the two cover each other (Dice of at least 0.9) they delineate the same structure
    and its outline counts as well: both are widened by what the descriptor reaches, holes (a lesion
    left out) excepted. So is one mask alone, whose outline shows in the other image.

    Of several channels each has its features: those that the search compares of all channels, then
    those that only the descent does. Limits of intensities are the first channel's.

    Args:
        images: The fixed and the moving image on one lattice.
        masked: Whether the user gave a mask of each.
        clips: Lowest and highest value of each image for the network, or none.
        settings: Which features.
        pads: Voxels to add behind each axis, repeating the edge.
        memory: GB that a network may take, as in `image_features`.

    Returns:
        The features, their weights, and the images themselves.
    """
    outlined = not all(masked) or _same(images[0].inside, images[1].inside)
    features, weights, pooled = [], [], []
    for (array, inside, seen, channels), given, clip in zip(images, masked, clips, strict=True):
        images_of = [(array, seen), *channels]
        if inside is not None and all(masked):
            images_of = [(np.where(inside, x, x[inside].min()), None) for x, _ in images_of]
        if inside is not None and given and outlined:
            inside = _widened(inside, images_of[0][1])
        limits = (clip, *[None] * len(channels))
        found = channel_features(
            [
                image_features(x, part, limit, settings, pads, memory)
                for (x, part), limit in zip(images_of, limits, strict=True)
            ],
            settings.fine_channels,
        )
        known = np.ones(found.shape[1:4], bool) if inside is None else _known(inside, pads)
        features.append(found if known.all() else _continued(found, known))
        weights.append(ops.convert_to_tensor(known[None, ..., None].astype("float32")))
        pooled.append(channel_features([_pooled(_standard(x), pads) for x, _ in images_of]))
    everywhere = all(image.inside is None for image in images)
    return KnownFeatures(
        (features[0], features[1]),
        None if everywhere else (weights[0], weights[1]),
        (pooled[0], pooled[1]),
    )


def _standard(image: np.ndarray) -> np.ndarray:
    """Zero where darkest, of variance one."""
    standard: np.ndarray = (image - image.min()) / max(float(image.std()), 1e-12)
    return standard


def _same(here: np.ndarray | None, there: np.ndarray | None) -> bool:
    if here is None or there is None:
        return here is there
    return bool(2 * (here & there).sum() >= _SAME * (here.sum() + there.sum()))


def _widened(mask: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    holes = ndimage.binary_fill_holes(mask) & ~mask
    wide: np.ndarray = ndimage.maximum_filter(mask, 2 * _REACH + 1) & ~holes
    return wide if seen is None else wide & seen


def _known(inside: np.ndarray, pads: Sequence[int]) -> np.ndarray:
    """Whether at least half of a pooled voxel is known, or as much as of any."""
    share = to_numpy(_pooled(inside, pads))[0, ..., 0]
    known: np.ndarray = share >= min(0.5, float(share.max()))
    return known


def _pooled(image: np.ndarray, pads: Sequence[int]) -> Array:
    """Pad with the edge's values and pool by two."""
    padded = np.pad(image.astype("float32"), [(0, int(n)) for n in pads], "edge")
    with no_gradient():
        return average_pool(ops.convert_to_tensor(padded[None, ..., None]))


def _continued(features: Array, known: np.ndarray) -> Array:
    """Features of the nearest known voxel where a voxel is not."""
    return ops.convert_to_tensor(to_numpy(features)[0][nearest(known)][None])
