"""Train a network in a plain PyTorch loop: autocast, torch.compile, no `fit`.

Under KERAS_BACKEND=torch a UNet is an `nn.Module` already. Under the others, and where no Keras
shall be needed, `to_torch()` gives its twin of plain PyTorch, weights copied; afterwards they go
back through a checkpoint.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

import anyvox_keras as avx
from anyvox_keras.networks import ARCHITECTURES
from anyvox_keras.networks.convert import from_torch


def train(module: torch.nn.Module, volumes, targets, steps: int) -> list[float]:
    """The loop one writes anywhere."""
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            features = module(volumes)
        loss = torch.nn.functional.mse_loss(features.float(), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    # "inductor" is the fast one, which compiles for a minute.
    parser.add_argument("--compiler", default="aot_eager", help="backend of torch.compile")
    args = parser.parse_args()

    volumes = torch.rand(2, 1, *(args.side,) * 3)
    targets = torch.cat([volumes, volumes.roll(2, 2)], 1)  # something to be learnt
    sizes = {"width": 4, "levels": 2, "output_channels": 2}
    unet = avx.UNet(**{**ARCHITECTURES["anatomix-dev"], **sizes}, seed=0)

    twin = unet.to_torch().train()  # a copy: what follows does not change it

    if isinstance(unet, torch.nn.Module):
        # Channels last, as all of Keras.
        losses = train(unet, volumes.movedim(1, -1), targets.movedim(1, -1), args.steps)
        print(f"the Keras model itself: loss {losses[0]:.4f}, then {losses[-1]:.4f}")

    compiled = torch.compile(twin, backend=args.compiler)
    losses = train(compiled, volumes, targets, args.steps)
    print(f"its twin, compiled: loss {losses[0]:.4f}, then {losses[-1]:.4f}")

    with tempfile.TemporaryDirectory() as folder:
        torch.save(twin.state_dict(), Path(folder) / "unet.pth")
        again = from_torch(Path(folder) / "unet.pth")
    with torch.no_grad():
        expected = twin.eval()(volumes).movedim(1, -1).numpy()
    apart = np.abs(np.asarray(again.predict_on_batch(volumes.movedim(1, -1).numpy())) - expected)
    print(f"back in Keras, features differ by at most {apart.max():.1e}")


if __name__ == "__main__":
    main()
