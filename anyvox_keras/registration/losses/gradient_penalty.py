"""Roughness of a field by its first derivatives."""

from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss


@export
class GradientPenalty(RegistrationLoss):
    """Mean forward difference of a field, squared or absolute: VoxelMorph's smoothness.

    The mean over the three axes of the mean over voxels and components; `neurite`'s
    `spatial_gradient`.

    Call with anything (it is not read) and a field `(B, D, H, W, 3)`; one value a sample.

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

    def __init__(self, penalty: str = "l2", name: str = "gradient", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        if penalty not in ("l1", "l2"):
            raise ValueError(f"`penalty` must be l1 or l2. Received: penalty={penalty!r}")
        self.penalty = penalty

    def call(self, y_true: Any, y_pred: Any) -> Any:
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
