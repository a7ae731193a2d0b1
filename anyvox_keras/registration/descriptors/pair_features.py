"""What the two images are compared by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import compiled, no_gradient, to_numpy
from anyvox_keras.errors import UserError, require_one_of
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.geometry import of_moderate_range
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.deformable.deform import POOL
from anyvox_keras.registration.descriptors.mind import CHANNELS, mind_ssc
from anyvox_keras.types import Array, FeatureKind

Extractor = Callable[[np.ndarray], Any]
#: factor of a network's features in the paper's registration
NETWORK_FACTOR = 0.1


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


@dataclass(frozen=True)
class FeatureSettings:
    """Which features, and how strongly each counts.

    Args:
        kind: "mind", "network" or "both".
        extractors: Functions `(D, H, W) -> (D, H, W, C)`, one after the other; for "network" and
            "both".
        mind_weight: Factor of the MIND features.
        dilations: Distances of MIND's neighbours, voxels, twelve channels each. The search
            compares the first, the descent all.
        network_weights: Factor of each extractor's features, or one for all.
    """

    kind: FeatureKind = "mind"
    extractors: tuple[Extractor, ...] = ()
    mind_weight: float = 1.0
    network_weights: tuple[float, ...] = (NETWORK_FACTOR,)
    dilations: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        """Refuse combinations that mean nothing."""
        require_one_of("features", self.kind, FeatureKind)
        if self.kind != "mind" and not self.extractors:
            raise UserError(f"features: {self.kind} needs at least one extractor, received none")
        if wrong := [one for one in self.extractors if not callable(one)]:
            raise UserError(
                f"extractor: expected a FeatureExtractor or function, received {wrong[0]!r}"
            )
        if len(self.network_weights) not in (1, len(self.extractors)):
            raise ValueError(
                "`network_weights` must be one number, or one per extractor. "
                f"Received: {self.network_weights}"
            )

    @property
    def fine_channels(self) -> int:
        """How many of the last channels only the descent compares."""
        return 0 if self.kind == "network" else CHANNELS * (len(self.dilations) - 1)


def image_features(
    image: np.ndarray,
    mask: np.ndarray | None,
    clip: Sequence[float] | None,
    settings: FeatureSettings,
    pads: Sequence[int] = (0, 0, 0),
    memory: float | None = None,
) -> Array:
    """Compute the features of one image, pooled by two: MIND, the network's, MIND more finely.

    MIND is taken of the raw image, with a mask of `masked_image`; the network sees the image
    clipped, and its features are multiplied by the mask.

    Args:
        image: `(D, H, W)` float32.
        mask: `(D, H, W)` bool, or none.
        clip: Lowest and highest value for the network, or none.
        settings: Which features.
        pads: Voxels to add behind each axis, repeating the edge.
        memory: GB that a network may take; where more is needed a `FeatureExtractor` goes over to
            windows.

    Returns:
        `(1, (D + pad) // 2, ..., C)` float32.
    """
    behind = [(0, int(n)) for n in pads]
    parts: list[Array] = []
    if settings.kind != "network":
        raw = of_moderate_range(image if mask is None else masked_image(image, mask))
        raw = ops.convert_to_tensor(np.pad(raw, behind, "edge")[None, ..., None])
        with no_gradient():
            parts += [_pooled_mind(d)(raw) * settings.mind_weight for d in settings.dilations]
    if settings.kind != "mind":
        parts[1:1] = _network_features(image, mask, clip, settings, behind, memory)
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)


def channel_features(features: Sequence[Array], fine: int = 0) -> Array:
    """Join the features of several channels, the last `fine` of each to the end.

    Args:
        features: `(1, d, h, w, C)` of each channel.
        fine: How many of the last only the descent compares.
    """
    if len(features) == 1:
        return features[0]
    cut = features[0].shape[-1] - fine
    parts = [x[..., :cut] for x in features] + [x[..., cut:] for x in features if fine]
    return ops.concatenate(parts, axis=-1)


def _network_features(
    image: np.ndarray,
    mask: np.ndarray | None,
    clip: Sequence[float] | None,
    settings: FeatureSettings,
    behind: list[tuple[int, int]],
    memory: float | None,
) -> list[Array]:
    weights = settings.network_weights
    weights = weights * len(settings.extractors) if len(weights) == 1 else weights
    seen = image if clip is None else np.clip(image, clip[0], clip[1])
    parts = []
    for extractor, weight in zip(settings.extractors, weights, strict=True):
        if memory is not None and isinstance(extractor, FeatureExtractor):
            extractor = extractor.within(memory, image.shape)
        features = to_numpy(extractor(seen))
        if features.dtype.kind not in "iufb":
            raise ValueError(f"an extractor must return real features. Received: {features.dtype}")
        features = np.asarray(features, "float32")
        if features.ndim != 4 or features.shape[:3] != image.shape:
            raise ValueError(
                f"an extractor must return {(*image.shape, 'C')}. Received: {features.shape}"
            )
        if not np.isfinite(features).all():
            raise ValueError("an extractor must return finite features. Received: NaN or infinity")
        if mask is not None:
            features = features * mask[..., None]
        features = np.pad(features, [*behind, (0, 0)], "edge")[None]
        with no_gradient():
            parts.append(average_pool(ops.convert_to_tensor(features), POOL) * weight)
    return parts


@cache
def _pooled_mind(dilation: int) -> Callable[[Array], Array]:
    return compiled(lambda image: average_pool(mind_ssc(image, dilation=dilation), POOL))
