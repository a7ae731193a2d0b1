"""Train-time augmentation: what training does to a pair after its synthesis."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.synthesis import appearance
from anyvox_keras.synthesis.appearance.effect import Effect, describe, rows_of
from anyvox_keras.synthesis.augmentation.spatial import RandomCrop, SpatialAugmentation
from anyvox_keras.types import Array

Settings = Mapping[str, Any] | None
Pair = dict[str, Array]

#: The effects, drawn anew for each image, in their order.
EFFECTS: dict[str, tuple[type[Effect], dict[str, Any]]] = {
    "blur": (
        appearance.GaussianBlur,
        {"probability": 0.33, "sigma": (0.0, 2.0), "kernel": "sampled"},
    ),
    "noise": (appearance.GaussianNoise, {"probability": 0.33, "std": (0.0, 0.25)}),
    "bias": (
        appearance.BiasField,
        {"probability": 0.5, "coefficients": (-0.5, 0.5), "basis": "power"},
    ),
    "gamma": (appearance.LogGamma, {"probability": 0.5, "log_gamma": (-0.4, 0.4)}),
    "motion": (appearance.Motion, {"probability": 0.33}),
}


@export
class TrainTimeAugmentation(random.RandomLayer):
    """Augment a pair of views and its label map (released recipe of arXiv 2411.02372).

    Images are mapped by `(x - min) / (99.99th percentile - min)`. All volumes share flips and an
    affine (`SpatialAugmentation`); then each image alone is blurred (probability 0.33, sigma
    U(0, 2)), given noise (0.33, std U(0, 0.25)), a bias field (0.5, coefficients +-0.5), a gamma
    curve (0.5, log gamma +-0.4) and motion (0.33, 2 movements of +-10 degrees and voxels). Nothing
    is clipped: values may leave [0, 1]. In inference images are only mapped, and cropped.

    Args:
        crop: Side of a random crop of all volumes, central in inference; None does not crop.
        images: Names of the images among the volumes; the others are label maps.
        seed: Seed of the draws that are made without keys.
        **settings: Settings of `spatial`, `blur`, `noise`, `bias`, `gamma` or `motion`; what they
            do not name stays as it is, None leaves the step out. What is left are arguments of
            `keras.Layer`.

    Call arguments:
        x: Volumes by name, images `(B, D, H, W, C)` and label maps `(B, D, H, W)`.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.augmentation import TrainTimeAugmentation

        pair = {
            "label_map": np.ones((1, 16, 16, 16), "int32"),
            "view1": np.random.rand(1, 16, 16, 16, 1).astype("float32"),
            "view2": np.random.rand(1, 16, 16, 16, 1).astype("float32"),
        }
        pair = TrainTimeAugmentation(motion=None)(pair, training=True)
        ```
    """

    augments = True

    def __init__(
        self,
        crop: int | None = None,
        images: Sequence[str] = ("view1", "view2"),
        seed: int = 0,
        **settings: Any,
    ) -> None:
        names = ("spatial", *EFFECTS)
        chosen = {name: settings.pop(name) for name in list(settings) if name in names}
        super().__init__(seed=seed, **settings)
        self.images, self._settings = tuple(images), chosen
        spatial = chosen.get("spatial", {})
        self.spatial = None if spatial is None else SpatialAugmentation(**spatial)
        self.crop = None if crop is None else RandomCrop(crop)
        self.effects: dict[str, Effect] = {
            name: kind(**{**default, **chosen.get(name, {})})
            for name, (kind, default) in EFFECTS.items()
            if chosen.get(name, {}) is not None
        }

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Tell what the shared steps and each image draw, by name."""
        shared = {name: layer.plan(shape) for name, layer in self._shared().items()}
        return shared | {
            image: {name: effect.plan(shape) for name, effect in self.effects.items()}
            for image in self.images
            if self.effects
        }

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Turn drawn values into the parameters of every step."""
        params = {name: layer.finish(drawn[name], shape) for name, layer in self._shared().items()}
        for image in self.images:
            steps = self.effects.items()
            params[image] = {name: step.finish(drawn[image][name], shape) for name, step in steps}
        return params

    def apply(self, x: Pair, params: random.Params) -> Pair:
        """Augment with drawn parameters."""
        x = self._scaled(x)
        for name, layer in self._shared().items():
            x = layer.apply(x, params[name])
        for image in self.images:
            for name, effect in self.effects.items():
                x[image] = effect.apply(x[image], params[image][name])
        return x

    def call(self, x: Pair, keys: Array | None = None, training: bool | None = None) -> Pair:
        """Augment in training; in inference map images and crop the centre, if there is a crop."""
        if training:
            return super().call(x, keys, training)
        x = self._scaled(x)
        return x if self.crop is None else self.crop(x, training=False)

    def _scaled(self, x: Pair) -> Pair:
        x = {name: ops.convert_to_tensor(volume) for name, volume in x.items()}
        images = {name: ops.cast(x[name], "float32") for name in self.images}
        return x | {name: percentile_rescale(image) for name, image in images.items()}

    def draw(self, x: Pair, keys: Array) -> Pair:
        """Draw and augment."""
        return self.apply(x, self.sample(keys, tuple(x[self.images[0]].shape[1:4])))

    def batch_size(self, x: Pair) -> Array:
        """Return the number of samples of the volumes."""
        return ops.shape(x[self.images[0]])[0]

    def describe(self) -> str:
        """Describe the steps with their probabilities and ranges as a table."""
        return describe("Train-time augmentation", rows_of(self._shared() | self.effects))

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The same volumes, or their crops."""
        if self.crop is not None:
            return self.crop.compute_output_spec(x)
        return {name: keras.KerasTensor(v.shape, v.dtype) for name, v in x.items()}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        crop = None if self.crop is None else self.crop.side
        return {**super().get_config(), "crop": crop, "images": self.images, **self._settings}

    def _shared(self) -> dict[str, Any]:
        layers = {"spatial": self.spatial, "crop": self.crop}
        return {name: layer for name, layer in layers.items() if layer is not None}


def percentile_rescale(x: Array, percentile: float = 99.99) -> Array:
    """Map each sample's minimum to 0 and a high percentile to 1, without clipping.

    The percentile is numpy's, linear between ranks. A constant sample becomes 0.

    Args:
        x: `(B, D, H, W, C)` float32.
        percentile: In (50, 100].

    Returns:
        Same shape.

    Raises:
        ValueError: If `percentile` is not in (50, 100].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.augmentation import percentile_rescale

        unit = percentile_rescale(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """
    if not 50 < percentile <= 100:
        raise ValueError(f"`percentile` must be in (50, 100]. Received: percentile={percentile}")
    x = ops.convert_to_tensor(x)
    voxels = math.prod(x.shape[1:])
    # Ranks from the top: only the few largest values are sorted.
    rank = (1 - percentile / 100) * (voxels - 1)
    below = math.floor(rank)
    largest = ops.top_k(ops.reshape(x, (-1, voxels)), min(below + 2, voxels))[0]
    upper, lower = largest[:, below], largest[:, min(below + 1, voxels - 1)]
    high = upper + (lower - upper) * (rank - below)
    low = ops.min(x, axis=(1, 2, 3, 4), keepdims=True)
    extent = high[:, None, None, None, None] - low
    return (x - low) / ops.where(extent > 0, extent, 1.0)
