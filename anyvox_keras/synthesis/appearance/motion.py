"""Motion during the scan, and the ghosts it leaves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.ops import affine_grid, sample_linear
from anyvox_keras.random.random_layer import Params, integer, ranged
from anyvox_keras.random.smooth_noise import about_centre, rotation_matrix
from anyvox_keras.synthesis.appearance.blur import along_axis, apply_matrices, circulant_matrix
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.types import Array

#: Jitter of a movement's time, in distances between evenly spaced movements.
STRAY = 0.3


@export
class Motion(Effect):
    """Fill parts of k-space from images at other poses (Shaw et al., TorchIO's `RandomMotion`).

    The planes of the shifted spectrum along the last axis are taken in turn at the first pose, and
    after each movement at the next; the pose held at half time is the image as it is. Poses are
    rotations about the centre and translations; what comes from outside is the image's minimum.
    Selecting frequencies of one axis is a convolution along it: no Fourier transform is needed.

    TorchIO rotates about the corner of the image; here rotations are about its centre.

    Args:
        movements: Number of movements.
        degrees: Range of the angles, drawn per sample, movement and axis.
        translation: Range of the shifts in voxels, likewise.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `movements` is below 1.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Motion

        image = Motion()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        movements: int = 2,
        degrees: random.RangeLike = (-10.0, 10.0),
        translation: random.RangeLike = (-10.0, 10.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        if movements < 1:
            raise ValueError(f"`movements` must be >= 1. Received: movements={movements}")
        self.movements = int(movements)
        self.degrees = random.Range(degrees, "degrees")
        self.translation = random.Range(translation, "translation")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`degrees`, `translation` (B, movements, 3) and `times` (B, movements) in (0, 1)."""
        n, step = self.movements, 1 / (self.movements + 1)
        return {
            "degrees": ranged(self.degrees, n, 3),
            "translation": ranged(self.translation, n, 3),
            "times": random.Draw("uniform", (n,), -STRAY * step, STRAY * step),
        }

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Distribute the movements over the scan."""
        even = ops.arange(1, self.movements + 1, dtype="float32") / (self.movements + 1)
        return {**drawn, "times": drawn["times"] + even}

    def change(self, x: Array, params: Params) -> Array:
        """Add what each other pose contributes."""
        low = ops.min(x, axis=(1, 2, 3, 4), keepdims=True)
        masks = _parts(params["times"], x.shape[3])
        rotations = rotation_matrix(params["degrees"])
        total = x
        for movement in range(self.movements):
            pose = about_centre(rotations[:, movement], x.shape[1:4])
            shift = params["translation"][:, movement, :, None]
            pose = ops.concatenate([pose[..., :3], pose[..., 3:] + shift], axis=-1)
            moved = sample_linear(x - low, affine_grid(pose, x.shape[1:4])) + low
            total = total + _along_last(masks[movement + 1], moved - x)
        return total

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("movements", "degrees", "translation")


def _parts(times: Array, side: int) -> list[Array]:
    """For each pose (first the image itself) the weight (B, S) of each frequency, in FFT order."""
    movements = times.shape[1]
    plane = ops.convert_to_tensor(np.fft.ifftshift(np.arange(side)).astype("float32"))
    ends = ops.floor(times * side)[..., None]
    part = ops.sum(ops.cast(plane >= ends, "int32"), axis=1)
    middle = ops.sum(ops.cast(times <= 0.5, "int32"), axis=1)[:, None]
    # The first pose and the one at half time are exchanged.
    pose = ops.where(part == 0, middle, ops.where(part == middle, 0, part))
    return [ops.cast(pose == index, "float32") for index in range(movements + 1)]


def _along_last(weights: Array, x: Array) -> Array:
    return apply_matrices(x, [None, None, circulant_matrix(weights)])


@export
class Ghosting(Effect):
    """Weaken every n-th plane of the spectrum along one axis (TorchIO's `Ghosting`).

    Planes 0, n, 2n, ... of the shifted spectrum are multiplied by `1 - intensity`; the central one
    is kept and the real part is taken. Scaling planes of one axis is a convolution along it,
    so no Fourier transform is needed.

    Args:
        ghosts: `(low, high)`: n is an integer in [low, high], drawn per sample, as is the axis.
        intensity: Range of the strength in [0, 1].
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If a range is out of bounds.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Ghosting

        image = Ghosting()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        ghosts: Sequence[int] = (4, 10),
        intensity: random.RangeLike = (0.5, 1.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        if len(ghosts) != 2 or not 1 <= ghosts[0] <= ghosts[1]:
            raise ValueError(f"`ghosts` must be (low, high), 1 <= low <= high. Received: {ghosts}")
        self.ghosts = (int(ghosts[0]), int(ghosts[1]))
        self.intensity = random.Range(intensity, "intensity", minimum=0)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`axis`, `ghosts` (B,) int32 and `intensity` (B,)."""
        low, high = self.ghosts
        return {
            "axis": integer(0, 3),
            "ghosts": integer(low, high + 1),
            "intensity": ranged(self.intensity),
        }

    def change(self, x: Array, params: Params) -> Array:
        """Weaken the planes."""
        ghosts, weaker = params["ghosts"][:, None], 1.0 - params["intensity"][:, None]
        matrices = []
        for side in x.shape[1:4]:
            plane = np.fft.ifftshift(np.arange(side)).astype("int32")
            hit = ops.equal(ops.mod(ops.convert_to_tensor(plane)[None], ghosts), 0)
            hit = ops.logical_and(hit, plane != side // 2)
            matrices.append(circulant_matrix(ops.where(hit, weaker, 1.0)))
        return apply_matrices(x, along_axis(matrices, params["axis"], x.shape[1:4]))

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("ghosts", "intensity")
