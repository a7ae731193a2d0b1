"""Weights from and to VoxelMorph's PyTorch network, and from its TensorFlow files."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from anyvox_keras.errors import UserError, reading

# Layer names, whose numbers count levels from the finest; the decoder runs from the coarsest.
_ENCODER = re.compile(r"enc_conv_(\d+)_0$")
_DECODER = re.compile(r"dec_conv_(\d+)_0$")
_FINAL = re.compile(r"dec_final_conv_(\d+)$")
_FLOW = re.compile(r"(?:^|_)(?<!neg_)flow$()")
_UNKNOWN = ("use_probs", "hyp_model", "input_model", "fill_value")
Layers = dict[str, dict[str, np.ndarray]]


def from_torch(cls: Any, module: Any, channels: Sequence[int] | None) -> Any:
    """Build a `VoxelMorph` from a `VxmPairwise`; see `VoxelMorph.from_voxelmorph`."""
    unet = getattr(module, "model", None)
    if unet is None or not hasattr(unet, "downsampling_conv_blocks"):
        raise UserError(f"expected a VxmPairwise of voxelmorph 0.3, received {type(module)}")
    _require_known_parts(unet)
    convolutions = list(_convolutions(module))
    levels = len(unet.downsampling_conv_blocks)
    filters = [int(conv.weight.shape[0]) for conv in convolutions]
    model = cls(
        channels=_channels(int(convolutions[0].weight.shape[1]), channels),
        encoder=filters[:levels],
        decoder=filters[levels:-2],
        steps=module.integration_steps,
        slope=_slope(unet),
    )
    for name, conv in zip(model.convolutions, convolutions, strict=True):
        kernel, bias = (tensor.detach().cpu().numpy() for tensor in (conv.weight, conv.bias))
        model.get_layer(name).set_weights([kernel.transpose(2, 3, 4, 1, 0), bias])
    return model


def to_torch(model: Any) -> Any:
    """Build a `VxmPairwise` from a `VoxelMorph`; see `VoxelMorph.to_voxelmorph`."""
    from voxelmorph.nn.models import VxmPairwise

    config = model.get_config()
    fixed, moving = config["channels"]
    module = VxmPairwise(
        3,
        source_channels=moving,
        target_channels=fixed,
        nb_features=_features(config),
        activations=_activation(config["slope"]),
        integration_steps=config["steps"],
    )
    for name, conv in zip(model.convolutions, _convolutions(module), strict=True):
        kernel, bias = (np.asarray(array) for array in model.get_layer(name).get_weights())
        kernel = np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2))
        for tensor, array in ((conv.weight.data, kernel), (conv.bias.data, bias)):
            tensor.copy_(tensor.new_tensor(array))
    return module.eval()


def _convolutions(module: Any) -> Iterator[Any]:
    """The module's convolutions in the order of `VoxelMorph.convolutions`."""
    unet = module.model
    for block in unet.downsampling_conv_blocks:
        yield block.conv_block.conv0
    yield unet.lowest_resolution_conv_block.conv0
    for block in unet.upsampling_conv_blocks:
        yield block.conv_block.conv0
    yield unet.out_layer.conv0
    yield module.flow_layer.conv0


def _require_known_parts(unet: Any) -> None:
    down, up = unet.downsampling_conv_blocks, unet.upsampling_conv_blocks
    blocks = [block.conv_block for block in (*down, *up) if not block.passthrough]
    final = getattr(unet.out_layer, "activation0", None)
    unknown = {
        "dimensions other than three": unet.ndim != 3,
        "no skip connections": not unet.skip_connections,
        "levels without a convolution": len(blocks) < len(down) + len(up),
        "blocks other than convolution and activation": any(
            [name for name, _ in block.named_children()] != ["conv0", "activation0"]
            for block in blocks
        ),
        "padding other than zeros": any(block.conv0.padding_mode != "zeros" for block in blocks),
        "upsampling other than linear": any(
            getattr(block.upsample, "mode", "") != "trilinear" for block in up
        ),
        "a final activation": final is not None and type(final.activation).__name__ != "Identity",
    }
    if found := [name for name, present in unknown.items() if present]:
        raise UserError(f"this VxmPairwise has {', '.join(found)}, which VoxelMorph here lacks")


def _slope(unet: Any) -> float:
    activation = unet.lowest_resolution_conv_block.activation0.activation
    name = type(activation).__name__
    if name not in ("ReLU", "LeakyReLU"):
        raise UserError(f"expected ReLU or LeakyReLU activations, received {name}")
    return float(getattr(activation, "negative_slope", 0.0))


def _channels(total: int, channels: Sequence[int] | None) -> list[int]:
    if channels is None:
        if total % 2:
            raise UserError(
                f"`channels` is needed: {total} input channels cannot be split evenly between "
                "fixed and moving"
            )
        return [total // 2] * 2
    if sum(channels) != total:
        raise UserError(f"`channels` must sum to {total}, received {tuple(channels)}")
    return list(channels)


def _features(config: dict[str, Any]) -> list[list[int]]:
    """VoxelMorph's sizes: a decoder level an encoder level, the last one's said twice."""
    encoder, decoder = config["encoder"], config["decoder"]
    if config["conventions"] != "0.3":
        raise ValueError("VxmPairwise needs `conventions` 0.3. Received: 0.2")
    for name in ("mind", "correlation"):
        if config[name]:
            raise ValueError(f"VxmPairwise needs images alone. Received: {name}={config[name]}")
    if (config["flow_stride"], config["integration_stride"]) != (1, 1):
        raise ValueError("VxmPairwise needs strides of 1: its flow has the image's grid")
    if len(decoder) != len(encoder) + 1 or decoder[-1] != decoder[-2]:
        raise ValueError(
            "VxmPairwise needs a `decoder` one longer than `encoder`, its last size twice. "
            f"Received: {decoder} after {encoder}"
        )
    return [encoder, decoder[:-1]]


def _activation(slope: float) -> Any:
    from torch import nn

    return nn.LeakyReLU(slope) if slope else nn.ReLU


def from_tensorflow(cls: Any, path: str | os.PathLike[str]) -> Any:
    """Build a `VoxelMorph` from an `.h5` file; see `VoxelMorph.from_voxelmorph`."""
    with reading(path, "a VxmDense"):
        return _network(cls, Path(path))


def _network(cls: Any, path: Path) -> Any:
    config, layers = _read(path)
    _require_known_config(config, layers, str(path))
    encoder, decoder = _in_order(layers, _ENCODER), _in_order(layers, _DECODER)[::-1]
    decoder += _in_order(layers, _FINAL)
    model = cls(
        channels=(config.get("trg_feats", 1), config.get("src_feats", 1)),
        encoder=[_filters(layers[name]) for name in encoder],
        decoder=[_filters(layers[name]) for name in decoder],
        conventions="0.2",
        **_integration(config),
    )
    names = [*encoder, *decoder, *_in_order(layers, _FLOW)]
    for ours, theirs in zip(model.convolutions, names, strict=True):
        model.get_layer(ours).set_weights([layers[theirs]["kernel"], layers[theirs]["bias"]])
    return model


def _read(path: Path) -> tuple[dict[str, Any], Layers]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    layers: Layers = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "/" in name:
            *_, layer, weight = name.split("/")
            layers.setdefault(layer, {})[weight.removesuffix(":0")] = item[()]

    try:
        with h5py.File(path) as file:
            model = json.loads(file.attrs.get("model_config", "{}"))
            file.get("model_weights", file).visititems(collect)
    except OSError as error:
        raise UserError(f"{path}: not a readable HDF5 file") from error
    if model.get("class_name") != "VxmDense":
        found = model.get("class_name", "no model of VoxelMorph's")
        raise UserError(f"{path}: expected a VxmDense of voxelmorph 0.1 or 0.2, found {found}")
    return model["config"], layers


def _require_known_config(config: dict[str, Any], layers: Layers, path: str) -> None:
    found = [name for name in _UNKNOWN if config.get(name) not in (None, False)]
    if any(re.search(r"(enc|dec)_conv_\d+_[1-9]", name) for name in layers):
        found.append("several convolutions a level")
    if len(config["inshape"]) != 3:
        found.append("dimensions other than three")
    if found:
        raise UserError(f"{path}: has {', '.join(found)}, which VoxelMorph here lacks")


def _integration(config: dict[str, Any]) -> dict[str, int]:
    """Read strides, under their older names too, as voxelmorph 0.2 does."""
    steps = config.get("int_steps", 7)
    flow = 2 if config.get("unet_half_res") else config.get("svf_resolution", 1)
    integration = config.get("int_downsize") or config.get("int_resolution", 2)
    if not steps:
        integration = flow
    return dict(steps=steps, flow_stride=flow, integration_stride=integration)


def _in_order(layers: Layers, pattern: re.Pattern[str]) -> list[str]:
    found = [(match[1], name) for name in layers if (match := pattern.search(name))]
    return [name for _, name in sorted(found, key=lambda pair: int(pair[0] or 0))]


def _filters(layer: dict[str, np.ndarray]) -> int:
    return int(layer["kernel"].shape[-1])
