"""Instance optimisation of what a trained VoxelMorph predicts."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import to_numpy
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.progress import counted
from anyvox_keras.registration.layers.displacement import SpatialTransformer
from anyvox_keras.registration.losses import GradientPenalty
from anyvox_keras.types import Array
from anyvox_keras.voxelmorph.graph import warp_both
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph

CARRIED = "carried"


def refine(
    model: VoxelMorph,
    fixed: Any,
    moving: Any,
    loss: keras.losses.Loss,
    smoothness: float = 0.5,
    iterations: int = 50,
    learning_rate: float = 0.1,
    compared: tuple[Any, Any] | None = None,
    mask: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Descend from the network's velocity on the images at hand (Balakrishnan et al., section V).

    Adam minimises `loss(fixed, moved) + smoothness * GradientPenalty(velocity)` over the velocity
    alone; the network stays as it is.

    Args:
        model: A `VoxelMorph`, trained or not.
        fixed: `(B, D, H, W, C)`.
        moving: The same grid.
        loss: Of the fixed and the moved images, such as `FeatureLoss`.
        smoothness: Weight of the penalty.
        iterations: Number of steps.
        learning_rate: Of Adam, in voxels of the velocity's grid.
        compared: What the loss compares in the images' place, `(B, D, H, W, F)` of the fixed and
            of the moving one, which is warped: features computed once, for
            `FeatureLoss(..., recompute=False)`.
        mask: `(B, D, H, W)`, where a loss of voxels counts; None for everywhere.

    Returns:
        Displacement `(B, D, H, W, 3)` in voxels, and moved images; float32.

    Example:
        ```python
        from anyvox_keras.registration import LocalNCCLoss

        fixed, moving = np.random.default_rng(0).random((2, 1, 16, 16, 16, 1)).astype("float32")
        model = VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        displacement, moved = refine(model, fixed, moving, LocalNCCLoss(5), iterations=3)
        ```
    """
    pair = {"fixed": np.asarray(fixed, "float32"), "moving": np.asarray(moving, "float32")}
    start = model.register_both(**pair)["velocity"]
    target, of = pair["fixed"], "moved"
    if compared is not None:
        target, of = np.asarray(compared[0], "float32"), CARRIED
        pair[CARRIED] = np.asarray(compared[1], "float32")
    instance = _instance(model.get_config(), start, pair)
    instance.compile(
        keras.optimizers.Adam(learning_rate, epsilon=1e-8),
        loss={of: loss, "velocity": GradientPenalty()},
        loss_weights={of: 1.0, "velocity": smoothness},
    )
    targets = {of: target, "velocity": np.zeros_like(start)}
    weights = None
    if mask is not None and getattr(loss, "of_voxels", True):
        weights = {of: np.asarray(mask, "float32"), "velocity": np.ones(len(start), "float32")}
    for _ in counted(range(iterations), "refinement", iterations):
        instance.train_on_batch(pair, targets, weights)
    outputs = instance.predict_on_batch(pair)
    return to_numpy(outputs["displacement"]), to_numpy(outputs["moved"])


def _instance(
    config: dict[str, Any], start: np.ndarray, pair: dict[str, np.ndarray]
) -> keras.Model:
    """A model whose only weight is the velocity of these images."""
    inputs = {name: keras.Input(batch_shape=x.shape, name=name) for name, x in pair.items()}
    velocity = _Velocity(start, name="free_velocity")(inputs["fixed"])
    outputs = warp_both(config, velocity, inputs["fixed"], inputs["moving"])
    # Not the way back, which nothing asks for.
    outputs = {name: outputs[name] for name in ("velocity", "displacement", "moved")}
    if CARRIED in inputs:
        carry = SpatialTransformer(outside="edge")
        outputs[CARRIED] = carry([inputs[CARRIED], outputs["displacement"]])
    return keras.Model(inputs, outputs)


class _Velocity(Float32Layer):
    """Returns its weight, whatever the images."""

    def __init__(self, start: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, _: Sequence[int | None]) -> None:
        self.velocity = self.add_weight(self.start.shape, initializer="zeros", name="velocity")
        self.velocity.assign(self.start)

    def call(self, inputs: Array) -> Array:
        return ops.convert_to_tensor(self.velocity)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int, ...]:
        return self.start.shape
