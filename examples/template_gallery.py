"""Draw shapes of the geometric bank and print the statistics of its family.

    python examples/template_gallery.py [--side 64] [--count 300] [--folder DIR] [--out gallery]

Writes `templates.png`: four shapes of each kind, seen from the front. With `--folder`, the shapes
of real segmentations make the last row of the table.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

import anyvox_keras as avx

EXAMPLES = 4


def statistics(mask: np.ndarray, side: int) -> tuple[float, ...]:
    """Extent, elongation, flatness, share of the box that is filled, thickness of one shape."""
    points = np.argwhere(mask)
    moments = np.linalg.eigvalsh(np.cov(points.T) + np.eye(3) / 12)  # a voxel's own spread
    short, middle, long = np.sqrt(moments)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1)).max()
    thickness = 2 * depth / max(mask.shape)
    return max(mask.shape) / side, long / middle, middle / short, mask.mean(), thickness


def row(name: str, masks: list[np.ndarray], side: int, total: int) -> str:
    """Lay out the median and the 10th and 90th percentile of each statistic."""
    values = np.array([statistics(mask, side) for mask in masks if mask.sum() > 8])
    low, middle, high = np.percentile(values, (10, 50, 90), axis=0)
    cells = [f"{m:.2f} ({a:.2f} to {b:.2f})" for a, m, b in zip(low, middle, high, strict=True)]
    return f"| {name} | {len(masks) / total:.2f} | " + " | ".join(cells) + " |"


def draw(kinds: dict[str, list[np.ndarray]], path: Path) -> None:
    """Show shapes by the depth of their first voxel, near ones bright."""
    figure, axes = plt.subplots(len(kinds), EXAMPLES, figsize=(1.5 * EXAMPLES, 1.5 * len(kinds)))
    for line, (kind, masks) in zip(axes, kinds.items(), strict=True):
        line[0].set_title(kind, fontsize=9, loc="left")
        for axis, mask in zip(line, sorted(masks, key=lambda m: -max(m.shape))[1:], strict=False):
            depth = np.where(mask.any(0), 1.3 - mask.argmax(0) / mask.shape[0], np.nan)
            axis.imshow(depth, cmap="bone", vmin=0, vmax=1.4, interpolation="nearest")
        for axis in line:
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Read the arguments, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gallery"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    bank = avx.TemplateBank.geometric(options.count, options.side)
    kinds = defaultdict(list)
    for i, name in enumerate(bank.names):
        kinds[name.split("_")[0]].append(bank.mask(i))
    print("| kind | share | extent / side | elongation | flatness | filled | thickness |")
    print("|---|---|---|---|---|---|---|")
    for kind, masks in sorted(kinds.items()):
        print(row(kind, masks, options.side, len(bank)))
    everything = [mask for masks in kinds.values() for mask in masks]
    print(row("all", everything, options.side, len(bank)))
    if options.folder:
        real = avx.TemplateBank.from_segmentations(options.folder)
        masks = [real.mask(i) for i in range(len(real))]
        print(row("segmentations", masks, 128, len(real)))
    draw(dict(sorted(kinds.items())), options.out / "templates.png")
    print(f"picture in {options.out}")


if __name__ == "__main__":
    main()
