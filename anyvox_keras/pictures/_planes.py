"""Orthogonal planes of a volume as a radiologist sees them."""

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.geometry.grid import Grid
from anyvox_keras.pictures._style import MUTED, add_panel

#: name, the axis it cuts (R, A, S), the letter at its left edge
PLANES = (("axial", 2, "R"), ("coronal", 1, "R"), ("sagittal", 0, "A"))


@dataclass(frozen=True)
class Cut:
    """Three planes through one point of a grid, drawn to one scale.

    Arrays are turned to the nearest R, A, S axes. Then the patient's right, and in sagittal planes
    the front, is on the left (radiological convention); up is front or head.
    """

    grid: Grid
    at: tuple[int, int, int]

    @classmethod
    def of(cls, grid: Grid, at: Any = None) -> "Cut":
        """Cut through voxel `at` of the array, by default its middle."""
        middle = np.asarray(grid.shape) // 2 if at is None else np.asarray(at)
        i, j, k = np.clip(middle, 0, np.asarray(grid.shape) - 1)
        return cls(grid, (int(i), int(j), int(k)))

    @property
    def turns(self) -> np.ndarray:
        """For each array axis the R, A, S axis it becomes, and whether it flips."""
        return np.asarray(nib.io_orientation(self.grid.affine))

    @property
    def spacing(self) -> np.ndarray:
        """Mm along R, A, S."""
        spacing = np.empty(3)
        spacing[self.turns[:, 0].astype(int)] = self.grid.spacing
        return spacing

    def size(self, cut_axis: int) -> tuple[float, float]:
        """Width and height of a plane, mm."""
        shape = np.empty(3)
        shape[self.turns[:, 0].astype(int)] = self.grid.shape
        width, height = np.delete(shape * self.spacing, cut_axis)
        return float(width), float(height)

    def plane(self, array: np.ndarray, cut_axis: int) -> np.ndarray:
        """Return `(rows, columns[, C])` of `(D, H, W[, C])`; row 0 is at the bottom."""
        index = np.empty(3, int)
        for axis, (ras, flip) in enumerate(self.turns):
            here = self.at[axis]
            index[int(ras)] = here if flip > 0 else self.grid.shape[axis] - 1 - here
        turned = nib.apply_orientation(array, self.turns)
        return np.asarray(turned.take(index[cut_axis], axis=cut_axis).swapaxes(0, 1))

    def vectors(self, displacement: np.ndarray) -> np.ndarray:
        """Return `(D, H, W, 3)` voxel vectors as mm along R, A, S."""
        turned = np.empty(displacement.shape, "float32")
        for axis, (ras, flip) in enumerate(self.turns):
            turned[..., int(ras)] = displacement[..., axis] * flip * self.grid.spacing[axis]
        return turned

    def extent(self, cut_axis: int) -> tuple[float, float, float, float]:
        """Edges of the picture in mm; voxel `i` is centred at `i` times its spacing."""
        (width, height), (dx, dy) = self.size(cut_axis), np.delete(self.spacing, cut_axis)
        return (-dx / 2, width - dx / 2, -dy / 2, height - dy / 2)


def add_plane(figure: Any, box: tuple[float, float, float, float], cut: Cut, axis: int) -> Any:
    """Return axes in mm for one plane, with the letter of its left edge."""
    axes = add_panel(figure, box)
    left, right, bottom, top = cut.extent(axis)
    axes.set_xlim(right, left)  # larger R (or A) on the left
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    letter = next(letter for _, cut_axis, letter in PLANES if cut_axis == axis)
    where = {"transform": axes.transAxes, "ha": "left", "va": "center"}
    axes.text(0.015, 0.5, letter, color=MUTED, fontsize=7, **where)
    return axes


def show(axes: Any, cut: Cut, array: np.ndarray, axis: int, **style: Any) -> Any:
    """Draw one plane of an image `(D, H, W)` in grey, or `(D, H, W, 3)` in colour."""
    style = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "bilinear", **style}
    image = cut.plane(array, axis)
    return axes.imshow(image, origin="lower", extent=cut.extent(axis), **style)
