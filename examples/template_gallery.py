"""Draw shapes of the two families that need no data and print their statistics.

    python examples/template_gallery.py [--side 64] [--count 300] [--folder DIR] [--out gallery]

Writes `templates.png` (geometric) and `anatomical.png`: shapes of each kind, seen from the front,
the members of nested groups in a cut. With `--folder`, the shapes of real segmentations make the
last row of the table.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

import anyvox_keras as avx
from anyvox_keras.pictures import style

EXAMPLES = {"geometric": 4, "anatomical": 8}
Groups = list[list[np.ndarray]]


def statistics(mask: np.ndarray, side: int) -> tuple[float, ...]:
    """Extent, elongation, flatness, share of the box that is filled, thickness of one shape."""
    points = np.argwhere(mask)
    moments = np.linalg.eigvalsh(np.cov(points.T) + np.eye(3) / 12)  # a voxel's own spread
    short, middle, long = np.sqrt(moments)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1)).max()
    thickness = 2 * depth / max(mask.shape)
    return max(mask.shape) / side, long / middle, middle / short, mask.mean(), thickness


def kinds_of(bank: avx.TemplateBank) -> dict[str, Groups]:
    """Sort a bank's groups by kind; a group is one shape, or nested ones in one box."""
    kinds = defaultdict(list)
    for number in range(bank.group_count):
        members = np.flatnonzero(bank.groups == number)
        kinds[bank.names[members[0]].split("_")[0]].append([bank.mask(i) for i in members])
    return dict(sorted(kinds.items()))


def row(name: str, masks: list[np.ndarray], side: int, total: int) -> str:
    """Lay out the median and the 10th and 90th percentile of each statistic."""
    values = np.array([statistics(mask, side) for mask in masks if mask.sum() > 8])
    low, middle, high = np.percentile(values, (10, 50, 90), axis=0)
    cells = [f"{m:.2f} ({a:.2f} to {b:.2f})" for a, m, b in zip(low, middle, high, strict=True)]
    return f"| {name} | {len(masks) / total:.2f} | " + " | ".join(cells) + " |"


def picture(group: list[np.ndarray]) -> np.ndarray:
    """Show one shape by the depth of its first voxel, near ones bright; nested ones in a cut."""
    first = group[0]
    if len(group) == 1:
        return np.where(first.any(1), 1.3 - first.argmax(1) / first.shape[1], np.nan)
    cut = sum(mask[:, first.shape[1] // 2].astype("float32") * k for k, mask in enumerate(group, 1))
    return np.where(cut > 0, 0.3 + 0.15 * cut, np.nan)


def draw(kinds: dict[str, Groups], examples: int, path: Path) -> None:
    """Draw the larger shapes of each kind, a row a kind, all to one scale of brightness."""
    figure, axes = plt.subplots(len(kinds), examples, figsize=(1.3 * examples, 1.3 * len(kinds)))
    for line, (kind, groups) in zip(axes, kinds.items(), strict=True):
        line[0].set_title(kind, fontsize=9, loc="left")
        for axis, group in zip(line, larger(groups, examples), strict=False):
            axis.imshow(picture(group), cmap="bone", vmin=0, vmax=1.4, interpolation="nearest")
        for axis in line:
            axis.axis("off")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=80)


def larger(groups: Groups, count: int) -> Groups:
    """Choose shapes, one in two, from the largest down: the largest itself is often extreme."""
    return sorted(groups, key=lambda group: -max(group[0].shape))[1::2][:count]


def main() -> None:
    """Read the arguments, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gallery"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update(style())

    print("| kind | share | extent / side | elongation | flatness | filled | thickness |")
    print("|---|---|---|---|---|---|---|")
    for family, name in (("geometric", "templates.png"), ("anatomical", "anatomical.png")):
        bank = getattr(avx.TemplateBank, family)(options.count, options.side)
        kinds = kinds_of(bank)
        for kind, groups in kinds.items():
            masks = [mask for group in groups for mask in group]
            print(row(kind, masks, options.side, len(bank)))
        masks = [bank.mask(i) for i in range(len(bank))]
        print(row(f"all {family}", masks, options.side, len(bank)))
        draw(kinds, EXAMPLES[family], options.out / name)
    if options.folder:
        real = avx.TemplateBank.from_segmentations(options.folder)
        masks = [real.mask(i) for i in range(len(real))]
        print(row("segmentations", masks, 128, len(real)))
    print(f"pictures in {options.out}")


if __name__ == "__main__":
    main()
