"""What the two images are compared by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.backend import compiled, no_gradient, to_numpy
from anyvox_keras.errors import UserError, require_one_of
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.deformable.deform import POOL
from anyvox_keras.registration.descriptors.masked_image import masked_image
from anyvox_keras.registration.descriptors.mind import mind_ssc
from anyvox_keras.types import Array, FeatureKind

Extractor = Callable[[np.ndarray], Any]
#: factor of a network's features in the paper's registration
NETWORK_FACTOR = 0.1


@dataclass(frozen=True)
class FeatureSettings:
    """Which features, and how strongly each counts.

    Args:
        kind: "mind", "network" or "both".
        extractors: Functions `(D, H, W) -> (D, H, W, C)`, one after the other; for "network" and
            "both".
        mind_weight: Factor of the MIND features.
        network_weights: Factor of each extractor's features, or one for all.
    """

    kind: FeatureKind = "mind"
    extractors: tuple[Extractor, ...] = ()
    mind_weight: float = 1.0
    network_weights: tuple[float, ...] = (NETWORK_FACTOR,)

    def __post_init__(self) -> None:
        """Refuse combinations that mean nothing."""
        require_one_of("features", self.kind, FeatureKind)
        if self.kind != "mind" and not self.extractors:
            raise UserError(f"features: {self.kind} needs at least one extractor, received none")
        if len(self.network_weights) not in (1, len(self.extractors)):
            raise ValueError(
                "`network_weights` must be one number or one an extractor. "
                f"Received: {self.network_weights}"
            )


def image_features(
    image: np.ndarray,
    mask: np.ndarray | None,
    clip: Sequence[float] | None,
    settings: FeatureSettings,
    pads: Sequence[int] = (0, 0, 0),
    memory: float | None = None,
) -> Array:
    """Compute the features of one image, pooled by two.

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
    parts = []
    if settings.kind != "network":
        raw = image if mask is None else masked_image(image, mask)
        raw = np.pad(raw, behind, "edge")[None, ..., None]
        with no_gradient():
            parts.append(_pooled_mind()(ops.convert_to_tensor(raw)) * settings.mind_weight)
    if settings.kind != "mind":
        parts += _network_features(image, mask, clip, settings, behind, memory)
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)


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
        features = np.asarray(to_numpy(extractor(seen)), "float32")
        if features.ndim != 4 or features.shape[:3] != image.shape:
            raise ValueError(
                f"an extractor must return {(*image.shape, 'C')}. Received: {features.shape}"
            )
        if mask is not None:
            features = features * mask[..., None]
        features = np.pad(features, [*behind, (0, 0)], "edge")[None]
        with no_gradient():
            parts.append(average_pool(ops.convert_to_tensor(features), POOL) * weight)
    return parts


@cache
def _pooled_mind() -> Callable[[Array], Array]:
    return compiled(lambda image: average_pool(mind_ssc(image), POOL))
