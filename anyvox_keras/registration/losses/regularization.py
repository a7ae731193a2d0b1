"""Losses of a field alone: bending, gradient, inverse consistency."""

import itertools
from typing import Any

from keras import ops

from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.ops import compose
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss
from anyvox_keras.types import Array, Penalty


@export
class BendingEnergy(RegistrationLoss):
    """Mean squared second derivative of a field; affine maps cost nothing.

    `sum_a u_aa^2 + 2 sum_{a<b} u_ab^2` by compact central differences, on voxels with all
    neighbours; the mean over them and the components, as MONAI's `BendingEnergyLoss`.

    Call with anything (it is not read) and a field `(B, D, H, W, 3)` of at least three voxels an
    axis; one value per sample.

    Reference:
        Rueckert et al., Nonrigid registration using free-form deformations, TMI 1999.

    Example:
        ```python
        velocity = np.random.rand(1, 8, 8, 8, 3).astype("float32")
        loss = BendingEnergy()(velocity, velocity)
        ```
    """

    of_voxels = False

    def __init__(self, name: str = "bending", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B,)`; the first argument is Keras's contract."""
        energy = sum(ops.square(_pure(y_pred, axis)) for axis in (1, 2, 3))
        for a, b in itertools.combinations((1, 2, 3), 2):
            energy = energy + 2.0 * ops.square(_mixed(y_pred, a, b))
        return ops.mean(energy, axis=(1, 2, 3, 4))


def _pure(u: Array, axis: int) -> Array:
    return _at(u, {axis: 1}) - 2.0 * _at(u, {}) + _at(u, {axis: -1})


def _mixed(u: Array, a: int, b: int) -> Array:
    same = _at(u, {a: 1, b: 1}) + _at(u, {a: -1, b: -1})
    return (same - _at(u, {a: 1, b: -1}) - _at(u, {a: -1, b: 1})) / 4.0


def _at(u: Array, shifts: dict[int, int]) -> Array:
    """The voxels with all neighbours, moved by some voxels along some axes."""
    starts = [1 + shifts.get(axis, 0) for axis in (1, 2, 3)]
    i, j, k = (
        slice(start, start + side - 2) for start, side in zip(starts, u.shape[1:4], strict=True)
    )
    return u[:, i, j, k]


@export
class GradientPenalty(RegistrationLoss):
    """Mean forward difference of a field, squared or absolute: VoxelMorph's smoothness.

    The mean over the three axes of the mean over voxels and components; `neurite`'s
    `spatial_gradient`.

    Call with anything (it is not read) and a field `(B, D, H, W, 3)`; one value per sample.

    Args:
        penalty: "l2" (squared) or "l1" (absolute).

    Raises:
        ValueError: If `penalty` is unknown.

    Reference:
        Balakrishnan et al., VoxelMorph, TMI 2019, equation 8.

    Example:
        ```python
        velocity = np.random.rand(1, 8, 8, 8, 3).astype("float32")
        loss = GradientPenalty()(velocity, velocity)
        ```
    """

    of_voxels = False

    def __init__(self, penalty: Penalty = "l2", name: str = "gradient", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        one_of("penalty", penalty, Penalty)
        self.penalty = penalty

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B,)`; the first argument is Keras's contract."""
        measure = ops.square if self.penalty == "l2" else ops.absolute
        steps = (
            y_pred[:, 1:] - y_pred[:, :-1],
            y_pred[:, :, 1:] - y_pred[:, :, :-1],
            y_pred[:, :, :, 1:] - y_pred[:, :, :, :-1],
        )
        return sum(ops.mean(measure(step), axis=(1, 2, 3, 4)) for step in steps) / 3.0

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "penalty": self.penalty}


@export
class InverseConsistencyLoss(RegistrationLoss):
    """Squared length of what is left of a voxel's way there and back, in voxels^2.

    The mean of `|v(x) + u(x + v(x))|^2` and `|u(x) + v(x + u(x))|^2`.

    Call with the inverse `v` and the displacement `u`, both `(B, D, H, W, 3)`; one value per voxel.

    Reference:
        Christensen and Johnson, Consistent image registration, TMI 2001.

    Example:
        ```python
        shift = np.ones((1, 8, 8, 8, 3), "float32")
        loss = InverseConsistencyLoss()(-shift, shift)  # 0
        ```
    """

    def __init__(self, name: str = "inverse_consistency", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B, D, H, W)`."""
        ways = compose(y_pred, y_true), compose(y_true, y_pred)
        return sum(0.5 * ops.sum(ops.square(left), axis=-1) for left in ways)
