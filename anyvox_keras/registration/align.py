"""Rigid and affine registration by the features of the deformable one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.io import Grid, Volume
from anyvox_keras.ops._backend import compiled, no_gradient, to_numpy
from anyvox_keras.registration.affine_starts import affine_starts
from anyvox_keras.registration.cost_volume import cost_volume
from anyvox_keras.registration.coupled_convex import coupled_convex
from anyvox_keras.registration.deform import POOL
from anyvox_keras.registration.fit_affine import fit_affine
from anyvox_keras.registration.inverse_consistency import inverse_consistency
from anyvox_keras.registration.pair_features import FeatureSettings, image_features
from anyvox_keras.registration.place import place

Array = Any
Clip = Sequence[float] | None


@dataclass(frozen=True)
class Stage:
    """Some rounds of search and fit: voxels of the lattice, half width of the window, model."""

    voxels: int
    half_width: int
    rounds: int
    model: str


# The first stage sorts the starts; the second improves the best of them.
_SORT = Stage(40_000, 3, 3, "rigid")
_STAGES = {
    "rigid": (Stage(90_000, 3, 4, "rigid"), Stage(300_000, 2, 4, "rigid")),
    "affine": (Stage(90_000, 3, 4, "rigid"), Stage(90_000, 3, 6, "affine"),
               Stage(300_000, 2, 6, "affine")),
}  # fmt: skip
_KEPT = 4


def align(
    fixed: Volume,
    moving: Volume,
    model: str = "affine",
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    clips: tuple[Clip, Clip] = (None, None),
    features: FeatureSettings | None = None,
    initial: np.ndarray | None = None,
) -> np.ndarray:
    """Find the rigid or affine map between scans that are not aligned at all.

    Many starts (see `affine_starts`) are ranked by how well the features match; the best few get
    some rigid rounds, the best of those all stages. A round resamples the moving image by the map
    so far, computes its features anew (they are not invariant to rotation), searches a window at
    every point of a coarse lattice, smooths by coupled convex optimisation, and fits the map to
    the displacements by trimmed least squares, each weighted by how distinct its match is.

    Args:
        fixed: The image that stays.
        moving: The image that is brought onto it, on any grid.
        model: "rigid" or "affine".
        masks: `(D, H, W)` bool of the two images, or none.
        clips: Intensity limits of the two images for the network, or none.
        features: See `FeatureSettings`; MIND by default.
        initial: `(4, 4)` to start from, instead of the many.

    Returns:
        `(4, 4)`, mm, RAS: fixed world to moving world.

    Raises:
        ValueError: If the model is unknown.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.io import Volume
        from anyvox_keras.registration import align

        image = Volume(np.random.rand(16, 16, 16).astype("float32"), np.eye(4))
        matrix = align(image, image, "rigid")
        ```
    """
    if model not in _STAGES:
        raise ValueError(f"`model` must be rigid or affine. Received: model={model}")
    pair = _Pair(fixed, moving, masks, clips, features or FeatureSettings())
    if initial is None:
        starts = affine_starts(fixed, moving, *masks)
        ranked = sorted(starts, key=lambda start: pair.mismatch(start, _SORT))[:_KEPT]
        improved = [pair.refine(start, _SORT) for start in ranked]
        matrix = min(improved, key=lambda one: pair.mismatch(one, _SORT))
    else:
        matrix = np.asarray(initial, "float64")
    for stage in _STAGES[model]:
        matrix = pair.refine(matrix, stage)
    return matrix


class _Pair:
    """Both images and the features of the fixed one, by lattice."""

    def __init__(
        self,
        fixed: Volume,
        moving: Volume,
        masks: tuple[np.ndarray | None, np.ndarray | None],
        clips: tuple[Clip, Clip],
        features: FeatureSettings,
    ) -> None:
        self.fixed, self.moving, self.masks, self.clips = fixed, moving, masks, clips
        self.features = features
        self._known: dict[int, tuple[Grid, Array]] = {}

    def refine(self, matrix: np.ndarray, stage: Stage) -> np.ndarray:
        """Run the rounds of a stage; a round that matches worse is taken back and ends it."""
        before = self.mismatch(matrix, stage)
        for _ in range(stage.rounds):
            proposed = matrix @ self._step(matrix, stage)
            after = self.mismatch(proposed, stage)
            if not after < before:
                return matrix
            matrix, before = proposed, after
        return matrix

    def mismatch(self, matrix: np.ndarray, stage: Stage) -> float:
        """Mean squared difference of the features; infinite where the images do not meet."""
        _, fixed = self._fixed(stage.voxels)
        moving = self._moving(matrix, stage.voxels)
        if moving is None:
            return float("inf")
        return float(np.square(to_numpy(fixed) - to_numpy(moving)).mean())

    def _step(self, matrix: np.ndarray, stage: Stage) -> np.ndarray:
        """Fit a correction, in the fixed world."""
        grid, fixed = self._fixed(stage.voxels)
        moving = self._moving(matrix, stage.voxels)
        with no_gradient():
            found = _search(stage.half_width)(fixed, moving)
            displacement, distinct = (to_numpy(x)[0] for x in found)
        shape = displacement.shape[:3]
        voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        centres = (voxels + 0.5) * POOL - 0.5
        points = grid.to_world(centres).reshape(-1, 3)
        targets = grid.to_world(centres + displacement * POOL).reshape(-1, 3)
        return fit_affine(points, targets, distinct.reshape(-1) + 1e-9, stage.model)

    def _fixed(self, voxels: int) -> tuple[Grid, Array]:
        if voxels not in self._known:
            grid = _lattice(self.fixed.grid, voxels)
            array, inside = place(self.fixed, self.masks[0], grid)
            features = image_features(array, inside, self.clips[0], self.features)
            self._known[voxels] = grid, features
        return self._known[voxels]

    def _moving(self, matrix: np.ndarray, voxels: int) -> Array | None:
        grid, _ = self._fixed(voxels)
        array, inside = place(self.moving, self.masks[1], grid, matrix)
        if inside is not None and inside.mean() < 0.02:
            return None
        return image_features(array, None if self.masks[1] is None else inside,
                              self.clips[1], self.features)  # fmt: skip


def _lattice(grid: Grid, voxels: int) -> Grid:
    """Cubes over the grid's field of view, about `voxels` of them, none finer than its finest."""
    spacing = np.array(grid.spacing)
    extent = spacing * grid.shape
    side = max(float((np.prod(extent) / voxels) ** (1 / 3)), float(spacing.min()))
    shape = np.maximum(np.ceil(extent / side - 1e-6).astype(int), 8)
    axes = grid.affine[:3, :3] / spacing * side
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = grid.to_world((np.array(grid.shape) - 1) / 2) - axes @ ((shape - 1) / 2)
    return Grid(tuple(int(n) for n in shape), affine)


@cache
def _search(half_width: int) -> Callable[[Array, Array], tuple[Array, Array]]:
    def search(fixed: Array, moving: Array) -> tuple[Array, Array]:
        cost = cost_volume(fixed, moving, half_width, "cosine")
        back = cost_volume(moving, fixed, half_width, "cosine")
        # One direction alone favours maps that magnify: blurred detail matches anything.
        forward, _ = inverse_consistency(coupled_convex(cost), coupled_convex(back))
        return forward, ops.mean(cost, axis=-1) - ops.min(cost, axis=-1)

    return compiled(search)
