"""One flip and one affine for all volumes of a sample."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.ops import affine_grid, sample_linear, sample_nearest
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.random.random_affine import about_centre, rotation_matrix
from anyvox_keras.random.random_layer import Params, chance, ranged
from anyvox_keras.synthesis.augmentation.pair_layer import Pair, PairLayer, spatial_shape


@export
class SpatialAugmentation(PairLayer):
    """Flip and deform images and label maps alike (TorchIO's `RandomFlip`, `RandomAffine`).

    With probability `flip` each axis is reversed with probability 1/2. With probability `affine`
    output voxel `o` is taken from `R^-1 S^-1 (o - c) + c` about the grid's centre, R = Rz Rx Ry;
    images linearly, with their minimum outside; label maps by nearest, with 0 outside. The identity
    in inference.

    Args:
        flip: Probability of flips.
        affine: Probability of an affine.
        scale: Range of the scale per axis; 1.5 enlarges the image 1.5 times.
        degrees: Range of the angle per axis.
        seed: Seed of the draws that are made without keys.

    Call arguments:
        x: Volumes by name: images `(B, D, H, W, C)` float, label maps `(B, D, H, W)` int.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.augmentation import SpatialAugmentation

        pair = {"label_map": np.ones((1, 16, 16, 16), "int32")}
        pair = SpatialAugmentation()(pair, training=True)
        ```
    """

    augments = True

    def __init__(
        self,
        flip: float = 0.9,
        affine: float = 0.5,
        scale: random.RangeLike = (0.6, 1.4),
        degrees: random.RangeLike = (-45.0, 45.0),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        for name, p in (("flip", flip), ("affine", affine)):
            if not 0 <= p <= 1:
                raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={p}")
        self.flip, self.affine = float(flip), float(affine)
        self.scale = random.Range(scale, "scale", minimum=1e-3)
        self.degrees = random.Range(degrees, "degrees")

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """`flips`, `scale`, `degrees` (B, 3) and whether they count, `flip`, `affine` (B,)."""
        return {
            "flip": chance(self.flip),
            "flips": random.Draw("bernoulli", (3,), 0.0, 0.5),
            "affine": chance(self.affine),
            "scale": ranged(self.scale, 3),
            "degrees": ranged(self.degrees, 3),
        }

    def apply(self, x: Pair, params: Params) -> Pair:
        """Transform every volume with the same parameters."""
        shape = spatial_shape(x)
        matrix = about_centre(_matrix(params), shape)
        flips = ops.logical_and(params["flips"], params["flip"][:, None])

        def warped(volume: Array) -> Array:
            return _warped(volume, affine_grid(matrix, shape))

        flipped = {name: _flipped(ops.convert_to_tensor(v), flips) for name, v in x.items()}
        return {name: only_where(params["affine"], warped, v) for name, v in flipped.items()}

    def ranges(self) -> dict[str, str]:
        """Describe the ranges of the draws, by name."""
        names = ("flip", "affine", "scale", "degrees")
        return {name: str(getattr(self, name)) for name in names}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"flip": self.flip, "affine": self.affine}
        ranges = {"scale": self.scale.pair, "degrees": self.degrees.pair}
        return {**super().get_config(), **own, **ranges}


def _matrix(params: Params) -> Array:
    """Output-to-input `R^-1 S^-1`; `Rz Rx Ry` transposed is `Rx Ry Rz` in another order."""
    angles = params["degrees"]
    zero = ops.zeros_like(angles[:, 0])
    x, y, z = (
        rotation_matrix(ops.stack([angles[:, a] if a == b else zero for b in range(3)], axis=-1))
        for a in range(3)
    )
    rotation = ops.matmul(ops.matmul(z, x), y)
    return ops.swapaxes(rotation, -1, -2) / params["scale"][:, None, :]


def _flipped(volume: Array, flips: Array) -> Array:
    for axis in (1, 2, 3):
        chosen = ops.reshape(flips[:, axis - 1], (-1,) + (1,) * (len(volume.shape) - 1))
        volume = ops.where(chosen, ops.flip(volume, axis=axis), volume)
    return volume


def _warped(volume: Array, coordinates: Array) -> Array:
    if len(volume.shape) == 4:
        return sample_nearest(volume, coordinates, outside="zeros")
    low = ops.min(volume, axis=(1, 2, 3, 4), keepdims=True)
    return sample_linear(volume - low, coordinates, outside="zeros") + low
