"""What a network's features are worth: registration, alignment and retrieval, beside MIND.

    python benchmarks/weights.py WEIGHTS [--pairs spine_ct_mr,...] [--factor 0.5] [--norm unit]

WEIGHTS is a preset's name, its folder, or a pretraining run. Three tables, for each pair of
`$ANYVOX_DATA/data/registration`:

- mean Dice and folds after registration with MIND, with the network alone, with both (the network's
  features normalised per voxel and multiplied by `--factor`);
- alignment of the features of the two images: mean cosine of voxels of the same label minus that
  of different labels, as many voxels of each label;
- retrieval: the share of voxels of the fixed image whose nearest feature in the same image under a
  random contrast, bias and noise lies within two voxels of the true place.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
PAIRS = DATA / "data" / "registration"
CONTRASTS, POINTS, VOXELS_OF_A_LABEL = 4, 500, 32
Features = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print the three tables, a row a pair."""
    from rich.console import Console
    from rich.table import Table

    from anyvox_keras.features import FeatureExtractor
    from anyvox_keras.networks import UNet

    options = _options()
    extractor = FeatureExtractor(UNet.from_preset(options.weights), norm=options.norm)
    features: dict[str, Features] = {"mind": _mind, "network": extractor}
    table = Table("pair", "before", title=f"{options.weights}")
    for kind in ("mind", "network", "both"):
        table.add_column(f"{kind}: Dice (folds %)")
    for measure in ("alignment", "retrieval"):
        for name in features:
            table.add_column(f"{measure}, {name}")
    for pair in options.pairs.split(","):
        folder = PAIRS / pair
        cells = [*_registrations(folder, extractor, options.factor)]
        cells += [f"{_alignment(folder, of):.3f}" for of in features.values()]
        cells += [f"{_retrieval(folder, of):.3f}" for of in features.values()]
        print(pair, *cells, sep=" | ", flush=True)
        table.add_row(pair, *cells)
    Console(width=160).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("--pairs", default=",".join(sorted(p.name for p in PAIRS.iterdir())))
    parser.add_argument("--factor", type=float, default=0.5, help="Of the network beside MIND.")
    parser.add_argument("--norm", default="unit", choices=("none", "unit", "standard"))
    return parser.parse_args()


def _mind(image: np.ndarray) -> np.ndarray:
    from keras import ops

    from anyvox_keras.backend import no_gradient, to_numpy
    from anyvox_keras.registration import mind_ssc

    with no_gradient():
        return to_numpy(mind_ssc(ops.convert_to_tensor(image[None, ..., None], "float32")))[0]


def _registrations(folder: Path, extractor: Features, factor: float) -> list[str]:
    from anyvox_keras.registration import FeatureSettings, register

    files = {name: folder / f"{name}.nii.gz" for name in ("fixed", "moving")}
    labels = {f"{name}_seg": folder / f"{name}_seg.nii.gz" for name in files}
    found = {}
    for kind in ("mind", "network", "both"):
        extractors = () if kind == "mind" else (extractor,)
        settings = FeatureSettings(kind, extractors, network_weights=(factor,))
        found[kind] = register(**files, **labels, feature_settings=settings).metrics
    cells = [f"{m['mean_dice']['after']:.4f} ({m['folds_percent']:.3f})" for m in found.values()]
    return [f"{found['mind']['mean_dice']['before']:.4f}", *cells]


def _images(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from anyvox_keras.io import load_labels, load_volume

    images = (load_volume(folder / f"{name}.nii.gz").array for name in ("fixed", "moving"))
    labels = (load_labels(folder / f"{name}_seg.nii.gz").array for name in ("fixed", "moving"))
    return (*images, *labels)


def _alignment(folder: Path, features: Features) -> float:
    """Alignment over the labels both images have, voxels drawn alike from each."""
    from anyvox_keras.backend import to_numpy
    from anyvox_keras.contrastive import alignment

    fixed, moving, fixed_labels, moving_labels = _images(folder)
    rng = np.random.default_rng(0)
    common = np.intersect1d(fixed_labels, moving_labels)
    common = common[common > 0]
    rows = []
    for image, labels in ((fixed, fixed_labels), (moving, moving_labels)):
        places = [np.flatnonzero(labels == label) for label in common]
        drawn = np.concatenate([rng.choice(there, VOXELS_OF_A_LABEL) for there in places])
        rows.append(features(image).reshape(labels.size, -1)[drawn][None])
    classes = np.repeat(common, VOXELS_OF_A_LABEL)[None].astype("int32")
    return float(to_numpy(alignment(*rows, classes))[0])


def _retrieval(folder: Path, features: Features) -> float:
    """Share of points found within two voxels, over random contrasts of the fixed image."""
    image, _, labels, _ = _images(folder)
    image = (image - image.min()) / (image.max() - image.min())
    rng = np.random.default_rng(0)
    there = _unit(features(image))
    points = np.argwhere(labels > 0)[rng.choice((labels > 0).sum(), POINTS)]
    grid = np.stack(np.unravel_index(np.arange(image.size), image.shape), -1)
    hits = []
    for _ in range(CONTRASTS):
        other = _unit(features(_repaint(image, rng))).reshape(image.size, -1)
        best = np.argmax(there[tuple(points.T)] @ other.T, axis=1)
        hits.append(np.linalg.norm(grid[best] - points, axis=-1) <= 2)
    return float(np.mean(hits))


def _repaint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map intensities by a random curve through six knots, with a bias field and noise."""
    from scipy.ndimage import zoom

    painted = np.interp(image, np.linspace(0, 1, 6), rng.uniform(0, 1, 6))
    coarse = rng.normal(0, 0.2, (4, 4, 4))
    bias = zoom(coarse, np.divide(image.shape, 4), order=1, grid_mode=True, mode="nearest")
    return (painted * np.exp(bias) + rng.normal(0, 0.02, image.shape)).astype("float32")


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


if __name__ == "__main__":
    main()
