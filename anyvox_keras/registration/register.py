"""Register one image to another."""

import os
import time
import warnings
from collections.abc import Sequence
from typing import Any, Unpack

from anyvox_keras.errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import DEFAULT, preset_metadata
from anyvox_keras.progress import plan, tell
from anyvox_keras.registration.affine.align import align_pair
from anyvox_keras.registration.deformable.convex_search import ConvexSearch, NoSearch, Search
from anyvox_keras.registration.deformable.settings import DeformSettings, room, settings_of
from anyvox_keras.registration.descriptors.pair_features import (
    NETWORK_FACTOR,
    Extractor,
    FeatureSettings,
)
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.registration import Registration
from anyvox_keras.types import FeatureKind, ImageLike, Method, PairOptions

# GB, where the user sets no bound
_MEMORY = 12.0
# of the time, on two cores
_SHARES = {"reading": 1, "affine_stage": 60, "features": 3, "search": 15, "descent": 25}
_NETWORK = {"reading": 1, "affine_stage": 60, "network": 5, "refinement": 40}
_AFFINE = {"reading": 1, "affine_stage": 60}
_RESULTS = {"moved_image": 2, "inverse": 6, "quality": 6, "report": 6}


def register(
    fixed: ImageLike,
    moving: ImageLike,
    features: FeatureKind | None = None,
    *,
    method: Method | Search | None = None,
    extractor: Extractor | Sequence[Extractor] | None = None,
    weights: str | None = None,
    feature_settings: FeatureSettings | None = None,
    preset: Method | None = None,
    settings: DeformSettings | None = None,
    memory: float | None = None,
    **options: Unpack[PairOptions],
) -> Registration:
    """Bring `moving` onto `fixed`.

    Both images are compared by features that ignore contrast; a search over a window, coupled
    convex optimisation and gradient descent find the deformation (see `deform`), or a trained
    network does (`method`). Images may have any grid and orientation: the moving one is resampled
    to the fixed one's for the comparison only, and the result is interpolated once.

    Args:
        fixed: Path, nibabel image, `Volume`, or array `(D, H, W)` (voxels of 1 mm). Several
            channels (T1 and T2, say) are the volumes of a 4D image; both images have as many.
        moving: The same; it need not share the grid.
        features: "mind", "network" or "both". By default "both" where an extractor or weights are
            given; else what the packaged network's card names as best.
        method: How to search: a name of `settings_of` ("default", "convexadam", "diffeomorphic");
            "none", which leaves it at the affine stage; a `ConvexSearch`; or a trained network with
            or without refinement (`voxelmorph.NetworkSearch`).
        extractor: For "network" and "both": a `FeatureExtractor`, or any function
            `(D, H, W) -> (D, H, W, C)`, or several in a sequence. Their features count 0.1 times.
        weights: Instead of an extractor: a preset's name, its folder, or a pretraining run. Its
            metadata may name the norm and the factor of its features; `anyvox-base` by default.
        feature_settings: Instead of `features`, `extractor` and `weights`: weights per feature.
        preset: The name of a method, as it used to be given.
        settings: Instead of a method's name: the settings of a `ConvexSearch`.
        memory: GB (2^30 bytes) that the process may take, 12 if not given. What does not fit is
            computed in pieces: the cost volume in slabs, which changes nothing, and a
            `FeatureExtractor`'s features by overlapping windows.
        **options: Masks, clips, segmentations and landmarks of the two images, and the affine
            stage, see `PairOptions`: `fixed_mask`, `moving_mask`, `fixed_clip`, `moving_clip`,
            `fixed_seg`, `moving_seg`, `fixed_points`, `moving_points`, `ras`, `affine`, `initial`;
            what counts in the search beside them, `label_weight` and `landmark_weight`; and
            further channels, `fixed_channels` and `moving_channels`.

    Returns:
        A `Registration`.

    Raises:
        UserError: An input that cannot be used; one line says which and why.
        TypeError: An unknown argument.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx

        fixed = np.random.rand(16, 16, 16).astype("float32")
        result = avx.register(fixed, np.roll(fixed, 1, axis=0))
        ```
    """
    if unknown := sorted(set(options) - set(PairOptions.__annotations__)):
        raise TypeError(f"register() got an unexpected keyword argument '{unknown[0]}'")
    search = _search(method, preset, settings)
    plan(**_shares(options.get("affine"), search))
    if memory is not None and not isinstance(memory, int | float):
        raise UserError(f"memory: expected GB, a number, received {memory!r}")
    tell("reading")
    compared = feature_settings or _features(features, extractor, weights)
    pair = PairInputs.read(fixed, moving, **options)
    bound = _MEMORY if memory is None else memory
    space = room(bound, pair.images[0].shape, strict=memory is not None)
    start = time.perf_counter()
    affine = align_pair(pair, compared)
    field = search.displacement(pair, affine, compared, space)
    seconds = time.perf_counter() - start
    reach = search.reach(pair.images[0].grid) if isinstance(search, ConvexSearch) else None
    return Registration(
        *pair.images, field, affine, *pair.segmentations, seconds, pair.landmarks, pair.given,
        reach, pair.channels, pair.guides,
    )  # fmt: skip


def _shares(affine: Any, search: Search) -> dict[str, float]:
    """The stages to come, those of `Registration.save` included."""
    shares = {ConvexSearch: _SHARES, NoSearch: _AFFINE}.get(type(search), _NETWORK)
    return {k: v for k, v in (shares | _RESULTS).items() if affine or k != "affine_stage"}


def _search(
    method: Method | Search | None, preset: Method | None, settings: DeformSettings | None
) -> Search:
    given = [choice for choice in (method, preset, settings) if choice is not None]
    if len(given) > 1:
        raise UserError("method: expected one of method, preset and settings, received several")
    chosen = given[0] if given else "default"
    if chosen == "none":
        return NoSearch()
    if isinstance(chosen, str):
        chosen = settings_of(chosen)
    search = ConvexSearch(chosen) if isinstance(chosen, DeformSettings) else chosen
    if not hasattr(search, "displacement"):
        raise UserError(f"method: expected a name, settings or a search, received {chosen!r}")
    return search


def _features(kind: FeatureKind | None, extractor: Any, weights: str | None) -> FeatureSettings:
    given = extractor is not None or weights is not None
    if kind is None:
        kind = "both" if given else _advice(DEFAULT).get("features", "mind")
    if kind == "mind":
        if given:
            warnings.warn("features=mind uses no network; its weights are ignored", stacklevel=3)
        return FeatureSettings("mind")
    if not isinstance(weights, str | os.PathLike | None):
        raise UserError(f"weights: expected a preset's name or its folder, received {weights!r}")
    if extractor is None:
        preset = weights or DEFAULT
        factor = _advice(preset).get("factor", NETWORK_FACTOR)
        if isinstance(factor, bool) or not isinstance(factor, int | float) or factor < 0:
            raise UserError(f"{preset}: factor: expected a number from 0 up, received {factor!r}")
        return FeatureSettings(
            kind, (FeatureExtractor.from_preset(preset),), network_weights=(factor,)
        )
    several = isinstance(extractor, list | tuple)
    return FeatureSettings(kind, tuple(extractor) if several else (extractor,))


def _advice(preset: str) -> dict[str, Any]:
    """What a preset's metadata say of registration."""
    advice = preset_metadata(preset).get("registration", {})
    if not isinstance(advice, dict):
        raise UserError(f"{preset}: registration: expected names and values, received {advice!r}")
    return advice
