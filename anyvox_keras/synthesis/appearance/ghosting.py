"""Repeated copies along one axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, integer, ranged
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.separable import along_axis, apply_matrices, circulant_matrix


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
