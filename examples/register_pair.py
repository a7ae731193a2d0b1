r"""Register two scans across contrasts, from Python: a deformation, an affine stage, landmarks.

With files, two scans of any grid; masks, label maps and landmarks where there are any:

    python register_pair.py --fixed t2.nii.gz --moving t1.nii.gz --affine affine \
        --fixed-mask brain.nii.gz --fixed-seg t2_labels.nii.gz --moving-seg t1_labels.nii.gz
    python register_pair.py --fixed mr.nii.gz --moving ct.nii.gz --affine rigid \
        --moving-clip -450 450 --out result
    python register_pair.py --fixed inhale.nii.gz --moving exhale.nii.gz \
        --fixed-points inhale.csv --moving-points exhale.csv

Without, a synthetic pair whose landmarks are known: two views of one label map, of which the second
is deformed.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse

import keras
import numpy as np

import anyvox_keras as avx
from anyvox_keras import ops
from anyvox_keras.random import keys_for, smooth_noise


def synthetic_pair(side: int, seed: int) -> dict[str, np.ndarray]:
    """A view; another one of the same labels, deformed; landmarks of both."""
    bank = avx.TemplateBank.geometric(100, side=side, seed=seed)
    sample = next(avx.SyntheticStream(bank, side=side, seed=seed).arrays())
    velocity = 2 * smooth_noise(keys_for(seed, [0]), (side,) * 3, scale=side // 3, channels=3)
    moving = ops.warp(sample["view2"], ops.integrate_velocity(velocity), outside="edge")
    # the inverse of a flow is the flow backwards: what registration has to find
    truth = keras.ops.convert_to_numpy(ops.integrate_velocity(-velocity))[0]
    images = [keras.ops.convert_to_numpy(x)[0, ..., 0] for x in (sample["view1"], moving)]
    here = np.argwhere(keras.ops.convert_to_numpy(sample["label_map"])[0] > 0)[::50]
    # an array's voxels are 1 mm and begin at zero
    there = here + truth[tuple(here.T)]
    points = {"fixed_points": here, "moving_points": there}
    return {"fixed": images[0], "moving": images[1], **points}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for side in ("fixed", "moving"):
        parser.add_argument(f"--{side}", help="NIfTI file")
        parser.add_argument(f"--{side}-mask", help="where it counts")
        parser.add_argument(f"--{side}-seg", help="label map, for the Dice")
        parser.add_argument(f"--{side}-points", help="landmarks (CSV of x,y,z, mm, LPS)")
        parser.add_argument(f"--{side}-clip", type=float, nargs=2, help="for the network")
    parser.add_argument("--affine", choices=("rigid", "affine"), help="for scans not aligned")
    parser.add_argument("--features", default="mind", choices=("mind", "network", "both"))
    parser.add_argument("--weights", help="preset folder, for the network's features")
    parser.add_argument("--side", type=int, default=40, help="of the synthetic pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="folder for the moved image, the warps and the report")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}

    out, side, seed = given.pop("out", None), given.pop("side"), given.pop("seed")
    if not {"fixed", "moving"} <= given.keys():
        given |= synthetic_pair(side, seed)
    result = avx.register(**given)
    print(result.summary)
    if "fixed_points" in given:
        error = result.metrics["tre_mm"]
        print(f"landmarks: {error['before']:.2f} mm apart before, {error['after']:.2f} mm after")
    if out:
        result.save(out)


if __name__ == "__main__":
    main()
