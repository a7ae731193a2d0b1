"""Write networks for serving, and serve each without this package: ONNX, torch.export, SavedModel.

The numbers of what is served are those of the network, at two sizes. A SavedModel, which alone
holds a VoxelMorph, is written by TensorFlow's backend; elsewhere a line says so.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import anyvox_keras as avx
from anyvox_keras.networks import export_network


def serve_onnx(path: Path, volumes: np.ndarray) -> np.ndarray:
    """In any language that ONNX Runtime speaks; sides and batch are free."""
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {"volumes": volumes})[0]


def serve_torch(path: Path, volumes: np.ndarray) -> np.ndarray:
    """In Python or, compiled by AOTInductor, in C++; sides and batch are free."""
    program = torch.export.load(path).module()
    with torch.no_grad():
        return program(torch.from_numpy(volumes)).numpy()


def serve_saved_model(path: Path, inputs):
    """In TensorFlow or TensorFlow Serving."""
    import tensorflow as tf

    program = tf.saved_model.load(path)  # the name keeps its variables alive
    return program.serve(inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=Path("served"), type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    unet = avx.UNet(width=4, levels=1, output_channels=4, normalization="instance", seed=0)
    segmenter = avx.Segmenter(unet, classes=2)
    # Either file holds either network.
    for network, path, serve in (
        (unet, out / "unet.onnx", serve_onnx),
        (segmenter, out / "segmenter.pt2", serve_torch),
    ):
        export_network(network, path)
        for shape in ((1, 16, 16, 16, 1), (2, 9, 14, 11, 1)):
            volumes = np.random.default_rng(0).random(shape, dtype="float32")
            served, own = serve(path, volumes), np.asarray(network.predict_on_batch(volumes))
            apart = np.abs(served - own).max()
            print(f"{path} at {shape}: values of {own.std():.2f}, {apart:.1e} apart at most")
            if apart > 1e-4:
                raise SystemExit("another network is served")

    sides = (16, 16, 16)
    voxelmorph = avx.VoxelMorph(encoder=(4, 4), decoder=(4, 4, 4), seed=0)
    pair = {name: np.ones((1, *sides, 1), "float32") for name in ("fixed", "moving")}
    try:
        export_network(voxelmorph, out / "voxelmorph", sides=sides)
    except avx.UserError as error:
        print(error)
    else:
        for name, array in serve_saved_model(out / "voxelmorph", pair).items():
            print(f"{out / 'voxelmorph'} gives {name}: {tuple(array.shape)}")


if __name__ == "__main__":
    main()
