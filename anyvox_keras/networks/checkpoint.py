"""PyTorch checkpoints of the paper's code: reading them, and what their keys say."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from anyvox_keras.errors import UserError, reading
from anyvox_keras.extras import load_extra
from anyvox_keras.networks.checkpoint_keys import ARGUMENTS, ENTRIES, Entry, State

Network = TypeVar("Network", bound=keras.Model)
COMPILED_PREFIX = "_orig_mod."


def load_checkpoint(
    make: Callable[..., Network], path: str | os.PathLike[str], dtype: Any = None, **arguments: Any
) -> Network:
    """Make a network of the variant that a checkpoint's keys tell, and fill in its weights.

    Args:
        make: The class, `UNet` or `ViT`, that the checkpoint must be of.
        path: The `.pth` file.
        dtype: Dtype policy; None takes the global one.
        **arguments: Constructor arguments that are not as the keys suggest, such as the pooling.

    Raises:
        UserError: If the file is absent, no checkpoint, of the other class, or lacks weights (which
            are named).
    """
    state = read_checkpoint(path)
    name, where = class_in(state), str(path)
    if name != make.__name__:
        raise UserError(f"{path}: expected a checkpoint of a {make.__name__}, received a {name}")
    with reading(path, f"a {name} of the paper"):
        found = {**ARGUMENTS[name](state, where), **arguments}
        network: Any = make(**found, seed=0, dtype=dtype)
    entries = ENTRIES[name](network)
    _require_match(state, entries, where)
    for entry in entries:
        if entry.weight is not None:
            entry.weight.assign(entry.to_keras(state[entry.key]))
    filled: Network = network
    return filled


def class_in(state: State) -> str:
    """Return the class whose weights a state holds, by its keys."""
    return "ViT" if any(key.startswith("down_projection.") for key in state) else "UNet"


def state_of(network: Any) -> State:
    """Return a network's weights as arrays by the paper's keys, in PyTorch's layout."""
    entries = ENTRIES[type(network).__name__](network)
    return {entry.key: entry.to_torch() for entry in entries}


def read_checkpoint(path: str | os.PathLike[str]) -> State:
    """Read a `.pth` file's tensors as numpy arrays, compiled-model prefixes removed."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    torch = load_extra("torch", "a PyTorch checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # damaged pickles and archives raise nearly everything
    except Exception as error:
        reason = str(error).split("\n", maxsplit=1)[0][:120]
        raise UserError(f"{path}: not a readable PyTorch checkpoint ({reason})") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) and not value.is_quantized
        for key, value in state.items()
    ):
        kind = type(state).__name__
        raise UserError(f"{path}: expected a state dict of plain tensors, received {kind}")
    return {key.removeprefix(COMPILED_PREFIX): _numpy(value) for key, value in state.items()}


def _require_match(state: State, entries: Sequence[Entry], where: str) -> None:
    expected = {entry.key: entry.to_torch().shape for entry in entries}
    # What nothing is computed from may be absent.
    needed = {entry.key for entry in entries if entry.weight is not None}
    missing = [key for key in expected if key not in state and key in needed]
    unknown = [key for key in state if key not in expected]
    wrong = [
        f"{key} {state[key].shape} instead of {shape}"
        for key, shape in expected.items()
        if key in state and state[key].shape != shape
    ]
    for what, keys in (("lacks", missing), ("has unknown", unknown), ("has misshapen", wrong)):
        if keys:
            named = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            raise UserError(f"{where}: the checkpoint {what} {named}")


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
