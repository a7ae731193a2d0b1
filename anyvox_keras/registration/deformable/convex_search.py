"""The search without training, and what any search of a deformation offers."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid
from anyvox_keras.geometry.resample import resample_deformation
from anyvox_keras.progress import tell
from anyvox_keras.registration.deformable.deform import deform
from anyvox_keras.registration.deformable.settings import DeformSettings
from anyvox_keras.registration.descriptors.known_features import known_features
from anyvox_keras.registration.descriptors.pair_features import FeatureSettings
from anyvox_keras.registration.pair_inputs import PairInputs, Placed
from anyvox_keras.registration.pair_terms import terms_of

# voxels inside a mask
_FEWEST = 64
# of an axis: less than this is seen wherever it lies
_BESIDE = 0.1


class Search(Protocol):
    """How `register` finds a deformation, once the affine map is known."""

    def displacement(
        self, pair: PairInputs, affine: np.ndarray, features: FeatureSettings, memory: float
    ) -> np.ndarray:
        """Return `(D, H, W, 3)` on the fixed grid, in its voxels, to be applied before `affine`.

        Args:
            pair: The images and what is known of them.
            affine: `(4, 4)`, mm, RAS: fixed world to moving world.
            features: What a search that compares features compares.
            memory: GB that a step may take.
        """
        ...


@dataclass(frozen=True)
class ConvexSearch:
    """Exhaustive search over a window, coupled convex optimisation, gradient descent.

    Where the moving image lies beside the fixed one, short of it at one end of an axis and beyond
    it at the other, the search goes on over what lies beyond: it may belong to what is in sight.

    Args:
        settings: See `DeformSettings` and `settings_of`.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.registration import ConvexSearch, settings_of

        image = np.random.rand(16, 16, 16).astype("float32")
        search = ConvexSearch(settings_of("diffeomorphic"))
        result = avx.register(image, np.roll(image, 1, axis=0), method=search)
        ```
    """

    settings: DeformSettings = field(default_factory=DeformSettings)

    def displacement(
        self, pair: PairInputs, affine: np.ndarray, features: FeatureSettings, memory: float
    ) -> np.ndarray:
        """Search on nearly cubic voxels; see `Search`."""
        return self._found(None, pair, affine, features, memory)

    def descent(
        self,
        start: np.ndarray,
        pair: PairInputs,
        affine: np.ndarray,
        features: FeatureSettings,
        memory: float,
    ) -> np.ndarray:
        """Descend from a displacement `(D, H, W, 3)` on the fixed grid, without a search."""
        return self._found(start, pair, affine, features, memory)

    def _found(
        self,
        start: np.ndarray | None,
        pair: PairInputs,
        affine: np.ndarray,
        features: FeatureSettings,
        memory: float,
    ) -> np.ndarray:
        own, moving = (image.grid for image in pair.images)
        cubes = own.to_nearly_cubic()
        margins = [(0, 0)] * 3 if start is not None else self._margins(cubes, moving, affine)
        grid = cubes.padded(margins)
        pads = self._pads(grid)
        placed = pair.placed(grid, affine)
        _tell_of_masks(placed)
        masked = [mask is not None for mask in pair.given]
        tell("features")
        features = replace(features, dilations=self.settings.dilations)
        known = known_features(placed, masked, pair.clips, features, pads, memory)
        shape = tuple(n + pad for n, pad in zip(grid.shape, pads, strict=True))
        channels = 1 + len(pair.channels[0])
        if start is not None:
            start = resample_deformation(start, own, cubes)
            start = np.pad(start, [*((0, pad) for pad in pads), (0, 0)], "edge")[None]
        field = deform(
            *known.features, shape, grid.spacing, self.settings, memory, known.weights,
            channels * features.fine_channels, known.images, terms_of(pair, grid, affine, pads),
            channels, start,
        )  # fmt: skip
        own_part = (slice(low, low + n) for (low, _), n in zip(margins, cubes.shape, strict=True))
        return resample_deformation(to_numpy(field)[0][*own_part], cubes, own)

    def reach(self, grid: Grid) -> float:
        """How far the search looks along each axis of a fixed grid, mm."""
        cubes = grid.to_nearly_cubic()
        levels = self.settings.levels_for(cubes.shape, cubes.spacing)
        return sum(level.grid * level.half_width for level in levels) * min(cubes.spacing)

    def _margins(self, grid: Grid, moving: Grid, affine: np.ndarray) -> list[tuple[int, int]]:
        """Voxels to add at both ends of each axis, no further than the search reaches."""
        if not self.settings.align:
            return [(0, 0)] * 3
        placed = Grid(moving.shape, np.linalg.inv(affine) @ moving.affine)
        corners = grid.to_voxel(placed.corners())
        before, after = -corners.min(0), corners.max(0) - np.array(grid.shape) + 1
        reach = self.reach(grid) / min(grid.spacing)
        return [_beyond(*axis, reach) for axis in zip(before, after, grid.shape, strict=True)]

    def _pads(self, grid: Grid) -> tuple[int, ...]:
        """Voxels to add so that the coarsest blocks cover the grid."""
        if not self.settings.align:
            return (0, 0, 0)
        block = max(level.grid for level in self.settings.levels_for(grid.shape, grid.spacing))
        return tuple(-n % block for n in grid.shape)


@dataclass(frozen=True)
class NoSearch:
    """No deformation: the map of the affine stage, or the given one, alone.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.registration import NoSearch

        image = np.random.rand(16, 16, 16).astype("float32")
        result = avx.register(image, image, method=NoSearch())
        ```
    """

    def displacement(
        self, pair: PairInputs, affine: np.ndarray, features: FeatureSettings, memory: float
    ) -> np.ndarray:
        """Return zeros, of images that overlap; see `Search`.

        Raises:
            UserError: Labels or landmarks that are to count where nothing is found at all.
        """
        if pair.guides and pair.model is None:
            raise UserError(
                f"{pair.guides[0]}: expected a search or an affine stage that it guides, received "
                "none"
            )
        grid = pair.images[0].grid
        pair.placed(grid, affine)
        return np.zeros((*grid.shape, 3), "float32")


def _beyond(before: float, after: float, size: int, reach: float) -> tuple[int, int]:
    """Of how far an image lies beyond both ends of an axis (short of it: negative), what counts."""
    short, over = -min(before, after), max(before, after)
    if min(short, over) < _BESIDE * size or short >= size:
        return 0, 0
    return math.ceil(np.clip(before, 0, reach)), math.ceil(np.clip(after, 0, reach))


def _tell_of_masks(placed: Sequence[Placed]) -> None:
    """Say in a line where masks can hardly be meant."""
    here, there = (image.inside for image in placed)
    for inside, side in ((here, "fixed"), (there, "moving")):
        if inside is not None and inside.sum() < _FEWEST:
            warnings.warn(
                f"{side} mask: {int(inside.sum())} voxels are few for a registration", stacklevel=4
            )
    if here is not None and there is not None and not (here & there).any():
        warnings.warn(
            "masks: the two share no voxel where the images are now; an affine stage (--affine) "
            "brings them together",
            stacklevel=4,
        )
