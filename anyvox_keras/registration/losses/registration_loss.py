"""What all losses of registration share, in Keras and as modules of PyTorch."""

from typing import Any

import keras


class RegistrationLoss(keras.losses.Loss):
    """A loss in float32 under any policy; masks are Keras's `sample_weight`.

    Losses that compare voxels return `(B, D, H, W)`; with a mask of that shape the mean is over
    the mask. The others return `(B,)`.

    Attributes:
        of_voxels: Whether there is a value per voxel, which a mask can weigh.
    """

    of_voxels = True

    def __init__(self, name: str, **kwargs: Any) -> None:
        defaults = {"dtype": "float32", "reduction": "mean_with_sample_weight"}
        super().__init__(name=name, **{**defaults, **kwargs})


def as_torch_module(loss: keras.losses.Loss) -> Any:
    """Wrap a loss of this package as a `torch.nn.Module` of channels-first tensors.

    `module(target, warped, mask=None)` takes what VoxelMorph's scripts hand to their image loss,
    `(B, C, D, H, W)`, and returns a scalar with a gradient; a mask is `(B, 1, D, H, W)`.

    Raises:
        ValueError: If Keras runs on another backend than torch.

    Example:
        ```python
        image_loss = as_torch_module(keras.losses.MeanSquaredError())
        ```
    """
    if keras.backend.backend() != "torch":
        raise ValueError(
            f"a PyTorch module needs KERAS_BACKEND=torch. Received: {keras.backend.backend()}"
        )
    import torch

    class TorchLoss(torch.nn.Module):
        def forward(self, target: Any, warped: Any, mask: Any = None) -> Any:
            last = [x.movedim(1, -1) for x in (target, warped)]
            return loss(*last, sample_weight=None if mask is None else mask.movedim(1, -1)[..., 0])

    return TorchLoss()
