"""What the verdict on a registration rests on."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from anyvox_keras.geometry import Volume, resample_to
from anyvox_keras.geometry.resample import sample
from anyvox_keras.registration.affine.affine_pair import without_padding
from anyvox_keras.registration.quality import edge_percent, inverse_residual, likeness

# points that the way there and back is tried with
_POINTS = 20_000


def quality_measures(result: Any) -> dict[str, float]:
    """Measure what `Quality` judges, as far as it is known.

    Args:
        result: A `Registration`.
    """
    measures = likeness(
        result.fixed.array,
        resample_to(result.moving, result.fixed.grid).array,
        result.moved,
        _counted(result),
    )
    measures |= dict(_geometry(result))
    measures |= dict(_overlaps(result))
    measures |= dict(_truth(result.metrics_of_truth))
    return measures


def _counted(result: Any) -> np.ndarray:
    """Where the fixed image counts: in its mask, or where it is no constant surround."""
    fixed = result.fixed
    inside = result.masks[0]
    if inside is None:
        inside = without_padding(fixed)
    if fixed.finite is not None:
        inside = fixed.finite if inside is None else inside & fixed.finite
    return np.ones(fixed.shape, bool) if inside is None else inside


def _geometry(result: Any) -> Iterator[tuple[str, float]]:
    yield "folds_percent", result.folds_percent
    spacing = np.array(result.fixed.spacing)
    if result.reach is not None:
        yield "edge_percent", edge_percent(result.deformation * spacing, result.reach)
    voxels = np.stack(np.unravel_index(_some(result.fixed.shape), result.fixed.shape), -1)
    here = result.fixed.grid.to_world(voxels)
    there = result.warp.points(here)
    onto = result.moving.grid.to_voxel(there)
    within = ((onto >= 0) & (onto <= np.array(result.moving.shape) - 1)).all(-1)
    if within.any():
        steps = [sample(result.inverse[..., axis], onto[within], 1, 0.0) for axis in range(3)]
        back = result.moving.grid.to_world(onto[within] + np.stack(steps, -1))
        residual = inverse_residual(here[within], back)
        yield "inverse_residual_mm", residual
        yield "inverse_residual", residual / float(spacing.min())


def _some(shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    return np.arange(0, count, max(1, count // _POINTS))


def _overlaps(result: Any) -> Iterator[tuple[str, float]]:
    counted = _counted(result)
    everywhere = Volume(np.ones(result.moving.shape, "int32"), result.moving.affine)
    covered = result.warp.resample(everywhere).array > 0
    yield "overlap", float(covered[counted].mean())
    here, there = result.masks
    if here is not None and there is not None:
        moved = result.warp.resample(Volume(there.astype("int32"), result.moving.affine)).array > 0
        yield (
            "mask_dice",
            2.0 * float((here & moved).sum()) / max(1.0, float(here.sum() + moved.sum())),
        )


def _truth(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Labels and landmarks, where the user gave some."""
    dice = metrics.get("mean_dice") or {}
    if dice.get("after") is not None:
        yield "dice", dice["after"]
        yield "dice_change", dice["after"] - dice["before"]
    error = metrics.get("tre_mm")
    if error is not None:
        yield "tre_change", error["after"] / max(error["before"], 1e-6) - 1.0
