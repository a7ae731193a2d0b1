"""All settings of a pretraining run."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from anyvox_keras.errors import UserError
from anyvox_keras.networks import ARCHITECTURES, VIT
from anyvox_keras.training.settings import Settings, setting
from anyvox_keras.types import RecipeName, Weighting

SIZE = " By default the architecture's."
SIZES = ("width", "levels", "output_channels")


@dataclass(frozen=True)
class RunSettings(Settings):
    """Settings of `PretrainingRun`; the defaults are the released script's, its length aside.

    `anyvox pretrain --help` tells what each of them means.

    Raises:
        UserError: If a setting cannot be used, or two of them do not fit together.

    Example:
        ```python
        from anyvox_keras.contrastive import RunSettings

        settings = RunSettings(side=48, steps=300, taps=("encoder_1_2_conv", "output_conv"))
        ```
    """

    logged: ClassVar[tuple[str, ...]] = ("validate_every", "pictures_every")
    PAPER: ClassVar[dict[str, Any]] = {"steps": 600_000, "log_every": 50, "validate_every": 1000}

    templates: tuple[str, ...] = setting(
        ("geometric",),
        "Where shapes come from: geometric, anatomical, a bank file or a folder of segmentations, "
        "or several of these.",
    )
    shapes: int = setting(500, "Number of geometric shapes, and of anatomical ones.", least=1)
    voxel_mm: float | None = setting(
        None,
        "Spacing that shapes of folders are resampled to, so that scans of different spacing give "
        "shapes of comparable size. By default every file keeps its own voxels.",
        above=0,
    )
    side: int = setting(128, "Voxels along each axis of the synthetic volumes.", least=16)
    crop: int | None = setting(
        None,
        "Voxels along each axis of a cube cut from each view, at a place of its own. By default "
        "views are kept whole.",
        least=1,
        none=0,
    )
    cubes: int = setting(
        1, "Pairs of cubes cut from each synthesised pair, all trained on in one step.", least=1
    )
    weights: str | None = setting(
        None,
        "Network to start from, of any class: a preset, the folder of a run, a .keras file or a "
        "checkpoint of the paper. By default it starts from random weights.",
    )
    backbone: str | None = setting(
        None,
        "Network of your own to build instead of an architecture: MODULE:FUNCTION, which is called "
        "without arguments and returns a Keras model. By default the architecture is built.",
    )
    architecture: str = setting(
        "anatomix", "Network that is built for random weights.", choices=(*ARCHITECTURES, VIT)
    )
    width: int | None = setting(None, "Channels of the first level." + SIZE, least=1, none=0)
    levels: int | None = setting(None, "Number of poolings." + SIZE, least=1, none=0)
    output_channels: int | None = setting(
        None, "Number of features per voxel." + SIZE, least=1, none=0
    )
    recipe: RecipeName = setting(
        "released",
        "Optimizer and pairs: released is AdamW on augmented pairs, paper is Adam on pairs as "
        "they are drawn.",
    )
    augmentation: Literal["recipe", "on", "off"] = setting(
        "recipe",
        "Whether pairs are augmented: as the recipe has it, or on or off whatever it says.",
    )
    learning_rate: float = setting(2e-4, "First, or highest, learning rate.", least=0)
    schedule: Literal["stepped", "cosine", "constant"] = setting(
        "stepped",
        "How the learning rate changes; stepped is the paper's law.",
    )
    warmup: int = setting(1000, "Steps over which the rate rises before the cosine.", least=0)
    clip_norm: float | None = setting(
        None,
        "Largest norm of the gradient, over all weights together. By default there is no limit.",
        above=0,
        none=0,
    )
    accumulate: int = setting(1, "Steps whose gradients make one update of the weights.", least=1)
    ema: float | None = setting(
        None,
        "Momentum of the moving average of the weights that is validated and saved for use. By "
        "default the weights themselves are.",
        above=0,
        below=1,
        none=0,
    )
    taps: tuple[str, ...] | None = setting(
        None, "Names of the network's outputs that are compared." + SIZE
    )
    tap_weights: tuple[float, ...] | None = setting(
        None, "Weight of each tap in the loss. By default all weigh alike.", least=0
    )
    samples: int = setting(512, "Largest number of voxels per tap and view.", least=1)
    balanced: bool = setting(False, "Draw voxels from every label in turn.")
    voxel_weight: float = setting(
        0.0,
        "Share, from 0 to 1, of a second loss in which only the same voxel is a positive.",
        least=0,
        most=1,
    )
    temperature: float = setting(0.33, "Temperature of the loss.", above=0)
    rarity: Weighting | None = setting(
        None,
        "Weigh anchors by how rare their label is. By default all weigh alike.",
    )
    balance: Weighting | None = setting(
        None,
        "Weigh the terms of the loss's denominator by how rare their label is. By default all "
        "weigh alike.",
    )
    validation_pairs: int = setting(
        32,
        "Number of pairs in the fixed validation set; with 0 the training loss decides which "
        "weights are best.",
        least=0,
    )
    pictures_every: int | None = setting(
        None,
        "Steps between pictures of the features, a multiple of log-every. By default none are "
        "drawn.",
        least=1,
        none=0,
    )
    tensorboard: bool = setting(False, "Write TensorBoard files as well.")

    def check(self) -> None:
        """Refuse settings that do not fit together."""
        super().check()
        if self.crop is not None and self.crop > self.side:
            raise UserError(f"crop: expected at most side ({self.side}), received {self.crop}")
        if self.crop is None and self.cubes > 1:
            raise UserError(f"cubes: expected 1 without crop, received {self.cubes}")
        self._check_network()

    def _check_network(self) -> None:
        given = [name for name in SIZES if getattr(self, name) is not None]
        own = [name for name in ("weights", "backbone") if getattr(self, name) is not None]
        if len(own) > 1:
            raise UserError("weights, backbone: expected one of them, received both")
        if own and given:
            raise UserError(
                f"{', '.join(given)}: cannot be set with {own[0]}, whose sizes are their own"
            )
        if self.backbone is not None and not all(self.backbone.partition(":")):
            raise UserError(f"backbone: expected MODULE:FUNCTION, received {self.backbone}")
        if self.architecture == VIT and self.levels is not None:
            raise UserError(f"levels: cannot be set with architecture {VIT}, which has none")
