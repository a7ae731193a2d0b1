"""Load test of `register --batch`: many small pairs over workers, one of them killed now and then.

    KERAS_BACKEND=torch python benchmarks/many_pairs.py --pairs 1000 --workers 1 2 --kill-every 60

Prints pairs a minute, peak memory of all processes together, how many workers were killed, and how
many results are missing, which must be none.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from scipy import ndimage


def made_pairs(folder: Path, count: int, side: int) -> Path:
    """Write two small scans, and a table that names them as often as asked."""
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(side,) * 3), 2).astype("float32")
    for name, array in (("fixed", image), ("moving", ndimage.shift(image, 1.5, mode="nearest"))):
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii.gz")
    table = folder / "pairs.csv"
    table.write_text("fixed,moving\n" + "fixed.nii.gz,moving.nii.gz\n" * count)
    return table


def watch(process: subprocess.Popen, kill_every: float, seen: dict[str, float]) -> None:
    """Note the memory of a command's processes, and kill a busy worker now and then."""
    parent, last = psutil.Process(process.pid), time.monotonic()
    while process.poll() is None:
        children = parent.children(recursive=True)
        memory = []
        for one in children:
            try:
                memory.append((one.memory_info().rss, one))
            except psutil.Error:
                continue
        seen["mb"] = max(seen["mb"], sum(rss for rss, _ in memory) / 1e6)
        if memory and kill_every and time.monotonic() - last > kill_every:
            max(memory, key=lambda pair: pair[0])[1].kill()  # the largest holds a framework
            seen["killed"] += 1
            last = time.monotonic()
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--side", type=int, default=16, help="Voxels along each axis.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kill-every", type=float, default=60.0, help="Seconds; 0 kills none.")
    given = parser.parse_args()
    for workers in given.workers:
        with tempfile.TemporaryDirectory() as name:
            table = made_pairs(Path(name), given.pairs, given.side)
            command = [sys.executable, "-m", "anyvox_keras.cli", "register", "--iterations", "2"]
            command += ["--batch", str(table), "--out", f"{name}/out", "--workers", str(workers)]
            seen, began = {"mb": 0.0, "killed": 0}, time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            watcher = threading.Thread(target=watch, args=(process, given.kill_every, seen))
            watcher.start()
            process.wait()
            watcher.join()
            minutes = (time.monotonic() - began) / 60
            with open(f"{name}/out/metrics.csv", newline="") as file:
                missing = sum(not row["verdict"] for row in csv.DictReader(file))
            print(
                f"{workers} workers: {given.pairs} pairs in {minutes:.1f} min, "
                f"{given.pairs / minutes:.1f} a minute, peak {seen['mb']:.0f} MB, "
                f"{seen['killed']} workers killed, {missing} results missing",
                flush=True,
            )


if __name__ == "__main__":
    main()
