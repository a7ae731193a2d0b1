"""All settings of a pretraining run, as flags and one TOML file give them."""

import dataclasses
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyvox_keras._errors import UserError

CHOICES = {
    "schedule": ("stepped", "cosine", "constant"),
    "augmentation": ("recipe", "on", "off"),
}


@dataclass(frozen=True)
class RunSettings:
    """Settings of `PretrainingRun`; the defaults are the released script's.

    Attributes:
        templates: `"geometric"` or a folder of segmentations.
        shapes: Size of the geometric bank.
        side: Voxels along each axis.
        steps: Length of the run.
        batch_size: Pairs per step.
        seed: Of shapes, data, voxels and initial weights.
        weights: Preset the network starts from, its sizes with it; empty starts from random ones.
        architecture: A key of `ARCHITECTURES`.
        width: Channels of the first level; 0 takes the architecture's.
        levels: Poolings; 0 takes the architecture's.
        output_channels: Features per voxel; 0 takes the architecture's.
        recipe: `"released"` (AdamW, augmented pairs) or `"paper"` (Adam, pairs as drawn).
        augmentation: `"recipe"`, or `"on"` or `"off"` whatever the recipe.
        learning_rate: First or highest rate.
        schedule: `"stepped"` (the paper's law), `"cosine"` or `"constant"`.
        warmup: Steps of linear rise before the cosine.
        clip_norm: Longest gradient per weight; 0 is no limit.
        accumulate: Steps per update of the weights.
        ema: Momentum of the averaged weights that are saved and validated; 0 averages none.
        taps: Names of the compared outputs, comma-separated; empty takes the architecture's.
        tap_weights: Weight of each, comma-separated; empty weighs them alike.
        samples: Most voxels per tap and view.
        balanced: Whether labels take turns among the drawn voxels.
        temperature: Of the loss.
        rarity: `""`, `"raw"` or `"sqrt"`.
        balance: `""`, `"raw"` or `"sqrt"`.
        precision: `"float32"`, `"bfloat16"` or `"float16"`.
        log_every: Steps per row of `log.csv`.
        validate_every: Steps between validations, a multiple of `log_every`.
        validation_pairs: Pairs of the fixed validation set; 0 validates by the training loss.
        patience: Validations without a lower loss before the run stops; 0 never stops it.
        pictures_every: Steps between feature pictures, a multiple of `log_every`; 0 draws none.
        tensorboard: Whether to write TensorBoard files as well.
    """

    templates: str = "geometric"
    shapes: int = 500
    side: int = 128
    steps: int = 600_000
    batch_size: int = 1
    seed: int = 0
    weights: str = ""
    architecture: str = "anatomix"
    width: int = 0
    levels: int = 0
    output_channels: int = 0
    recipe: str = "released"
    augmentation: str = "recipe"
    learning_rate: float = 2e-4
    schedule: str = "stepped"
    warmup: int = 1000
    clip_norm: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    taps: str = ""
    tap_weights: str = ""
    samples: int = 512
    balanced: bool = False
    temperature: float = 0.33
    rarity: str = ""
    balance: str = ""
    precision: str = "float32"
    log_every: int = 50
    validate_every: int = 1000
    validation_pairs: int = 8
    patience: int = 0
    pictures_every: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Refuse what no later check would name."""
        for name in ("shapes", "steps", "batch_size", "accumulate", "log_every", "validate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected at least 1, received {getattr(self, name)}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise UserError(f"{name}: expected one of {', '.join(known)}, received {given}")
        self.numbers("tap_weights")
        for name in ("validate_every", "pictures_every"):
            if getattr(self, name) % self.log_every:
                value = getattr(self, name)
                raise UserError(f"{name}: expected a multiple of log_every, received {value}")

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "settings") -> "RunSettings":
        """Build from names and values; unknown names and wrong types are mistakes."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise UserError(
                f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(fields)}"
            )
        return cls(**{name: _typed(where, fields[name], v) for name, v in values.items()})

    def numbers(self, name: str) -> list[float]:
        """Read a comma-separated setting."""
        text = getattr(self, name)
        try:
            return [float(part) for part in text.split(",") if part]
        except ValueError as error:
            raise UserError(f"{name}: expected numbers like 0.2,0.8, received {text}") from error

    def to_toml(self) -> str:
        """Write all settings as TOML."""
        values = dataclasses.asdict(self).items()
        # Strings, numbers and booleans look the same in JSON and TOML.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file's names and values."""
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error


def _typed(where: str, field: Any, value: Any) -> Any:
    expected = type(field.default)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise UserError(f"{where}: {field.name}: expected {expected.__name__}, received {value!r}")
    return value
