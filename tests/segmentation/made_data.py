"""A small labelled data set on disk: bright boxes of two classes in noise."""

import json

import nibabel as nib
import numpy as np

SHAPE = (14, 12, 13)


def made_pair(seed, shape=SHAPE):
    """An image whose two boxes differ in brightness, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, "uint8")
    start = rng.integers(1, 4, 3)
    labels[start[0] : start[0] + 4, start[1] : start[1] + 6, start[2] : start[2] + 6] = 1
    labels[start[0] + 4 : start[0] + 8, start[1] : start[1] + 6, start[2] : start[2] + 6] = 2
    return (100.0 * labels + 10 * rng.normal(size=shape)).astype("float32"), labels


def write(path, array, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def made_folder(folder, training=2, affine=None):
    """The Decathlon's layout: `training` cases, one for validation, one test image."""
    affine = np.diag([-1.0, 1.0, 1.5, 1.0]) if affine is None else affine
    parts = [("Tr", range(training)), ("Val", [90]), ("Ts", [91])]
    for suffix, seeds in parts:
        for seed in seeds:
            image, labels = made_pair(seed)
            write(folder / f"images{suffix}" / f"case_{seed}.nii.gz", image, affine)
            write(folder / f"labels{suffix}" / f"case_{seed}.nii.gz", labels, affine)
    names = {"0": "background", "1": "front", "2": "back"}
    (folder / "dataset.json").write_text(json.dumps({"labels": names}))
    return folder
