"""Train a plain Keras model of your own on the synthetic stream, with `fit`.

The model below knows nothing of this package. It learns to find the background of a synthetic
volume, and the edges between shapes, in any contrast. The stream's label numbers mean nothing from
one volume to the next, so a loss of ours turns a label map into the three classes first.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse

import keras
from keras import layers, ops

import anyvox_keras as avx

CLASSES = ("background", "edge", "inside")


def segmentation_unet(width: int) -> keras.Model:
    """Two levels, from an image to the logits of the classes."""
    image = keras.Input((None, None, None, 1))
    fine = layers.Conv3D(width, 3, padding="same", activation="relu")(image)
    coarse = layers.MaxPooling3D(2)(fine)
    coarse = layers.Conv3D(2 * width, 3, padding="same", activation="relu")(coarse)
    joined = layers.Concatenate()([fine, layers.UpSampling3D(2)(coarse)])
    joined = layers.Conv3D(width, 3, padding="same", activation="relu")(joined)
    return keras.Model(image, layers.Conv3D(len(CLASSES), 1)(joined))


def classes_of(label_map):
    """0 where the label is 0; 1 where the next voxel along any axis differs; 2 elsewhere."""
    edge = ops.zeros_like(label_map, dtype="bool")
    for axis in (1, 2, 3):
        size = label_map.shape[axis]
        following = ops.take(label_map, [*range(1, size), size - 1], axis=axis)
        edge = ops.logical_or(edge, ops.not_equal(label_map, following))
    return ops.where(edge, 1, ops.where(ops.equal(label_map, 0), 0, 2))


@keras.saving.register_keras_serializable("example")
def loss_of_classes(label_map, logits):
    """Cross-entropy against the classes of a label map."""
    return keras.losses.sparse_categorical_crossentropy(
        classes_of(label_map), logits, from_logits=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    args = parser.parse_args()

    bank = avx.TemplateBank.geometric(200, side=args.side)
    stream = avx.SyntheticStream(bank, side=args.side, steps=args.steps)
    held_out = avx.SyntheticStream(bank, side=args.side, steps=4, split="validation", fixed=True)

    model = segmentation_unet(args.width)
    training = avx.WithSynthesis(model, stream, x="view1", y="label_map")
    training.compile(keras.optimizers.Adam(1e-2), loss_of_classes)
    before = training.evaluate(held_out, verbose=0)
    training.fit(stream, verbose=2)
    after = training.evaluate(held_out, verbose=0)
    print(f"loss on held-out volumes: {before:.3f} before, {after:.3f} after")

    # `model` is still yours: trained, and free of the synthesis.
    model.save("my_unet.keras")


if __name__ == "__main__":
    main()
