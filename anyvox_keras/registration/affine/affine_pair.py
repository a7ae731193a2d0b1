"""Two images on the lattices that an affine registration compares them on."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from keras import ops
from scipy import ndimage
from scipy.stats import entropy

from anyvox_keras.backend import compiled, no_gradient
from anyvox_keras.geometry import Grid, Volume
from anyvox_keras.ops import average_pool, box_filter
from anyvox_keras.registration.affine.affine_descent import affine_descent, stretch_of
from anyvox_keras.registration.deformable.deform import POOL
from anyvox_keras.registration.descriptors.pair_features import (
    FeatureSettings,
    channel_features,
    image_features,
)
from anyvox_keras.registration.pair_inputs import place
from anyvox_keras.types import AffineModel, Array

Clip = Sequence[float] | None
Masks = tuple[np.ndarray | None, np.ndarray | None]
# voxels of the pooled lattice in voxels of the lattice
_POOLED = np.array([[POOL, 0, 0, 0.5], [0, POOL, 0, 0.5], [0, 0, POOL, 0.5], [0, 0, 0, 1]])
# voxels at the border, in a lattice's first round
_RATE = 0.2
_FEWEST = 64
# voxels that the moving lattice has beyond the fixed one: a step must not lose what lies there
_MARGIN = 2 * POOL
# This share of the outermost voxels at exactly the smallest value is no coincidence.
_CONSTANT = 0.5


def mutual_information(first: np.ndarray, second: np.ndarray, bins: int = 32) -> float:
    """Return the mutual information of two lists of values, in nats.

    From the joint histogram, with `bins` levels between the half and the 99.5th percentile of
    each (values beyond count as the outermost level):

        I(a, b) = H(a) + H(b) - H(a, b)

    Args:
        first: Any shape.
        second: The same shape.
        bins: Levels of each.

    Raises:
        ValueError: If the shapes differ or are empty.

    Reference:
        Viola and Wells, Alignment by maximization of mutual information, ICCV 1995.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import mutual_information

        x = np.random.rand(1000)
        nats = mutual_information(x, 1 - x)
        ```
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(
            "`first` and `second` must have the same shape and hold values. "
            f"Received: {first.shape} and {second.shape}"
        )
    pair = _levels(first, bins).ravel() * bins + _levels(second, bins).ravel()
    joint = np.bincount(pair, minlength=bins**2).reshape(bins, bins)
    return float(entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel()))


def _levels(x: np.ndarray, bins: int) -> np.ndarray:
    low, high = np.percentile(x, [0.5, 99.5])
    share = (x - low) / max(high - low, 1e-9)
    return np.minimum(np.clip(share, 0, 1) * bins, bins - 1).astype(int)


class AffinePair:
    """Both images, and what is needed of them more than once.

    Args:
        fixed: The image that stays.
        moving: The image that is brought onto it.
        masks: `(D, H, W)` bool of the two images, or none; then a constant surround does not
            count (see `without_padding`).
        clips: Intensity limits of the two images for the network, or none.
        features: See `FeatureSettings`.
        channels: Further channels of the two images.
    """

    def __init__(
        self, fixed: Volume, moving: Volume, masks: Masks, clips: tuple[Clip, Clip],
        features: FeatureSettings, channels: tuple[Sequence[Volume], Sequence[Volume]] = ((), ()),
    ) -> None:  # fmt: skip
        """Find the surrounds."""
        self.images, self.given, self.clips = (fixed, moving), masks, clips
        self.features, self.channels = features, channels
        self.centre = fixed.grid.centre
        self.inside = [
            without_padding(image) if mask is None else mask
            for image, mask in zip(self.images, masks, strict=True)
        ]
        self._smooth: dict[tuple[int, int, float], Volume] = {}
        self._fixed: dict[int, Array] = {}

    def information(self, matrix: np.ndarray, voxels: int) -> float:
        """Mutual information where the images overlap, times the share of the lattice that is."""
        grid = self.images[0].grid.to_cubes(voxels)
        (first, here), (second, there) = self._place(0, grid), self._place(1, grid, matrix)
        both = here & there
        if both.sum() < _FEWEST:
            return 0.0
        return mutual_information(first[both], second[both]) * float(both.mean())

    def descend(
        self, matrix: np.ndarray, voxels: int, model: AffineModel, iterations: int, halvings: int
    ) -> tuple[np.ndarray, float]:
        """Improve a map (fixed to moving world) on a lattice; return it and the loss before."""
        grid = self.images[0].grid.to_cubes(voxels)
        if voxels not in self._fixed:
            self._fixed[voxels] = self._features(0, grid)
        axes = matrix[:3, :3] @ (grid.affine[:3, :3] / grid.spacing)
        step, before, _ = affine_descent(
            self._fixed[voxels], self._features(1, grid, matrix), model, iterations,
            _RATE / 2**halvings, self._size(matrix, grid), stretch_of(axes),
        )  # fmt: skip
        pooled = grid.affine @ _POOLED
        return matrix @ pooled @ step @ np.linalg.inv(pooled), before

    def _size(self, matrix: np.ndarray, grid: Grid) -> float | None:
        """Moving voxels that count, in pooled voxels; none where two masks cover each other."""
        if self.given[0] is not None and self.given[1] is not None:
            return None
        moving, inside = self.images[1], self.inside[1]
        count = moving.array.size if inside is None else int(inside.sum())
        scales = [abs(np.linalg.det(m[:3, :3])) for m in (moving.affine, matrix, grid.affine)]
        return float(count * scales[0] / (scales[1] * scales[2] * POOL**3))

    def _features(self, which: int, grid: Grid, matrix: np.ndarray | None = None) -> Array:
        """Features and, as last channel, their weight."""
        grid = grid if which == 0 else grid.padded(_MARGIN)
        array, inside = self._place(which, grid, matrix)
        mask = None if self.given[which] is None else inside
        found = [image_features(array, mask, self.clips[which], self.features)]
        for number, channel in enumerate(self.channels[which], start=1):
            smooth = self._smoothed(which, min(grid.spacing), number)
            array, seen = place(smooth, channel.finite, grid, matrix)
            found.append(image_features(array, seen if mask is None else mask, None, self.features))
        features = channel_features(found)
        weight = ops.convert_to_tensor(inside[None, ..., None].astype("float32"))
        with no_gradient():
            return _weighted()(features, weight)

    def _place(
        self, which: int, grid: Grid, matrix: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        image = self._smoothed(which, min(grid.spacing))
        array, inside = place(image, self.inside[which], grid, matrix)
        return array, np.ones(grid.shape, bool) if inside is None else inside

    def _smoothed(self, which: int, side: float, channel: int = 0) -> Volume:
        """Take out what a lattice of this spacing would alias."""
        key = which, channel, round(side, 6)
        if key not in self._smooth:
            image = (self.images[which], *self.channels[which])[channel]
            sigma = [0.5 * np.sqrt(max(0.0, (side / s) ** 2 - 1)) for s in image.spacing]
            array = ndimage.gaussian_filter(image.array, sigma)
            self._smooth[key] = Volume(array, image.affine, None, image.finite, image.name)
        return self._smooth[key]


@cache
def _weighted() -> Any:
    """Smooth the features once, so that interpolation between voxels hardly smooths them more."""

    def weighted(features: Array, weight: Array) -> Array:
        weight = average_pool(weight, POOL)
        smooth = box_filter(features * weight) / (box_filter(weight) + 1e-6)
        return ops.concatenate([smooth, weight], axis=-1)

    return compiled(weighted)


def without_padding(image: Volume) -> np.ndarray | None:
    """Find the constant surround of an image that was cut out (a stripped skull) or reoriented.

    Where at least half of the outermost voxels hold exactly the smallest value, that value marks
    the surround; holes in the rest belong to the rest.

    Args:
        image: Any image.

    Returns:
        `(D, H, W)` bool, false in the surround; `None` if there is none.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry import Volume
        from anyvox_keras.registration import without_padding

        array = np.pad(np.random.rand(6, 6, 6).astype("float32") + 1, 2)
        inside = without_padding(Volume(array, np.eye(4)))
        ```
    """
    array = image.array
    lowest = array.min()
    ends = [array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    if (np.concatenate(ends) == lowest).mean() < _CONSTANT:
        return None
    inside: np.ndarray = ndimage.binary_fill_holes(array > lowest)
    return inside
