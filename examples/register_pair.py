"""Register two images across contrasts, from Python.

With paths, two NIfTI files. Without, a synthetic pair whose true correspondence is known: two views
of one label map, of which the second is deformed.

    python register_pair.py --fixed t1.nii.gz --moving t2.nii.gz --out result

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse

import keras
import numpy as np

import anyvox_keras as avx
from anyvox_keras import ops
from anyvox_keras.random import keys_for, smooth_noise


def synthetic_pair(side: int, seed: int) -> tuple[np.ndarray, ...]:
    """A view, another one of the same labels, deformed; the displacement to find; the labels."""
    bank = avx.TemplateBank.geometric(100, side=side, seed=seed)
    sample = next(avx.SyntheticStream(bank, side=side, seed=seed).arrays())
    velocity = 2 * smooth_noise(keys_for(seed, [0]), (side,) * 3, scale=side // 3, channels=3)
    moving = ops.warp(sample["view2"], ops.integrate_velocity(velocity), outside="edge")
    # the inverse of a flow is the flow backwards: what registration has to find
    truth = ops.integrate_velocity(-velocity)
    parts = (sample["view1"][..., 0], moving[..., 0], truth, sample["label_map"])
    return tuple(keras.ops.convert_to_numpy(part)[0] for part in parts)


def error(displacement: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Mean distance in voxels between where two displacements point."""
    return float(np.linalg.norm((displacement - truth)[where], axis=-1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixed", help="NIfTI file")
    parser.add_argument("--moving", help="NIfTI file")
    parser.add_argument("--features", default="mind", choices=("mind", "network", "both"))
    parser.add_argument("--weights", help="preset folder, for the network's features")
    parser.add_argument("--side", type=int, default=40, help="of the synthetic pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="folder for the moved image, the warps and the report")
    args = parser.parse_args()

    truth, labels = None, None
    fixed, moving = args.fixed, args.moving
    if fixed is None or moving is None:
        fixed, moving, truth, labels = synthetic_pair(args.side, args.seed)

    result = avx.register(fixed, moving, features=args.features, weights=args.weights)
    print(result.metrics)
    if truth is not None:
        before = error(0 * truth, truth, labels > 0)
        after = error(result.displacement, truth, labels > 0)
        print(f"distance to the true position: {before:.2f} voxels before, {after:.2f} after")
    if args.out:
        result.save(args.out)


if __name__ == "__main__":
    main()
