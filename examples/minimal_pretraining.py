"""Pretrain a UNet on synthetic volumes, measure it on volumes it never saw, save it.

The defaults end in a minute, to show the parts. The paper's training is

    python minimal_pretraining.py --side 128 --shapes 5000 --width 16 --levels 4 --steps 600000

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse

import keras

import anyvox_keras as avx


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=32, help="voxels along each axis")
    parser.add_argument("--shapes", type=int, default=200, help="templates in the bank")
    parser.add_argument("--width", type=int, default=8, help="channels of the first level")
    parser.add_argument("--levels", type=int, default=3, help="poolings of the UNet")
    parser.add_argument("--steps", type=int, default=10, help="steps of training, one pair each")
    parser.add_argument("--held-out", type=int, default=2, help="pairs to measure the loss on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="backbone", help="folder for the trained UNet")
    return parser.parse_args()


def falling_rate(
    steps: int, start: float = 2e-4
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The paper's learning rate: x1, .8, .6, .4, .2 over five equal parts."""
    ends = [steps * part // 5 for part in range(1, 5)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        ends, [start * factor for factor in (1.0, 0.8, 0.6, 0.4, 0.2)]
    )


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
    pretrainer.compile(keras.optimizers.Adam(falling_rate(args.steps), beta_1=0.5))

    before = pretrainer.evaluate(held_out, verbose=0)
    pretrainer.fit(stream, verbose=2)
    after = pretrainer.evaluate(held_out, verbose=0)

    pretrainer.backbone.save_to_preset(args.out)
    print(f"loss on held-out pairs: {before:.3f} before, {after:.3f} after")
    print(f"load it with avx.UNet.from_preset({args.out!r})")


if __name__ == "__main__":
    main()
