"""Register one image to another."""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.geometry import Grid
from anyvox_keras.networks import DEFAULT, preset_metadata
from anyvox_keras.registration.affine.align import align_pair
from anyvox_keras.registration.deformable.deform import deform
from anyvox_keras.registration.deformable.memory import room
from anyvox_keras.registration.deformable.settings import DeformSettings, settings_of
from anyvox_keras.registration.descriptors.pair_features import (
    NETWORK_FACTOR,
    FeatureSettings,
    image_features,
)
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.registration import Registration
from anyvox_keras.registration.resample_deformation import resample_deformation

Array = Any
# GB, where the user sets no bound
_MEMORY = 12.0


def register(
    fixed: Any,
    moving: Any,
    features: str | None = None,
    extractor: Any = None,
    weights: str | None = None,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    fixed_clip: Sequence[float] | None = None,
    moving_clip: Sequence[float] | None = None,
    fixed_seg: Any = None,
    moving_seg: Any = None,
    affine: str | bool | None = None,
    initial: Any = None,
    preset: str = "default",
    settings: DeformSettings | None = None,
    feature_settings: FeatureSettings | None = None,
    fixed_points: Any = None,
    moving_points: Any = None,
    ras: bool = False,
    memory: float | None = None,
) -> Registration:
    """Bring `moving` onto `fixed` without training.

    Both images are compared by features that ignore contrast; a search over a window, coupled
    convex optimisation and gradient descent find the deformation (see `deform`). Images may have
    any grid and orientation: the moving one is resampled to the fixed one's for the comparison
    only, and the result is interpolated once.

    Args:
        fixed: Path, nibabel image, `Volume`, or array `(D, H, W)` (voxels of 1 mm).
        moving: The same; it need not share the grid.
        features: "mind", "network" or "both". By default "both" where an extractor or weights are
            given; else what the packaged network's card names as best.
        extractor: For "network" and "both": a `FeatureExtractor`, or any function
            `(D, H, W) -> (D, H, W, C)`, or several in a sequence. Their features count 0.1 times.
        weights: Instead of an extractor: a preset's name, its folder, or a pretraining run. Its
            metadata may name the norm and the factor of its features; `anyvox-base` by default.
        fixed_mask: Where the fixed image counts; path, image or array on its grid.
        moving_mask: Where the moving image counts.
        fixed_clip: `(low, high)` of the fixed image for the network.
        moving_clip: The same of the moving image.
        fixed_seg: Labels of the fixed image on its grid, for the Dice.
        moving_seg: Labels of the moving image on its grid, for the Dice; also warped.
        affine: "rigid" or "affine" (or true): first find such a map from many starts (see
            `align`), for scans whose headers do not align them.
        initial: `(4, 4)`, mm, RAS: fixed world to moving world; or the file of an ITK affine
            transform. The affine stage, if any, begins there instead of at many starts.
        preset: "default", "convexadam" or "diffeomorphic", see `settings_of`.
        settings: Instead of a preset.
        feature_settings: Instead of `features`, `extractor` and `weights`: weights per feature.
        fixed_points: Landmarks of the fixed image, for the TRE: `(N, 3)`, mm, RAS, or a CSV file
            of `x,y,z`, mm, LPS; or 3D Slicer's `.fcsv`, `.mrk.json`.
        moving_points: The same landmarks of the moving image, in the same order.
        ras: CSV files of landmarks hold RAS.
        memory: GB (2^30 bytes) that the process may take, 12 if not given. What does not fit is
            computed in pieces: the cost volume in slabs, which changes nothing, and a
            `FeatureExtractor`'s features by overlapping windows.

    Returns:
        A `Registration`.

    Raises:
        UserError: An input that cannot be used; one line says which and why.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx

        fixed = np.random.rand(16, 16, 16).astype("float32")
        result = avx.register(fixed, np.roll(fixed, 1, axis=0))
        ```
    """
    chosen = settings or settings_of(preset)
    compared = feature_settings or _features(features, extractor, weights)
    pair = PairInputs.read(
        fixed,
        moving,
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        fixed_clip=fixed_clip,
        moving_clip=moving_clip,
        fixed_seg=fixed_seg,
        moving_seg=moving_seg,
        affine=affine,
        initial=initial,
        fixed_points=fixed_points,
        moving_points=moving_points,
        ras=ras,
    )
    space = room(memory or _MEMORY, pair.images[0].shape, strict=memory is not None)
    start = time.perf_counter()
    matrix = align_pair(pair, compared)
    field = _deformation(pair, matrix, compared, chosen, space)
    seconds = time.perf_counter() - start
    return Registration(*pair.images, field, matrix, *pair.segmentations, seconds, pair.landmarks)


def _deformation(
    pair: PairInputs,
    affine: np.ndarray,
    compared: FeatureSettings,
    settings: DeformSettings,
    memory: float,
) -> np.ndarray:
    """Displacement of the fixed grid, before the affine map."""
    own = pair.images[0].grid
    grid = own.to_nearly_cubic()
    pads = _pads(grid, settings)
    features: list[Array] = [
        image_features(array, inside, clip, compared, pads, memory)
        for (array, inside), clip in zip(pair.placed(grid, affine), pair.clips, strict=True)
    ]
    shape = tuple(n + pad for n, pad in zip(grid.shape, pads, strict=True))
    field = deform(features[0], features[1], shape, grid.spacing, settings, memory)
    depth, height, width = grid.shape
    found = to_numpy(field)[0, :depth, :height, :width]
    return resample_deformation(found, grid, own)


def _pads(grid: Grid, settings: DeformSettings) -> tuple[int, ...]:
    """Voxels to add so that the coarsest blocks cover the grid."""
    if not settings.align:
        return (0, 0, 0)
    block = max(level.grid for level in settings.levels_for(grid.spacing))
    return tuple(-n % block for n in grid.shape)


def _features(kind: str | None, extractor: Any, weights: str | None) -> FeatureSettings:
    given = extractor is not None or weights is not None
    if kind is None:
        kind = "both" if given else _advice(DEFAULT).get("features", "mind")
    if kind == "mind":
        if given:
            warnings.warn("features=mind uses no network; its weights are ignored", stacklevel=3)
        return FeatureSettings("mind")
    if extractor is None:
        preset = weights or DEFAULT
        factor = _advice(preset).get("factor", NETWORK_FACTOR)
        return FeatureSettings(
            kind, (FeatureExtractor.from_preset(preset),), network_weights=(factor,)
        )
    several = isinstance(extractor, list | tuple)
    return FeatureSettings(kind, tuple(extractor) if several else (extractor,))


def _advice(preset: str) -> dict[str, Any]:
    """What a preset's metadata say of registration."""
    advice: dict[str, Any] = preset_metadata(preset).get("registration", {})
    return advice
