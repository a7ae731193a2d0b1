"""PyTorch checkpoints of the paper's code: reading them, and what their keys say."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from anyvox_keras.errors import UserError, reading
from anyvox_keras.extras import load_extra
from anyvox_keras.networks.architectures import ARCHITECTURES

State = dict[str, np.ndarray]
Network = TypeVar("Network", bound=keras.Model)
COMPILED_PREFIX = "_orig_mod."
NORM_WEIGHTS = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


def load_checkpoint(
    make: Callable[..., Network], path: str | os.PathLike[str], dtype: Any = None
) -> Network:
    """Make a network of the variant that a checkpoint's keys tell, and fill in its weights.

    Args:
        make: The class `UNet`; `networks.convert.from_torch` names it.
        path: The `.pth` file.
        dtype: Dtype policy; None takes the global one.

    Raises:
        UserError: If the file is absent, no checkpoint, or lacks weights (which are named).
    """
    state = read_checkpoint(path)
    with reading(path, "a UNet of the paper"):
        network: Any = make(**infer_arguments(state, str(path)), seed=0, dtype=dtype)
    _require_match(state, {k: v.shape for k, v in state_of(network).items()}, str(path))
    for index, name in network.tap_names.items():
        layer = network.get_layer(name)
        if name.endswith("_conv"):
            kernel = state[f"model.{index}.weight"].transpose(2, 3, 4, 1, 0)
            bias = [state[f"model.{index}.bias"]] if layer.use_bias else []
            layer.set_weights([kernel, *bias])
        elif layer.weights:
            layer.set_weights([state[f"model.{index}.{weight}"] for weight in NORM_WEIGHTS])
    found: Network = network
    return found


def state_of(unet: Any) -> State:
    """Return a UNet's weights as arrays by the paper's keys, in PyTorch's layout."""
    state: State = {}
    for index, name in unet.tap_names.items():
        layer = unet.get_layer(name)
        weights = [np.asarray(weight) for weight in layer.get_weights()]
        if name.endswith("_conv"):
            state[f"model.{index}.weight"] = weights[0].transpose(4, 3, 0, 1, 2)
            state |= {f"model.{index}.bias": bias for bias in weights[1:]}
        elif weights:
            state |= {
                f"model.{index}.{key}": array
                for key, array in zip(NORM_WEIGHTS, weights, strict=True)
            }
            state[f"model.{index}.{COUNTER}"] = np.asarray(0, "int64")
    return state


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


def infer_arguments(state: State, where: str) -> dict[str, Any]:
    """Read a UNet's constructor arguments off a state's keys and shapes."""
    kernels = {_index(key): value.shape for key, value in state.items() if value.ndim == 5}
    if 0 not in kernels:
        raise UserError(f"{where}: not a UNet of the paper; it lacks model.0.weight")
    width, channels = kernels[0][:2]
    if min(map(min, kernels.values())) < 1:
        raise UserError(f"{where}: expected kernels of at least one channel, received none")
    widest = max(shape[0] for shape in kernels.values())
    levels = int(np.log2(max(2, widest // width)))
    dev = "model.0.bias" in state and not any("running_mean" in key for key in state)
    arguments = dict(ARCHITECTURES["anatomix-dev" if dev else "anatomix"])
    arguments |= dict(width=width, input_channels=channels, levels=levels)
    # Of the flat sequence: 3 an activated convolution, 1 a pooling or an upsampling.
    last, decoder = 14 * levels + 9, 7 * levels + 10
    if last in kernels:
        arguments["output_channels"] = kernels[last][0]
    if decoder in kernels:
        arguments["skips"] = kernels[decoder][1] > width * 2**levels
    return arguments


def _require_match(state: State, expected: dict[str, tuple[int, ...]], where: str) -> None:
    counters = {key for key in expected if key.endswith(COUNTER)}
    missing = [key for key in expected if key not in state and key not in counters]
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


def _index(key: str) -> int:
    parts = key.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else -1


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
