"""Weights from and to PyTorch checkpoints of the paper's code."""

import os
from typing import Any

import keras
import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.extras import load_extra
from anyvox_keras.io import atomic
from anyvox_keras.networks.checkpoint import class_in, load_checkpoint, read_checkpoint, state_of
from anyvox_keras.networks.unet import UNet
from anyvox_keras.networks.vit import ViT


def from_torch(path: str | os.PathLike[str], **arguments: Any) -> UNet | ViT:
    """Read a checkpoint into a new `UNet` or, if its keys say so, a new `ViT`.

    The variant is read from the keys: moving statistics mean `anatomix`'s family (batch norm, max
    pooling, nearest upsampling), biases without them `anatomix-dev`'s (instance norm, average
    pooling, trilinear upsampling), scales of norms without either `instance_affine`; sizes come
    from the shapes. Keys saved from a compiled model
    (`_orig_mod.`) are understood. Only tensors are unpickled (`weights_only`).

    Args:
        path: The `.pth` file.
        **arguments: Constructor arguments that keys and shapes cannot tell, such as `pooling`,
            `upsampling` and `epsilon` of a variant of one's own.

    Raises:
        UserError: If the file is absent, no checkpoint, or lacks weights (which are named).
        ImportError: If PyTorch is not installed.

    Example:
        ```python
        to_torch(UNet(width=4, levels=2), "unet.pth")
        from_torch("unet.pth").save_to_preset("unet")
        ```
    """
    if class_in(read_checkpoint(path)) == "ViT":
        return load_checkpoint(ViT, path, **arguments)
    return load_checkpoint(UNet, path, **arguments)


def to_torch(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write a network as a PyTorch state dict with the paper's keys.

    Weights and statistics go over bit for bit. PyTorch's `num_batches_tracked`, which no
    computation of these networks reads, is written as 0.

    Args:
        network: A `UNet` or a `ViT`.
        path: The `.pth` file.

    Raises:
        UserError: If the network is of another class.
        ImportError: If PyTorch is not installed.

    Example:
        ```python
        to_torch(UNet(width=4, levels=2), "unet.pth")
        ```
    """
    if not isinstance(network, UNet | ViT):
        kind = type(network).__name__
        raise UserError(f"{path}: a checkpoint holds a UNet or a ViT, received {kind}")
    torch = load_extra("torch", "a PyTorch checkpoint")
    state = {
        key: torch.from_numpy(np.ascontiguousarray(array)) if array.ndim else torch.tensor(0)
        for key, array in state_of(network).items()
    }
    with atomic(path) as temporary:
        torch.save(state, temporary)
