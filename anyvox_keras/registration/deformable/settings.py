"""How the deformable registration works: settings, named choices, changes by name, memory."""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from anyvox_keras.errors import UserError, one_of
from anyvox_keras.types import DescentDistance, Profile

Settings = TypeVar("Settings")
# levels as text: 4x2+2x3
_LEVELS = re.compile(r"\d+x\d+(\+\d+x\d+)*")
# the reach, as a part of the image's side
_REACH = 8.0
# voxels that even a small image is searched
_LEAST = 12.0
# twice as many coarse blocks make a side
_BLOCKS = 45.0
# below this side a wider fine search costs little
_SMALL = 70.0
GIGABYTE = 2.0**30
# Python, the framework and its libraries
_PROGRAM = 1.0
# both images, their pooled features, warps and the results on the host; bytes per voxel
_HELD = 100
# MIND's twelve channels and what is in between, before they are pooled; bytes per voxel. Measured
# at 128^3, with what is held: 300 (torch), 400 (JAX), 450 (TensorFlow).
_MIND = 400


@dataclass(frozen=True)
class AdamSettings:
    """How `instance_optimisation` descends.

    Args:
        iterations: At most this many steps.
        learning_rate: Adam's, in voxels a step.
        smoothness: Weight of the squared differences of neighbouring displacements.
        passes: 3x3x3 means (zeros outside count) that smooth the parameters before use.
        distance: Between feature vectors: "squared", "cosine" (squared, at length one), or
            "chord", the distance itself at length one, so that what matches nowhere, an outline
            that one image lacks, does not dominate.
        velocity: The parameters are a stationary velocity, integrated by scaling and squaring, so
            that the map is a diffeomorphism.
        symmetric: With `velocity`, compare in both directions, through the exponential of `v` and
            of `-v`.
        tolerance: Stop when a step moves the mean voxel by less than this many voxels.
        stretch: Sample as ConvexAdam does, see `sample_displaced`.
        correlation: Weight of the images' own squared local correlation, see `descent_loss`.
        slack: The zeros outside draw the displacement at the faces to none. Where the start's mean
            along an axis is more than this many voxels, they stand for what it exceeds them by,
            so that a large shift is not drawn back.
    """

    iterations: int = 80
    learning_rate: float = 1.0
    smoothness: float = 0.75
    passes: int = 3
    distance: DescentDistance = "squared"
    velocity: bool = False
    symmetric: bool = False
    tolerance: float = 0.0
    stretch: bool = False
    correlation: float = 0.0
    slack: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.iterations < 1:
            raise ValueError(f"`iterations` must be >= 1. Received: iterations={self.iterations}")
        least_zero = (self.smoothness, self.tolerance, self.correlation, self.slack)
        if min(least_zero) < 0 or self.learning_rate <= 0:
            raise ValueError(
                "`smoothness`, `tolerance`, `correlation` and `slack` must be >= 0 and "
                f"`learning_rate` > 0. Received: {', '.join(map(str, least_zero))}, "
                f"{self.learning_rate}"
            )
        one_of("distance", self.distance, DescentDistance)
        if self.symmetric and not self.velocity:
            raise ValueError("`symmetric` needs `velocity=True`. Received: velocity=False")


@dataclass(frozen=True)
class Level:
    """One exhaustive search: features pooled by `grid`, a window of `half_width` grid steps."""

    grid: int
    half_width: int

    def __post_init__(self) -> None:
        """Levels share the features pooled by two."""
        if self.grid < 2 or self.grid % 2 or self.half_width < 1:
            raise ValueError(
                "a level needs an even `grid` >= 2 and `half_width` >= 1. "
                f"Received: grid={self.grid}, half_width={self.half_width}"
            )


@dataclass(frozen=True)
class DeformSettings:
    """Settings of `deform`.

    Args:
        levels: Searches, coarse to fine; `None` chooses two whose windows together reach
            `capture`.
        capture: How far the chosen levels search, mm per axis; by default an eighth of the image's
            side (the cube root of its voxels).
        consistency: Iterations of `inverse_consistency` after each search.
        align: Pad the images so that the pooled grids cover them exactly. Without, the trailing
            voxels that fill no block are dropped and the field is stretched over them.
        both_ways: Fine-tune from moving to fixed too, and average with that field's inverse.
        dilations: Distances of MIND's neighbours, voxels: the search compares by the first, the
            fine-tuning by all.
        adam: Settings of the fine-tuning, at half resolution.
    """

    levels: tuple[Level, ...] | None = None
    capture: float | None = None
    consistency: int = 15
    align: bool = True
    both_ways: bool = False
    dilations: tuple[int, ...] = (2, 1)
    adam: AdamSettings = field(
        # The chord does not depend on how strong the features are, as squared distances do, and
        # the images' own correlation sees what features pooled by two do not.
        default_factory=lambda: AdamSettings(
            iterations=50, smoothness=3.0, distance="chord", correlation=0.5, slack=1.0
        )
    )

    def __post_init__(self) -> None:
        """Refuse distances that are none."""
        if not self.dilations or any(type(d) is not int or d < 1 for d in self.dilations):
            raise ValueError(
                f"`dilations` must be whole numbers from 1 up. Received: dilations={self.dilations}"
            )

    def levels_for(
        self, shape: Sequence[int], spacing: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> tuple[Level, ...]:
        """Return the levels for an image of `shape` voxels of `spacing` mm.

        Blocks and reach follow the number of voxels, so that a mouse and a whale that are seen by
        as many voxels are searched alike; millimetres count only for a `capture` that is given.
        """
        if self.levels is not None:
            return self.levels
        size = math.prod(shape) ** (1 / 3)
        reach = max(_LEAST, round(size / _REACH))
        if self.capture is not None:
            reach = min(self.capture / min(spacing), max(shape))  # beyond that lies nothing
        coarse = 2 * max(2, round(size / _BLOCKS))
        fine = Level(coarse // 4 * 2, 4 if size < _SMALL else 2)
        rest = reach - fine.grid * fine.half_width
        return (Level(coarse, max(1, math.ceil(rest / coarse))), fine)


def tuned(
    settings: DeformSettings,
    smoothness: float | None = None,
    capture: float | None = None,
    iterations: float | None = None,
) -> DeformSettings:
    """Return settings with what a user turns most often changed, where it is given.

    Args:
        settings: The settings to start from.
        smoothness: Weight of the squared differences of neighbouring displacements.
        capture: How far to search, mm per axis.
        iterations: Steps of the descent.

    Raises:
        UserError: A value that cannot work.
    """
    adam, levels = settings.adam, settings.levels
    if smoothness is not None:
        _require("smoothness", smoothness, smoothness >= 0, "0 or more")
        adam = replace(adam, smoothness=float(smoothness))
    if iterations is not None:
        _require("iterations", iterations, iterations >= 1 and iterations % 1 == 0, "1, 2, ...")
        adam = replace(adam, iterations=int(iterations))
    if capture is not None:
        _require("capture", capture, 0 < capture < math.inf, "more than 0 mm")
        levels = None
    return replace(settings, adam=adam, levels=levels, capture=capture or settings.capture)


def _require(name: str, value: float, holds: bool, expected: str) -> None:
    if not holds:
        raise UserError(f"{name}: expected {expected}, received {value:g}")


def settings_of(preset: Profile) -> DeformSettings:
    """Return the settings that a name stands for.

    "default" searches an eighth of the image around, compares by the chord between feature vectors
    and the images' local correlation, and keeps folds rare. "convexadam" is ConvexAdam with the
    settings of the anatomix paper. "diffeomorphic" is the default with a velocity field, compared
    in both directions.

    Raises:
        ValueError: If the name is unknown.

    Example:
        ```python
        from anyvox_keras.registration import settings_of

        settings = settings_of("convexadam")
        ```
    """
    one_of("preset", preset, Profile)
    default = DeformSettings()
    if preset == "diffeomorphic":
        # exp(v) moves less per step than v does where the field turns, so it takes more of them
        adam = replace(default.adam, velocity=True, symmetric=True, iterations=80)
        return replace(default, adam=adam)
    if preset == "convexadam":
        adam = AdamSettings(smoothness=0.75, stretch=True)
        return DeformSettings(levels=(Level(2, 1),), align=False, dilations=(2,), adam=adam)
    return default


def room(memory: float, shape: Sequence[int], strict: bool = True) -> float:
    """Return the GB that one step of a registration may take of the process's `memory` GB.

    The program and what is held throughout come off; the features of MIND have to fit in the rest.
    What fits, a network's pass and a cost volume, is then made in as few pieces as the room allows.

    Args:
        memory: GB (2^30 bytes) that the whole process may take.
        shape: `(D, H, W)` of the fixed image.
        strict: Whether too little is a mistake; otherwise the least there can be is returned.

    Raises:
        UserError: If images of this size need more.
    """
    voxels = math.prod(shape)
    held = _PROGRAM + _HELD * voxels / GIGABYTE
    least = _MIND * voxels / GIGABYTE
    if memory - held >= least:
        return memory - held
    if strict:
        raise UserError(
            f"memory: expected at least {math.ceil(10 * (held + least)) / 10:.1f} GB for an image "
            f"of {tuple(shape)}, received {memory:g}"
        )
    return least


def changed(settings: Settings, choices: Mapping[str, Any], within: str = "") -> Settings:
    """Return settings with some of them set to other values.

    Args:
        settings: `DeformSettings`, say.
        choices: Names and values. A dot leads into a group, `adam.smoothness`. Text is read as
            TOML has it (`1.5`, `true`, `cosine` without quotes); levels are spelled `4x2+2x3`:
            blocks of 4 voxels searched 2 steps around, then blocks of 2 searched 3 around.
        within: The group's name, for messages.

    Raises:
        UserError: An unknown name, or a value that the setting cannot take.

    Example:
        ```python
        from anyvox_keras.registration import changed, settings_of

        settings = changed(settings_of("default"), {"adam.smoothness": 1, "levels": "4x2+2x2"})
        ```
    """
    for path, value in choices.items():
        name, _, rest = path.partition(".")
        where = f"{within}{name}"
        before = _before(settings, name, bool(rest), where)
        if rest:
            now = changed(before, {rest: value}, f"{where}.")
        else:
            now = _fitting(where, name, before, _read(value))
        try:
            settings = replace(settings, **{name: now})  # type: ignore[type-var]
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
    return settings


def _before(settings: Any, name: str, group: bool, where: str) -> Any:
    """Return what a setting is now; only a group has names of its own."""
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    if name not in known or is_dataclass(known[name]) != group:
        names = [f"{n}.*" if is_dataclass(value) else n for n, value in known.items()]
        raise UserError(f"set: expected one of {', '.join(names)}, received {where}")
    return known[name]


def _read(value: Any) -> Any:
    if not isinstance(value, str) or _LEVELS.fullmatch(value):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _fitting(where: str, name: str, before: Any, value: Any) -> Any:
    """Return the value in the setting's own type."""
    if name == "levels":
        return _levels(where, value)
    if isinstance(before, tuple) and isinstance(value, list):
        value = tuple(value)
    kind = float if before is None else type(before)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        expected = {
            bool: "true or false", int: "a whole number", float: "a number", tuple: "a list",
        }  # fmt: skip
        raise UserError(f"{where}: expected {expected.get(kind, 'text')}, received {value}")
    return value


def _levels(where: str, value: Any) -> tuple[Level, ...]:
    if not isinstance(value, str) or not _LEVELS.fullmatch(value):
        raise UserError(f"{where}: expected BLOCKxSTEPS+..., as in 4x2+2x3, received {value}")
    try:
        return tuple(Level(*map(int, level.split("x"))) for level in value.split("+"))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
