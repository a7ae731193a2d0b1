"""A segmenter of brains from label maps alone, beside one trained on T1, on T1, T2 and PD.

    KERAS_BACKEND=torch python benchmarks/contrast_free.py --out results --minutes 15 | --steps 200
        [--methods t1,maps,both] [--learn 3] [--change rarity=0 ...]

Learns from the first --learn of the six T1 heads of $ANYVOX_DATA/data/registration, skull-stripped,
of 2 mm and 25 structures; tests on the other T1 heads and on the T2 and the PD template, which no
training sees. `t1` is `anyvox segment train --data`, `maps` --synthetic-from, `both` takes both.
The label maps are those of the same T1 heads; lest all between the 25 structures be painted as one,
the rest of the brain is parted in three by its T1 intensity, as a user of such a data set can do
(SynthSeg, Billot et al., 2023, enriches label maps so). --change tries other settings. results/
holds both folders as a user would have them, the runs, and table.csv, a row for each test scan; a
killed benchmark goes on.
"""

import argparse
import csv
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from few_shot import changed
from scipy.cluster.vq import kmeans2

from anyvox_keras.io import load_labels, load_volume
from anyvox_keras.metrics import dice
from anyvox_keras.segmentation import Predictor, SegmentationRun, SegmentationSettings, load_run

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared")) / "data"
#: pairs whose fixed image is the template of that contrast
TEMPLATES = {"T2": "t1_t2_1000", "PD": "t1_pd_1007"}
STRUCTURES = 25
#: into how many the rest of the brain is parted: fluid, grey and white matter
TISSUES = 3


def main() -> None:
    """Lay out the data, train what is not there yet, test; print a table of mean Dice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--methods", default="t1,maps,both")
    parser.add_argument("--change", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--learn", type=int, default=3, help="Heads to learn from.")
    options = parser.parse_args()
    heads = sorted((DATA / "registration").glob("t1_*"), key=lambda folder: folder.name[-4:])
    scans, maps = lay_out(options.out, heads[: options.learn])
    sources = {"t1": {"data": scans}, "maps": {"synthetic_from": maps}}
    sources["both"] = sources["t1"] | sources["maps"]
    tests = [("T1", folder, "moving") for folder in heads[options.learn :]]
    tests += [(name, DATA / "registration" / pair, "fixed") for name, pair in TEMPLATES.items()]
    given = dict(map(changed, options.change))
    rows = []
    for method in options.methods.split(","):
        folder = options.out / method
        length = {"minutes": options.minutes, "steps": options.steps}
        settings = SegmentationSettings(**length, **given, **sources[method])
        run = SegmentationRun(folder, settings)
        if not run.finished:
            run.train(introduce=print)
        model, used = load_run(folder)
        predictor = Predictor(model, used.crop, overlap=used.overlap)
        for contrast, pair, side in tests:
            found = predictor(load_volume(pair / f"{side}.nii.gz")).array
            truth = load_labels(pair / f"{side}_seg.nii.gz").array
            overlap = dice(found, truth, range(1, STRUCTURES + 1))
            row = {"method": method, "contrast": contrast, "scan": f"{pair.name}/{side}"}
            row |= {"steps": run.step, "dice": round(float(np.nanmean([*overlap.values()])), 4)}
            rows.append(row)
            print(json.dumps(row), flush=True)
    with open(options.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def lay_out(out: Path, heads: list[Path]) -> tuple[str, str]:
    """Write scans with their labels, and label maps with the rest of the brain parted."""
    scans, maps = out / "scans", out / "maps"
    for folder in (scans / "imagesTr", scans / "labelsTr", maps / "labelsTr"):
        folder.mkdir(parents=True, exist_ok=True)
    names = {"0": "background"} | {str(k): f"structure {k}" for k in range(1, STRUCTURES + 1)}
    for folder in (scans, maps):
        (folder / "dataset.json").write_text(json.dumps({"labels": names}), encoding="utf-8")
    for head in heads:
        name = f"{head.name}.nii.gz"
        image, labels = (nib.load(head / f"{part}.nii.gz") for part in ("moving", "moving_seg"))
        nib.save(image, scans / "imagesTr" / name)
        nib.save(labels, scans / "labelsTr" / name)
        parted = parted_rest(np.asanyarray(image.dataobj), np.asanyarray(labels.dataobj))
        nib.save(nib.Nifti1Image(parted, labels.affine), maps / "labelsTr" / name)
    return str(scans), str(maps)


def parted_rest(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number what the labels leave of the brain by its intensity, from dark to bright."""
    rest = (labels == 0) & (image > 0)
    values = image[rest].astype("float64")
    start = np.quantile(values, (np.arange(TISSUES) + 0.5) / TISSUES)
    means, tissue = kmeans2(values[:, None], start[:, None], minit="matrix")
    parted = labels.astype("int16")
    parted[rest] = STRUCTURES + 1 + np.argsort(np.argsort(means[:, 0]))[tissue]
    return parted


def print_table(rows: list[dict]) -> None:
    """A line for each method, a column for each contrast: the mean over its scans."""
    contrasts = list(dict.fromkeys(row["contrast"] for row in rows))
    print(f"| method | steps | {' | '.join(contrasts)} |")
    print(f"|---|---|{'---|' * len(contrasts)}")
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        means = [np.mean([r["dice"] for r in own if r["contrast"] == c]) for c in contrasts]
        print(f"| {method} | {own[0]['steps']} | {' | '.join(f'{m:.3f}' for m in means)} |")


if __name__ == "__main__":
    main()
