"""Few labelled scans: our defaults beside a page of MONAI, on every visible set.

    KERAS_BACKEND=torch python benchmarks/few_shot.py --out results --minutes 5 | --steps 200
        [--methods pretrained,scratch,monai] [--sets heart_cine,...] [--counts 3] [--seeds 0]
        [--weights PRESET] [--change ema=0.95 ...] [--tests 6]

Sets are those of $ANYVOX_DATA/data/segmentation and the hippocampus. Seed s learns from volumes
s n ... s n + n - 1 by name, in a circle over the first two thirds; the last third is tested on. No
case is set apart to choose weights. Ours is what `anyvox segment train` does by default, with
--minutes or with --steps of four crops of --side; MONAI's is `monai_recipe.py`, for as long or for
as many steps of as many crops. --change tries other settings of ours. results/table.csv holds
every row so far, a training each, with the Dice of each label; a killed benchmark goes on.
"""

import argparse
import csv
import itertools
import json
import os
import time
import tomllib
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
#: crops of a step, where steps are given
CROPS = 4


def main() -> None:
    """Train what is not there yet; print a table of mean test Dice."""
    options = _options()
    asked = (options.sets, options.counts, options.seeds, options.methods)
    for name, count, seed, method in itertools.product(*(one.split(",") for one in asked)):
        print(json.dumps(_row(name, method, int(count), int(seed), options)), flush=True)
    paths = sorted(options.out.glob("*/row.json"))
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    with open(options.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _print_table(rows)


def _options() -> argparse.Namespace:
    found = sorted(folder.name for folder in (DATA / "segmentation").glob("*/"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--side", type=int, default=48, help="Of crops, with --steps and MONAI.")
    parser.add_argument("--weights", default="anyvox-base", help="For the method `pretrained`.")
    parser.add_argument("--methods", default="pretrained,scratch,monai")
    parser.add_argument("--sets", default=",".join([*found, "hippocampus"]))
    parser.add_argument("--counts", default="3", help="Numbers of volumes to learn from.")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--change", nargs="*", default=[], metavar="KEY=VALUE", help="Of ours.")
    parser.add_argument("--tests", type=int, help="Test cases of each set. By default all.")
    options = parser.parse_args()
    if "monai" in options.methods and keras.config.backend() != "torch":
        parser.error("the method monai needs KERAS_BACKEND=torch; it may add to another's --out")
    return options


def _row(
    name: str, method: str, count: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train and test; what an earlier run of the benchmark found is read."""
    start = Path(options.weights).name if method == "pretrained" else ""
    length = (
        f"{options.steps} steps {options.side}" if options.steps else f"{options.minutes:g} minutes"
    )
    change = "" if method == "monai" else " ".join(options.change)
    words = (name, method, start, str(count), str(seed), length.replace(" ", ""), change)
    folder = options.out / "-".join(filter(None, words))
    path = folder / "row.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    run, tests = _run(folder, name, method, count, seed, options)
    begin = time.perf_counter()
    predictor = _trained(method, run, options)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    scores = _test(predictor, tests, run)
    row = {"set": name, "method": method, "weights": start, "volumes": count, "seed": seed}
    row |= {"length": length, "change": change, "seconds": round(seconds), "steps": run.step or ""}
    row |= {"test_seconds": round(time.perf_counter() - begin, 1)}
    row |= {"dice": round(float(np.mean(scores)), 4), "by_label": [round(d, 3) for d in scores]}
    path.write_text(json.dumps(row), encoding="utf-8")
    return row


def _run(
    folder: Path, name: str, method: str, count: int, seed: int, options: argparse.Namespace
) -> tuple[SegmentationRun, list[CaseFiles]]:
    """Make the run of a row, and name the cases to test on."""
    learn, tests = _split(name)
    chosen = [learn[(seed * count + i) % len(learn)] for i in range(count)]
    given: dict[str, Any] = {"minutes": options.minutes}
    if options.steps:
        given = {"steps": options.steps, "batch_size": CROPS, "side": options.side}
        given["log_every"] = max(1, options.steps // 10)
    given["weights"] = options.weights if method == "pretrained" else "scratch"
    given |= dict(changed(change) for change in options.change)
    settings = SegmentationSettings(seed=seed, **given)
    return SegmentationRun(folder, settings, Dataset(chosen, ())), tests[: options.tests]


def changed(change: str) -> tuple[str, Any]:
    """Read KEY=VALUE, the value as in TOML, or a word."""
    key, _, value = change.partition("=")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def test_cases(name: str) -> list[CaseFiles]:
    """Cases of a set that no training sees."""
    return _split(name)[1]


def _split(name: str) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """The first two thirds of a set by name, and the last."""
    folder = DATA / name if (DATA / name).is_dir() else DATA / "segmentation" / name
    images = sorted((folder / "images").glob("*.nii.gz"))
    files = [CaseFiles(p.name[: -len(".nii.gz")], p, folder / "labels" / p.name) for p in images]
    return files[: 2 * len(files) // 3], files[2 * len(files) // 3 :]


def _trained(method: str, run: SegmentationRun, options: argparse.Namespace) -> Any:
    """Train to the end, and return what segments a case."""
    if method == "monai":
        from monai_recipe import train_recipe

        cases, _ = run.cases
        run.folder.mkdir(parents=True, exist_ok=True)
        length = {"steps": options.steps, "seconds": run.settings.seconds}
        sizes = {"classes": len(run.classes), "side": options.side}
        return train_recipe(cases, seed=run.settings.seed, **sizes, **length)
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
    methods = list(dict.fromkeys(map(_what, rows)))
    print(f"| set | volumes | {' | '.join(methods)} |")
    print(f"|---|---|{'---|' * len(methods)}")
    for name, count in dict.fromkeys((row["set"], row["volumes"]) for row in rows):
        own = [row for row in rows if (row["set"], row["volumes"]) == (name, count)]
        groups = [[row["dice"] for row in own if _what(row) == method] for method in methods]
        cells = [f"{np.mean(found):.3f} ({len(found)})" if found else "" for found in groups]
        print(f"| {name} | {count} | {' | '.join(cells)} |")


def _what(row: dict[str, Any]) -> str:
    """Name what was trained, and how long."""
    parts = (row["method"], row["weights"], row["change"], row["length"])
    return " ".join(filter(None, parts))


if __name__ == "__main__":
    main()
