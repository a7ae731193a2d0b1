"""VoxelMorph on the six brain pairs: what a training without scans gives, and what features add.

    KERAS_BACKEND=tensorflow python benchmarks/voxelmorph.py OUT [--picture curve.png]
        [--stages train,further,scores,fit,table] [--methods affine,...] [--pairs ...]

`train` sees the synthetic stream only (geometric shapes and those of `templates/`); `further` goes
on with the brain images, by features, MIND and mutual information; `scores` registers the pairs, as
each network says and after instance optimisation; `fit` takes 20 steps on scans at 4 mm; `table`
prints what was found. The labels of the brains count in `scores` alone. Every stage runs on Keras's
backend, keeps what it did in OUT and goes on from there; another backend adds rows to the table.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from registration import DATA, PAIRS, pull

STAGES = ("train", "further", "scores", "fit", "table")
LOSSES = ("feature", "mind", "mi")
BRAINS = sorted(folder.name for folder in PAIRS.glob("t1_*"))
#: x, y, z: holds every brain of the pairs, in multiples of what the network pools by
BOX = ((7, 87), (7, 103), (0, 80))
ITERATIONS = 50
#: weight of the penalty; the mutual information varies several times as much as the others
SMOOTHNESS = {"feature": 0.5, "mind": 0.5, "mi": 2.0}
COLUMNS = ("backend", "method", "pair", "dice", "folds_percent", "seconds")


def main() -> None:
    """Run the stages that are asked for."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    stages = {
        "train": train,
        "further": train_further,
        "scores": lambda out: score(out, options.methods.split(","), options.pairs.split(",")),
        "fit": fit,
        "table": lambda out: show(out, options.picture),
    }
    for name in options.stages.split(","):
        stages[name](options.out)


def _options() -> argparse.Namespace:
    methods = ["affine", "register", "synthetic", *LOSSES]
    methods += [f"{loss}+{loss}" for loss in LOSSES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--methods", default=",".join(methods), help="Of scores.")
    parser.add_argument("--pairs", default=",".join(BRAINS), help="Of scores.")
    parser.add_argument("--picture", type=Path, help="Curves of the trainings.")
    return parser.parse_args()


def run(folder: Path, **settings: Any) -> Any:
    """Train in a folder, or go on there; return the run."""
    from anyvox_keras.voxelmorph import VoxelMorphRun, VoxelMorphSettings

    found = VoxelMorphRun(folder, VoxelMorphSettings(**settings))
    found.train(lambda row: print(folder.name, row["step"], row["loss"], row.get("val_dice", "")))
    return found


def train(out: Path) -> None:
    """Train on the synthetic stream."""
    run(
        out / "synthetic", templates=f"geometric,{DATA / 'data' / 'templates'}", side=48,
        steps=3000, smoothness=0.5, deform_scale="24,12,6", deform_std="0,3", log_every=25,
        validate_every=300, validation_pairs=8, precision="bfloat16",
    )  # fmt: skip


def train_further(out: Path) -> None:
    """Go on from the synthetic training with the images of the pairs, by each loss."""
    table = _crops(out)
    for loss in LOSSES:
        run(
            out / loss, data=str(table), weights=str(out / "synthetic"), loss=loss,
            smoothness=SMOOTHNESS[loss], steps=120, learning_rate=3e-4, log_every=5,
            validate_every=120, validation_pairs=0, precision="bfloat16",
        )  # fmt: skip


def _crops(out: Path) -> Path:
    """Write each scan of the pairs once, cropped to the brains, and a table of them."""
    from anyvox_keras.geometry import Volume
    from anyvox_keras.io import load_mask, load_volume, save_volume

    folder, rows = out / "scans", {}
    for name in BRAINS:
        for role in ("fixed", "moving"):
            image = load_volume(PAIRS / name / f"{role}.nii.gz")
            if image.array.tobytes() in rows:
                continue
            mask = load_mask(PAIRS / name / f"{role}_mask.nii.gz")
            place = tuple(slice(*ends) for ends in BOX)
            affine = image.affine.copy()
            affine[:3, 3] = (image.affine @ [*(low for low, _ in BOX), 1])[:3]
            files = [f"{name}_{role}.nii.gz", f"{name}_{role}_mask.nii.gz"]
            for file, array in zip(files, (image.array, mask.array.astype("int32")), strict=True):
                crop = Volume(array[place].copy(), affine)
                save_volume(folder / file, crop.array, crop, True)
            rows[image.array.tobytes()] = files
    table = folder / "scans.csv"
    table.write_text("image,mask\n" + "\n".join(map(",".join, rows.values())) + "\n")
    return table


def score(out: Path, methods: list[str], pairs: list[str]) -> None:
    """Register every pair by every method that has no row yet."""
    from anyvox_keras.geometry import resample_to
    from anyvox_keras.io import load_labels
    from anyvox_keras.metrics import folds_percent, mean_dice

    path, backend = out / "scores.csv", keras.backend.backend()
    done = {(row["backend"], row["method"], row["pair"]) for row in _rows(path)}
    for method in methods:
        register = None
        for name in pairs:
            if (backend, method, name) in done:
                continue
            if register is None:
                register = _method(out, method)
                if "+" not in method:
                    register(PAIRS / name)  # once to compile
            start = time.process_time()
            field = register(PAIRS / name)
            seconds = time.process_time() - start
            fixed, moving = (
                load_labels(PAIRS / name / f"{n}_seg.nii.gz") for n in ("fixed", "moving")
            )
            labels = [int(label) for label in np.unique(fixed.array) if label > 0]
            moved = (
                resample_to(moving, fixed.grid).array
                if field is None
                else pull(moving.array, field)
            )
            folds = 0.0 if field is None else folds_percent(field)
            overlap = mean_dice(fixed.array, moved, labels)
            row = (backend, method, name, f"{overlap:.4f}", f"{folds:.4f}", f"{seconds:.2f}")
            print(*row, flush=True)
            new = not path.exists()
            with open(path, "a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COLUMNS, row] if new else [row])


def _method(out: Path, method: str) -> Any:
    """A function from a pair's folder to its displacement."""
    from anyvox_keras.features import FeatureExtractor
    from anyvox_keras.registration import register
    from anyvox_keras.voxelmorph import load_network, register_scans

    def files(folder: Path) -> dict[str, Path]:
        names = ("fixed", "moving", "fixed_mask", "moving_mask")
        return {name: folder / f"{name}.nii.gz" for name in names}

    if method == "affine":
        return lambda folder: None
    if method == "register":
        images = ("fixed.nii.gz", "moving.nii.gz")
        return lambda folder: register(*(folder / n for n in images), features="mind").displacement
    weights, _, loss = method.partition("+")
    options: dict[str, Any] = {"model": load_network(out / weights)}
    if loss:
        options |= dict(loss=loss, iterations=ITERATIONS, smoothness=SMOOTHNESS[loss])
        options["extractor"] = FeatureExtractor.from_preset() if loss == "feature" else None
    return lambda folder: register_scans(**options, **files(folder)).displacement


def fit(out: Path) -> None:
    """Take 20 steps on scans, and say the loss of fixed pairs before and after."""
    backend = keras.backend.backend()
    found = run(
        out / f"fit-{backend}", data=str(_crops(out)), loss="mind", weights=str(out / "synthetic"),
        smoothness=0.01, spacing=4.0, steps=20, learning_rate=1e-3, schedule="constant",
        log_every=1, validate_every=1, validation_pairs=4,
    )  # fmt: skip
    rows = _rows(found.folder / "log.csv")
    print(f"{backend}: {rows[0]['val_loss']} after 1 step, {rows[-1]['val_loss']} after 20")


def show(out: Path, picture: Path | None) -> None:
    """Print the table, and draw the curves."""
    rows = _rows(out / "scores.csv")
    print(f"\n| method | backend | {' | '.join(BRAINS)} | mean Dice | folds % | CPU s a pair |")
    print("|---" * (len(BRAINS) + 5) + "|")
    for key in dict.fromkeys((row["method"], row["backend"]) for row in rows):
        mine = {row["pair"]: row for row in rows if (row["method"], row["backend"]) == key}
        known = [mine[name] for name in BRAINS if name in mine]
        dice, folds, seconds = ([float(row[column]) for row in known] for column in COLUMNS[3:])
        shown = [f"{float(mine[name]['dice']):.3f}" if name in mine else "-" for name in BRAINS]
        mean = f"{np.mean(dice):.4f}" if len(known) == len(BRAINS) else "-"
        cells = [*key, *shown, mean, f"{max(folds):.3f}", f"{np.median(seconds):.1f}"]
        print(f"| {' | '.join(cells)} |")
    for log in sorted(out.glob("fit-*/log.csv")):
        losses = [float(row["val_loss"]) for row in _rows(log)]
        print(f"{log.parent.name}: loss {losses[0]:.5f} after 1 step, {losses[-1]:.5f} after 20")
    if picture is not None:
        _draw(out, picture)


def _draw(out: Path, picture: Path) -> None:
    from matplotlib import pyplot as plt

    from anyvox_keras.pictures import style

    plt.rcParams.update(style())
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    rows = _rows(out / "synthetic" / "log.csv")
    for label, column, line in (("trained on", "dice", "-"), ("validation", "val_dice", "o-")):
        kept = [row for row in rows if row[column]]
        steps = [int(row["step"]) for row in kept]
        left.plot(steps, [float(row[column]) for row in kept], line, label=label)
    left.set(xlabel="step", ylabel="Dice of synthetic pairs")
    left.legend()
    for loss in LOSSES:
        rows = _rows(out / loss / "log.csv")
        steps = [int(row["step"]) for row in rows]
        column = "features" if loss == "feature" else "image"
        values = np.array([float(row[column]) for row in rows])
        right.plot(
            steps,
            np.convolve(np.pad(values, 2, "edge"), np.ones(5) / 5, "valid") - values[0],
            label=loss,
        )
    right.set(xlabel="step on the scans", ylabel="loss, less its first value")
    right.legend()
    figure.savefig(picture, dpi=110)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
