"""Pretrain a UNet on synthetic volumes, measure it on volumes it never saw, save it.

The defaults learn something in a minute or two. The published recipe, for days on a GPU, is

    pretrainer = avx.ContrastivePretrainer(avx.UNet())
    pretrainer.compile(recipe("released").optimizer(steps=600_000))
    pretrainer.fit(avx.SyntheticStream(bank, side=128, steps=600_000))

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse

import keras
import numpy as np

import anyvox_keras as avx
from anyvox_keras.training import warm_cosine


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=24, help="voxels along each axis")
    parser.add_argument("--shapes", type=int, default=200, help="templates in the bank")
    parser.add_argument("--width", type=int, default=8, help="channels of the first level")
    parser.add_argument("--levels", type=int, default=2, help="poolings of the UNet")
    parser.add_argument("--steps", type=int, default=60, help="steps of training, one pair each")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate")
    parser.add_argument("--held-out", type=int, default=16, help="pairs to measure on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="backbone", help="folder for the trained UNet")
    return parser.parse_args()


def measure(pretrainer: keras.Model, pairs: list[dict]) -> np.ndarray:
    """Alignment of each pair: cosine of the same label across the views, minus different labels."""
    return np.array([pretrainer.test_on_batch(p, return_dict=True)["alignment"] for p in pairs])


def main() -> None:
    args = arguments()

    # 1. Shapes, and an endless stream of pairs painted from them: one label map, two contrasts.
    bank = avx.TemplateBank.geometric(args.shapes, side=args.side, seed=args.seed)
    stream = avx.SyntheticStream(bank, side=args.side, seed=args.seed, steps=args.steps)
    # These volumes never come up in training.
    held_out = stream.held_out(args.held_out)
    pairs = [
        {**pair, "keys": held_out[step][0]["keys"]}  # with keys, the same voxels are compared
        for step, pair in enumerate(held_out.arrays(args.held_out))
    ]

    # 2. A network. Instance normalisation, since the running statistics of batch normalisation
    #    need more steps than these to settle.
    unet = avx.UNet(width=args.width, levels=args.levels, normalization="instance", seed=args.seed)

    # 3. The loss at two depths. A low temperature and no augmentation learn faster, for less.
    pretrainer = avx.ContrastivePretrainer(
        unet,
        taps=("decoder_1_1_conv", "output_conv"),
        temperature=0.1,
        augmentation=None,
        seed=args.seed,
    )
    rate = warm_cosine(args.rate, args.steps, warmup=args.steps // 10)
    pretrainer.compile(keras.optimizers.AdamW(rate, weight_decay=1e-5))

    # 4. Train. The synthesis runs inside the graph of `fit`.
    before = measure(pretrainer, pairs)
    pretrainer.fit(stream, verbose=2)
    after = measure(pretrainer, pairs)

    # 5. Save, and tell what was learnt.
    unet.save_to_preset(args.out)
    rise = after - before
    error = rise.std(ddof=1) / len(rise) ** 0.5
    print(f"alignment on {len(pairs)} held-out pairs: {before.mean():.3f}, then {after.mean():.3f}")
    print(f"a rise of {rise.mean():.3f}, standard error {error:.3f}")
    print(f"load it with avx.UNet.from_preset({args.out!r})")


if __name__ == "__main__":
    main()
