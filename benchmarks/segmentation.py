"""Few-shot segmentation of the hippocampus: scratch, pretrained, and MONAI's BasicUNet.

    KERAS_BACKEND=torch python benchmarks/segmentation.py --out results [--weights PRESET]
        [--methods scratch,pretrained,monai] [--counts 1,3,10] [--seeds 0,1,2] [--steps 600]

Cases come from $ANYVOX_DATA/data/hippocampus (Medical Segmentation Decathlon, task 4) by the split
of hippocampus_split.json: seed s trains on volumes s n ... s n + n - 1 of the training list, in a
circle; all 20 test cases count. Every method gets the same crops, augmentation, steps, rates and
rule for the best weights. Methods `generalise` and `generalise-pretrained` train with the stream's
appearance effects.

results/table.csv holds a row a training, results/<training>/log.csv its learning curve, and
results/curve.png the Dice by number of training volumes and by step. A killed benchmark goes on,
and what one backend has trained another reads. --copies tests on inverted and on unevenly lit
copies too (copies.csv). --on validation tests on those validation cases that do not choose the best
weights (validation.csv): whoever tries recipes looks there, not at the test cases.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from anyvox_keras.metrics import dice
from anyvox_keras.networks import preset_metadata
from anyvox_keras.segmentation import (
    Case,
    CaseFiles,
    Dataset,
    Predictor,
    SegmentationRun,
    SegmentationSettings,
    load_case,
    load_run,
)

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
FOLDER = DATA / "data" / "hippocampus"
SPLIT = json.loads(Path(__file__).with_name("hippocampus_split.json").read_text(encoding="utf-8"))
CLASSES = ("anterior", "posterior")


def main() -> None:
    """Train every method with every number of volumes and every seed; print the means."""
    options = _options()
    names = SPLIT["test"] if options.on == "test" else SPLIT["validation"][options.validation :]
    cases = [load_case(_files(name)) for name in names]
    rows = []
    for count in map(int, options.counts.split(",")):
        for seed in map(int, options.seeds.split(",")):
            for method in options.methods.split(","):
                folder = options.out / _name(method, count, seed, options)
                if options.found and not (folder / "row.json").exists():
                    continue
                rows.append(_row(method, count, seed, cases, options))
                print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    if not rows:
        raise SystemExit(f"{options.out}: nothing is trained")
    table = "copies" if options.copies else "table" if options.on == "test" else "validation"
    _save(rows, options.out / f"{table}.csv")
    _print_table(rows)
    if table == "table":
        _draw(rows, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="anyvox-base", help="For the methods `pretrained`.")
    parser.add_argument("--methods", default="scratch,pretrained,monai")
    parser.add_argument("--counts", default="1,3,10")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--backbone-rate", type=float, default=1.0, help="Of pretrained backbones.")
    parser.add_argument("--width", type=int, default=16, help="Of the methods from scratch.")
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--validation", type=int, default=4, help="Cases that choose the weights.")
    parser.add_argument("--on", choices=("test", "validation"), default="test")
    parser.add_argument("--found", action="store_true", help="Train nothing: what there is.")
    parser.add_argument("--copies", action="store_true", help="Test on changed copies too.")
    options = parser.parse_args()
    if "monai" in options.methods and not options.found and keras.config.backend() != "torch":
        parser.error("the method monai needs KERAS_BACKEND=torch; it may add to another's --out")
    return options


def _files(name: str) -> CaseFiles:
    image, labels = (FOLDER / kind / f"{name}.nii.gz" for kind in ("images", "labels"))
    return CaseFiles(name, image, labels)


def _row(
    method: str, count: int, seed: int, cases: list[Case], options: argparse.Namespace
) -> dict[str, Any]:
    """Train and test; what an earlier run of the benchmark found is read."""
    run = _run(method, count, seed, options)
    facts = {"method": method, "volumes": count, "seed": seed, "weights": _version(method, options)}
    path = run.folder / "row.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    changes = COPIES if options.copies else {"dice": COPIES["dice"]}
    wanted = {f"val_{n}" if options.on == "validation" else n: c for n, c in changes.items()}
    if missing := wanted.keys() - known.keys():
        start = time.perf_counter()
        predictor = Predictor([_trained(method, run)], options.side, overlap=0.5)
        known = {"seconds": round(time.perf_counter() - start), **known}
        for name in sorted(missing):
            known[name] = round(_test(predictor, cases, wanted[name]), 4)
        path.write_text(json.dumps({**facts, **known}), encoding="utf-8")
    return {**facts, **{name: known[name] for name in ("seconds", *wanted)}}


def _run(method: str, count: int, seed: int, options: argparse.Namespace) -> SegmentationRun:
    """Make the run of a row; a folder begun with other settings is refused."""
    chosen = [SPLIT["training"][(seed * count + i) % 10] for i in range(count)]
    validation = SPLIT["validation"][: options.validation]
    dataset = Dataset([*map(_files, chosen)], [*map(_files, validation)], CLASSES)
    folder = options.out / _name(method, count, seed, options)
    return SegmentationRun(folder, _settings(method, seed, options), dataset)


def _name(method: str, count: int, seed: int, options: argparse.Namespace) -> str:
    """Name a row's folder; weights that change under one name begin another."""
    _, _, version = _version(method, options).partition(" ")
    return "-".join(filter(None, (method, version, str(count), str(seed))))


def _version(method: str, options: argparse.Namespace) -> str:
    """Name the weights a method starts from, and the beginning of their hash."""
    if not method.endswith("pretrained"):
        return ""
    digest = preset_metadata(options.weights).get("sha256", "")[:8]
    return f"{Path(options.weights).name} {digest}".strip()


def _settings(method: str, seed: int, options: argparse.Namespace) -> SegmentationSettings:
    every = max(options.steps // 10, 1)
    start: dict[str, Any] = (
        {"weights": options.weights, "backbone_rate": options.backbone_rate}
        if method.endswith("pretrained")
        else {"weights": "scratch", "width": options.width, "levels": options.levels}
    )
    return SegmentationSettings(
        seed=seed, side=options.side, steps=options.steps, batch_size=options.batch_size,
        learning_rate=options.learning_rate, epoch_steps=every, log_every=every,
        validate_every=every, overlap=0.5, balanced=True,
        generalise=method.startswith("generalise"), **start,
    )  # fmt: skip


def _trained(method: str, run: SegmentationRun) -> Any:
    """Train to the end, where that is left to do, and return the best network."""
    if method == "monai":
        from monai_unet import train_monai

        return train_monai(run, len(CLASSES))
    run.train()
    return load_run(run.folder)[0]


def _lit(image: np.ndarray) -> np.ndarray:
    """Multiply by a smooth field between exp(-1) and exp(1), rescaled to [0, 1]."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in image.shape], indexing="ij")
    lit = image * np.exp(0.5 * x + 0.5 * y * z)
    return ((lit - lit.min()) / (lit.max() - lit.min())).astype("float32")


#: what the test images undergo, by the column of the table
COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dice": lambda image: image,
    "dice_inverted": lambda image: 1 - image,
    "dice_biased": _lit,
}


def _test(
    predictor: Predictor, cases: list[Case], change: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Mean Dice over both labels and all cases, their images changed."""
    found = [dice(predictor.label_map(change(c.image)), c.label_map, (1, 2)) for c in cases]
    return float(np.mean([value for case in found for value in case.values()]))


def _save(rows: list[dict[str, Any]], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Mean (standard deviation) over seeds, a column for each number of volumes."""
    counts = sorted({row["volumes"] for row in rows})
    print(f"| method | weights | measure | {' | '.join(map(str, counts))} | seconds |")
    print(f"|---|---|---|{'---|' * len(counts)}---|")
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        seconds = f"{np.mean([row['seconds'] for row in own]):.0f}"
        for name in (name for name in rows[0] if "dice" in name):
            groups = [[row[name] for row in own if row["volumes"] == count] for count in counts]
            cells = [f"{np.mean(g):.3f} ({_spread(g):.3f})" if g else "" for g in groups]
            print(f"| {' | '.join([method, own[0]['weights'], name, *cells, seconds])} |")


def _spread(values: list[float]) -> float:
    """Standard deviation of a sample; 0 of a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _draw(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Draw test Dice by number of volumes, then for each number validation Dice by step."""
    from matplotlib import pyplot as plt

    from anyvox_keras.pictures import style

    counts = sorted({row["volumes"] for row in rows})
    plt.rcParams.update(style())
    size = (3.2 * (1 + len(counts)), 3.2)
    figure, (first, *others) = plt.subplots(1, 1 + len(counts), figsize=size, layout="constrained")
    for method in dict.fromkeys(row["method"] for row in rows):
        groups = {
            count: [r for r in rows if (r["method"], r["volumes"]) == (method, count)]
            for count in counts
        }
        groups = {count: group for count, group in groups.items() if group}
        values = [[row["dice"] for row in group] for group in groups.values()]
        means, spread = ([f(v) for v in values] for f in (np.mean, _spread))
        drawn = first.errorbar([*groups], means, spread, marker="o", capsize=3, label=method)
        for count, group in groups.items():
            names = [_name(method, count, row["seed"], options) for row in group]
            steps, curves = zip(*(_curve(options.out / name) for name in names), strict=True)
            axes, colour = others[counts.index(count)], drawn[0].get_color()
            axes.plot(steps[0], np.mean(curves, axis=0), color=colour)
            low, high = np.min(curves, axis=0), np.max(curves, axis=0)
            axes.fill_between(steps[0], low, high, color=colour, alpha=0.15)
    first.set_xscale("log")
    first.set_xticks(counts, [str(n) for n in counts])
    first.set(xlabel="training volumes", title="test Dice, mean and spread of seeds")
    first.legend(loc="lower right")
    for axes, count in zip(others, counts, strict=True):
        axes.set(xlabel="step", title=f"validation Dice, {count} volume{'s' * (count > 1)}")
        axes.set(ylim=(0, 0.85))
    for axes in (first, *others):
        axes.title.set_fontsize("medium")
        axes.grid(alpha=0.3)
    figure.savefig(options.out / "curve.png", dpi=100)


def _curve(folder: Path) -> tuple[list[int], list[float]]:
    """Read steps and validation Dice of a training."""
    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [int(row["step"]) for row in rows], [float(row["val_dice"]) for row in rows]


if __name__ == "__main__":
    main()
