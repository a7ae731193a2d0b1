"""One affine for a crop and its labels."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.ops import affine_grid, sample_linear, sample_nearest
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.random.random_affine import about_centre, product, rotation_matrix
from anyvox_keras.random.random_layer import Params, chance, ranged
from anyvox_keras.synthesis.augmentation.pair_layer import Pair, PairLayer, spatial_shape


@export
class AffineAugmentation(PairLayer):
    """Rotate, shear and scale an image and its label map alike (MONAI's `RandAffine`).

    Output voxel `o` is taken from `R H S (o - c) + c` about the grid's centre: R = Rx Ry Rz,
    H = H3 H2 H1 with Ha the shear along axis a by the two others, S the scales. Images linearly,
    label maps by nearest, both 0 outside. The identity in inference.

    Args:
        probability: Probability that a sample is changed.
        degrees: Range of the angle about each axis.
        scale: Range of the scale along each axis; 1.25 shrinks the image, as in MONAI.
        shear: Range of each shear.
        seed: Seed of the draws that are made without keys.

    Call arguments:
        x: Volumes by name: images `(B, D, H, W, C)` float, label maps `(B, D, H, W)` int.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis import AffineAugmentation

        pair = {"label_map": np.ones((1, 16, 16, 16), "int32")}
        pair = AffineAugmentation()(pair, training=True)
        ```
    """

    augments = True

    def __init__(
        self,
        probability: float = 0.98,
        degrees: random.RangeLike = (-45.0, 45.0),
        scale: random.RangeLike = (0.8, 1.2),
        shear: random.RangeLike = (-0.2, 0.2),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        if not 0 <= probability <= 1:
            message = f"`probability` must be in [0, 1]. Received: probability={probability}"
            raise ValueError(message)
        self.probability = float(probability)
        self.degrees = random.Range(degrees, "degrees")
        self.scale = random.Range(scale, "scale", minimum=1e-3)
        self.shear = random.Range(shear, "shear")

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """`active` (B,), `degrees` and `scale` (B, 3), `shear` (B, 6)."""
        return {
            "active": chance(self.probability),
            "degrees": ranged(self.degrees, 3),
            "scale": ranged(self.scale, 3),
            "shear": ranged(self.shear, 6),
        }

    def apply(self, x: Pair, params: Params) -> Pair:
        """Transform every volume with the same parameters."""
        shape = spatial_shape(x)
        matrix = about_centre(_matrix(params), shape)

        def warped(volume: Array) -> Array:
            sample = sample_nearest if len(volume.shape) == 4 else sample_linear
            return sample(volume, affine_grid(matrix, shape), outside="zeros")

        volumes = {name: ops.convert_to_tensor(volume) for name, volume in x.items()}
        return {name: only_where(params["active"], warped, v) for name, v in volumes.items()}

    def ranges(self) -> dict[str, str]:
        """Describe the ranges of the draws, by name."""
        return {name: str(getattr(self, name)) for name in ("degrees", "scale", "shear")}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        ranges = {name: getattr(self, name).pair for name in ("degrees", "scale", "shear")}
        return {**super().get_config(), "probability": self.probability, **ranges}


def _matrix(params: Params) -> Array:
    """Rotation x shear x scale, `(B, 3, 3)`."""
    shears = _shear(params["shear"])
    return product(rotation_matrix(params["degrees"]), shears) * params["scale"][:, None, :]


def _shear(amounts: Array) -> Array:
    """Shear along the first axis, then the second, then the third, each by the two others."""
    one, zero = ops.ones_like(amounts[:, 0]), ops.zeros_like(amounts[:, 0])
    unit = [[one if i == j else zero for j in range(3)] for i in range(3)]
    matrices = []
    for axis in range(3):
        rows = [list(row) for row in unit]
        for place, other in enumerate(a for a in range(3) if a != axis):
            rows[axis][other] = amounts[:, 2 * axis + place]
        matrices.append(ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2))
    first, second, third = matrices
    return product(third, product(second, first))
