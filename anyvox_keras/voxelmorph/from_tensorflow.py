"""Weights of `VxmDense`, VoxelMorph's TensorFlow network."""

import json
import os
import re
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


def from_tensorflow(cls: Any, path: str | os.PathLike[str]) -> Any:
    """Build a `VoxelMorph` from an `.h5` file; see `VoxelMorph.from_voxelmorph`."""
    with reading(path, "a VxmDense"):
        return _network(cls, Path(path))


def _network(cls: Any, path: Path) -> Any:
    config, layers = _read(path)
    _require_known_parts(config, layers, str(path))
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


def _require_known_parts(config: dict[str, Any], layers: Layers, path: str) -> None:
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
