"""All settings of a pretraining run, as flags and one TOML file give them."""

from dataclasses import dataclass

from anyvox_keras.errors import UserError
from anyvox_keras.training.settings import TomlSettings

CHOICES = {
    "schedule": ("stepped", "cosine", "constant"),
    "augmentation": ("recipe", "on", "off"),
}


@dataclass(frozen=True)
class RunSettings(TomlSettings):
    """Settings of `PretrainingRun`; the defaults are the released script's.

    Attributes:
        templates: `"geometric"` or a folder of segmentations, or several of them, comma-separated.
        shapes: Size of the geometric bank.
        side: Voxels along each axis.
        crop: Side of the cube cut from each view, at a place of its own; 0 keeps whole views.
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
        voxel_weight: Share of a second loss, in which a voxel's only positive is itself, 0 to 1.
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
    crop: int = 0
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
    voxel_weight: float = 0.0
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
        self.require_at_least(
            1, "shapes", "steps", "batch_size", "accumulate", "log_every", "validate_every"
        )
        self.require_one_of(CHOICES)
        if not 0 <= self.crop <= self.side:
            raise UserError(f"crop: expected 0 to side ({self.side}), received {self.crop}")
        self.require_share("voxel_weight")
        self.numbers("tap_weights")
        self.require_multiple_of("log_every", "validate_every", "pictures_every")
