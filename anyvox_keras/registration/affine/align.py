"""Translation, rigid and affine registration by the features of the deformable one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyvox_keras.errors import one_of
from anyvox_keras.geometry import Volume
from anyvox_keras.progress import tell
from anyvox_keras.registration.affine.affine_pair import AffinePair
from anyvox_keras.registration.affine.fit_points import fit_points, spanned
from anyvox_keras.registration.descriptors.pair_features import FeatureSettings
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.pair_terms import corresponding_points
from anyvox_keras.types import AffineModel

Clip = Sequence[float] | None


@dataclass(frozen=True)
class AffineStage:
    """One descent after another on a lattice of about `voxels` voxels."""

    voxels: int
    rounds: int
    iterations: int
    model: AffineModel


#: the starts that share most information are compared by features, the best of those again
_KEPT = ((6, AffineStage(40_000, 2, 25, "rigid")), (3, AffineStage(120_000, 3, 30, "rigid")))
_RANKING = 30_000
_COARSE = {"affine": (AffineStage(120_000, 4, 40, "affine"),)}
_FINE = {
    "translation": AffineStage(1_000_000, 3, 25, "translation"),
    "rigid": AffineStage(1_000_000, 3, 25, "rigid"),
    "affine": AffineStage(1_000_000, 8, 30, "affine"),
}


def align(
    fixed: Volume,
    moving: Volume,
    model: AffineModel = "affine",
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    clips: tuple[Clip, Clip] = (None, None),
    features: FeatureSettings | None = None,
    initial: np.ndarray | None = None,
    channels: tuple[Sequence[Volume], Sequence[Volume]] = ((), ()),
    points: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Find the translation, rigid or affine map between scans that are not aligned at all.

    Many starts (see `affine_starts`) are ranked by mutual information, which does not mind a
    rotation; the best are fitted rigidly by the features on a coarse lattice, the best of those on
    a finer one. The best of all is fitted by the chosen model, coarse to fine (see
    `affine_descent`); features are computed anew after each descent, since they turn with the
    image. For a translation nothing is turned on the way either.

    Args:
        fixed: The image that stays.
        moving: The image that is brought onto it, on any grid.
        model: "translation", "rigid" or "affine".
        masks: `(D, H, W)` bool of the two images, or none. With both, they have to cover each
            other.
        clips: Intensity limits of the two images for the network, or none.
        features: See `FeatureSettings`; MIND by default.
        initial: `(4, 4)` to start from, instead of the many.
        channels: Further channels of the two images.
        points: `(N, 3)` points of both images that belong together, mm, RAS: their least-squares
            map (see `fit_points`) is the start. Where they tell no rotation it is one of the many.

    Returns:
        `(4, 4)` float64, mm, RAS: fixed world to moving world.

    Raises:
        ValueError: If the model is unknown.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry import Volume
        from anyvox_keras.registration import align

        image = Volume(np.random.rand(16, 16, 16).astype("float32"), np.eye(4))
        matrix = align(image, image, "rigid")
        ```
    """
    one_of("model", model, AffineModel)
    pair = AffinePair(fixed, moving, masks, clips, features or FeatureSettings(), channels)
    starts = _known_starts(model, initial, points)
    if initial is None and not _suffice(model, points):
        angles = () if model == "translation" else ANGLES
        starts += affine_starts(fixed, moving, *masks, angles)
        starts.sort(key=lambda start: -pair.information(start, _RANKING))
    for number, (kept, stage) in enumerate(_KEPT):
        stage = replace(stage, model=model) if model == "translation" else stage
        tell("affine stage", f"{min(kept, len(starts))} of the starts", 0.25 * number)
        fitted = [_fit(pair, start, stage) for start in starts[:kept]]
        starts = [matrix for matrix, _ in sorted(fitted, key=lambda one: one[1])]
    matrix = starts[0]
    tell("affine stage", "coarse", 0.4)
    for stage in _COARSE.get(model, ()):
        matrix, _ = _fit(pair, matrix, stage)
    return _settle(pair, matrix, _FINE[model])


def align_pair(pair: PairInputs, features: FeatureSettings) -> np.ndarray:
    """Find a pair's affine map by its stage, if there is one: `(4, 4)`, mm, RAS."""
    if pair.model is not None:
        return align(
            *pair.compared, pair.model, pair.given, pair.clips, features, pair.initial,
            pair.compared_channels, corresponding_points(pair),
        )  # fmt: skip
    return np.eye(4) if pair.initial is None else pair.initial


def _known_starts(
    model: AffineModel, initial: np.ndarray | None, points: tuple[np.ndarray, np.ndarray] | None
) -> list[np.ndarray]:
    if initial is not None:
        return [np.asarray(initial, "float64")]
    return [] if points is None else [fit_points(*points, model)]


def _suffice(model: AffineModel, points: tuple[np.ndarray, np.ndarray] | None) -> bool:
    """Whether points tell all of a map that has to be known at the start."""
    return points is not None and (model == "translation" or min(map(spanned, points)) >= 2)


def _fit(pair: AffinePair, matrix: np.ndarray, stage: AffineStage) -> tuple[np.ndarray, float]:
    """Run the rounds of a stage; return the best map on the way and its loss."""
    found = []
    for number in range(stage.rounds):
        better, before = pair.descend(matrix, stage.voxels, stage.model, stage.iterations, number)
        found.append((matrix, before))
        matrix = better
    found.append((matrix, pair.descend(matrix, stage.voxels, stage.model, 0, 0)[1]))
    return min(found, key=lambda one: one[1])


def _settle(pair: AffinePair, matrix: np.ndarray, stage: AffineStage) -> np.ndarray:
    """Run the rounds of a stage and return the mean of their maps.

    Interpolation favours places between voxels, now on one side, now on the other.
    """
    found = []
    for number in range(stage.rounds):
        detail, done = f"fine, {number + 1} of {stage.rounds}", number / stage.rounds
        tell("affine stage", detail, 0.5 + 0.5 * done)
        matrix, _ = pair.descend(matrix, stage.voxels, stage.model, stage.iterations, number)
        found.append(matrix)
    mean: np.ndarray = np.mean(found, axis=0)
    return _rigid(mean, pair.centre) if stage.model == "rigid" else mean


def _rigid(matrix: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The nearest rotation, and what keeps the image of the centre."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    rotation = left @ right
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - rotation @ centre
    return result


ANGLES = (-30.0, -15.0, 15.0, 30.0)


def affine_starts(
    fixed: Volume,
    moving: Volume,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    angles: Sequence[float] = ANGLES,
) -> list[np.ndarray]:
    """List rigid maps that bring the two images over each other.

    The headers as they are; the middles of the two fields of view, and the two centres of mass
    (of the masks, if given), laid on each other; and each of the latter two turned about the fixed
    centre by every angle about every axis of the world.

    Args:
        fixed: The image that stays.
        moving: The image that is brought onto it.
        fixed_mask: `(D, H, W)`, where the fixed image counts.
        moving_mask: The same of the moving image.
        angles: Degrees.

    Returns:
        `(4, 4)` matrices, mm, RAS: fixed world to moving world.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry import Volume
        from anyvox_keras.registration import affine_starts

        image = Volume(np.random.rand(8, 8, 8).astype("float32"), np.eye(4))
        starts = affine_starts(image, image)
        ```
    """
    pairs = [
        (fixed.grid.centre, moving.grid.centre),
        (_mass(fixed, fixed_mask), _mass(moving, moving_mask)),
    ]
    turns = [np.eye(3), *(_turn(axis, a) for axis, a in itertools.product(range(3), angles))]
    starts = [np.eye(4)]
    for (here, there), turn in itertools.product(pairs, turns):
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = there - turn @ here
        starts.append(matrix)
    return starts


def _mass(volume: Volume, mask: np.ndarray | None) -> np.ndarray:
    """Centre of mass in the world; intensities count from their first percentile up."""
    if mask is None:
        weights = np.clip(volume.array - np.percentile(volume.array, 1), 0, None)
        # One bright spot is not the body: the upper tenth counts as its lower bound.
        weights = np.minimum(weights, np.percentile(weights, 90) + 1e-6)
    else:
        weights = (mask > 0).astype("float64")
    total = float(weights.sum())
    parts = [
        float((weights.sum(tuple(a for a in range(3) if a != axis)) * np.arange(n)).sum()) / total
        for axis, n in enumerate(volume.shape)
    ]
    return volume.grid.to_world(np.array(parts))


def _turn(axis: int, degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cosine
    matrix[i, j], matrix[j, i] = -sine, sine
    return matrix
