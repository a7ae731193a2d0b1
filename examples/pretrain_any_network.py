"""Pretrain networks that know nothing of this package: one of yours, one of medicai.

Any Keras model of volumes is pretrained by what its layers give: `taps` names them, at any depth
and any stride. Afterwards its features are extracted, it is a preset, and a segmenter starts from
it, as with the package's own.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse
import importlib.util
from pathlib import Path

import keras
import numpy as np
from keras import layers

import anyvox_keras as avx
from anyvox_keras.networks import save_preset


def own_network() -> tuple[keras.Model, list[str]]:
    """A UNet as one writes it in a minute, and the layers whose features are compared."""
    image = keras.Input((None, None, None, 1))
    fine = layers.Conv3D(8, 3, padding="same", activation="relu", name="fine")(image)
    coarse = layers.Conv3D(16, 3, strides=2, padding="same", activation="relu", name="coarse")(fine)
    joined = layers.Concatenate()([fine, layers.UpSampling3D(2)(coarse)])
    return keras.Model(image, layers.Conv3D(8, 3, padding="same")(joined)), ["coarse", "output"]


def network_of_medicai(side: int) -> tuple[keras.Model, list[str]]:
    """Their SegFormer; the classes of its head are our features."""
    from medicai.models import SegFormer

    network = SegFormer(
        input_shape=(side, side, side, 1), encoder_name="mit_b0", num_classes=8,
        decoder_head_embedding_dim=16,
    )  # fmt: skip
    return network, ["output"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16, help="voxels along each axis")
    parser.add_argument("--steps", type=int, default=6, help="steps of training, one pair each")
    parser.add_argument("--medicai", action="store_true", help="theirs too; compiling takes longer")
    parser.add_argument("--out", default=Path("networks"), type=Path)
    args = parser.parse_args()

    networks = {"own": own_network()}
    if args.medicai and importlib.util.find_spec("medicai"):
        networks["medicai"] = network_of_medicai(args.side)
    bank = avx.TemplateBank.geometric(50, side=args.side)
    for name, (network, taps) in networks.items():
        stream = avx.SyntheticStream(bank, side=args.side, steps=args.steps)
        pretrainer = avx.ContrastivePretrainer(
            network, taps=taps, samples=64, width=32, augmentation=None
        )
        pretrainer.compile(keras.optimizers.Adam(1e-3))
        loss = pretrainer.fit(stream, verbose=0).history["loss"][-1]
        save_preset(network, args.out / name, {"steps": args.steps})

        extractor = avx.FeatureExtractor.from_preset(args.out / name)
        features = extractor(np.random.default_rng(0).random((args.side,) * 3))
        segmenter = avx.Segmenter(extractor.backbone, classes=2)
        print(f"{name}: {network.count_params():,} parameters, loss {loss:.3f}, taps {taps}")
        print(
            f"  features {features.shape}, a segmenter of {segmenter.count_params():,} parameters"
        )
        print(f"  anyvox features image.nii.gz features.nii.gz --weights {args.out / name}")


if __name__ == "__main__":
    main()
