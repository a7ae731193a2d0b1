"""Few labelled scans, equal time: our defaults beside a page of MONAI, on every visible set.

    KERAS_BACKEND=torch python benchmarks/few_shot.py --out results --minutes 5 [--weights PRESET]
        [--methods pretrained,scratch,monai] [--sets heart_cine,...] [--counts 3] [--seeds 0]

Sets are those of $ANYVOX_DATA/data/segmentation and the hippocampus. Seed s learns from volumes
s n ... s n + n - 1 by name, in a circle over the first two thirds; the last third is tested on. No
case is set apart to choose weights. Ours is what `anyvox segment train --minutes` does by default;
MONAI's is `monai_recipe.py`, and both end after the same minutes. results/table.csv holds a row a
training, with the Dice of each label; a killed benchmark goes on with the rows it lacks.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from anyvox_keras.metrics import dice
from anyvox_keras.segmentation import (
    Case,
    CaseFiles,
    Dataset,
    Predictor,
    SegmentationRun,
    SegmentationSettings,
    load_run,
)

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared")) / "data"
OVERLAP = 0.5


def main() -> None:
    """Train what is not there yet; print a table of mean test Dice."""
    options = _options()
    rows = []
    for name in options.sets.split(","):
        for count in map(int, options.counts.split(",")):
            for seed in map(int, options.seeds.split(",")):
                for method in options.methods.split(","):
                    rows.append(_row(name, method, count, seed, options))
                    print(json.dumps(rows[-1]), flush=True)
    with open(options.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _print_table(rows)


def _options() -> argparse.Namespace:
    found = sorted(folder.name for folder in (DATA / "segmentation").glob("*/"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--weights", default="anyvox-base", help="For the method `pretrained`.")
    parser.add_argument("--methods", default="pretrained,scratch,monai")
    parser.add_argument("--sets", default=",".join([*found, "hippocampus"]))
    parser.add_argument("--counts", default="3", help="Numbers of volumes to learn from.")
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    if "monai" in options.methods and keras.config.backend() != "torch":
        parser.error("the method monai needs KERAS_BACKEND=torch; it may add to another's --out")
    return options


def _row(
    name: str, method: str, count: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train and test; what an earlier run of the benchmark found is read."""
    start = Path(options.weights).name if method == "pretrained" else ""
    words = (name, method, start, str(count), str(seed), f"{options.minutes:g}min")
    folder = options.out / "-".join(filter(None, words))
    path = folder / "row.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    run, tests = _run(folder, name, method, count, seed, options)
    begin = time.perf_counter()
    predictor = _trained(method, run)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    scores = _test(predictor, tests, run)
    row = {"set": name, "method": method, "weights": start, "volumes": count, "seed": seed}
    row |= {"minutes": options.minutes, "seconds": round(seconds), "steps": run.step or ""}
    row |= {"test_seconds": round(time.perf_counter() - begin, 1)}
    row |= {"dice": round(float(np.mean(scores)), 4), "by_label": [round(d, 3) for d in scores]}
    path.write_text(json.dumps(row), encoding="utf-8")
    return row


def _run(
    folder: Path, name: str, method: str, count: int, seed: int, options: argparse.Namespace
) -> tuple[SegmentationRun, list[CaseFiles]]:
    """Make the run of a row, and name the cases to test on."""
    files = _cases(name)
    learn, tests = files[: 2 * len(files) // 3], files[2 * len(files) // 3 :]
    chosen = [learn[(seed * count + i) % len(learn)] for i in range(count)]
    weights = options.weights if method == "pretrained" else "scratch"
    settings = SegmentationSettings(minutes=options.minutes, seed=seed, weights=weights)
    return SegmentationRun(folder, settings, Dataset(chosen, ())), tests


def _cases(name: str) -> list[CaseFiles]:
    folder = DATA / name if (DATA / name).is_dir() else DATA / "segmentation" / name
    images = sorted((folder / "images").glob("*.nii.gz"))
    return [CaseFiles(p.name[: -len(".nii.gz")], p, folder / "labels" / p.name) for p in images]


def _trained(method: str, run: SegmentationRun) -> Any:
    """Train to the end, and return what segments a case."""
    if method == "monai":
        from monai_recipe import train_recipe

        cases, _ = run.cases
        run.folder.mkdir(parents=True, exist_ok=True)
        return train_recipe(cases, len(run.classes), run.settings.seconds, run.settings.seed)
    run.train(introduce=print)
    model, settings = load_run(run.folder)
    return Predictor(model, settings.crop, overlap=OVERLAP)


def _test(predictor: Any, tests: Sequence[CaseFiles], run: SegmentationRun) -> list[float]:
    """Mean Dice of each label over the cases that hold it."""
    labels = range(1, len(run.classes) + 1)
    scores = []
    for files in tests:
        case: Case = run.read(files)
        scores.append(list(dice(predictor.label_map(case.image), case.label_map, labels).values()))
    return [float(d) for d in np.nanmean(np.asarray(scores, "float64"), axis=0)]


def _print_table(rows: list[dict[str, Any]]) -> None:
    """A line for each set and number of volumes, a column for each method: the mean over seeds."""
    methods = list(dict.fromkeys((row["method"], row["weights"]) for row in rows))
    print(f"| set | volumes | {' | '.join(' '.join(m).strip() for m in methods)} |")
    print(f"|---|---|{'---|' * len(methods)}")
    for name, count in dict.fromkeys((row["set"], row["volumes"]) for row in rows):
        own = [row for row in rows if (row["set"], row["volumes"]) == (name, count)]
        cells = []
        for method in methods:
            found = [r["dice"] for r in own if (r["method"], r["weights"]) == method]
            cells.append(f"{np.mean(found):.3f}" if found else "")
        print(f"| {name} | {count} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
