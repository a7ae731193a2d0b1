"""Whether two displacements undo each other."""

from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.ops import compose
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss


@export
class InverseConsistencyLoss(RegistrationLoss):
    """Squared length of what is left of a voxel's way there and back, in voxels^2.

    The mean of `|v(x) + u(x + v(x))|^2` and `|u(x) + v(x + u(x))|^2`.

    Call with the inverse `v` and the displacement `u`, both `(B, D, H, W, 3)`; one value a voxel.

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

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return `(B, D, H, W)`."""
        ways = compose(y_pred, y_true), compose(y_true, y_pred)
        return sum(0.5 * ops.sum(ops.square(left), axis=-1) for left in ways)
