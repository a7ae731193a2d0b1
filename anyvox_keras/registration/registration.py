"""The result of `register`."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import io, metrics
from anyvox_keras.backend import compiled, no_gradient, to_numpy
from anyvox_keras.errors import UserError, real_numbers
from anyvox_keras.geometry import Volume, Warp, background, resample_to
from anyvox_keras.glance import Glance, Shown
from anyvox_keras.ops import identity_grid, inverse_points
from anyvox_keras.progress import tell
from anyvox_keras.registration.quality import Quality, quality_measures


class Registration(Shown):
    """A map from the fixed image to the moving image, and what it does.

    The map is an affine one in the world after a deformation of the fixed grid:
    `fixed voxel x -> x + deformation(x) -> world -> affine -> moving world`.

    Args:
        fixed: The image that stays.
        moving: The image that is brought onto it, on its own grid.
        deformation: `(D, H, W, 3)` in voxels of the fixed grid.
        affine: `(4, 4)`, mm, RAS: fixed world to moving world; the identity where the scans'
            headers alone are trusted.
        fixed_seg: Label map on the fixed grid.
        moving_seg: Label map in the moving image's world, on any grid.
        seconds: What the registration took.
        landmarks: Points of the fixed and the same of the moving image, `(N, 3)` each, mm, RAS.
        masks: `(D, H, W)` bool, where the fixed and the moving image count, on their own grids.
        reach: How far the search looked along each axis, mm; none if it has no bound.
        channels: Further channels of the fixed and of the moving image.
        guides: Names of the weights by which labels or landmarks counted in the search; what
            counted there is no evidence for the result.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx

        fixed = np.random.rand(16, 16, 16).astype("float32")
        result = avx.register(fixed, np.roll(fixed, 1, axis=0))
        moved, shift = result.moved, result.displacement
        ```
    """

    def __init__(
        self,
        fixed: Volume,
        moving: Volume,
        deformation: np.ndarray,
        affine: np.ndarray | None = None,
        fixed_seg: Volume | None = None,
        moving_seg: Volume | None = None,
        seconds: float | None = None,
        landmarks: tuple[np.ndarray, np.ndarray] | None = None,
        masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
        reach: float | None = None,
        channels: tuple[Sequence[Volume], Sequence[Volume]] = ((), ()),
        guides: Sequence[str] = (),
    ) -> None:
        """Keep the parts; everything else is computed when asked for."""
        expected = (*fixed.shape, 3)
        if deformation.shape != expected:
            raise ValueError(f"`deformation` must be {expected}. Received: {deformation.shape}")
        self.fixed, self.moving = fixed, moving
        self.deformation = np.asarray(deformation, "float32")
        self.affine = np.eye(4) if affine is None else np.asarray(affine, "float64")
        self.fixed_seg, self.moving_seg = fixed_seg, moving_seg
        self.seconds = seconds
        self.landmarks = landmarks
        self.masks, self.reach = masks, reach
        self.channels, self.guides = channels, tuple(guides)

    @cached_property
    def displacement(self) -> np.ndarray:
        """The whole map, affine included: `(D, H, W, 3)` float32 in voxels of the fixed grid.

        `moved(x) = moving(x + displacement(x))` where the target is counted in fixed voxels.
        """
        grid = self.fixed.grid
        voxels = grid.voxels()
        matrix = np.linalg.inv(grid.affine) @ self.affine @ grid.affine
        target = (voxels + self.deformation) @ matrix[:3, :3].T + matrix[:3, 3]
        return (target - voxels).astype("float32")

    @cached_property
    def inverse(self) -> np.ndarray:
        """The map the other way: `(d, h, w, 3)` float32 on the moving grid, in its voxels."""
        fixed, moving = self.fixed.grid, self.moving.grid
        back = np.linalg.inv(fixed.affine) @ np.linalg.inv(self.affine) @ moving.affine
        voxels = identity_grid(moving.shape)
        points = voxels @ back[:3, :3].T + back[:3, 3]
        found = _solve(self.deformation, points.astype("float32"))
        target = moving.to_voxel(fixed.to_world(found))
        return (target - voxels).astype("float32")

    @cached_property
    def warp(self) -> Warp:
        """The whole map in the world: fixed point to moving point, mm, RAS."""
        return Warp.from_voxels(self.displacement, self.fixed.grid, beyond=self._beyond)

    @property
    def _beyond(self) -> np.ndarray | None:
        """Where points outside the fixed image go, if the affine map says it."""
        return None if np.array_equal(self.affine, np.eye(4)) else self.affine

    @cached_property
    def moved(self) -> np.ndarray:
        """The moving image on the fixed grid, `(D, H, W)` float32, interpolated once.

        Beyond the moving image lies its own background (see `background`).
        """
        return self.warp.resample(self.moving, outside=background(self.moving)).array

    @cached_property
    def moved_channels(self) -> np.ndarray:
        """All channels of the moving image on the fixed grid, `(D, H, W, C)` float32.

        Each is interpolated once, from its own grid; the first is `moved`.
        """
        further = (self.warp.resample(x, outside=background(x)).array for x in self.channels[1])
        return np.stack([self.moved, *further], axis=-1)

    @cached_property
    def moved_seg(self) -> np.ndarray | None:
        """The moving label map on the fixed grid, `(D, H, W)` int32, if there is one."""
        return None if self.moving_seg is None else self.warp.resample(self.moving_seg).array

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds.

        `dice` and `hd95` (mm) of each label and their means, before and after: all labels of the
        fixed label map count, and without label maps both are empty; `tre_mm` before and after,
        with landmarks; `folds_percent`, `sd_log_jacobian`, `seconds`; `quality`. A distance to a
        label that is not there is infinite (null in the file) and left out of the mean.
        """
        return {
            **self.metrics_of_truth,
            "folds_percent": self.folds_percent,
            "sd_log_jacobian": metrics.sd_log_jacobian(self.displacement),
            "seconds": self.seconds,
            "quality": self.quality.as_dict(),
        }

    @cached_property
    def metrics_of_truth(self) -> dict[str, Any]:
        """The part of `metrics` that labels and landmarks tell."""
        return {**self._overlap(), **self._landmark_error()}

    @cached_property
    def folds_percent(self) -> float:
        """Share of voxels, in percent, where the map folds."""
        return metrics.folds_percent(self.displacement)

    @cached_property
    def quality(self) -> Quality:
        """Whether the result can be trusted: verdict, reasons and the measures behind them."""
        return Quality.judge(quality_measures(self), self.guides)

    def _overlap(self) -> dict[str, Any]:
        if self.fixed_seg is None or self.moving_seg is None or self.moved_seg is None:
            nothing = {"before": None, "after": None}
            return {"dice": {}, "mean_dice": nothing, "hd95": {}, "mean_hd95": nothing}
        target, spacing = self.fixed_seg.array, self.fixed.spacing
        labels = [int(label) for label in np.unique(target) if label > 0]
        maps = {
            "before": resample_to(self.moving_seg, self.fixed.grid).array,
            "after": self.moved_seg,
        }
        measures = {
            "dice": lambda labels_now: metrics.dice(target, labels_now, labels),
            "hd95": lambda labels_now: metrics.hd95(target, labels_now, spacing, labels),
        }
        found: dict[str, Any] = {}
        for name, measure in measures.items():
            values = {when: measure(array) for when, array in maps.items()}
            found[name] = {str(k): {when: values[when][k] for when in maps} for k in labels}
            found[f"mean_{name}"] = {when: _mean(values[when].values()) for when in maps}
        return found

    def _landmark_error(self) -> dict[str, Any]:
        if self.landmarks is None:
            return {}
        here, there = self.landmarks
        after = metrics.target_registration_error(self.warp.points(here), there)
        return {
            "tre_mm": {"before": metrics.target_registration_error(here, there), "after": after}
        }

    def apply(self, x: Any, labels: bool = False, points: bool = False) -> Any:
        """Bring something of the moving side onto the fixed grid, or map points.

        Args:
            x: An image: an array `(D, H, W)` on the moving grid, or a path, nibabel image or
                `Volume` on any grid in the moving image's world. Or points, `(N, 3)`, mm, RAS.
            labels: The image holds labels: nearest neighbour, integers kept.
            points: `x` holds points; they go from the fixed to the moving side, as ITK's
                TransformPoint maps them. Arrays `(N, 3)` are taken for points without asking.

        Returns:
            `(D, H, W)` float32 or int32 on the fixed grid, or `(N, 3)` points.

        Raises:
            UserError: An array that is not on the moving grid, or points that are not `(N, 3)`.
        """
        if points or (isinstance(x, np.ndarray) and x.ndim == 2):
            listed = real_numbers("points", x, "float64")
            if listed.ndim != 2 or listed.shape[1] != 3:
                raise UserError(f"points: expected (N, 3), received shape {listed.shape}")
            return self.warp.points(listed)
        if isinstance(x, np.ndarray):
            if x.shape != self.moving.shape:
                raise UserError(
                    f"image: expected an array on the moving grid, {self.moving.shape}, "
                    f"received shape {x.shape}"
                )
            x = Volume(x, self.moving.affine)
        volume = io.load_labels(x) if labels else io.load_volume(x, varies=False)
        image = Volume(volume.array, volume.affine, finite=volume.finite)
        return self.warp.resample(image, outside=background(image)).array

    def save(
        self,
        folder: str | os.PathLike[str],
        overwrite: bool = False,
        names: Mapping[int, str] | None = None,
        made_with: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the results: images, warps (ITK), affine, report and metrics.

        `moved.nii.gz` (4D, of several channels) and, with a moving label map, `moved_seg.nii.gz`
        on the fixed grid; `warp.nii.gz` on the fixed grid and `inverse_warp.nii.gz` on the moving
        grid, the whole map each; `affine.tfm` for information; `report.png`, and `report.html` to
        look through, which opens anywhere; `metrics.json`, last. Old results are replaced when all
        new ones are written; those that are not made anew go.

        Args:
            folder: Where they go.
            overwrite: Whether old results are replaced.
            names: What labels are called, in the report.
            made_with: What is known of the making beside versions and images, for the
                `provenance` of `metrics.json`: `command`, `settings`, and `inputs`, paths by name.

        Raises:
            UserError: A result exists and `overwrite` is false, the folder cannot be written, or a
                result would replace one of the images.
        """
        folder = Path(folder)
        io.refuse_old_results(folder, overwrite)
        images = (self.fixed, self.moving, *self.channels[0], *self.channels[1])
        volumes = (*images, self.fixed_seg, self.moving_seg)
        inputs = [volume.name for volume in volumes if volume is not None]
        io.refuse_inputs([folder / name for name in io.REGISTRATION_FILES], inputs)
        io.prepare_folder(folder)
        with io.replaced_together(folder, io.REGISTRATION_FILES, "metrics.json") as staged:
            self._write(staged, names or {}, dict(made_with or {}))
        return folder

    def _write(self, folder: Path, names: Mapping[int, str], made_with: dict[str, Any]) -> None:
        """Write all results into an empty folder."""
        fixed, moving = self.fixed.grid, self.moving.grid
        tell("moved image")
        moved = self.moved_channels if self.channels[1] else self.moved
        io.save_volume(folder / "moved.nii.gz", moved, self.fixed)
        if self.moved_seg is not None:
            io.save_volume(folder / "moved_seg.nii.gz", self.moved_seg, self.fixed)
        there, back = self._beyond, None
        if there is not None:
            back = np.linalg.inv(there)
        io.save_warp(folder / "warp.nii.gz", self.displacement, fixed, beyond=there)
        tell("inverse")
        io.save_warp(folder / "inverse_warp.nii.gz", self.inverse, moving, beyond=back)
        io.save_affine(folder / "affine.tfm", self.affine)
        tell("quality")
        provenance = self._provenance(made_with)
        io.save_json(folder / "metrics.json", {**self.metrics, "provenance": provenance})
        tell("report")
        self._save_report(folder, names, provenance)

    def _provenance(self, made_with: dict[str, Any]) -> dict[str, Any]:
        volumes = {"fixed": self.fixed, "moving": self.moving,
                   "fixed_seg": self.fixed_seg, "moving_seg": self.moving_seg}  # fmt: skip
        own = {name: volume.name for name, volume in volumes.items() if volume is not None}
        return io.provenance_of(own | made_with.pop("inputs", {}), **made_with)

    def _save_report(
        self, folder: Path, names: Mapping[int, str], provenance: dict[str, Any]
    ) -> None:
        from anyvox_keras.pictures import save_figure
        from anyvox_keras.registration.registration_page import registration_page

        figure = self._figure()
        save_figure(figure, folder / "report.png", overwrite=True)
        page = registration_page(self, figure, names, provenance)
        io.save_page(folder / "report.html", page.html())

    def _figure(self) -> Any:
        from anyvox_keras.pictures import registration_report

        # scans that were far apart share nothing before the affine map
        aligned = np.array_equal(self.affine, np.eye(4))
        return registration_report(
            self.fixed.array,
            self.before,
            self.moved,
            self.deformation,
            self.fixed.grid,
            self.label_maps,
            title=self.title,
            summary=self.summary + ("" if aligned else "; moving and before: after the affine map"),
        )

    def __repr__(self) -> str:
        """Say what was registered, in one line."""
        return f"Registration({self.title}: {self.fixed.grid})"

    def glance(self) -> Glance:
        """The report's picture, the verdict and the measures; `show` is the whole report."""
        from anyvox_keras.registration.registration_page import registration_page

        return Glance(
            self.title,
            [("verdict", "; ".join([self.quality.verdict, *self.quality.reasons])),
             *self._measures(), ("seconds", self.seconds)],
            figure=self._figure,
            page=lambda: registration_page(self, self._figure()),
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What was brought onto what, by the files' names."""
        return f"{Path(self.moving.name).name} to {Path(self.fixed.name).name}"

    @property
    def before(self) -> np.ndarray:
        """The moving image on the fixed grid, brought there by the affine map alone."""
        return self._before(self.moving)

    @property
    def label_maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The labels of fixed, moving (by the affine map alone) and moved, if there are any."""
        if self.fixed_seg is None or self.moving_seg is None or self.moved_seg is None:
            return None
        return self.fixed_seg.array, self._before(self.moving_seg), self.moved_seg

    def _before(self, moving: Volume) -> np.ndarray:
        """What the affine map alone brings onto the fixed grid."""
        placed = np.linalg.inv(self.affine) @ moving.affine
        return resample_to(Volume(moving.array, placed), self.fixed.grid).array

    @property
    def summary(self) -> str:
        """The results in one line: Dice and TRE where they are known, folds, seconds."""
        parts = [f"{name} {value}" for name, value in self._measures()]
        if self.seconds is not None:
            parts.append(f"{self.seconds:.1f} s")
        parts.append("; ".join([self.quality.verdict, *self.quality.reasons]))
        return ", ".join(parts)

    def _measures(self) -> Iterator[tuple[str, str]]:
        """What is known of the result, by name."""
        found = self.metrics
        for key, name, digits, unit in (
            ("mean_dice", "mean Dice", 4, ""),
            ("mean_hd95", "HD95", 2, " mm"),
            ("tre_mm", "TRE", 2, " mm"),
        ):
            values = found.get(key, {"after": None})
            if None not in values.values():
                yield name, f"{values['before']:.{digits}f} -> {values['after']:.{digits}f}{unit}"
        yield "folds", f"{found['folds_percent']:.3f} %"


def _solve(displacement: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where `x + u(x)` is each point, both arrays without a batch axis."""
    arrays = (ops.convert_to_tensor(array[None]) for array in (displacement, points))
    with no_gradient():
        found: np.ndarray = to_numpy(_solver()(*arrays))
    return found[0]


@cache
def _solver() -> Callable[..., Any]:
    return compiled(inverse_points)


def _mean(values: Iterable[float]) -> float | None:
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else None
