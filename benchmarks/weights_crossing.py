"""Weights from PyTorch to Keras and back: which file, direction and backend, and how far apart.

    python benchmarks/weights_crossing.py [--authors ANATOMIX] [--backends torch,tensorflow,jax]

The files are those of $ANYVOX_DATA/oracle: random weights and outputs of the authors' code. With
ANATOMIX, a checkout of https://github.com/neel-dey/anatomix, their UNet with `instance_affine` is
crossed too, whose outputs are computed here. Prints a table in Markdown: the largest difference of
outputs (and of the largest output, the share), of weights that went to Keras and back, and the
number of weights whose gradient of the outputs' mean square is finite.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
FILES = {
    "unet_base_small": "anatomix",
    "unet_dev_small": "anatomix-dev",
    "vit_small": "anatomix-dev-vit",
}
AFFINE = "unet_affine_small"
HEAD = ("file", "variant", "direction", "backend", "largest difference")


def main() -> None:
    """Cross every file under every backend, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--authors", type=Path, help="their checkout")
    parser.add_argument("--backends", default="torch,tensorflow,jax")
    parser.add_argument("--no-gradients", action="store_true", help="JAX compiles for minutes")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        for row in _crossed(options.child, not options.no_gradients):
            print(json.dumps(row))
        return
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    with tempfile.TemporaryDirectory() as folder:
        if options.authors:
            _write_affine(options.authors, Path(folder))
        for backend in options.backends.split(","):
            for row in _run(backend, folder, ["--no-gradients"] * options.no_gradients):
                print("| " + " | ".join([*row[:3], backend, row[3]]) + " |", flush=True)


def _run(backend: str, folder: str, more: list[str]) -> Iterator[list[str]]:
    """Give each row when it is there: JAX compiles for minutes."""
    child = subprocess.Popen(
        [sys.executable, "-u", __file__, "--child", folder, *more],
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield from map(json.loads, child.stdout or ())
    if child.wait():
        raise SystemExit(f"{backend}: the crossing failed")


def _crossed(folder: Path, gradients: bool) -> Iterator[list[str]]:
    """Rows of one backend."""
    from anyvox_keras.networks.convert import from_torch, to_torch

    sources = {name: DATA / "oracle" / name for name in FILES}
    if (folder / f"{AFFINE}.pth").exists():
        sources[AFFINE] = folder / AFFINE
    for name, path in sources.items():
        cells = [f"`{name}.pth`", FILES.get(name, "UNet, `instance_affine`")]
        network = from_torch(path.with_suffix(".pth"))
        expected = dict(np.load(path.with_suffix(".npz")))
        for mode, told in _outputs_apart(network, expected):
            yield [*cells, f"to Keras: outputs {mode}", told]
        to_torch(network, folder / "back.pth")
        missed = _weights_apart(path.with_suffix(".pth"), folder / "back.pth")
        yield [*cells, "to Keras and back: weights", f"{missed:g}"]
        if not gradients:
            continue
        finite, count = _finite_gradients(network, expected["x"])
        yield [*cells, "in Keras: finite gradients", f"{finite} of {count} weights"]


def _outputs_apart(network: Any, expected: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Compare in inference, and in training mode where the file has that."""
    from anyvox_keras.backend import no_gradient, to_numpy
    from anyvox_keras.networks import ViT

    if isinstance(network, ViT):
        # The reference's timm leaves out the norm of queries and keys.
        older = ViT.from_config({**network.get_config(), "qk_norm": False})
        older.set_weights(network.get_weights())
        network = older
    volume, stride = expected["x"], int(expected.get("stride", 1))
    inputs = {"y_eval": volume[None], "y_train": np.stack([volume, 0.7 * volume[::-1] + 0.1])}
    for mode, batch in inputs.items():
        if mode in expected:
            # The moving statistics follow in training: what they were is put back.
            kept, training = network.get_weights(), mode == "y_train"
            with no_gradient():
                found = to_numpy(network(batch[..., None].astype("float32"), training=training))
            network.set_weights(kept)
            found = np.moveaxis(found, -1, 1)[:, :, ::stride, ::stride, ::stride]
            wanted = expected[mode].reshape(found.shape)
            apart, largest = np.abs(found - wanted).max(), np.abs(wanted).max()
            told = f"{apart:.1e} ({apart / largest:.1e} of the largest)"
            yield {"y_eval": "in inference", "y_train": "in training"}[mode], told


def _weights_apart(before: Path, after: Path) -> float:
    """Compare every tensor but the counters of batches, which are written as 0."""
    from anyvox_keras.networks.checkpoint import read_checkpoint

    old, new = read_checkpoint(before), read_checkpoint(after)
    if set(old) != set(new):
        raise SystemExit(f"{before}: other keys came back: {sorted(set(old) ^ set(new))[:4]}")
    compared = [key for key in old if not key.endswith("num_batches_tracked")]
    return max(float(np.abs(old[key] - new[key]).max()) for key in compared)


def _finite_gradients(network: Any, volume: np.ndarray) -> tuple[int, int]:
    """Take a step of plain descent at rate 1: a weight is finite after it if its gradient is."""
    import keras

    from anyvox_keras.backend import to_numpy

    network.compile(keras.optimizers.SGD(1.0), "mse")
    volume = volume[None, ..., None]
    network.train_on_batch(volume, np.zeros((*volume.shape[:4], network.output_channels)))
    weights = [to_numpy(weight) for weight in network.trainable_weights]
    return sum(bool(np.isfinite(weight).all()) for weight in weights), len(weights)


def _write_affine(authors: Path, folder: Path) -> None:
    """Write weights and outputs of the authors' UNet whose instance norms have scale and shift."""
    import torch

    sys.path.insert(0, str(authors))
    from anatomix.model.network import Unet

    torch.manual_seed(0)
    with open(os.devnull, "w") as nothing:
        shown, sys.stdout = sys.stdout, nothing  # it prints where its skips are
        network = Unet(3, 1, 8, 3, ngf=4, norm="instance_affine")
        sys.stdout = shown
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    volume = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        features = network.eval()(volume)
    torch.save(network.state_dict(), folder / f"{AFFINE}.pth")
    np.savez(folder / f"{AFFINE}.npz", x=volume[0, 0].numpy(), y_eval=features[0].numpy())


if __name__ == "__main__":
    main()
