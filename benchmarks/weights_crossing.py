"""Weights from PyTorch to Keras and back: which file, direction and backend, and how far apart.

    python benchmarks/weights_crossing.py [--authors ANATOMIX] [--backends torch,tensorflow,jax]

The files are those of $ANYVOX_DATA/oracle: random weights and outputs of the authors' code. With
ANATOMIX, a checkout of https://github.com/neel-dey/anatomix, their UNet with `instance_affine` is
crossed too, whose outputs are computed here, and gradients are compared with those of their UNets;
of the ViT, which needs more than PyTorch, with those of the first backend. Prints a table in
Markdown: the largest difference of outputs (and as a share of the largest output), of weights that
went to Keras and back, and of gradients, as a share of the largest; the loss is the mean squared
distance in training mode from a fixed draw of normal numbers. The authors' gradients are of
float64; behind them stands how far theirs of float32 are from these.
"""

import argparse
import contextlib
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
AFFINE, GRADIENTS = "unet_affine_small", "gradients"
FILES = {
    "unet_base_small": "anatomix",
    "unet_dev_small": "anatomix-dev",
    "vit_small": "anatomix-dev-vit",
    AFFINE: "UNet, `instance_affine`",
}
# arguments of the authors' UNets beside dimension and channels
AUTHORS = {
    "unet_base_small": {"num_downs": 4},
    "unet_dev_small": {
        "num_downs": 5, "norm": "instance", "pooling": "Avg", "interp": "trilinear",
        "norm_eps": 1e-2,
    },
    AFFINE: {"num_downs": 3, "norm": "instance_affine"},
}  # fmt: skip
HEAD = ("file", "variant", "direction", "backend", "largest difference")


def main() -> None:
    """Cross every file under every backend, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--authors", type=Path, help="their checkout")
    parser.add_argument("--backends", default="torch,tensorflow,jax")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        for row in _crossed(options.child):
            print(json.dumps(row))
        return
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    with tempfile.TemporaryDirectory() as folder:
        if options.authors:
            _write_authors(options.authors, Path(folder))
        for backend in options.backends.split(","):
            for row in _run(backend, folder):
                print("| " + " | ".join([*row[:3], backend, row[3]]) + " |", flush=True)


def _run(backend: str, folder: str) -> Iterator[list[str]]:
    """Give each row when it is there: JAX compiles for minutes, without optimising."""
    own = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.Popen(
        [sys.executable, "-u", __file__, "--child", folder],
        env={"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", **os.environ, **own},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield from map(json.loads, child.stdout or ())
    if child.wait():
        raise SystemExit(f"{backend}: the crossing failed")


def _crossed(folder: Path) -> Iterator[list[str]]:
    """Rows of one backend."""
    from anyvox_keras.networks.convert import from_torch, to_torch

    for name, variant in FILES.items():
        path = (folder if name == AFFINE else DATA / "oracle") / name
        if not path.with_suffix(".pth").exists():
            continue
        cells = [f"`{name}.pth`", variant]
        network = from_torch(path.with_suffix(".pth"))
        expected = dict(np.load(path.with_suffix(".npz")))
        for mode, told in _outputs_apart(network, expected):
            yield [*cells, f"to Keras: outputs {mode}", told]
        to_torch(network, folder / "back.pth")
        missed = _weights_apart(path.with_suffix(".pth"), folder / "back.pth")
        yield [*cells, "to Keras and back: weights", f"{missed:g}"]
        told = _gradients_apart(network, expected["x"], folder, name)
        yield [*cells, "in Keras: gradients", told]


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


def _gradients_apart(network: Any, volume: np.ndarray, folder: Path, name: str) -> str:
    """Count the finite gradients; compare them with the authors', else with the first backend's."""
    from anyvox_keras.networks.convert import from_torch, to_torch

    found = _gradients(network, volume)
    told = f"{sum(bool(np.isfinite(one).all()) for one in found)} of {len(found)} finite"
    theirs, first = (folder / f"{name}-{whose}.pth" for whose in (GRADIENTS, "first"))
    if not (theirs.exists() or first.exists()):
        # A gradient goes the way of its weight.
        for weight, gradient in zip(network.trainable_weights, found, strict=True):
            weight.assign(gradient)
        to_torch(network, first)
        return told
    path, whose = (theirs, "authors'") if theirs.exists() else (first, "first backend's")
    wanted = [_host(weight) for weight in from_torch(path).trainable_weights]
    rounding = path.with_suffix(".txt")
    own = f" (theirs {rounding.read_text()})" if rounding.exists() else ""
    return f"{told}, {_share_apart(found, wanted):.1e} of the largest from the {whose}{own}"


def _share_apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """Return the largest difference, as a share of the largest number."""
    apart = max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
    return apart / max(float(np.abs(one).max()) for one in wanted)


def _gradients(network: Any, volume: np.ndarray) -> list[np.ndarray]:
    """Take a step with momentum at rate 1: the momentum is then the gradient, turned around."""
    import keras

    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    network.compile(optimizer, "mse")
    target = np.moveaxis(_target(network.output_channels, volume.shape), 1, -1)
    network.train_on_batch(volume[None, ..., None], target)
    return [-_host(momentum) for momentum in optimizer.momentums]


def _host(variable: Any) -> np.ndarray:
    from anyvox_keras.backend import to_numpy

    return to_numpy(variable)


def _target(channels: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that the loss compares with, channels first."""
    return np.random.default_rng(0).standard_normal((1, channels, *shape), dtype="float32")


def _write_authors(authors: Path, folder: Path) -> None:
    """Write what the authors' UNets say: all of `instance_affine`, and the gradients of each."""
    import torch

    sys.path.insert(0, str(authors))
    for name, arguments in AUTHORS.items():
        torch.manual_seed(0)
        network = _silently_made(ngf=4, **arguments)
        if name == AFFINE:
            _write_affine(network, folder)
            volume = np.load(folder / f"{name}.npz")["x"]
        else:
            state = torch.load(DATA / "oracle" / f"{name}.pth", weights_only=True)
            plain = {key.removeprefix("_orig_mod."): value for key, value in state.items()}
            network.load_state_dict(plain)
            volume = np.load(DATA / "oracle" / f"{name}.npz")["x"]
        path = folder / f"{name}-{GRADIENTS}.pth"
        narrow = _gradients_of_torch(network, volume)
        wide = _gradients_of_torch(network.double(), volume)
        torch.save(network.float().state_dict() | wide, path)
        apart = _share_apart(*([one.numpy() for one in each.values()] for each in (narrow, wide)))
        path.with_suffix(".txt").write_text(f"{apart:.1e}")


def _gradients_of_torch(network: Any, volume: np.ndarray) -> dict[str, Any]:
    """Compute what `_gradients` does of the authors' module, in its own precision."""
    import torch

    kind = next(network.parameters()).dtype
    network.zero_grad()
    features = network.train()(torch.from_numpy(volume)[None, None].to(kind))
    target = torch.from_numpy(_target(features.shape[1], volume.shape)).to(kind)
    torch.nn.functional.mse_loss(features, target).backward()
    return {key: weight.grad.double() for key, weight in network.named_parameters()}


def _silently_made(**arguments: Any) -> Any:
    """Make a UNet of the authors, which prints where its skips are."""
    from anatomix.model.network import Unet

    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        return Unet(dimension=3, input_nc=1, output_nc=8, **arguments)


def _write_affine(network: Any, folder: Path) -> None:
    """Write random weights, scales and shifts among them, and outputs."""
    import torch

    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    volume = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        features = network.eval()(volume)
    torch.save(network.state_dict(), folder / f"{AFFINE}.pth")
    np.savez(folder / f"{AFFINE}.npz", x=volume[0, 0].numpy(), y_eval=features[0].numpy())


if __name__ == "__main__":
    main()
