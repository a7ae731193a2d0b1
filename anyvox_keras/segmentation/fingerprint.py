"""What a training takes from its scans: grid, crops, intensities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyvox_keras.io import load_labels
from anyvox_keras.networks.strides import multiples, pooling_strides
from anyvox_keras.segmentation.dataset import CaseFiles
from anyvox_keras.segmentation.scan import read_scan

# slices this much thicker than their voxels are wide make flat crops
_THICK = 2.0
# crops may be longer than the scans by this share, which is padded
_PADDED = 1.25
# a smallest intensity below this, in every scan, is that of air in a CT, in HU
_AIR = -500.0
# per cent of the labelled voxels that lie beyond a CT's window, at each end
_TAIL = 0.5
# relative spread of voxel sizes that is taken for one size
_SAME = 0.1


@dataclass(frozen=True)
class Fingerprint:
    """Facts of the training scans in RAS order.

    Args:
        spacing: Median voxel size in mm.
        alike: Whether all scans have about this voxel size.
        shape: Median number of voxels along each axis, on the grid of the median voxel size.
        window: HU of the labelled voxels, their 0.5th and 99.5th percentile; None for no CT.
    """

    spacing: tuple[float, ...]
    alike: bool
    shape: tuple[int, ...]
    window: tuple[float, float] | None

    def on(self, spacing: Sequence[float]) -> "Fingerprint":
        """The facts on a grid of another voxel size."""
        pairs = zip(self.shape, self.spacing, spacing, strict=True)
        shape = tuple(max(1, round(n * old / new)) for n, old, new in pairs)
        return Fingerprint(tuple(spacing), True, shape, self.window)

    def crop(self, side: int, levels: int) -> tuple[int, ...]:
        """Sides of crops of about `side^3` voxels that a network of so many poolings fits.

        Cubes, shorter where the scans are; of thick slices as many as there are, and wider.

        Example:
            ```python
            >>> hearts = Fingerprint((1.56, 1.56, 10.0), True, (110, 109, 9), None)
            >>> hearts.crop(48, levels=4)
            (112, 112, 8)
            ```
        """
        steps = multiples(pooling_strides(self.spacing, levels))
        limits = [_fitting(n, step) for n, step in zip(self.shape, steps, strict=True)]
        sides = [float(side)] * 3
        if max(self.spacing) > _THICK * min(self.spacing):
            sides = _equal_mm(side**3, self.spacing, limits)
        pairs = zip(sides, steps, limits, strict=True)
        return tuple(min(max(1, round(n / step)) * step if n != side else side, limit)
                     for n, step, limit in pairs)  # fmt: skip


def _fitting(n: int, step: int) -> int:
    """Multiple of `step` at about `n`: the next above, unless too much of it would be padding."""
    above = math.ceil(n / step) * step
    return above if above <= _PADDED * n or above <= 2 * step else above - step


def _equal_mm(voxels: int, spacing: Sequence[float], limits: Sequence[int]) -> list[float]:
    """Sides of a block of so many voxels that is a cube in mm but for the limits."""
    sides = [float(limit) for limit in limits]
    free = {0, 1, 2}
    while free:
        taken = math.prod(sides[axis] for axis in range(3) if axis not in free)
        mm = (voxels / taken * math.prod(spacing[axis] for axis in free)) ** (1 / len(free))
        beyond = {axis for axis in free if mm / spacing[axis] > limits[axis]}
        if not beyond:
            for axis in free:
                sides[axis] = mm / spacing[axis]
            break
        free -= beyond
    return sides


def read_fingerprint(cases: Sequence[CaseFiles], ignore_label: int | None = None) -> Fingerprint:
    """Look at the training scans.

    Args:
        cases: Their files.
        ignore_label: A label that is not looked at.

    Raises:
        UserError: If a file can't be used.
    """
    spacings, lengths, values, lowest = [], [], [], []
    for files in cases:
        scan, labels = read_scan(files.scan), load_labels(files.labels)
        image = scan.volume
        grid = image.grid.to_ras(None)
        spacings.append(grid.spacing)
        lengths.append(np.multiply(grid.shape, grid.spacing))
        # Of several channels each scan tells its own range.
        lowest.append(float(image.array.min()) if len(scan.channels) == 1 else 0.0)
        if image.shape == labels.shape and (labels.array > 0).any():
            known = (labels.array > 0) & (labels.array != ignore_label)
            values.append(image.array[known][::7])
    spacing = np.median(spacings, axis=0)
    shape = np.median(lengths, axis=0) / spacing
    window = None
    if max(lowest) < _AIR and values:
        low, high = np.percentile(np.concatenate(values), (_TAIL, 100 - _TAIL))
        window = (float(round(low)), float(round(high))) if high > low + 1 else None
    return Fingerprint(
        tuple(float(mm) for mm in spacing),
        bool((np.abs(np.divide(spacings, spacing) - 1) < _SAME).all()),
        tuple(max(1, round(float(n))) for n in shape),
        window,
    )
