"""Networks for serving: ONNX, `torch.export`, and TensorFlow's SavedModel."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from anyvox_keras.backend import NAME
from anyvox_keras.errors import UserError
from anyvox_keras.extras import load_extra
from anyvox_keras.io import atomic

ONNX, PROGRAM = ".onnx", ".pt2"
# an example of the input, of which nothing stays in the file but its rank
_EXAMPLE = (2, 9, 10, 11)


def export_network(
    network: keras.Model,
    path: str | os.PathLike[str],
    sides: Sequence[int] | None = None,
) -> None:
    """Write a network so that it runs without this package, Keras, or the framework it came from.

    `.onnx` for ONNX Runtime and `.pt2` for `torch.export.load` take `volumes`, channels last, of
    any batch and any sides, and give `features`; they are made of a `UNet`, or a `Segmenter` of
    one, under every backend. Any other name is the folder of a SavedModel, which TensorFlow's
    backend alone writes, of every network.

    Args:
        network: A `UNet`, `Segmenter`, `VoxelMorph`, `ViT` or other Keras model.
        path: File or folder; its ending is the format.
        sides: Voxels per axis that a SavedModel takes; None leaves them free, if the network does.

    Raises:
        UserError: If this format cannot hold the network, or a package is missing.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.networks import export_network

        try:
            export_network(avx.VoxelMorph(encoder=(2, 2), decoder=(2, 2, 2)), "voxelmorph.onnx")
        except avx.UserError as error:
            print(error)  # what cannot be is said in a line
        ```
    """
    path = Path(path)
    if path.suffix in (ONNX, PROGRAM):
        _export_by_torch(network, path)
    else:
        _export_saved_model(network, path, sides)


def _export_by_torch(network: Any, path: Path) -> None:
    if not hasattr(network, "to_torch"):
        raise UserError(
            f"{path}: {path.suffix} holds a UNet or a Segmenter of one, received "
            f"{type(network).__name__}; a SavedModel (of TensorFlow) holds every network"
        )
    torch = load_extra("torch", f"a {path.suffix} file")
    from anyvox_keras.networks.torch_unet import ChannelsLast

    module = ChannelsLast(network.to_torch()).eval()
    example = (torch.zeros(*_EXAMPLE, network.input_channels),)
    free = (dict.fromkeys(range(4), torch.export.Dim.DYNAMIC),)
    with atomic(path) as temporary, torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=free)
        if path.suffix == PROGRAM:
            torch.export.save(program, temporary)
            return
        for package in ("onnx", "onnxscript"):
            load_extra(package, "an .onnx file")
        torch.onnx.export(
            program, (), temporary, input_names=["volumes"], output_names=["features"],
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip


def _export_saved_model(network: Any, path: Path, sides: Sequence[int] | None) -> None:
    if NAME != "tensorflow":
        raise UserError(
            f"{path}: a SavedModel needs KERAS_BACKEND=tensorflow, received {NAME}; a name ending "
            f"with {ONNX} or {PROGRAM} is another format"
        )
    if path.exists():
        raise UserError(f"{path}: exists already")

    def spec(symbol: Any) -> keras.InputSpec:
        space = tuple(sides) if sides else tuple(symbol.shape[1:4])
        return keras.InputSpec(
            shape=(None, *space, symbol.shape[-1]), dtype="float32", name=symbol.name
        )

    volumes = getattr(network, "input", None) if getattr(network, "inputs", None) else None
    symbols = network.backbone.input if volumes is None else volumes
    signature = keras.tree.map_structure(spec, symbols)
    network.export(path, format="tf_saved_model", input_signature=[signature], verbose=False)
