"""The two images of a registration and what belongs to them, checked."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self, Unpack, cast

import numpy as np

from anyvox_keras import io
from anyvox_keras.errors import UserError, real_numbers, require_one_of
from anyvox_keras.geometry import Grid, Volume, require_same_grid, resample_to, without_hot_voxels
from anyvox_keras.geometry.grid import is_invertible
from anyvox_keras.registration.guide_weights import guide_weights
from anyvox_keras.registration.pair_channels import read_channels
from anyvox_keras.types import AffineModel, PairOptions

Clip = Sequence[float] | None


class Placed(NamedTuple):
    """An image on a lattice.

    Attributes:
        array: `(D, H, W)` float32, the smallest value beyond the field of view.
        inside: `(D, H, W)` bool, where it counts: `seen` and in the mask; none for everywhere.
        seen: `(D, H, W)` bool, where it is finite and within its field of view, likewise.
        channels: The array and `seen` of each further channel.
    """

    array: np.ndarray
    inside: np.ndarray | None
    seen: np.ndarray | None
    channels: tuple[tuple[np.ndarray, np.ndarray | None], ...] = ()


@dataclass(frozen=True)
class PairInputs:
    """What `register` reads; pairs of the fixed and the moving one.

    Attributes:
        images: The images, each on its own grid: the first channel of each.
        masks: `(D, H, W)` bool, where each counts and is finite, or `None` for everywhere.
        given: The masks where the user gave some.
        segmentations: Label maps, or none.
        clips: Intensity limits, or none.
        landmarks: The same points of both, or none.
        model: Of the affine stage, or none.
        initial: Where the affine stage begins, or the map itself; none if not given.
        channels: The further channels of each image, on grids of their own.
        label_weight: How much the labels count in the search; 0 for not at all.
        landmark_weight: The same of the landmarks.
    """

    images: tuple[Volume, Volume]
    masks: tuple[np.ndarray | None, np.ndarray | None]
    given: tuple[np.ndarray | None, np.ndarray | None]
    segmentations: tuple[Volume | None, Volume | None]
    clips: tuple[Clip, Clip]
    landmarks: tuple[np.ndarray, np.ndarray] | None
    model: AffineModel | None
    initial: np.ndarray | None
    channels: tuple[Sequence[Volume], Sequence[Volume]] = ((), ())
    label_weight: float = 0.0
    landmark_weight: float = 0.0

    @classmethod
    def read(cls, fixed: Any, moving: Any, **options: Unpack[PairOptions]) -> Self:
        """Read arguments of `register`, and refuse what can't be used.

        Raises:
            UserError: One line says which and why.
        """
        images, channels = read_channels(
            fixed, moving, options.get("fixed_channels"), options.get("moving_channels")
        )
        weights = guide_weights(options)
        given = _two(options, "mask", images, _mask)
        labels = _two(options, "seg", images, _labels)
        _require_shared_label(*labels)
        initial = options.get("initial")
        landmarks = landmarks_of(
            options.get("fixed_points"), options.get("moving_points"), options.get("ras", False)
        )
        _tell_outside(landmarks, images)
        return cls(
            images,
            (_finite(given[0], images[0]), _finite(given[1], images[1])),
            given,
            labels,
            _two(options, "clip", images, _clip),
            landmarks,
            _model(options.get("affine")),
            None if initial is None else _initial(initial),
            channels,
            **weights,
        )

    @cached_property
    def compared(self) -> tuple[Volume, Volume]:
        """The images as they are compared: a few hot voxels tell nothing of all the others."""
        return _without_hot(self.images[0]), _without_hot(self.images[1])

    @cached_property
    def compared_channels(self) -> tuple[list[Volume], list[Volume]]:
        """The further channels, likewise."""
        fixed, moving = ([_without_hot(volume) for volume in side] for side in self.channels)
        return fixed, moving

    @property
    def guides(self) -> tuple[str, ...]:
        """Names of the weights by which labels or landmarks count in the search."""
        names = ("label_weight", "landmark_weight")
        return tuple(name for name in names if getattr(self, name))

    @property
    def label_maps(self) -> tuple[Volume, Volume]:
        """Both label maps.

        Raises:
            UserError: If one was not given.
        """
        fixed, moving = self.segmentations
        if fixed is None or moving is None:
            raise UserError("labels: expected label maps of both images, received one or none")
        return fixed, moving

    @cached_property
    def shared_labels(self) -> list[int]:
        """The labels that both label maps hold: what one lacks was not drawn, and tells nothing."""
        here, there = (np.unique(volume.array[volume.array > 0]) for volume in self.label_maps)
        return [int(label) for label in np.intersect1d(here, there)]

    @property
    def guiding_points(self) -> tuple[np.ndarray, np.ndarray]:
        """The landmarks that lie in the fixed image, of both images, mm, RAS.

        Raises:
            UserError: If there are none.
        """
        fixed, moving = self.landmarks or (np.zeros((0, 3)), np.zeros((0, 3)))
        within = self.images[0].grid.contains(fixed)
        if not within.any():
            raise UserError(
                "landmark_weight: expected landmarks within the fixed image, received none"
            )
        return fixed[within], moving[within]

    def placed(self, grid: Grid, affine: np.ndarray) -> list[Placed]:
        """Bring both images onto a lattice of the fixed world, see `place`.

        Raises:
            UserError: If an image has nothing there.
        """
        both, worlds = [], (np.eye(4), affine)
        sides = zip(self.compared, self.masks, self.compared_channels, worlds, strict=True)
        for image, mask, channels, world in sides:
            array, inside = place(image, mask, grid, world)
            seen = inside if mask is image.finite else place(image, image.finite, grid, world)[1]
            if inside is not None and not inside.any():
                raise UserError(
                    f"{image.name}: expected an overlap with the fixed image, found none; an "
                    "affine stage (--affine) brings scans together"
                )
            more = tuple(place(volume, volume.finite, grid, world) for volume in channels)
            both.append(Placed(array, inside, seen, more))
        return both


def _two(
    options: PairOptions, kind: str, images: tuple[Volume, Volume], read: Callable[..., Any]
) -> tuple[Any, Any]:
    """Read an option of the fixed and of the moving image; None where it is not given."""

    def one(side: str, image: Volume) -> Any:
        source = cast(dict[str, Any], options).get(f"{side}_{kind}")
        return None if source is None else read(source, image, side)

    return one("fixed", images[0]), one("moving", images[1])


def _without_hot(volume: Volume) -> Volume:
    array = without_hot_voxels(volume.array)
    return Volume(array, volume.affine, volume.header, volume.finite, volume.name)


def _mask(source: Any, image: Volume, side: str) -> np.ndarray:
    """The mask's voxels that hold a finite value."""
    inside = io.load_mask(source, of=image, what=f"{side} mask").array
    inside = inside if image.finite is None else inside & image.finite
    if not inside.any():
        raise UserError(f"{side} mask: expected finite voxels inside, received none")
    return inside


def _finite(mask: np.ndarray | None, image: Volume) -> np.ndarray | None:
    """Where an image counts: in its mask, else where it is finite, else everywhere."""
    return image.finite if mask is None else mask


def _clip(source: Sequence[float], image: Volume, side: str) -> Sequence[float]:
    limits = real_numbers(f"{side} clip", source, "float64")
    if limits.shape != (2,) or not limits[0] < limits[1]:
        raise UserError(f"{side} clip: expected LO below HI, received {source}")
    low, high = float(image.array.min()), float(image.array.max())
    if source[1] <= low or source[0] >= high:
        raise UserError(
            f"{side} clip: expected limits that meet the values of {image.name}, {low:g} to "
            f"{high:g}; received {source[0]:g} {source[1]:g}"
        )
    return source


def _labels(source: Any, image: Volume, side: str) -> Volume:
    labels = io.load_labels(source, f"{side} label map")
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


def _model(affine: AffineModel | bool | None) -> AffineModel | None:
    if affine is None or affine is False:
        return None
    model: AffineModel = "affine" if affine is True else affine
    require_one_of("affine", model, AffineModel)
    return model


def _initial(source: Any) -> np.ndarray:
    if isinstance(source, str | os.PathLike):
        source = _linear(source)
    affine = real_numbers("initial", source, "float64")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise UserError(f"initial: expected a finite (4, 4) matrix, received {affine.tolist()}")
    if not is_invertible(affine) or not np.allclose(affine[3], (0, 0, 0, 1)):
        raise UserError(
            "initial: expected an invertible matrix with the last row 0 0 0 1, "
            f"received {affine.tolist()}"
        )
    return affine


def _linear(path: str | os.PathLike[str]) -> np.ndarray:
    matrix = io.load_transform(path).matrix
    if matrix is None:
        raise UserError(f"{path}: expected a linear transform to start from, received a field")
    return matrix


def place(
    image: Volume, mask: np.ndarray | None, grid: Grid, affine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resample an image and its mask onto a grid through an affine map.

    Args:
        image: The image, on its own grid.
        mask: `(D, H, W)` bool on the image's grid, or none.
        grid: The lattice, in the fixed world.
        affine: `(4, 4)`, mm, RAS: fixed world to the image's world; the identity by default.

    Returns:
        The image `(d, h, w)` float32 on the grid, its smallest value beyond its own field of view;
        and where it is known: inside the mask, finite and within the field of view, or `None` if
        that is everywhere.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry import Grid, Volume
        from anyvox_keras.registration import place

        image = Volume(np.random.rand(8, 8, 8).astype("float32"), np.eye(4))
        array, inside = place(image, None, Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0])))
        ```
    """
    placed = image.affine if affine is None else np.linalg.inv(affine) @ image.affine
    volume = resample_to(Volume(image.array, placed, None, image.finite, image.name), grid)
    inside = volume.finite
    if mask is not None:
        part = resample_to(Volume(mask, placed), grid).array
        inside = part if inside is None else part & inside
    return volume.array, inside


def _tell_outside(
    landmarks: tuple[np.ndarray, np.ndarray] | None, images: tuple[Volume, Volume]
) -> None:
    """Warn of landmarks beyond their image: often the other convention of signs."""
    for points, image, what in zip(landmarks or (), images, ("fixed", "moving"), strict=False):
        outside = int((~image.grid.contains(points)).sum())
        if outside:
            message = f"{outside} of {len(points)} {what} points lie outside the {what} image"
            after = "; only the affine part moves them" if what == "fixed" else ""
            warnings.warn(f"{message} (RAS for LPS?){after}", stacklevel=4)


def landmarks_of(
    fixed: Any, moving: Any, ras: bool = False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Read the same landmarks of both images.

    Args:
        fixed: `(N, 3)` points of the fixed image, mm, RAS; a file of points (see
            `read_landmarks`), mm, LPS as ITK has them; or none.
        moving: The same of the moving image, in the same order.
        ras: CSV files hold RAS.

    Returns:
        Two `(N, 3)` float64 arrays, mm, RAS; or none without landmarks.

    Raises:
        UserError: If one image's are lacking, or the two differ in number.
    """
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        raise UserError("landmarks: expected points of both images, received one image's only")
    points = [_points(one, ras) for one in (fixed, moving)]
    shapes = [array.shape for array in points]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] != 3 or not shapes[0][0]:
        raise UserError(
            "landmarks: expected the same (N, 3) points of both images, "
            f"received {shapes[0]} and {shapes[1]}"
        )
    return points[0], points[1]


def _points(source: Any, ras: bool) -> np.ndarray:
    """Points in RAS, of a file or as they are."""
    if isinstance(source, str | os.PathLike):
        return io.load_points(source, ras) * io.TO_LPS
    points = real_numbers("landmarks", source, "float64")
    if not np.isfinite(points).all():
        raise UserError("landmarks: expected finite points, received NaN or infinity")
    return points
