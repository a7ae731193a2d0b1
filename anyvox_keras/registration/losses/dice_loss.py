"""Overlap of warped labels."""

from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss


@export
class DiceLoss(RegistrationLoss):
    """One minus the soft Dice overlap, the mean over labels.

    `Dice = (2 sum f m + epsilon) / (sum f^2 + sum m^2 + epsilon)` over space; one minus
    `neurite`'s `dice`.

    Call with one-hot labels `(B, D, H, W, L)`, the second warped linearly; one value a sample. A
    label that neither map holds counts as a Dice of one.

    Args:
        epsilon: Added to numerator and denominator.

    Reference:
        Milletari et al., V-Net, 3DV 2016.

    Example:
        ```python
        labels = np.eye(3, dtype="float32")[np.random.randint(0, 3, (1, 8, 8, 8))]
        loss = DiceLoss()(labels, labels)
        ```
    """

    of_voxels = False

    def __init__(self, epsilon: float = 1e-5, name: str = "dice", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return `(B,)`."""
        space = (1, 2, 3)
        both = 2.0 * ops.sum(y_true * y_pred, axis=space) + self.epsilon
        each = ops.sum(ops.square(y_true) + ops.square(y_pred), axis=space) + self.epsilon
        return 1.0 - ops.mean(both / each, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
