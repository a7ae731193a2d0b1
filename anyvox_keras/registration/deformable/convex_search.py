"""The search without training, and what any search of a deformation offers."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.geometry import Grid
from anyvox_keras.registration.deformable.deform import deform
from anyvox_keras.registration.deformable.settings import DeformSettings
from anyvox_keras.registration.descriptors.pair_features import FeatureSettings, image_features
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.resample_deformation import resample_deformation


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
        own = pair.images[0].grid
        grid = own.to_nearly_cubic()
        pads = self._pads(grid)
        both: list[Any] = [
            image_features(array, inside, clip, features, pads, memory)
            for (array, inside), clip in zip(pair.placed(grid, affine), pair.clips, strict=True)
        ]
        shape = tuple(n + pad for n, pad in zip(grid.shape, pads, strict=True))
        field = deform(both[0], both[1], shape, grid.spacing, self.settings, memory)
        depth, height, width = grid.shape
        return resample_deformation(to_numpy(field)[0, :depth, :height, :width], grid, own)

    def _pads(self, grid: Grid) -> tuple[int, ...]:
        """Voxels to add so that the coarsest blocks cover the grid."""
        if not self.settings.align:
            return (0, 0, 0)
        block = max(level.grid for level in self.settings.levels_for(grid.spacing))
        return tuple(-n % block for n in grid.shape)
