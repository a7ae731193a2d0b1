"""What the keys of the paper's UNet and of its authors' vision transformer are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.networks.architectures import ARCHITECTURES

State = dict[str, np.ndarray]
# PyTorch's axes of a kernel, (out, in, k, k, k) or transposed (in, out, k, k, k), in Keras's order
_KERNEL = {5: (2, 3, 4, 1, 0), 2: (1, 0)}
# of a norm of the UNet
_NORM_WEIGHTS = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
# Keras layer of a block, its key, and whether it is linear (else a norm)
_BLOCK = (
    ("norm1", "norm1", False),
    ("query", "attn.q_proj", True),
    ("key", "attn.k_proj", True),
    ("value", "attn.v_proj", True),
    ("heads_norm", "attn.norm", False),
    ("projection", "attn.proj", True),
    ("query_norm", "attn.q_norm", False),
    ("key_norm", "attn.k_norm", False),
    ("norm2", "norm2", False),
    ("gate", "mlp.fc1_g", True),
    ("widen", "mlp.fc1_x", True),
    ("inner_norm", "mlp.norm", False),
    ("narrow", "mlp.fc2", True),
)
# voxels that a token of the ViT covers, along each axis
_PATCH = 8


@dataclass
class Entry:
    """A key of a checkpoint, and what it holds.

    Args:
        key: The key.
        weight: The Keras variable; None for what no computation reads.
        value: What is written where there is no variable.
        kernel: Whether it is a kernel of a convolution or a linear layer, whose axes PyTorch
            orders another way.
    """

    key: str
    weight: Any = None
    value: np.ndarray | None = None
    kernel: bool = False

    def to_torch(self) -> np.ndarray:
        """Return the array as PyTorch has it."""
        if self.weight is None:
            return np.asarray(self.value)
        array = to_numpy(self.weight)
        return array.transpose(np.argsort(_KERNEL[array.ndim])) if self.kernel else array

    def to_keras(self, array: np.ndarray) -> np.ndarray:
        """Return PyTorch's array as Keras has it."""
        return array.transpose(_KERNEL[array.ndim]) if self.kernel else array


def unet_entries(unet: Any) -> list[Entry]:
    """List what a checkpoint of a UNet holds, in the order of the sequence."""
    found = []
    for index, name in unet.tap_names.items():
        layer, key = unet.get_layer(name), f"model.{index}"
        if name.endswith("_conv"):
            found.append(Entry(f"{key}.weight", layer.kernel, kernel=True))
            if layer.use_bias:
                found.append(Entry(f"{key}.bias", layer.bias))
        elif layer.weights:
            pairs = zip(_NORM_WEIGHTS, layer.weights, strict=False)
            found += [Entry(f"{key}.{which}", weight) for which, weight in pairs]
            if len(layer.weights) == len(_NORM_WEIGHTS):
                found.append(Entry(f"{key}.{_COUNTER}", value=np.asarray(0, "int64")))
    return found


def unet_arguments(state: State, where: str) -> dict[str, Any]:
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


def vit_entries(vit: Any) -> list[Entry]:
    """List what a checkpoint of a ViT holds."""
    tokens = vit.get_layer("tokens")
    found = [Entry("mask_token", value=np.zeros((1, 1, vit.channels), "float32"))]
    if vit.registers:
        found.append(Entry("register_tokens", tokens.register))
    found += _residual(vit, "stem", "down_projection.stem.blocks.0", 0)
    for level in range(3):
        key = f"down_projection.stages.{level}.blocks.0"
        # Behind the pooling of a level, the skip's convolution is the second module.
        found += _residual(vit, f"stage_{level + 1}", key, 1)
    found += _kernel(vit.get_layer("tokenizer_conv"), "down_projection.final_proj")
    for level in (1, 2):
        key = f"up_projection.decode.{level - 1}"
        found += _kernel(vit.get_layer(f"decoder_{level}_up"), f"{key}.0")
        found += _norm(vit.get_layer(f"decoder_{level}_norm"), f"{key}.1")
    found += _kernel(vit.get_layer("decoder_3_up"), "up_projection.decode.2")
    found.append(Entry("eva.pos_embed", tokens.position))
    for number in range(vit.depth):
        found += _block(vit.get_layer(f"block_{number + 1}"), f"eva.blocks.{number}")
    return [*found, *_norm(vit.get_layer("blocks_norm"), "eva.norm")]


def _residual(vit: Any, name: str, key: str, skip: int) -> Iterator[Entry]:
    parts = [(f"{name}_1", f"{key}.conv1"), (f"{name}_2", f"{key}.conv2")]
    if any(layer.name == f"{name}_skip_conv" for layer in vit.layers):
        parts.append((f"{name}_skip", f"{key}.skip.{skip}"))
    for layer, module in parts:
        # The original keeps each of these modules under two names.
        for conv, norm in (("conv", "norm"), ("all_modules.0", "all_modules.1")):
            yield from _kernel(vit.get_layer(f"{layer}_conv"), f"{module}.{conv}")
            yield from _norm(vit.get_layer(f"{layer}_norm"), f"{module}.{norm}")


def _block(block: Any, key: str) -> Iterator[Entry]:
    yield Entry(f"{key}.gamma_1", block.scale1)
    yield Entry(f"{key}.gamma_2", block.scale2)
    for name, module, linear in _BLOCK:
        yield from (_kernel if linear else _norm)(getattr(block, name), f"{key}.{module}")


def _kernel(layer: Any, key: str) -> Iterator[Entry]:
    yield Entry(f"{key}.weight", layer.kernel, kernel=True)
    if layer.use_bias:
        yield Entry(f"{key}.bias", layer.bias)


def _norm(layer: Any, key: str) -> Iterator[Entry]:
    yield Entry(f"{key}.weight", layer.gamma)
    yield Entry(f"{key}.bias", layer.beta)


def vit_arguments(state: State, where: str) -> dict[str, Any]:
    """Read a ViT's constructor arguments off a state's keys and shapes."""
    stem, tokens = "down_projection.stem.blocks.0.conv1.conv.weight", "eva.pos_embed"
    output, head = "up_projection.decode.2.weight", "eva.blocks.0.attn.q_norm.weight"
    for key in (stem, tokens, output, head):
        if key not in state:
            raise UserError(f"{where}: not a ViT of the paper's authors; it lacks {key}")
    width, input_channels = state[stem].shape[:2]
    registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    channels = state[tokens].shape[-1]
    return dict(
        input_channels=input_channels,
        output_channels=state[output].shape[1],
        side=_PATCH * round((state[tokens].shape[1] - registers) ** (1 / 3)),
        channels=channels,
        depth=len({key.split(".")[2] for key in state if key.startswith("eva.blocks.")}),
        heads=channels // state[head].shape[0],
        registers=registers,
        width=width,
    )


#: of each class what its keys are, and its arguments as they tell them
ENTRIES = {"UNet": unet_entries, "ViT": vit_entries}
ARGUMENTS = {"UNet": unet_arguments, "ViT": vit_arguments}
