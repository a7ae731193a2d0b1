"""Mutual information."""

from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.export import export
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss

_TINY = 1e-7


@export
class MutualInformationLoss(RegistrationLoss):
    """Minus the mutual information of two images, by Gaussian Parzen windows.

    Each voxel is shared among `bins` centres in [0, 1] with weights `exp(-(x - c)^2 / (2 s^2))`,
    normalised; the joint histogram `p` is the mean over voxels of their products, and the loss
    `-sum p log(p / (p_f p_m))`. The law of MONAI's `GlobalMutualInformationLoss`.

    Call with images `(B, D, H, W, C)` scaled to [0, 1] (beyond, they are clipped); one value a
    sample.

    Args:
        bins: Number of centres.
        sigma_ratio: s over the distance of two centres.

    Reference:
        Qiu et al., Learning diffeomorphic and modality-invariant registration using B-splines,
        MIDL 2021; Viola and Wells, IJCV 1997.

    Example:
        ```python
        x = np.random.rand(1, 12, 12, 12, 1).astype("float32")
        loss = MutualInformationLoss()(x, 1 - x)
        ```
    """

    of_voxels = False

    def __init__(
        self,
        bins: int = 23,
        sigma_ratio: float = 0.5,
        name: str = "mutual_information",
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        if bins < 2:
            raise ValueError(f"`bins` must be >= 2. Received: bins={bins}")
        self.bins = bins
        self.sigma_ratio = sigma_ratio

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return `(B,)`."""
        fixed, moved = self._shares(y_true), self._shares(y_pred)
        joint = ops.matmul(ops.transpose(moved, (0, 2, 1)), fixed) / float(fixed.shape[1])
        product = ops.mean(moved, axis=1)[:, :, None] * ops.mean(fixed, axis=1)[:, None]
        ratio = (joint + _TINY) / (product + _TINY)
        return -ops.sum(joint * ops.log(ratio + _TINY), axis=(1, 2))

    def _shares(self, x: Any) -> Any:
        """Weights of each voxel's bins, `(B, voxels, bins)`."""
        centres = ops.convert_to_tensor(np.linspace(0, 1, self.bins, dtype="float32"))
        voxels = int(np.prod(x.shape[1:]))
        x = ops.reshape(ops.clip(x, 0.0, 1.0), (-1, voxels, 1))
        distance = (x - centres) * ((self.bins - 1) / self.sigma_ratio)
        return ops.softmax(-0.5 * ops.square(distance), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "bins": self.bins, "sigma_ratio": self.sigma_ratio}
