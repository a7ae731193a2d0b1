"""The losses in VoxelMorph's own PyTorch loop."""

from typing import Any

import keras


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
