"""All settings of a segmentation run."""

import math
from dataclasses import dataclass

from anyvox_keras.errors import UserError
from anyvox_keras.networks import ARCHITECTURES, DEFAULT
from anyvox_keras.segmentation.fine_tuning import PARTS
from anyvox_keras.training.settings import TomlSettings

CHOICES = {
    "architecture": tuple(ARCHITECTURES),
    "precision": ("float32", "bfloat16", "float16"),
}


@dataclass(frozen=True)
class SegmentationSettings(TomlSettings):
    """Settings of `SegmentationRun`; the defaults are the paper's.

    Attributes:
        data: Folder of the data, with imagesTr, labelsTr, imagesVal and labelsVal.
        cases: Names of the training cases to use, comma-separated; empty takes all.
        weights: Preset the network starts from, by default the packaged one; `scratch` starts from
            random weights.
        architecture: A key of `ARCHITECTURES`, for `scratch`.
        width: Channels of the first level, for `scratch`; 0 takes the architecture's.
        levels: Poolings, for `scratch`; 0 takes the architecture's.
        steps: Length of the run.
        epoch_steps: Steps an epoch, at whose ends the rate falls.
        side: Side of crops and windows.
        batch_size: Crops a step.
        seed: Of crops, augmentation and initial weights.
        spacing: Mm of the working grid, one number or three, comma-separated; empty keeps each
            scan's own.
        balanced: Whether crops lie about a voxel of each label in turn.
        generalise: Whether the appearance effects of synthetic volumes replace the augmentation's,
            to work on other contrasts.
        train: What is trained: `all`, `decoder`, `head`, or a number of last layers.
        learning_rate: Rate of the first epoch.
        backbone_rate: The backbone's rate as a share of it.
        background: Whether the background counts in the Dice loss.
        class_weights: Weight of each class in the loss, background first, comma-separated.
        ignore_label: Label whose voxels count nowhere; -1 for none.
        precision: `float32`, `bfloat16` or `float16`.
        overlap: Of the validation's windows.
        log_every: Steps per row of `log.csv`.
        validate_every: Steps between validations, a multiple of `log_every`.
        patience: Validations without a lower loss before the run stops; 0 never stops it.
    """

    data: str = ""
    cases: str = ""
    weights: str = DEFAULT
    architecture: str = DEFAULT
    width: int = 0
    levels: int = 0
    steps: int = 37_500
    epoch_steps: int = 75
    side: int = 128
    batch_size: int = 4
    seed: int = 0
    spacing: str = ""
    balanced: bool = False
    generalise: bool = False
    train: str = "all"
    learning_rate: float = 2e-4
    backbone_rate: float = 1.0
    background: bool = False
    class_weights: str = ""
    ignore_label: int = -1
    precision: str = "float32"
    overlap: float = 0.7
    log_every: int = 75
    validate_every: int = 150
    patience: int = 0

    def __post_init__(self) -> None:
        """Refuse what no later check would name."""
        self.require_at_least(
            1, "steps", "epoch_steps", "side", "batch_size", "log_every", "validate_every"
        )
        self.require_multiple_of("log_every", "validate_every")
        self.require_one_of(CHOICES)
        if self.train not in PARTS and not self.train.isdecimal():
            parts = ", ".join(PARTS)
            raise UserError(f"train: expected {parts} or a number of layers, received {self.train}")
        if not 0 <= self.learning_rate < math.inf:
            raise UserError(f"learning_rate: expected at least 0, received {self.learning_rate}")
        self.require_share("backbone_rate")
        if not 0 <= self.overlap < 1:
            raise UserError(f"overlap: expected a share in [0, 1), received {self.overlap}")
        spacing = self.numbers("spacing")
        if len(spacing) not in (0, 1, 3) or any(mm <= 0 for mm in spacing):
            raise UserError(f"spacing: expected mm like 1 or 1,1,2, received {self.spacing}")
        if self.weights != "scratch" and (self.width or self.levels):
            raise UserError(
                f"width, levels: expected none beside weights ({self.weights}), which have their "
                "own; weights=scratch starts from random ones"
            )
        if any(not 0 <= weight < math.inf for weight in self.numbers("class_weights")):
            raise UserError(f"class_weights: expected numbers >= 0, received {self.class_weights}")

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Mm along R, A, S; None for each scan's own."""
        spacing = self.numbers("spacing")
        return tuple(spacing * 3 if len(spacing) == 1 else spacing) or None

    @property
    def ignored(self) -> int | None:
        """The ignored label, if there is one."""
        return None if self.ignore_label < 0 else self.ignore_label
