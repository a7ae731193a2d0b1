"""What the keys of the authors' vision transformer are, and which weights they hold."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.networks.checkpoint_entry import Entry, State

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
_PATCH = 8


def entries(vit: Any) -> list[Entry]:
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


def infer_arguments(state: State, where: str) -> dict[str, Any]:
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
