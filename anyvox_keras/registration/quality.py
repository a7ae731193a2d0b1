"""Whether a registration can be trusted, and why not."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from anyvox_keras.geometry import Volume, of_moderate_range, resample_to, without_hot_voxels
from anyvox_keras.geometry.resample import sample
from anyvox_keras.registration.affine.affine_pair import mutual_information, without_padding
from anyvox_keras.types import Verdict

# points that the way there and back is tried with
_POINTS = 20_000
# about as many voxels a side are read
_SIDE = 80
_BINS, _WINDOW = 24, 9
# of a share of information or correlation: below it is noise
_LITTLE = 1e-2
VERDICTS: tuple[Verdict, ...] = ("PASS", "WARN", "FAIL")


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


@dataclass(frozen=True)
class Bound:
    """When a measure is worth a warning, and when a registration has failed.

    Args:
        warn: Beyond this it is a warning.
        fail: Beyond this it is a failure.
        reason: One line; `{value}` is the measure.
        low: Whether small values are the bad ones.
    """

    warn: float
    fail: float
    reason: str
    low: bool = False

    def of(self, value: float) -> Verdict:
        """Judge one value."""
        sign = -1.0 if self.low else 1.0
        if sign * value > sign * self.fail:
            return "FAIL"
        return "WARN" if sign * value > sign * self.warn else "PASS"


#: what is judged, calibrated by `benchmarks/quality.py`
BOUNDS = {
    "information": Bound(
        0.03, 0.012, "the images tell hardly anything of each other ({value:.3f})", low=True
    ),
    "information_gain": Bound(
        0.01, -0.1, "the images are hardly more alike than at the start ({value:+.1%})", low=True
    ),
    "information_peak": Bound(
        1.3, 1.0, "moved by a few voxels, the result is nearly as good ({value:.2f})", low=True
    ),
    "correlation_peak": Bound(
        1.5, 1.05, "local structure hardly prefers this result ({value:.2f})", low=True
    ),
    "folds_percent": Bound(0.1, 1.0, "{value:.2f} % of the voxels are folded"),
    "edge_percent": Bound(
        1.0, 10.0, "{value:.1f} % of the voxels are moved as far as the search reaches (--capture)"
    ),
    "overlap": Bound(0.5, 0.2, "only {value:.0%} of the fixed image is covered", low=True),
    "mask_dice": Bound(0.6, 0.3, "the masks hardly cover each other (Dice {value:.2f})", low=True),
    "inverse_residual": Bound(0.5, 2.0, "there and back, voxels are off by {value:.1f} of a voxel"),
    "dice_change": Bound(-0.005, -0.1, "the labels' mean Dice falls by {value:.3f}", low=True),
    "dice": Bound(0.2, 0.05, "the labels hardly overlap (mean Dice {value:.2f})", low=True),
    "tre_change": Bound(0.02, 0.5, "the landmarks are {value:.0%} further apart than before"),
}


#: what is not judged where the search used it, and the words that say so
GUIDED = {
    "label_weight": (
        ("dice", "dice_change"), "the labels were used by the search and are no evidence"
    ),
    "landmark_weight": (
        ("tre_change",), "the landmarks were used by the search and are no evidence"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """What is thought of a registration.

    Attributes:
        verdict: "PASS", "WARN" (look at it) or "FAIL" (do not use it).
        reasons: One line each, the gravest first, and what was not judged; none else for a PASS.
        measures: The numbers behind it, by the names of `BOUNDS`.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    measures: dict[str, float]

    @classmethod
    def judge(cls, measures: dict[str, float], guides: Sequence[str] = ()) -> "Quality":
        """Judge measures by `BOUNDS`: the gravest decides.

        What the search used to find the result is no evidence for it, and is not judged; a reason
        says so.

        Args:
            measures: Some of the names of `BOUNDS`; what is not known is left out.
            guides: "label_weight" and "landmark_weight", where labels and landmarks counted in the
                search.

        Example:
            ```python
            from anyvox_keras.registration import Quality

            quality = Quality.judge({"folds_percent": 0.4})
            assert quality.verdict == "WARN"
            ```
        """
        found = [
            (BOUNDS[name].of(value), BOUNDS[name].reason.format(value=value))
            for name, value in measures.items()
            if name in BOUNDS and not any(name in GUIDED[guide][0] for guide in guides)
        ]
        bad = sorted((f for f in found if f[0] != "PASS"), key=lambda f: -VERDICTS.index(f[0]))
        verdict = bad[0][0] if bad else "PASS"
        notes = tuple(GUIDED[guide][1] for guide in guides)
        return cls(verdict, (*(reason for _, reason in bad), *notes), measures)

    def as_dict(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "measures": {name: round(value, 6) for name, value in self.measures.items()},
        }


def likeness(
    fixed: np.ndarray, before: np.ndarray, after: np.ndarray, inside: np.ndarray
) -> dict[str, float]:
    """How alike two images are and became.

    No search uses the information. The descent raises a local correlation, so of this only is said
    how it falls beside the fit, never how far it rose.

    With `N = 2 I / (H + H)`, the normalised mutual information, and `C` the mean squared local
    correlation, of the voxels that count, widened by three so that an object's outline is among
    them:

        information = N(after)
        information_gain = (N(after) - N(before)) / max(N(after), N(before))
        information_peak = N(after) / mean over six shifts of N(after, moved by 8 % of the side)
        correlation_peak, likewise of C

    The peaks tell images that fit from images that were only made as alike as can be: unrelated
    ones, too, gain by a deformation. Images of more than about 100 voxels a side are read at every
    second, third, ... voxel.

    Args:
        fixed: `(D, H, W)`.
        before: The moving image on that grid at the start.
        after: The moving image deformed.
        inside: `(D, H, W)` bool, where the fixed image counts.

    Returns:
        The four by name; peaks only where an axis is long enough to shift along.
    """
    every = max(1, round(math.prod(fixed.shape) ** (1 / 3) / _SIDE))
    fixed, before, after, inside = (
        x[::every, ::every, ::every] for x in (fixed, before, after, inside)
    )
    fixed, before, after = (
        of_moderate_range(without_hot_voxels(x)) for x in (fixed, before, after)
    )
    counted = ndimage.binary_dilation(inside, iterations=3)
    start, end = (_information(fixed, x, counted) for x in (before, after))
    found = {"information": end, "information_gain": (end - start) / max(start, end, _LITTLE)}
    step = max(3, round(0.08 * math.prod(fixed.shape) ** (1 / 3)))
    shifted = [
        _shifted(after, sign * step, axis)
        for axis in range(3)
        if fixed.shape[axis] > 3 * step
        for sign in (-1, 1)
    ]
    if shifted:
        for name, measure in (("information", _information), ("correlation", _correlation)):
            away = float(np.mean([measure(fixed, x, counted) for x in shifted]))
            found[f"{name}_peak"] = measure(fixed, after, counted) / max(away, _LITTLE)
    return found


def _information(first: np.ndarray, second: np.ndarray, counted: np.ndarray) -> float:
    """Normalised mutual information, less what a histogram of so few voxels has by chance."""
    a, b = first[counted], second[counted]
    chance = (_BINS - 1) ** 2 / (2.0 * a.size)
    own = mutual_information(a, a, _BINS) + mutual_information(b, b, _BINS)
    return 2.0 * (mutual_information(a, b, _BINS) - chance) / max(own, 1e-9)


def _correlation(first: np.ndarray, second: np.ndarray, counted: np.ndarray) -> float:
    """Mean squared correlation over cubes of nine voxels, where both images vary."""
    a, b = (x.astype("float64") - float(x.mean()) for x in (first, second))
    mean_a, mean_b, aa, bb, ab = (
        ndimage.uniform_filter(x, _WINDOW) for x in (a, b, a * a, b * b, a * b)
    )
    vary_a, vary_b = aa - mean_a**2, bb - mean_b**2
    vary = counted & (vary_a > 1e-3 * a.var()) & (vary_b > 1e-3 * b.var())
    if not vary.any():
        return 0.0
    return float(((ab - mean_a * mean_b)[vary] ** 2 / (vary_a * vary_b)[vary]).mean())


def _shifted(image: np.ndarray, steps: int, axis: int) -> np.ndarray:
    """Move an image along an axis, its edge repeated."""
    index = np.clip(np.arange(image.shape[axis]) - steps, 0, image.shape[axis] - 1)
    return image.take(index, axis)


def edge_percent(deformation: np.ndarray, reach: float) -> float:
    """Share of voxels, in percent, moved along some axis by 95 % of what the search reaches.

    Args:
        deformation: `(D, H, W, 3)` in any unit.
        reach: How far the search looks along an axis, in that unit.
    """
    return 100.0 * float((np.abs(deformation).max(-1) >= 0.95 * reach).mean())


def inverse_residual(there: np.ndarray, back: Sequence[np.ndarray]) -> float:
    """The 95th percentile of the distance between a voxel and where there and back lead it.

    Args:
        there: `(N, 3)` points.
        back: The same points after both maps.
    """
    return float(np.percentile(np.linalg.norm(np.asarray(back) - there, axis=-1), 95))
