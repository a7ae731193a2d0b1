"""All settings of a VoxelMorph run."""

from dataclasses import dataclass

from anyvox_keras.errors import UserError
from anyvox_keras.networks import DEFAULT
from anyvox_keras.training.settings import TomlSettings

LOSSES = ("feature", "mind", "mi", "ncc", "dice")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class VoxelMorphSettings(TomlSettings):
    """Settings of `VoxelMorphRun`.

    Attributes:
        data: Scans to train on: a folder of NIfTI files, or a CSV with the column `image` and,
            where wanted, `labels`, `mask` and `split` (train or validation). Empty: none.
        templates: Shapes of the synthetic stream: `geometric` or folders of segmentations,
            comma-separated. Empty: `geometric`, or, with data, no stream.
        loss: `feature`, `mind`, `mi`, `ncc`, `dice`, comma-separated; `dice` counts for synthetic
            pairs and for scans with labels. Empty: `dice` for the stream, `feature` for scans.
        loss_weights: Weight of each, comma-separated; empty weighs them alike.
        extractor: Preset whose frozen features the loss `feature` compares.
        smoothness: Weight of the velocity's gradient penalty.
        weights: Run, `.keras` or VoxelMorph's `.h5` file to go on from, its sizes with it; empty
            starts from random weights.
        encoder: Channels of each level, comma-separated; empty takes 16,32,32,32.
        decoder: Channels of the convolutions that follow; empty takes 32,32,32,32,16.
        flow_stride: Voxels of the image for one of the flow: 2 is the half-resolution flow.
        mind: Whether a new network reads the MIND descriptors of the images beside them.
        correlation: Whether a new network is told where the images match, on the grids of every
            second and every fourth voxel.
        integration: Squarings of the velocity's integration.
        shapes: Size of the geometric bank.
        side: Side of the synthetic volumes.
        deform_scale: Distances of the nodes of synthetic deformations in voxels, comma-separated.
        deform_std: Range of their velocity's standard deviation in voxels, low and high.
        spacing: Mm of the scans' common grid, one number; 0 keeps the first scan's.
        steps: Length of the run.
        batch_size: Pairs a step, of each kind.
        seed: Of shapes, pairs and initial weights.
        learning_rate: Highest rate.
        schedule: `cosine` (after a hundred steps of linear rise) or `constant`.
        precision: `float32`, `bfloat16` or `float16`.
        log_every: Steps per row of `log.csv`.
        validate_every: Steps between validations, a multiple of `log_every`.
        validation_pairs: Pairs of the fixed validation set, of each kind; 0 validates by the
            training loss.
        patience: Validations without a lower loss before the run stops; 0 never stops it.
    """

    data: str = ""
    templates: str = ""
    loss: str = ""
    loss_weights: str = ""
    extractor: str = DEFAULT
    smoothness: float = 1.0
    weights: str = ""
    encoder: str = ""
    decoder: str = ""
    flow_stride: int = 2
    mind: bool = True
    correlation: bool = True
    integration: int = 5
    shapes: int = 500
    side: int = 64
    deform_scale: str = "32,16,8"
    deform_std: str = "0,4"
    spacing: float = 0.0
    steps: int = 20_000
    batch_size: int = 1
    seed: int = 0
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    precision: str = "float32"
    log_every: int = 50
    validate_every: int = 500
    validation_pairs: int = 8
    patience: int = 0

    def __post_init__(self) -> None:
        """Refuse what no later check would name."""
        self.require_at_least(1, "shapes", "steps", "batch_size", "log_every", "validate_every")
        self.require_at_least(0, "smoothness", "spacing")
        self.require_one_of({"schedule": SCHEDULES})
        self.require_multiple_of("log_every", "validate_every")
        std = self.numbers("deform_std")
        if len(std) != 2 or not 0 <= std[0] <= std[1]:
            raise UserError(f"deform_std: expected a range like 0,4, received {self.deform_std}")
        scales = self.numbers("deform_scale")
        if not scales or min(scales) <= 0:
            raise UserError(f"deform_scale: expected voxels like 32,16, got {self.deform_scale}")
        if self.weights and (self.encoder or self.decoder):
            raise UserError("encoder, decoder: expected none beside weights")
        self._check_losses()

    def _check_losses(self) -> None:
        for name in self.losses:
            if name not in LOSSES:
                known = ", ".join(LOSSES)
                raise UserError(f"loss: expected one of {known}, received {name}")
        if self.synthetic and self.data and "dice" not in self.losses:
            raise UserError("loss: expected dice among them, which trains on synthetic pairs")
        if self.synthetic and self.data and self.losses == ["dice"]:
            raise UserError("loss: expected one for the scans beside dice, such as feature")
        weights = self.numbers("loss_weights")
        if weights and len(weights) != len(self.losses):
            raise UserError(
                f"loss_weights: expected {len(self.losses)} numbers, received {self.loss_weights}"
            )

    @property
    def synthetic(self) -> bool:
        """Whether there is a synthetic stream."""
        return bool(self.templates) or not self.data

    @property
    def losses(self) -> list[str]:
        """Names of the losses."""
        chosen = [name for name in self.loss.split(",") if name]
        return chosen or ["dice"] * self.synthetic + ["feature"] * bool(self.data)
