"""Reproduce the paper's AbdomenMRCT table on Learn2Reg data in its own layout.

    python abdomen_mr_ct.py --data AbdomenMRCT [--features both --weights FOLDER] [--out table.csv]

DATA holds `AbdomenMRCT_dataset.json` (its `registration_val` lists the pairs) and the folders
`imagesTr`, `labelsTr` and, if present, `masksTr`; in the challenge MR is 0000 and CT is 0001. The
paper reports 0.756 mean and 0.854 median Dice over 8 pairs. Without --data a tiny synthetic folder
in this layout is made and used, to show that the script works; its Dice means nothing.

Set KERAS_BACKEND to tensorflow, torch or jax.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

import anyvox_keras as avx

PRESET = {"paper": "convexadam", "default": "default"}
CT = (-450, 450)
LIST = "AbdomenMRCT_dataset.json"


def synthetic(folder: Path, side: int = 24) -> Path:
    """Write two pairs: views of one label map, with the challenge's names."""
    bank = avx.TemplateBank.geometric(40, side=side)
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    pairs = []
    for number, sample in zip((1, 2), avx.SyntheticStream(bank, side=side).arrays(), strict=False):
        for modality, view in enumerate(("view1", "view2")):
            name = f"AbdomenMRCT_{number:04d}_{modality:04d}.nii.gz"
            labels = np.asarray(sample["label_map"])[0] % 5
            image = np.asarray(sample[view])[0, ..., 0]
            # the second of a pair lies two voxels further
            image, labels = (np.roll(x, 2 * modality, axis=0) for x in (image, labels))
            for sub, array in (("imagesTr", image), ("labelsTr", labels.astype("uint8"))):
                nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0])), folder / sub / name)
        names = [f"./imagesTr/AbdomenMRCT_{number:04d}_{m:04d}.nii.gz" for m in (0, 1)]
        pairs.append({"fixed": names[0], "moving": names[1]})
    text = json.dumps({"registration_val": pairs})
    (folder / LIST).write_text(text, encoding="utf-8")
    return folder


def register_pair(folder: Path, pair: dict[str, str], args: argparse.Namespace) -> dict:
    """Register the CT to the MR of one pair; masks count where the data set has them."""
    given: dict = {"features": args.features, "weights": args.weights}
    for side in ("fixed", "moving"):
        path = Path(pair[side])
        given[side] = folder / path
        given[f"{side}_seg"] = folder / "labelsTr" / path.name
        mask = folder / "masksTr" / path.name
        if mask.exists():
            given[f"{side}_mask"] = mask
        if path.name.endswith("_0001.nii.gz") and args.data is not None:
            given[f"{side}_clip"] = CT
    return avx.register(**given, preset=PRESET[args.settings]).metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the Learn2Reg data set")
    parser.add_argument("--features", default="mind", choices=("mind", "network", "both"))
    parser.add_argument("--weights", help="preset folder, for the network's features")
    parser.add_argument("--settings", default="paper", choices=tuple(PRESET))
    parser.add_argument("--out", help="CSV of every pair")
    args = parser.parse_args()
    folder = args.data or synthetic(Path(tempfile.mkdtemp()) / "AbdomenMRCT")

    if not (folder / LIST).exists():
        parser.error(f"--data: expected a folder with {LIST}, received {folder}")
    listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    rows = []
    for pair in listed["registration_val"]:
        found = register_pair(folder, pair, args)
        dice = found["mean_dice"]
        rows.append(
            [Path(pair["fixed"]).name, dice["before"], dice["after"], found["folds_percent"]]
        )
        print("{}: Dice {:.3f} -> {:.3f}, folds {:.3f} %".format(*rows[-1]), flush=True)
    after = [row[2] for row in rows]
    print(f"{len(rows)} pairs: mean Dice {np.mean(after):.3f}, median {np.median(after):.3f}")
    if args.out:
        with open(args.out, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["pair", "before", "after", "folds_percent"], *rows])


if __name__ == "__main__":
    main()
