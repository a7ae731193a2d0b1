"""Register one image to another."""

import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.io import (
    Grid,
    Volume,
    load_affine,
    load_labels,
    load_mask,
    load_volume,
    require_same_grid,
)
from anyvox_keras.networks import DEFAULT, preset_metadata
from anyvox_keras.ops._backend import to_numpy
from anyvox_keras.registration.affine_descent import MODELS
from anyvox_keras.registration.align import align
from anyvox_keras.registration.deform import deform
from anyvox_keras.registration.landmarks import landmarks_of
from anyvox_keras.registration.pair_features import (
    NETWORK_FACTOR,
    FeatureSettings,
    image_features,
)
from anyvox_keras.registration.place import place
from anyvox_keras.registration.registration import Registration
from anyvox_keras.registration.resample_deformation import resample_deformation
from anyvox_keras.registration.room import room
from anyvox_keras.registration.settings import DeformSettings, settings_of
from anyvox_keras.registration.working_grid import working_grid

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
            of `x,y,z`, mm, LPS.
        moving_points: The same landmarks of the moving image, in the same order.
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
    fixed, moving = load_volume(fixed, "fixed image"), load_volume(moving, "moving image")
    model = _model(affine)
    masks = (_mask(fixed_mask, fixed, "fixed mask"), _mask(moving_mask, moving, "moving mask"))
    segmentations = (_labels(fixed_seg, fixed, "fixed"), _labels(moving_seg, moving, "moving"))
    _require_shared_label(*segmentations)
    for clip, what in ((fixed_clip, "fixed"), (moving_clip, "moving")):
        if clip is not None and not clip[0] < clip[1]:
            raise UserError(f"{what} clip: expected LO below HI, received {clip[0]:g} {clip[1]:g}")
    landmarks = landmarks_of(fixed_points, moving_points)
    space = room(memory or _MEMORY, fixed.shape, strict=memory is not None)
    images, clips, matrix = (fixed, moving), (fixed_clip, moving_clip), _initial(initial)
    given = (None if fixed_mask is None else masks[0], None if moving_mask is None else masks[1])
    start = time.perf_counter()
    if model is not None:
        first = None if initial is None else matrix
        matrix = align(fixed, moving, model, given, clips, compared, first)
    field = _deformation(images, masks, clips, matrix, compared, chosen, space)
    seconds = time.perf_counter() - start
    return Registration(fixed, moving, field, matrix, *segmentations, seconds, landmarks)


def _deformation(
    images: tuple[Volume, Volume],
    masks: tuple[np.ndarray | None, np.ndarray | None],
    clips: tuple[Sequence[float] | None, Sequence[float] | None],
    affine: np.ndarray,
    compared: FeatureSettings,
    settings: DeformSettings,
    memory: float,
) -> np.ndarray:
    """Displacement of the fixed grid, before the affine map."""
    grid = working_grid(images[0].grid)
    pads = _pads(grid, settings)
    worlds = (np.eye(4), affine)
    features: list[Array] = []
    for image, mask, clip, world in zip(images, masks, clips, worlds, strict=True):
        array, inside = place(image, mask, grid, world)
        if inside is not None and not inside.any():
            raise UserError(
                f"{image.name}: expected an overlap with the fixed image, found none; an affine "
                "stage (--affine) brings scans together"
            )
        features.append(image_features(array, inside, clip, compared, pads, memory))
    shape = tuple(n + pad for n, pad in zip(grid.shape, pads, strict=True))
    field = deform(features[0], features[1], shape, grid.spacing, settings, memory)
    depth, height, width = grid.shape
    found = to_numpy(field)[0, :depth, :height, :width]
    return resample_deformation(found, grid, images[0].grid)


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


def _mask(source: Any, image: Volume, what: str) -> np.ndarray | None:
    """The mask's voxels that hold a finite value; none where both are the whole image."""
    if source is None:
        return image.finite
    inside = load_mask(source, of=image, what=what).array
    inside = inside if image.finite is None else inside & image.finite
    if not inside.any():
        raise UserError(f"{what}: expected finite voxels inside, received none")
    return inside


def _labels(source: Any, image: Volume, what: str) -> Volume | None:
    if source is None:
        return None
    labels = load_labels(source, f"{what} label map")
    if isinstance(source, np.ndarray):
        labels = Volume(labels.array, image.affine, None, None, labels.name)
    require_same_grid(labels, image)
    return labels


def _require_shared_label(fixed: Volume | None, moving: Volume | None) -> None:
    """Two codings of labels would give a Dice of zero, which looks like a bad registration."""
    if fixed is None or moving is None:
        return
    here, there = (np.unique(labels.array[labels.array > 0]) for labels in (fixed, moving))
    if not np.intersect1d(here, there).size:
        raise UserError(
            f"{moving.name}: expected to share a label with {fixed.name}, "
            f"received {there[:5].tolist()} and {here[:5].tolist()}"
        )


def _model(affine: str | bool | None) -> str | None:
    if affine is None or affine is False:
        return None
    model = "affine" if affine is True else affine
    if model not in MODELS:
        raise UserError(f"affine: expected one of {', '.join(MODELS)}, received {model}")
    return model


def _initial(source: Any) -> np.ndarray:
    if isinstance(source, str | os.PathLike):
        source = load_affine(source)
    affine = np.eye(4) if source is None else np.asarray(source, "float64")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise UserError(f"initial: expected a finite (4, 4) matrix, received {affine.tolist()}")
    if abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise UserError("initial: expected an invertible matrix, received a singular one")
    return affine
