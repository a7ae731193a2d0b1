"""The MIND loss."""

from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.registration.descriptors.mind import mind_ssc
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss


@export
class MINDLoss(RegistrationLoss):
    """Mean squared difference of the MIND-SSC descriptors of two images, whatever their contrasts.

    Call with fixed and moved image `(B, D, H, W, 1)`; one value a voxel.

    Args:
        radius: Of the patch, in voxels.
        dilation: Distance of the six neighbours, in voxels.

    Reference:
        Heinrich et al., MICCAI 2013; see `mind_ssc`.

    Example:
        ```python
        x = np.random.rand(1, 12, 12, 12, 1).astype("float32")
        loss = MINDLoss()(x, 1 - x)
        ```
    """

    def __init__(self, radius: int = 1, dilation: int = 2, name: str = "mind", **kwargs: Any):
        super().__init__(name, **kwargs)
        self.radius = radius
        self.dilation = dilation

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return `(B, D, H, W)`."""
        fixed, moved = (mind_ssc(x, self.radius, self.dilation) for x in (y_true, y_pred))
        return ops.mean(ops.square(fixed - moved), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "radius": self.radius, "dilation": self.dilation}
