"""UNet weights from and to PyTorch checkpoints of the paper's code."""

import os

import numpy as np

from anyvox_keras.extras import load_extra
from anyvox_keras.io import atomic
from anyvox_keras.networks.checkpoint import load_checkpoint, state_of
from anyvox_keras.networks.unet import UNet


def from_torch(path: str | os.PathLike[str]) -> UNet:
    """Read a checkpoint `model.<index>.weight ...` into a new `UNet`.

    The variant is read from the keys: moving statistics mean `anatomix`'s family (batch norm, max
    pooling, nearest upsampling), biases without them `anatomix-dev`'s (instance norm, average
    pooling, trilinear upsampling); sizes come from the shapes. Keys saved from a compiled model
    (`_orig_mod.`) are understood. Only tensors are unpickled (`weights_only`).

    Raises:
        UserError: If the file is absent, no checkpoint, or lacks weights (which are named).
        ImportError: If PyTorch is not installed.

    Example:
        ```python
        to_torch(UNet(width=4, levels=2), "unet.pth")
        from_torch("unet.pth").save_to_preset("unet")
        ```
    """
    return load_checkpoint(UNet, path)


def to_torch(unet: UNet, path: str | os.PathLike[str]) -> None:
    """Write a UNet as a PyTorch state dict with the paper's keys.

    Weights and statistics go over bit for bit. PyTorch's `num_batches_tracked`, which no
    computation of these networks reads, is written as 0.

    Example:
        ```python
        to_torch(UNet(width=4, levels=2), "unet.pth")
        ```
    """
    torch = load_extra("torch", "a PyTorch checkpoint")
    state = {
        key: torch.from_numpy(np.ascontiguousarray(array)) if array.ndim else torch.tensor(0)
        for key, array in state_of(unet).items()
    }
    with atomic(path) as temporary:
        torch.save(state, temporary)
