"""Pretrain a UNet on synthetic volumes, measure it on volumes it never saw, save it.

The defaults only show the parts: they end soon, too soon to learn. A real training is

    python minimal_pretraining.py --side 128 --shapes 5000 --width 16 --levels 4 --steps 600000

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse

import keras

import anyvox_keras as avx
from anyvox_keras.contrastive import stepped_decay


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16, help="voxels along each axis")
    parser.add_argument("--shapes", type=int, default=200, help="templates in the bank")
    parser.add_argument("--width", type=int, default=8, help="channels of the first level")
    parser.add_argument("--levels", type=int, default=2, help="poolings of the UNet")
    parser.add_argument("--steps", type=int, default=15, help="steps of training, one pair each")
    parser.add_argument("--rate", type=float, default=1e-3, help="the first learning rate")
    parser.add_argument("--held-out", type=int, default=2, help="pairs to measure the loss on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="backbone", help="folder for the trained UNet")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    bank = avx.TemplateBank.geometric(args.shapes, side=args.side, seed=args.seed)
    stream = avx.SyntheticStream(bank, side=args.side, seed=args.seed, steps=args.steps)
    # A split is a data set of its own: these volumes never come up in training.
    held_out = avx.SyntheticStream(
        bank, side=args.side, seed=args.seed, steps=args.held_out, split="validation", fixed=True
    )

    pretrainer = avx.ContrastivePretrainer(
        avx.UNet(width=args.width, levels=args.levels, seed=args.seed)
    )
    pretrainer.compile(keras.optimizers.Adam(stepped_decay(args.rate, args.steps), beta_1=0.5))

    before = pretrainer.evaluate(held_out, verbose=0, return_dict=True)
    pretrainer.fit(stream, verbose=2)
    after = pretrainer.evaluate(held_out, verbose=0, return_dict=True)

    pretrainer.backbone.save_to_preset(args.out)
    print(f"loss on held-out pairs: {before['loss']:.3f} before, {after['loss']:.3f} after")
    print(f"load it with avx.UNet.from_preset({args.out!r})")


if __name__ == "__main__":
    main()
