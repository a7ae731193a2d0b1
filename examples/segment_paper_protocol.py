"""The paper's few-shot protocol, on a data set of yours.

    python examples/segment_paper_protocol.py DATA --weights anatomix --out RUN

DATA holds imagesTr, labelsTr, imagesVal, labelsVal (and imagesTs, labelsTs to test on). All weights
are trained: Adam 2e-4, cosine to zero over 500 epochs of 75 steps, 4 crops of 128^3, soft Dice and
cross-entropy; every second epoch the validation scans are segmented whole, overlap 0.7, and the
weights of the lowest soft Dice loss are kept (Dey et al., ICLR 2025). That is days on a CPU and
hours on a GPU. A killed run goes on when the same line is entered again.

Without arguments the protocol runs for two steps on made scans, to see that all is in place.
"""

import argparse
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from anyvox_keras.io import list_images, save_volume
from anyvox_keras.segmentation import (
    Predictor,
    Scaling,
    SegmentationRun,
    SegmentationSettings,
    evaluate,
    load_run,
    mean_score,
    pair_files,
    save_scores,
)

TINY = dict(
    side=16,
    steps=2,
    batch_size=1,
    weights="scratch",
    width=4,
    levels=2,
    log_every=1,
    validate_every=2,
)


def made_data(folder: Path) -> Path:
    """A bright box in noise, in each of the folders."""
    rng = np.random.default_rng(0)
    for part in ("Tr", "Val", "Ts"):
        labels = np.zeros((18, 20, 16), "uint8")
        labels[4:10, 6:14, 5:12] = 1
        for kind, array in (
            ("images", labels + rng.normal(0, 0.2, labels.shape)),
            ("labels", labels),
        ):
            path = folder / f"{kind}{part}" / "made.nii.gz"
            path.parent.mkdir(parents=True)
            nib.save(nib.Nifti1Image(array.astype("float32"), np.eye(4)), path)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--weights", default="anatomix", help="A preset, its folder, or a run's.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("run"))
    args = parser.parse_args()

    sizes = {"weights": args.weights} if args.data else TINY
    data = args.data or made_data(Path(tempfile.mkdtemp()))
    published = SegmentationSettings.PAPER
    settings = SegmentationSettings(data=str(data), seed=args.seed, **{**published, **sizes})
    run = SegmentationRun(args.out, settings)
    run.train(report=print)

    segmenter, settings = load_run(args.out)
    scaled = Scaling(settings.scaling, settings.window)
    predictor = Predictor(
        segmenter, settings.crop, settings.spacing_mm, settings.overlap, scaled=scaled
    )
    predictions = args.out / "predictions"
    for path in list_images([data / "imagesTs"]):
        labels = predictor(path)
        save_volume(predictions / path.name, labels.array, labels, overwrite=True)
    cases = list(evaluate(pair_files(predictions, data / "labelsTs")))
    save_scores(args.out / "scores.csv", cases, overwrite=True)
    print(f"mean test Dice {mean_score(cases):.4f}; every case in {args.out / 'scores.csv'}")


if __name__ == "__main__":
    main()
