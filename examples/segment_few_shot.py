"""Few-shot segmentation: train on two labelled scans, segment a third.

Without arguments the scans are made: two halves of an ellipsoid, of two brightnesses, in
noise and shading. With DATA, a folder in the layout of the Medical Segmentation Decathlon
(imagesTr, labelsTr, imagesVal, labelsVal), the same code trains on yours.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

import anyvox_keras as avx
from anyvox_keras.metrics import dice
from anyvox_keras.segmentation import (
    Case,
    CropStream,
    LayerRates,
    Predictor,
    SegmentationAugmentation,
    load_case,
    read_dataset,
    validate,
)
from anyvox_keras.training import EpochCosine


def made_case(seed: int, side: int = 24) -> Case:
    """Two touching ellipsoids in a noisy, unevenly lit volume."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1)
    centre = rng.uniform(0.4, 0.6, 3) * side
    radii = side * rng.uniform(0.15, 0.25, 3)
    inside = (((grid - centre) / radii) ** 2).sum(-1) < 1
    front = grid[..., 0] < centre[0]
    label_map = np.where(inside, np.where(front, 1, 2), 0).astype("int32")
    image = np.array([0.1, 0.9, 0.5])[label_map] + rng.normal(0, 0.08, label_map.shape)
    image *= 1 + 0.3 * ndimage.gaussian_filter(rng.normal(size=image.shape), side / 4) * side
    image = (image - image.min()) / (image.max() - image.min())
    return Case(f"made {seed}", image.astype("float32"), label_map)


def cases_of(data: Path | None) -> tuple[list[Case], list[Case]]:
    """Training and validation cases, min-max normalised, axes R, A, S."""
    if data is None:
        return [made_case(0), made_case(1)], [made_case(2)]
    dataset = read_dataset(data)
    parts = (dataset.training, dataset.validation)
    training, validation = ([load_case(files) for files in part] for part in parts)
    return training, validation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", help="A preset, such as anyvox-base, or the folder of a run.")
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()

    training, validation = cases_of(args.data)
    classes = max(label for case in training for label in case.labels)
    backbone = (
        avx.UNet.from_preset(args.weights) if args.weights else avx.UNet(width=8, levels=2, seed=0)
    )
    segmenter = avx.Segmenter(backbone, classes)
    # Pretrained weights may move ten times more slowly than the head: backbone_rate=0.1.
    epoch = max(args.steps // 4, 1)
    rate = EpochCosine(1e-2, args.steps, epoch)
    segmenter.compile(LayerRates(rate, backbone_rate=1.0))

    stream = CropStream(
        training,
        args.side,
        batch_size=2,
        steps=epoch,
        balanced=True,
        augmentation=SegmentationAugmentation(sharpen=None),
    )
    segmenter.fit(stream, epochs=4, verbose=2)

    predictor = Predictor(segmenter, args.side, overlap=0.5, largest=True)
    scores = validate(predictor, validation)
    print("validation:", {name: round(value, 3) for name, value in scores.items()})
    case = validation[0]
    labels = predictor.label_map(case.image)
    print(f"Dice of {case.name}, largest components:", dice(labels, case.label_map))


if __name__ == "__main__":
    main()
