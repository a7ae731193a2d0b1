"""Distance of frozen features."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.features.feature_extractor import unit
from anyvox_keras.networks.network_copy import copied
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss
from anyvox_keras.types import Array, Distance


@export
class FeatureLoss(RegistrationLoss):
    """Distance between a network's features of the fixed and of the moved image.

    "cosine" is `1 - f.m / (|f| |m|)`, "squared" the mean over channels of `(f - m)^2`. Features
    that do not depend on the contrast make it a loss for any pair of modalities. The network is a
    frozen copy; its gradient reaches the image, never its weights.

    With `recompute`, call with fixed and moved image `(B, D, H, W, C)`: the features of the moved
    image are computed anew, and a network that is not equivariant to the deformation notices it.
    Without, call with features: those of each image once by `features`, the moving ones warped,
    which costs no pass through the network in a training step. One value per voxel either way;
    masks `(B, D, H, W)` are the `sample_weight`.

    Args:
        extractor: A `FeatureExtractor` (whose clip, rescaling and norm apply; its windows do not),
            or a function of `(B, D, H, W, C)` tensors that a gradient can pass. A saved model holds
            the extractor's weights; a function must be registered with Keras to be loaded again.
        distance: "cosine" or "squared".
        recompute: Whether the loss is called with images, rather than with features.

    Raises:
        ValueError: If `distance` is unknown.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        loss = avx.FeatureLoss(avx.FeatureExtractor(avx.UNet(width=4, levels=2)))
        fixed, moved = np.random.rand(2, 1, 16, 16, 16, 1).astype("float32")
        value = loss(fixed, moved, sample_weight=fixed[..., 0] > 0.5)
        ```
    """

    def __init__(
        self,
        extractor: FeatureExtractor | Callable[[Array], Array],
        distance: Distance = "cosine",
        recompute: bool = True,
        name: str = "feature",
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        one_of("distance", distance, Distance)
        self.extractor = extractor
        self.distance = distance
        self.recompute = recompute
        self._extract: Callable[[Any], Any] = (
            _InGraph(extractor) if isinstance(extractor, FeatureExtractor) else extractor
        )

    def features(self, image: Array) -> Array:
        """Compute `(B, D, H, W, F)` of images `(B, D, H, W, C)`, in the graph."""
        return self._extract(ops.convert_to_tensor(image, "float32"))

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B, D, H, W)`."""
        if self.recompute:
            y_true, y_pred = self.features(y_true), self.features(y_pred)
        if self.distance == "squared":
            return ops.mean(ops.square(y_true - y_pred), axis=-1)
        return 1.0 - ops.sum(unit(y_true, ops) * unit(y_pred, ops), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        extractor = keras.saving.serialize_keras_object(self.extractor)
        own = {"extractor": extractor, "distance": self.distance, "recompute": self.recompute}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FeatureLoss":
        """Rebuild the extractor, then the loss."""
        extractor = keras.saving.deserialize_keras_object(config["extractor"])
        return cls(**{**config, "extractor": extractor})


class _InGraph:
    """What a `FeatureExtractor` computes, as a function that a gradient can pass."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor = extractor
        self.network = copied(extractor.backbone)
        self.network.trainable = False

    def __call__(self, image: Array) -> Array:
        features = self.network(self.extractor.prepare(image, ops), training=False)
        return self.extractor.normalise(ops.cast(features, "float32"), ops)
