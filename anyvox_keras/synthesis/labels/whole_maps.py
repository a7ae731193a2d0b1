"""Cubes of whole label maps, in the place of overlaid shapes."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anyvox_keras import random
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import resample_to
from anyvox_keras.io import list_images, load_labels

# steps of a probability
_PARTS = 1000


class WholeMaps:
    """Label maps of heads or bodies, of which a share of the synthetic pairs are cubes.

    A cube lies about a random labelled voxel of a random map, its axes reversed at random. Its
    labels are numbered anew, the most frequent first; those that are too many share the numbers.

    Args:
        maps: `(D, H, W)` integers, 0 the background; any shapes.
        share: Probability that a pair is a cube of a map.

    Raises:
        ValueError: If there is no map, one without a label, or `share` is no probability.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.synthesis import WholeMaps

        maps = WholeMaps([np.ones((20, 24, 20), "int32")], share=0.5)
        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16, maps=maps)
        ```
    """

    def __init__(self, maps: Sequence[np.ndarray], share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"`share` must be in [0, 1]. Received: share={share}")
        self.maps, self.share = [np.asarray(labels) for labels in maps], float(share)
        self._places = [np.flatnonzero(labels) for labels in self.maps]
        if not self.maps or not all(len(places) for places in self._places):
            raise ValueError("`maps` must hold labels. Received: no map, or one without a label")

    @classmethod
    def from_folders(
        cls,
        folders: Sequence[str | os.PathLike[str]],
        spacings: Sequence[float] = (2.0,),
        share: float = 0.5,
    ) -> "WholeMaps":
        """Read the label maps of folders, each once in voxels of every spacing.

        Args:
            folders: Of NIfTI files.
            spacings: Mm; several show one anatomy in several sizes.
            share: As for the class.

        Raises:
            UserError: A folder without images, or a file that is no label map or holds no label.
        """
        maps = []
        for file in list_images([Path(folder) for folder in folders]):
            labels = load_labels(file)
            if not labels.array.any():
                raise UserError(f"{file}: expected a label map, received one without labels")
            for mm in spacings:
                found = resample_to(labels, labels.grid.to_ras(mm)).array
                maps += [found.astype(np.min_scalar_type(int(found.max())))] if found.any() else []
        return cls(maps, share)

    def batch(
        self, side: int, classes: int, seed: int, samples: range, split: str
    ) -> dict[str, np.ndarray]:
        """Cut the cubes of the pairs with these numbers.

        Returns:
            `whole` `(B, side, side, side)` and which of them are `taken` `(B,)`, int32; the others
            are empty.
        """
        keys = random.keys_for(seed, samples, f"{split}/whole")
        drawn = np.asarray(random.integers(keys, (6,), 0, 2**31 - 1, xp=np), "int64")
        taken = drawn[:, 0] % _PARTS < self.share * _PARTS
        cubes = np.zeros((len(samples), side, side, side), "int32")
        for number in np.flatnonzero(taken):
            cubes[number] = _renumbered(self._cube(drawn[number, 1:], side), classes)
        return {"whole": cubes, "taken": taken.astype("int32")}

    def _cube(self, drawn: np.ndarray, side: int) -> np.ndarray:
        which, voxel, *turns = drawn.tolist()
        labels, places = (of[which % len(self.maps)] for of in (self.maps, self._places))
        centre = np.unravel_index(places[voxel % len(places)], labels.shape)
        cube = np.zeros((side,) * 3, labels.dtype)
        low = np.asarray(centre) - side // 2
        start, end = np.maximum(low, 0), np.minimum(low + side, labels.shape)
        place = tuple(slice(a - o, b - o) for a, b, o in zip(start, end, low, strict=True))
        cube[place] = labels[tuple(slice(a, b) for a, b in zip(start, end, strict=True))]
        return cube[tuple(slice(None, None, 1 - 2 * (turn % 2)) for turn in turns)]


def _renumbered(cube: np.ndarray, classes: int) -> np.ndarray:
    """Number labels 1, 2, ..., the most frequent first, in turns where they are too many."""
    values, places, counts = np.unique(cube, return_inverse=True, return_counts=True)
    rank = np.empty(len(values), "int32")
    rank[np.argsort(np.where(values == 0, np.inf, counts))[::-1]] = np.arange(len(values))
    # 0 comes first where it occurs, so that the others begin at 1 in either case.
    rank += int(values[0] != 0)
    numbers = np.where(rank > 0, (rank - 1) % (classes - 1) + 1, 0)
    return numbers[places].reshape(cube.shape)
