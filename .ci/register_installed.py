"""Register two small synthetic heads by the installed `anyvox`, and check all that is promised.

The command is called as pipx leaves it: by a link on the path, its environment not activated.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

FILES = (
    "moved.nii.gz", "warp.nii.gz", "inverse_warp.nii.gz", "report.png", "report.html",
    "metrics.json",
)  # fmt: skip
SIDE = 32


def head(centre: float) -> np.ndarray:
    """An ellipsoid with a darker core."""
    axes = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    distance = np.sqrt(sum(((x - centre) / r) ** 2 for x, r in zip(axes, (9, 11, 10), strict=True)))
    return (100.0 * (distance < 1) - 40.0 * (distance < 0.5)).astype("float32")


for name, array in {"fixed": head(15.0), "moving": 120.0 - head(17.0)}.items():
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0])), f"{name}.nii.gz")
    nib.save(nib.Nifti1Image((array != array[0, 0, 0]).astype("uint8"), np.diag([2.0] * 3 + [1.0])),
             f"{name}_seg.nii.gz")  # fmt: skip
Path("bin").mkdir()
Path("bin", "anyvox").symlink_to(Path(sys.executable).with_name("anyvox"))
paths = {"PATH": f"{Path('bin').absolute()}{os.pathsep}/usr/bin{os.pathsep}/bin"}
command = ["anyvox", "register", "fixed.nii.gz", "moving.nii.gz"]
for name in ("fixed", "moving"):
    command += [f"--{name}-seg", f"{name}_seg.nii.gz"]
subprocess.run(command, check=True, env=os.environ | paths)
lacking = [name for name in FILES if not Path("result", name).stat().st_size]
dice = json.loads(Path("result", "metrics.json").read_text(encoding="utf-8"))["mean_dice"]
if lacking or not dice["after"] > dice["before"]:
    sys.exit(f"lacking: {lacking}; Dice: {dice}")
