"""All settings of a segmentation run."""

from dataclasses import dataclass

from anyvox_keras.errors import UserError, options
from anyvox_keras.networks import ARCHITECTURES, DEFAULT
from anyvox_keras.training.setting import setting
from anyvox_keras.training.settings import Settings
from anyvox_keras.types import Part


@dataclass(frozen=True)
class SegmentationSettings(Settings):
    """Settings of `SegmentationRun`; the defaults are the paper's.

    `anyvox segment train --help` tells what each of them means.

    Raises:
        UserError: If a setting cannot be used, or two of them do not fit together.

    Example:
        ```python
        from anyvox_keras.segmentation import SegmentationSettings

        settings = SegmentationSettings(data="hippocampus", side=48, spacing=(1.0, 1.0, 2.0))
        ```
    """

    steps: int = 37_500
    batch_size: int = 4
    log_every: int = 75
    validate_every: int = 150
    data: str | None = setting(None, "Folder with imagesTr, labelsTr, imagesVal and labelsVal.")
    cases: tuple[str, ...] | None = setting(
        None, "Names of the training cases to use. By default all are used."
    )
    weights: str = setting(
        DEFAULT, "Preset that the network starts from; scratch starts from random weights."
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
    side: int = setting(128, "Voxels along each axis of the crops and windows.", least=1)
    spacing: tuple[float, ...] | None = setting(
        None,
        "Voxel size of the working grid in mm, one number or three. By default each scan keeps "
        "its own.",
        above=0,
    )
    balanced: bool = setting(False, "Centre crops on a voxel of each label in turn.")
    generalise: bool = setting(
        False,
        "Augment by the appearance effects of synthetic volumes, for other contrasts than those "
        "of the training scans.",
    )
    train: str = setting(
        "all", "What is trained: all, decoder, head, or a number of the network's last layers."
    )
    learning_rate: float = setting(2e-4, "Learning rate of the first epoch.", least=0)
    backbone_rate: float = setting(
        1.0, "The backbone's learning rate as a share of it, from 0 to 1.", least=0, most=1
    )
    background: bool = setting(False, "Count the background in the Dice loss.")
    class_weights: tuple[float, ...] | None = setting(
        None,
        "Weight of each class in the loss, background first. By default all weigh alike.",
        least=0,
    )
    ignore_label: int | None = setting(
        None, "Label whose voxels count nowhere. By default there is none.", least=0, none=-1
    )
    overlap: float = setting(
        0.7, "Share, below 1, by which the validation's windows overlap.", least=0, below=1
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

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Mm along R, A, S; None for each scan's own."""
        return self.spacing * 3 if self.spacing and len(self.spacing) == 1 else self.spacing
