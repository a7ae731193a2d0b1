"""Volumes as a page carries them: a million voxels of a byte each, on one small grid."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from anyvox_keras.geometry import Grid, Volume, resample_to
from anyvox_keras.pictures.drawing import label_colours, window

# at most: three images, an overlay of each kind and the viewer stay below 8 MB
_VOXELS, _SMOOTH_VOXELS = 2**20, 2**18
# millimetres between the lines of the warped grid, in parts of the image
_LINES = 16
# of a byte image: 0 is transparent
_LEVELS = 254


@dataclass(frozen=True)
class Viewer:
    """Images to slide between, and what may lie over them, all on one grid.

    Args:
        grid: Where the arrays lie.
        images: Name to `(D, H, W)`; the slider goes from the first to the last.
        labels: Name to label map `(D, H, W)`.
        names: What the labels are called.
        maps: Name to `(D, H, W)` of values that colours show: (values, low, high, colours) with
            colours "diverging", "growing" or "lines".
        colours: Name to `(D, H, W, 3)` of red, green and blue in [0, 1].
        points: `(N, 3)`, mm, RAS.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.pictures import Viewer

        noise = np.random.default_rng(0).normal(size=(8, 8, 8))
        content = Viewer(Grid((8, 8, 8), np.eye(4)), {"fixed": noise, "moved": noise}).content()
        assert len(content["images"]) == 2
        ```
    """

    grid: Grid
    images: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    maps: Mapping[str, tuple[np.ndarray, float, float, str]] = field(default_factory=dict)
    colours: Mapping[str, np.ndarray] = field(default_factory=dict)
    points: Sequence[Sequence[float]] = ()

    def content(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        small = small_grid(self.grid)
        known = sorted({int(n) for map_ in self.labels.values() for n in np.unique(map_) if n > 0})
        palette = label_colours(max(known, default=0) + 1)
        return {
            "images": [
                {"name": name, "data": _packed(self._image(array, small), small)}
                for name, array in self.images.items()
            ],
            "overlays": [
                *(self._labels(name, map_, known, small) for name, map_ in self.labels.items()),
                *(self._map(name, *value, small) for name, value in self.maps.items()),
                *(self._colour(name, array, small) for name, array in self.colours.items()),
            ],
            "labels": [
                {"name": self.names.get(n, f"label {n}"), "number": n,
                 "colour": [round(255 * float(c)) for c in palette[n]]}
                for n in known
            ],
            "points": [[round(float(x), 3) for x in point] for point in self.points],
        }  # fmt: skip

    def _image(self, array: np.ndarray, small: Grid) -> np.ndarray:
        values = np.asarray(array, "float32")
        shrunk = resample_to(Volume(_smoothed(values, self.grid, small), self.grid.affine), small)
        return np.rint(255 * window(shrunk.array, 0.1, 99.9)).astype("uint8")

    def _labels(self, name: str, map_: np.ndarray, known: list[int], small: Grid) -> dict[str, Any]:
        labels = resample_to(Volume(np.asarray(map_, "int32"), self.grid.affine), small).array
        ranks = np.searchsorted(known, labels) + 1
        ranks = np.where(labels > 0, ranks, 0).astype("uint8" if len(known) < 255 else "int16")
        return {"name": name, "kind": "labels", "data": _packed(ranks, small)}

    def _map(
        self, name: str, values: np.ndarray, low: float, high: float, colours: str, small: Grid
    ) -> dict[str, Any]:
        if colours != "lines":  # what is smooth needs few voxels
            small = small_grid(self.grid, _SMOOTH_VOXELS)
        shrunk = resample_to(Volume(np.asarray(values, "float32"), self.grid.affine), small).array
        share = np.clip((shrunk - low) / (high - low), 0, 1)
        levels = (1 + np.rint(_LEVELS * share)).astype("uint8")
        return {"name": name, "kind": colours, "low": low, "high": high,
                "data": _packed(levels, small)}  # fmt: skip

    def _colour(self, name: str, array: np.ndarray, small: Grid) -> dict[str, Any]:
        shrunk = [
            resample_to(Volume(np.asarray(c, "float32"), self.grid.affine), small).array
            for c in np.moveaxis(array, -1, 0)
        ]
        levels = np.rint(255 * np.clip(np.stack(shrunk, -1), 0, 1)).astype("uint8")
        pixels = np.ascontiguousarray(levels).view([("R", "u1"), ("G", "u1"), ("B", "u1")])
        return {"name": name, "kind": "colours", "data": _packed(pixels[..., 0], small)}


def small_grid(grid: Grid, voxels: int = _VOXELS) -> Grid:
    """The same field of view in at most so many voxels, none finer than the grid's own."""
    own = np.asarray(grid.spacing)
    step, size = float(own.min()), np.asarray(grid.shape) * own
    while True:
        spacing = np.maximum(own, step)
        shape = np.maximum(np.floor(size / spacing + 1e-3), 1).astype(int)
        if shape.prod() <= voxels:
            break
        step *= 1.02
    if (shape == grid.shape).all():
        return grid
    return grid.recentred(shape, grid.affine[:3, :3] / own * (size / shape))


def warped_lines(displacement: np.ndarray, grid: Grid) -> np.ndarray:
    """Through how many planes of the moving image's lattice each voxel of the fixed one passes.

    Args:
        displacement: `(D, H, W, 3)`, in voxels of the grid.
        grid: The fixed image's.

    Returns:
        `(D, H, W)` float32, 0 to 3: planes a sixteenth of the longest side apart, at least
        five voxels.
    """
    own = np.asarray(grid.spacing)
    apart = max(float((own * grid.shape).max()) / _LINES, 5 * float(own.max()))
    wide = max(float(own.max()), apart / 12)
    # the middle of the image, where one looks first, lies between two planes
    middle = (np.asarray(grid.shape) - 1) / 2
    target = (grid.voxels() + displacement - middle) * own + apart / 2
    hits: np.ndarray = (np.abs(target - apart * np.rint(target / apart)) < wide / 2).sum(-1)
    return hits.astype("float32")


def _smoothed(array: np.ndarray, grid: Grid, small: Grid) -> np.ndarray:
    """What a coarser grid can hold."""
    factor = np.asarray(small.spacing) / np.asarray(grid.spacing)
    if (factor < 1.2).all():
        return array
    smooth: np.ndarray = ndimage.gaussian_filter(array, np.maximum(factor - 1, 0) / 2)
    return smooth


def _packed(array: np.ndarray, grid: Grid) -> str:
    """A NIfTI file, packed, as text; the same volume gives the same text."""
    image = nib.Nifti1Image(array, grid.affine)
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode()
