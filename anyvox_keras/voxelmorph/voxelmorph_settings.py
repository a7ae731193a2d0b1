"""All settings of a VoxelMorph run."""

from dataclasses import dataclass
from typing import Literal

from anyvox_keras.errors import UserError
from anyvox_keras.networks import DEFAULT
from anyvox_keras.training.settings import Settings, setting
from anyvox_keras.types import PairLoss


@dataclass(frozen=True)
class VoxelMorphSettings(Settings):
    """Settings of `VoxelMorphRun`.

    `anyvox voxelmorph train --help` tells what each of them means.

    Raises:
        UserError: If a setting cannot be used, or two of them do not fit together.

    Example:
        ```python
        from anyvox_keras.voxelmorph import VoxelMorphSettings

        settings = VoxelMorphSettings(side=48, steps=300, deform_std=(0.0, 3.0))
        ```
    """

    data: str | None = setting(
        None,
        "Scans to train on: a folder of NIfTI files, or a CSV with the column image and, where "
        "wanted, labels, mask and split (train or validation). By default there are none.",
    )
    templates: tuple[str, ...] | None = setting(
        None,
        "Shapes of the synthetic stream: geometric, anatomical, bank files or folders of "
        "segmentations. By default geometric; with data, no stream.",
    )
    maps: tuple[str, ...] | None = setting(
        None,
        "Folders of whole label maps, of heads or bodies: half of the synthetic pairs are cubes of "
        "them. By default all are of shapes.",
    )
    map_mm: tuple[float, ...] = setting(
        (1.5, 2.0, 3.0), "Voxel sizes in mm in which these maps are seen.", above=0
    )
    loss: tuple[PairLoss, ...] | None = setting(
        None,
        "What is minimised, one or several; dice counts for synthetic pairs and for scans with "
        "labels. By default dice for the stream, feature for scans.",
    )
    loss_weights: tuple[float, ...] | None = setting(
        None, "Weight of each loss. By default all weigh alike.", least=0
    )
    extractor: str = setting(DEFAULT, "Preset whose features the loss feature compares.")
    smoothness: float = setting(1.0, "Weight of the penalty on the velocity's gradient.", least=0)
    weights: str | None = setting(
        None,
        "Run, preset, .keras file or VoxelMorph's .h5 file to go on from, and whose sizes the "
        "network takes. By default it starts from random weights.",
    )
    encoder: tuple[int, ...] | None = setting(
        None, "Channels of each level. By default 16,32,32,32.", least=1
    )
    decoder: tuple[int, ...] | None = setting(
        None, "Channels of the convolutions that follow. By default 32,32,32,32,16.", least=1
    )
    flow_stride: int = setting(
        2, "Voxels of the image per voxel of the flow along each axis.", least=1
    )
    mind: bool = setting(True, "Let a new network read the images' MIND descriptors as well.")
    correlation: bool = setting(
        True,
        "Tell a new network where the images match, on the grids of every second and every "
        "fourth voxel.",
    )
    integration: int = setting(5, "Squarings that integrate the velocity.", least=0)
    shapes: int = setting(500, "Number of geometric shapes, and of anatomical ones.", least=1)
    voxel_mm: float | None = setting(
        None,
        "Spacing that shapes of folders are resampled to, so that scans of different spacing give "
        "shapes of comparable size. By default every file keeps its own voxels.",
        above=0,
    )
    side: int = setting(64, "Voxels along each axis of the synthetic volumes.", least=16)
    deform_scale: tuple[float, ...] = setting(
        (32.0, 16.0, 8.0), "Distances in voxels of the nodes of synthetic deformations.", above=0
    )
    deform_std: tuple[float, float] = setting(
        (0.0, 4.0),
        "Range, low and high, of the standard deviation of their velocity in voxels.",
        least=0,
    )
    hidden: float = setting(
        0.0,
        "Probability that one image of a synthetic pair shows only some of the labels, as where "
        "one of two heads is stripped of its skull.",
        least=0, most=1,
    )  # fmt: skip
    spacing: float | None = setting(
        None, "Voxel size of the scans' common grid in mm. By default the first scan's.", above=0,
        none=0,
    )  # fmt: skip
    learning_rate: float = setting(1e-3, "Highest learning rate.", least=0)
    schedule: Literal["cosine", "constant"] = setting(
        "cosine",
        "How the learning rate changes; the cosine follows a hundred steps of linear rise.",
    )
    validation_pairs: int = setting(
        8,
        "Number of pairs of each kind in the fixed validation set; with 0 the training loss "
        "decides which weights are best.",
        least=0,
    )

    def check(self) -> None:
        """Refuse settings that do not fit together."""
        super().check()
        low, high = self.deform_std
        if low > high:
            raise UserError(f"deform_std: expected a range like 0,4, received {low:g},{high:g}")
        if not self.deform_scale:
            raise UserError("deform_scale: expected voxels like 32,16, received none")
        if self.weights and (self.encoder or self.decoder):
            raise UserError("encoder, decoder: cannot be set with weights")
        self._check_losses()

    def _check_losses(self) -> None:
        if self.synthetic and self.data and "dice" not in self.losses:
            raise UserError("loss: expected dice among them, which trains on synthetic pairs")
        if self.synthetic and self.data and self.losses == ("dice",):
            raise UserError("loss: expected one for the scans beside dice, such as feature")
        if self.loss_weights and len(self.loss_weights) != len(self.losses):
            found = ",".join(f"{weight:g}" for weight in self.loss_weights)
            raise UserError(f"loss_weights: expected {len(self.losses)} numbers, received {found}")

    @property
    def synthetic(self) -> bool:
        """Whether there is a synthetic stream."""
        return self.templates is not None or self.data is None

    @property
    def losses(self) -> tuple[PairLoss, ...]:
        """Names of the losses."""
        used: dict[PairLoss, bool] = {"dice": self.synthetic, "feature": self.data is not None}
        return self.loss or tuple(name for name, wanted in used.items() if wanted)
