"""Two deformations of one synthetic anatomy."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import integrate_velocity, warp
from anyvox_keras.random import Range, RangeLike, fold_in, smooth_noise, uniform

Batch = dict[str, Any]
IMAGES = ("fixed", "moving")


@export
class DeformedPairs(Float32Layer):
    """Deform the two views of a synthetic pair differently: registration's training data.

    Each view of one label map gets a velocity of its own, Gaussian noise on nodes `scale` voxels
    apart, upsampled linearly, with a standard deviation drawn uniformly from `std` per image. Of
    several scales the noises add up, each in proportion to its scale, so that all strain alike. The
    integral warps the view linearly and the labels by nearest. The contrasts of the views are
    independent, so what is learnt cannot depend on them (Hoffmann et al., SynthMorph, TMI 2022).

    Call with `keys` `(B, 2)` and the stream's `label_map`, `view1` and `view2`; returns `fixed` and
    `moving` `(B, D, H, W, 1)`, and one-hot `fixed_labels` and `moving_labels`
    `(B, D, H, W, classes)`; float32. What is drawn is a function of the keys alone.

    Args:
        classes: Number of labels, the background's 0 included: `stream.classes`.
        scale: Distance of the nodes, in voxels; one or several.
        std: Range of the velocity's standard deviation at the nodes of the largest scale, in
            voxels.

    Raises:
        ValueError: If `classes` is below one, there is no scale or one not above 0, or `std` is
            negative.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.voxelmorph import DeformedPairs

        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16)
        drawn = {**stream.layer(stream[0][0]), "keys": stream[0][0]["keys"]}
        pair = DeformedPairs(stream.classes, scale=6)(drawn)
        ```
    """

    def __init__(
        self,
        classes: int,
        scale: float | Sequence[float] = 12.0,
        std: RangeLike = (0.0, 3.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if classes < 1:
            raise ValueError(f"`classes` must be >= 1. Received: classes={classes}")
        self.classes = classes
        self.scale = [float(x) for x in (scale if isinstance(scale, Sequence) else [scale])]
        if not self.scale or min(self.scale) <= 0:
            raise ValueError(f"`scale` must be > 0. Received: scale={scale}")
        self.std = Range(std, "std", minimum=0.0)

    def call(self, inputs: Batch) -> Batch:
        """Draw two deformations and apply them."""
        pair: Batch = {}
        for name, view in zip(IMAGES, ("view1", "view2"), strict=True):
            displacement = self._displacement(fold_in(inputs["keys"], name), inputs[view])
            labels = warp(inputs["label_map"], displacement, "nearest", "edge")
            pair[name] = warp(inputs[view], displacement, outside="edge")
            pair[f"{name}_labels"] = ops.one_hot(labels, self.classes, dtype="float32")
        return pair

    def _displacement(self, keys: Any, view: Any) -> Any:
        std = uniform(fold_in(keys, "std"), (1,), *self.std.pair)
        nodes = fold_in(keys, "velocity")
        velocity = sum(
            smooth_noise(fold_in(nodes, str(i)), view.shape[1:4], scale, channels=3)
            * (scale / max(self.scale))
            for i, scale in enumerate(self.scale)
        )
        return integrate_velocity(velocity * std[:, :, None, None, None], steps=5)

    def compute_output_spec(self, inputs: dict[str, Any]) -> Any:
        """Two images and their labels."""
        image = tuple(inputs["view1"].shape)
        labels = (*image[:-1], self.classes)
        shapes = dict.fromkeys(IMAGES, image)
        shapes |= {f"{name}_labels": labels for name in IMAGES}
        return {name: keras.KerasTensor(shape, "float32") for name, shape in shapes.items()}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "scale": self.scale,
            "std": self.std.pair,
        }
