"""Crops, flips and affine maps that all volumes of a sample share."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.ops import affine_grid, sample_linear, sample_nearest
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.ops.resize import resize
from anyvox_keras.random.random_layer import Params, RandomLayer, chance, integer, ranged
from anyvox_keras.random.smooth_noise import about_centre, node_draws, product, rotation_matrix
from anyvox_keras.types import Array

Pair = dict[str, Array]


class PairLayer(RandomLayer):
    """A random layer of volumes by name, which share its parameters.

    Call arguments:
        x: Images `(B, D, H, W, C)` float and label maps `(B, D, H, W)` int, by name.
    """

    def draw(self, x: Pair, keys: Array) -> Pair:
        """Draw once per sample and apply to every volume."""
        return self.apply(x, self.sample(keys, spatial_shape(x)))

    def batch_size(self, x: Pair) -> Array:
        """Return the number of samples of the volumes."""
        return ops.shape(next(iter(x.values())))[0]

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The same volumes."""
        return {name: keras.KerasTensor(v.shape, v.dtype) for name, v in x.items()}


def spatial_shape(x: dict[str, Any]) -> tuple[int, ...]:
    """`(D, H, W)` that the volumes share."""
    return tuple(next(iter(x.values())).shape[1:4])


@export
class RandomCrop(PairLayer):
    """Cut a cube at a uniform position, the same in every volume of a sample.

    In inference the central cube, so that shapes stay the same.

    Args:
        side: Side of the cube.
        seed: Seed of the draws that are made without keys.

    Call arguments:
        x: Volumes by name, `(B, D, H, W, C)` or `(B, D, H, W)`, each axis at least `side`.

    Raises:
        ValueError: If `side` is below 1 or a volume is smaller.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.augmentation import RandomCrop

        window = RandomCrop(8)({"label_map": np.ones((1, 16, 16, 16), "int32")}, training=True)
        ```
    """

    def __init__(self, side: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        if side < 1:
            raise ValueError(f"`side` must be >= 1. Received: side={side}")
        self.side = int(side)

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """`corner` (B, 3) int32."""
        if min(shape) < self.side:
            message = f"volumes must have at least {self.side} voxels per axis"
            raise ValueError(f"{message}. Received: shape={tuple(shape)}")
        room = np.asarray([n - self.side + 1 for n in shape], "int32")
        return {"corner": integer(0, room, 3)}

    def apply(self, x: Pair, params: Params) -> Pair:
        """Cut every volume at the same place."""
        return {name: self._cut(ops.convert_to_tensor(v), params) for name, v in x.items()}

    def _cut(self, volume: Array, params: Params) -> Array:
        window = ops.arange(self.side, dtype="int32")
        for axis in (1, 2, 3):
            index = params["corner"][:, axis - 1, None] + window
            shape = [-1, *(self.side if a == axis else 1 for a in range(1, len(volume.shape)))]
            volume = ops.take_along_axis(volume, ops.reshape(index, shape), axis=axis)
        return volume

    def call(self, x: Pair, keys: Array | None = None, training: bool | None = None) -> Pair:
        """Cut at random in training, at the centre otherwise."""
        if training:
            return super().call(x, keys, training)
        starts = [(n - self.side) // 2 for n in spatial_shape(x)]
        window = (slice(None), *(slice(start, start + self.side) for start in starts))
        return {name: volume[window] for name, volume in x.items()}

    def ranges(self) -> dict[str, str]:
        """Describe what is drawn."""
        return {"side": str(self.side), "corner": "uniform"}

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Smaller volumes."""
        cube = (self.side,) * 3
        return {
            name: keras.KerasTensor((v.shape[0], *cube, *v.shape[4:]), v.dtype)
            for name, v in x.items()
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "side": self.side}


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
        matrix = about_centre(_turned(params), shape)
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


def _turned(params: Params) -> Array:
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


@export
class AffineAugmentation(PairLayer):
    """Rotate, shear and scale an image and its label map alike (MONAI's `RandAffine`).

    Output voxel `o` is taken from `R H S (o - c) + c + u(o)` about the grid's centre: R = Rx Ry Rz,
    H = H3 H2 H1 with Ha the shear along axis a by the two others, S the scales, u the elastic part,
    0 unless asked for: normal displacements of nodes, linear between them. Images linearly, label
    maps by nearest, both 0 outside. The identity in inference.

    Args:
        probability: Probability that a sample is changed.
        degrees: Range of the angle about each axis.
        scale: Range of the scale along each axis; 1.25 shrinks the image, as in MONAI.
        shear: Range of each shear.
        elastic: Range of the standard deviation of the nodes' displacements, in finest voxels.
        nodes: Distance of the nodes, in finest voxels.
        spacing: Voxel size along each axis, in any unit: the map is then one of space, and leaves
            slices as they are that are more than three times as thick as their voxels are wide.
            None takes voxels for cubes.
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
        elastic: random.RangeLike = (0.0, 0.0),
        nodes: float = 24.0,
        spacing: Sequence[float] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        if not 0 <= probability <= 1:
            message = f"`probability` must be in [0, 1]. Received: probability={probability}"
            raise ValueError(message)
        if not nodes > 0:
            raise ValueError(f"`nodes` must be > 0. Received: nodes={nodes}")
        self.probability = float(probability)
        self.degrees = random.Range(degrees, "degrees")
        self.scale = random.Range(scale, "scale", minimum=1e-3)
        self.shear = random.Range(shear, "shear")
        self.elastic = random.Range(elastic, "elastic", minimum=0.0)
        self.nodes = float(nodes)
        self.spacing = None if spacing is None else tuple(float(mm) for mm in spacing)

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """`active` (B,), `degrees` and `scale` (B, 3), `shear` (B, 6).

        An elastic part adds `elastic` (B,) and `nodes` (B, d, h, w, 3).
        """
        plan = {
            "active": chance(self.probability),
            "degrees": ranged(self.degrees, 3),
            "scale": ranged(self.scale, 3),
            "shear": ranged(self.shear, 6),
        }
        if self.elastic.high:
            plan["elastic"] = ranged(self.elastic)
            sides = [n * wide for n, wide in zip(shape, self._widths(), strict=True)]
            plan["nodes"] = node_draws(sides, self.nodes, 3)
        return plan

    def apply(self, x: Pair, params: Params) -> Pair:
        """Transform every volume with the same parameters."""
        shape = spatial_shape(x)
        matrix = about_centre(self._matrix(params), shape)

        def warped(volume: Array) -> Array:
            sample = sample_nearest if len(volume.shape) == 4 else sample_linear
            coordinates = affine_grid(matrix, shape)
            if self.elastic.high:
                coordinates = coordinates + self._displacement(params, shape)
            return sample(volume, coordinates, outside="zeros")

        volumes = {name: ops.convert_to_tensor(volume) for name, volume in x.items()}
        return {name: only_where(params["active"], warped, v) for name, v in volumes.items()}

    def _widths(self) -> np.ndarray:
        """Sides of a voxel in those of its shortest."""
        mm = np.asarray(self.spacing or (1.0, 1.0, 1.0), "float32")
        return mm / mm.min()

    def _displacement(self, params: Params, shape: Sequence[int]) -> Array:
        """Voxels, `(B, D, H, W, 3)`; none across thick slices."""
        widths = self._widths()
        amount = np.where(widths <= THICK, 1 / widths, 0).astype("float32")
        return (
            resize(params["nodes"], shape) * amount * params["elastic"][:, None, None, None, None]
        )

    def _matrix(self, params: Params) -> Array:
        """Output-to-input voxels, `(B, 3, 3)`."""
        if self.spacing is None:
            return _sheared(params)
        mm = np.asarray(self.spacing, "float32")
        mixes = np.maximum(mm[:, None] / mm, mm / mm[:, None]) <= THICK
        degrees = params["degrees"] * np.asarray([mixes[1, 2], mixes[0, 2], mixes[0, 1]], "float32")
        shear = params["shear"] * mixes[~np.eye(3, dtype=bool)].astype("float32")
        return _sheared({**params, "degrees": degrees, "shear": shear}) * (mm / mm[:, None])

    def ranges(self) -> dict[str, str]:
        """Describe the ranges of the draws, by name."""
        names = ("degrees", "scale", "shear", *(["elastic"] if self.elastic.high else []))
        return {name: str(getattr(self, name)) for name in names}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("degrees", "scale", "shear", "elastic")
        ranges = {name: getattr(self, name).pair for name in names}
        own = {"probability": self.probability, "nodes": self.nodes, "spacing": self.spacing}
        return {**super().get_config(), **own, **ranges}


#: slices this much thicker than their voxels are wide are turned within their plane only
THICK = 3.0


def _sheared(params: Params) -> Array:
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
