"""How long a newcomer looks at nothing: the first line and the end of each command.

    KERAS_BACKEND=torch python benchmarks/journeys.py [--code CHECKOUT] [--only WORD,...]

Each command runs on a terminal, from an empty folder with two images of 48^3, as a process of its
own. Prints a table in Markdown: seconds to the first visible character and to the end, lines that
were left on the screen, and the exit code. `--code` times another checkout of the package.
"""

import argparse
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SIDE = 48
FLAGS = ["--fixed", "fixed.nii.gz", "--moving", "moving.nii.gz"]
LABELS = ["--fixed-seg", "fixed_seg.nii.gz", "--moving-seg", "moving_seg.nii.gz"]
COMMANDS = {
    "help": ["--help"],
    "register-help": ["register", "--help"],
    "train-help": ["segment", "train", "--help"],
    "info": ["info"],
    "register": ["register", *FLAGS, "--out", "plain"],
    "labels": ["register", *FLAGS, *LABELS, "--out", "labels"],
    "affine": ["register", *FLAGS, "--affine", "--out", "affine"],
    "apply": ["apply", "--warp", "plain/warp.nii.gz", "--image", "moving.nii.gz",
              "--reference", "fixed.nii.gz", "--out", "applied.nii.gz"],
    "features": ["features", "fixed.nii.gz", "features.nii.gz"],
    "flat": ["register", "--fixed", "flat.nii.gz", *FLAGS[2:], "--out", "flat"],
    "demo": ["demo", "--steps", "20"],
}  # fmt: skip
#: what moves the cursor or colours, and shows nothing
CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\s")


def make_pair(folder: Path) -> None:
    """Two contrasts of one shape, two voxels apart; their labels; a flat image."""
    noise = np.random.default_rng(0).random((SIDE + 8,) * 3)
    base = ndimage.gaussian_filter(noise, 4)
    base = (base - base.min()) / np.ptp(base)
    fixed = base[4:-4, 4:-4, 4:-4]
    moving = base[2:-6, 4:-4, 4:-4]
    arrays = {
        "fixed": fixed.astype("float32"), "moving": (1 - moving).astype("float32"),
        "fixed_seg": (fixed > 0.5).astype("uint8"), "moving_seg": (moving > 0.5).astype("uint8"),
        "flat": fixed[:, :, 0].astype("float32"),
    }  # fmt: skip
    for name, array in arrays.items():
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1])), folder / f"{name}.nii.gz")


def journey(words: list[str], folder: Path, code: Path) -> tuple[float, float, int, int]:
    """Run on a terminal: seconds to the first character and to the end, lines, exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "anyvox_keras.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(code), "COLUMNS": "100"}
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    first, text = None, b""
    while True:
        ready, _, _ = select.select([ours], [], [], 0.01)
        try:
            part = os.read(ours, 1 << 16) if ready else b""
        except OSError:  # the other end is closed
            break
        text += part
        if first is None and CODES.sub(b"", text):
            first = time.monotonic() - began
        if not part and process.poll() is not None and not ready:
            break
    code_of_exit = process.wait()
    total = time.monotonic() - began
    os.close(ours)
    # a line that is drawn over and over is one
    lines = [line for line in text.split(b"\n") if CODES.sub(b"", line.split(b"\r")[-1] or line)]
    return first if first is not None else total, total, len(lines), code_of_exit


def main() -> None:
    """Time every command, in the order in which a newcomer types them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--only", default=",".join(COMMANDS))
    given = parser.parse_args()
    print("| command | first line, s | end, s | lines | exit code |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        make_pair(Path(name))
        for key in given.only.split(","):
            words = COMMANDS[key]
            first, total, lines, code = journey(words, Path(name), given.code.resolve())
            told = f"{first:.1f} | {total:.1f} | {lines} | {code}"
            print(f"| `anyvox {' '.join(words)}` | {told} |", flush=True)


if __name__ == "__main__":
    main()
