"""What a user knows of the pair, as terms of the search: labels and landmarks."""

from typing import NamedTuple

from keras import ops

from anyvox_keras.ops import sample_linear
from anyvox_keras.types import Array

Pair = tuple[Array, Array]


class Terms(NamedTuple):
    """Terms beside the features, on the grid of the descent; pairs of the two directions.

    Attributes:
        labels: `(1, d, h, w, K)`, the share of each voxel that a structure fills, of the fixed and
            of the moving image, times the root of their weight; none without labels.
        points: Landmarks of both images, `(1, N, 1, 1, 3)` in voxels of this grid; or none.
        steps: Where each leads, `(1, N, 1, 1, 3)` in voxels: to its partner, there and back.
        pull: Weight of a landmark's squared distance, a float32 scalar; none without landmarks.
    """

    labels: Pair | None = None
    points: Pair | None = None
    steps: Pair | None = None
    pull: Array | None = None

    def swapped(self) -> "Terms":
        """The same from the moving to the fixed image."""
        return Terms(_turned(self.labels), _turned(self.points), _turned(self.steps), self.pull)

    def distance(self, displacement: Array, way: int = 1) -> Array:
        """Weighted sum of the landmarks' squared distances.

            pull * sum_n |u(p_n) - step_n|^2

        with `u` interpolated trilinearly; 0 without landmarks.

        Args:
            displacement: `(1, d, h, w, 3)` in voxels.
            way: 1 from the fixed to the moving image, -1 back.
        """
        if self.points is None or self.steps is None:
            return ops.zeros((), "float32")
        points, steps = self.points[::way][0], self.steps[::way][0]
        apart = sample_linear(displacement, points, outside="edge") - steps
        return self.pull * ops.sum(ops.square(apart))


def _turned(pair: Pair | None) -> Pair | None:
    return None if pair is None else (pair[1], pair[0])
