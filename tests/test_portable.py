"""The package works where Unix's own modules are missing, as on Windows, with one backend."""

import os
import subprocess
import sys

import keras
import nibabel as nib
import numpy as np

HIDDEN = ("resource", "fcntl", "pwd", "grp")
OTHERS = {"tensorflow", "torch", "jax"} - {keras.backend.backend()}
CODE = f"""
import sys
for name in {sorted(OTHERS)}:
    sys.modules[name] = None
import filelock, matplotlib, nibabel, scipy.ndimage, keras  # others may look for the modules
from anyvox_keras import backend
for name in {HIDDEN}:
    sys.modules[name] = None  # `import` fails, as where it does not exist
import os
for name in ("sched_getaffinity", "sysconf"):
    if hasattr(os, name):
        delattr(os, name)
import anyvox_keras as avx
for folder in ("contrastive", "features", "networks", "registration", "segmentation", "synthesis",
               "training", "voxelmorph"):
    package = getattr(avx, folder)
    [getattr(package, name) for name in package.__all__]
bank = avx.TemplateBank.from_segmentations("maps", cache="maps.bank")
assert len(bank) == 1
from anyvox_keras.cli import main
sys.exit(main(["info"]))
"""


def test_nothing_needs_the_modules_of_unix_or_another_backend(tmp_path):
    (tmp_path / "maps").mkdir()
    labels = np.zeros((8, 8, 8), "uint8")
    labels[2:6, 2:6, 2:6] = 1
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "maps" / "case.nii.gz")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CODE]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "processors" in ran.stdout
    assert (tmp_path / "maps.bank").exists()
