"""What the keys of the paper's UNet are: one flat sequence of modules, `model.<index>.<weight>`."""

from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.networks.architectures import ARCHITECTURES
from anyvox_keras.networks.checkpoint_entry import Entry, State

NORM_WEIGHTS = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


def entries(unet: Any) -> list[Entry]:
    """List what a checkpoint of a UNet holds, in the order of the sequence."""
    found = []
    for index, name in unet.tap_names.items():
        layer, key = unet.get_layer(name), f"model.{index}"
        if name.endswith("_conv"):
            found.append(Entry(f"{key}.weight", layer.kernel, kernel=True))
            if layer.use_bias:
                found.append(Entry(f"{key}.bias", layer.bias))
        elif layer.weights:
            pairs = zip(NORM_WEIGHTS, layer.weights, strict=False)
            found += [Entry(f"{key}.{which}", weight) for which, weight in pairs]
            if len(layer.weights) == len(NORM_WEIGHTS):
                found.append(Entry(f"{key}.{COUNTER}", value=np.asarray(0, "int64")))
    return found


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
    moving = any("running_mean" in key for key in state)
    dev = "model.0.bias" in state and not moving
    arguments = dict(ARCHITECTURES["anatomix-dev" if dev else "anatomix"])
    if not dev and not moving:
        # Only a norm has one axis here: with scale and shift, or there is none.
        affine = any(value.ndim == 1 for value in state.values())
        arguments["normalization"] = "instance_affine" if affine else "none"
    arguments |= dict(width=width, input_channels=channels, levels=levels)
    # Of the flat sequence: 3 an activated convolution, 1 a pooling or an upsampling.
    last, decoder = 14 * levels + 9, 7 * levels + 10
    if last in kernels:
        arguments["output_channels"] = kernels[last][0]
    if decoder in kernels:
        arguments["skips"] = kernels[decoder][1] > width * 2**levels
    return arguments


def _index(key: str) -> int:
    parts = key.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else -1
