"""All settings of a segmentation run."""

import os
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from anyvox_keras.errors import UserError, options
from anyvox_keras.networks import ARCHITECTURES, DEFAULT
from anyvox_keras.training.settings import Settings, read_toml, setting
from anyvox_keras.types import Augmenting, IntensityScaling, Part, Precision

#: what version 0.1 did, whose runs have no such settings
EARLIER: dict[str, Any] = {
    "augmentation": "paper",
    "keep": "all",
    "rarity": 0.0,
    "scaling": "minmax",
    "schedule": "cosine",
    "weight_decay": 0.0,
}


@dataclass(frozen=True)
class SegmentationSettings(Settings):
    """Settings of `SegmentationRun`; `PAPER` holds the published ones, the defaults learn sooner.

    `anyvox segment train --help` tells what each of them means.

    Raises:
        UserError: If a setting cannot be used, or two of them do not fit together.

    Example:
        ```python
        from anyvox_keras.segmentation import SegmentationSettings

        settings = SegmentationSettings(data="hippocampus", side=48, spacing=(1.0, 1.0, 2.0))
        ```
    """

    #: the fine-tuning of arXiv 2411.02372
    PAPER: ClassVar[dict[str, Any]] = {
        "steps": 37_500,
        "batch_size": 4,
        "log_every": 75,
        "validate_every": 150,
        "side": 128,
        "learning_rate": 2e-4,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "balanced": False,
        "augmentation": "paper",
        "scaling": "minmax",
        "overlap": 0.7,
        "precision": "float32",
        "voxel": (1.0, 1.0, 1.0),
        "keep": "all",
        "rarity": 0.0,
    }

    batch_size: int = 2
    precision: Precision = "auto"
    data: str | None = setting(None, "Folder with imagesTr, labelsTr, imagesVal and labelsVal.")
    synthetic_from: str | None = setting(
        None,
        "Folder of label maps of whole heads or bodies, from which images of random contrast are "
        "painted: to learn from alone, or as half of the crops beside data. By default all images "
        "are those of data.",
    )
    cases: tuple[str, ...] | None = setting(
        None, "Names of the training cases to use. By default all are used."
    )
    weights: str = setting(
        DEFAULT,
        "Network to start from, of any class: a preset, the folder of a run, a .keras file or a "
        "checkpoint of the paper; scratch starts from random weights.",
    )
    keep: Literal["all", "encoder"] | None = setting(
        None,
        "Which of these weights are kept: all, or encoder, with a decoder drawn anew. By default "
        "encoder; all of a run of segment train, or where only a part is trained.",
    )
    architecture: str = setting(
        DEFAULT, "Network that is built for scratch.", choices=tuple(ARCHITECTURES)
    )
    width: int | None = setting(
        None,
        "Channels of the first level, for scratch. By default the architecture's.",
        least=1,
        none=0,
    )
    levels: int | None = setting(
        None, "Number of poolings, for scratch. By default the architecture's.", least=1, none=0
    )
    epoch_steps: int = setting(75, "Steps per epoch, at whose end the rate falls.", least=1)
    side: int = setting(
        None,
        "Voxels along each axis of the crops and windows; of thick slices there are fewer, and "
        "crops are wider. By default 48 on a processor for up to 20 minutes, 64 for longer, 96 on "
        "a GPU.",
        least=1,
        planned=True,
    )
    spacing: tuple[float, ...] | None = setting(
        None,
        "Voxel size of the working grid in mm, one number or three. By default each scan keeps "
        "its own, or all take the median where they differ by more than a tenth.",
        above=0,
        planned=True,
    )
    balanced: bool = setting(True, "Centre crops on a voxel of each label in turn.")
    generalise: bool = setting(
        False,
        "Augment by the appearance effects of synthetic volumes, for other contrasts than those "
        "of the training scans.",
    )
    augmentation: Augmenting = setting(
        "wide",
        "How much crops are changed: wide, much in size, shape, pose and light and a little in "
        "contrast, for few scans; light, little in all; paper, the fine-tuning's own effects and "
        "affine maps; none.",
    )
    scaling: IntensityScaling = setting(
        "percentiles",
        "How intensities are brought to [0, 1]: by each scan's 0.5th and 99.5th percentiles, or by "
        "its smallest and largest value.",
    )
    window: tuple[float, float] | None = setting(
        None,
        "Intensities that become 0 and 1 in every scan. By default, for CT, the HU of the labelled "
        "voxels; other scans follow scaling.",
        planned=True,
    )
    crop: tuple[int, int, int] = setting(
        None,
        "Voxels of the crops and windows along R, A, S. By default as side has it, for these "
        "scans.",
        least=1,
        planned=True,
    )
    voxel: tuple[float, float, float] = setting(
        None,
        "Voxel size along R, A, S in mm by which poolings and affine maps leave thick slices "
        "alone. By default the median of the training scans.",
        above=0,
        planned=True,
    )
    schedule: Literal["polynomial", "cosine"] = setting(
        "polynomial",
        "How the learning rate falls to 0: polynomial, as (1 - t)^0.9 at every step; cosine, the "
        "paper's, once an epoch.",
    )
    weight_decay: float = setting(1e-5, "Decoupled weight decay of Adam.", least=0)
    ema: float | None = setting(
        None,
        "Momentum of the moving average of the weights that is validated and saved for use. By "
        "default the weights themselves are.",
        above=0, below=1, none=0,
    )  # fmt: skip
    train: str = setting(
        "all", "What is trained: all, decoder, head, or a number of the network's last layers."
    )
    learning_rate: float = setting(1e-3, "Learning rate of the first step.", least=0)
    backbone_rate: float = setting(
        1.0, "The backbone's learning rate as a share of it, from 0 to 1.", least=0, most=1
    )
    background: bool = setting(False, "Count the background in the Dice loss.")
    class_weights: tuple[float, ...] | None = setting(
        None,
        "Weight of each class in the loss, background first. By default all weigh alike.",
        least=0,
    )
    rarity: float = setting(
        0.5,
        "How much more a voxel of a rare class weighs in the cross-entropy, from 0, alike, to 1, "
        "where each class beside the background weighs alike in all.",
        least=0,
        most=1,
    )
    ignore_label: int | None = setting(
        None, "Label whose voxels count nowhere. By default there is none.", least=0, none=-1
    )
    overlap: float = setting(
        0.5, "Share, below 1, by which the validation's windows overlap.", least=0, below=1
    )

    def check(self) -> None:
        """Refuse settings that do not fit together."""
        super().check()
        parts = options(Part)
        if self.train not in parts and not self.train.isdecimal():
            wanted = f"{', '.join(parts)} or a number of layers"
            raise UserError(f"train: expected {wanted}, received {self.train}")
        if self.spacing is not None and len(self.spacing) not in (1, 3):
            found = ",".join(f"{mm:g}" for mm in self.spacing)
            raise UserError(f"spacing: expected mm like 1 or 1,1,2, received {found}")
        if self.weights != "scratch" and (self.width or self.levels):
            raise UserError(
                f"width, levels: cannot be set with weights ({self.weights}), which have their "
                "own; weights=scratch starts from random ones"
            )

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a TOML file; of a run of version 0.1, what that did stands for what it lacks."""
        found = super().from_toml(path)
        if found.steps is None or set(EARLIER) & set(read_toml(path)):
            return found
        return replace(found, crop=(found.side,) * 3, voxel=(1.0, 1.0, 1.0), **EARLIER)

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Mm along R, A, S; None for each scan's own."""
        return self.spacing * 3 if self.spacing and len(self.spacing) == 1 else self.spacing
