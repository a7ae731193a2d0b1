"""Local normalised cross-correlation."""

from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.ops import box_filter
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss


@export
class LocalNCCLoss(RegistrationLoss):
    """One minus the squared local correlation of two images, for one modality.

    In the cube of N voxels around each voxel, with sums over it,

        c = (S_fm - S_f S_m / N)^2 / ((S_ff - S_f^2 / N) (S_mm - S_m^2 / N) + epsilon)

    and the loss is `1 - c`, the mean over channels. Zeros lie beyond the grid. One minus
    `neurite`'s `ncc`.

    Call with fixed and moved image `(B, D, H, W, C)`; one value a voxel.

    Args:
        window: Odd side of the cube.
        epsilon: Added to the denominator.

    Reference:
        Avants et al., Symmetric diffeomorphic image registration with cross-correlation, MIA 2008.

    Example:
        ```python
        x = np.random.rand(1, 12, 12, 12, 1).astype("float32")
        loss = LocalNCCLoss()(x, x)
        ```
    """

    def __init__(
        self, window: int = 9, epsilon: float = 1e-5, name: str = "local_ncc", **kwargs: Any
    ) -> None:
        super().__init__(name, **kwargs)
        if window < 1 or window % 2 == 0:
            raise ValueError(f"`window` must be odd. Received: window={window}")
        self.window = window
        self.epsilon = epsilon

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return `(B, D, H, W)`."""
        moments = (y_true, y_pred, y_true * y_true, y_pred * y_pred, y_true * y_pred)
        channels = y_true.shape[-1]
        count = float(self.window**3)
        sums = box_filter(ops.concatenate(moments, axis=-1), self.window) * count
        f, m, ff, mm, fm = (sums[..., i * channels : (i + 1) * channels] for i in range(5))
        cross = ops.square(fm - f * m / count)
        variances = (ff - f * f / count) * (mm - m * m / count)
        return 1.0 - ops.mean(cross / (variances + self.epsilon), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "window": self.window, "epsilon": self.epsilon}
