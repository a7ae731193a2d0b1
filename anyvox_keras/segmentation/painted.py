"""Training images painted from label maps alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.geometry import resample_to
from anyvox_keras.io import case_name, list_images, load_labels
from anyvox_keras.ops import resize, warp
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.random.random_layer import Params, RandomLayer, ranged
from anyvox_keras.segmentation.crops import SegmentationAugmentation
from anyvox_keras.segmentation.dataset import Case, CaseFiles
from anyvox_keras.synthesis.appearance import Appearance
from anyvox_keras.types import Array

Batch = dict[str, Array]


def list_maps(folder: Path) -> list[CaseFiles]:
    """Find the label maps to paint: those of `labelsTr`, where there is one, else the folder's.

    Raises:
        UserError: If there is none.
    """
    inside = folder / "labelsTr"
    paths = list_images([inside if inside.is_dir() else folder])
    return [CaseFiles(case_name(path), path, path) for path in paths]


def structures_of(maps: Sequence[CaseFiles]) -> tuple[int, ...]:
    """Numbers of every structure of the label maps, 0 included, rising."""
    found = {int(n) for files in maps for n in np.unique(load_labels(files.labels).array)}
    return tuple(sorted(found | {0}))


def load_painted(
    files: CaseFiles,
    structures: Sequence[int],
    numbers: Sequence[int],
    spacing: Sequence[float] | None = None,
) -> Case:
    """Read a label map as a case to be painted: its image is empty.

    Args:
        files: Of the label map.
        structures: Numbers of the structures that are painted each in its own way, in order.
        numbers: Those that are classes 1, 2 ...; others are painted and count as background.
        spacing: Mm along R, A, S; None keeps the map's.

    Raises:
        UserError: If the file can't be used.
    """
    labels = load_labels(files.labels)
    array = resample_to(labels, labels.grid.to_ras(spacing)).array
    place = np.searchsorted(structures, array).astype("int32")
    classes = [0 if n not in numbers else 1 + numbers.index(n) for n in structures]
    image = np.zeros(array.shape, "float32")
    return Case(files.name, image, np.asarray(classes, "int32")[place], place)


@export
class PaintedCrops(RandomLayer):
    """Deform and paint crops of label maps, then augment them as crops of scans are.

    A crop that is `painted` is warped by smooth noise (nodes `scale` voxels apart, whose standard
    deviation is drawn from `std`, in voxels), and gets an image from `Appearance`: each structure a
    random mean and spread, then texture, bias, blur, lower resolution and the other effects. Crops
    of scans stay. So a network learns the shapes alone, on any contrast (SynthSeg, Billot et al.,
    Medical Image Analysis 2023).

    Args:
        structures: Number of structures, background included.
        augmentation: What follows for all crops; None is the fine-tuning's own.
        appearance: Settings of `Appearance`.
        scale: Distance of the nodes, in voxels.
        std: Range of the standard deviation of their displacement, in voxels.
        seed: Seed of the draws made without keys.

    Call arguments:
        x: As of `SegmentationAugmentation`, with `structures` `(B, D, H, W)` int and `painted`
            `(B,)` bool, as a `CropStream` of such cases hands them over.

    Raises:
        ValueError: If `structures` is below 1, or `scale` not above 0.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.segmentation import PaintedCrops

        boxes = np.random.randint(0, 3, (1, 16, 16, 16)).astype("int32")
        crops = {
            "image": np.zeros((1, 16, 16, 16, 1), "float32"),
            "label_map": np.minimum(boxes, 1),
            "structures": boxes,
            "painted": np.ones(1, "bool"),
        }
        crops = PaintedCrops(structures=3)(crops, training=True)
        ```
    """

    augments = True

    def __init__(
        self,
        structures: int,
        augmentation: SegmentationAugmentation | None = None,
        appearance: dict[str, Any] | None = None,
        scale: float = 12.0,
        std: random.RangeLike = (0.0, 2.0),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        if structures < 1 or not scale > 0:
            raise ValueError(
                "`structures` must be >= 1 and `scale` > 0. Received: "
                f"structures={structures}, scale={scale}"
            )
        self.structures, self.scale = int(structures), float(scale)
        self.std = random.Range(std, "std", minimum=0)
        self.settings = appearance or {}
        mixture = {**self.settings.get("mixture", {}), "labels": self.structures}
        self.appearance = Appearance(**{**self.settings, "mixture": mixture})
        self.augmentation = augmentation or SegmentationAugmentation()

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Tell what every step draws, by its name."""
        nodes = [max(2, round(side / self.scale)) for side in shape]
        return {
            "nodes": random.Draw("normal", (*nodes, 3)),
            "std": ranged(self.std),
            "appearance": self.appearance.plan(shape),
            "augmentation": self.augmentation.plan(shape),
        }

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Turn drawn values into the parameters of every step."""
        # A layer that draws nothing is not in the plan.
        parts = {
            name: getattr(self, name).finish(drawn.get(name, {}), shape)
            for name in ("appearance", "augmentation")
        }
        return {**drawn, **parts}

    def apply(self, x: Batch, params: Params) -> Batch:
        """Deform, paint and augment with drawn parameters."""
        painted, shape = x["painted"], x["structures"].shape[1:4]
        std = ops.reshape(params["std"], (-1, 1, 1, 1, 1))
        displacement = resize(params["nodes"] * std, shape)

        def deformed(labels: Array) -> Array:
            return warp(labels, displacement, "nearest", "edge")

        structures, label_map = (
            only_where(painted, deformed, ops.cast(x[name], "int32"))
            for name in ("structures", "label_map")
        )
        image = only_where(
            painted,
            lambda _: self.appearance.apply(structures, params["appearance"]),
            ops.cast(x["image"], "float32"),
        )
        pair = {"image": image, "label_map": label_map}
        return self.augmentation.apply(pair, params["augmentation"])

    def call(self, x: Batch, keys: Array | None = None, training: bool | None = None) -> Batch:
        """Paint in training, by the batch's own keys where it has them."""
        names = ("image", "label_map", "structures", "painted")
        return super().call({name: x[name] for name in names}, x.get("keys", keys), training)

    def draw(self, x: Batch, keys: Array) -> Batch:
        """Draw and paint."""
        return self.apply(x, self.sample(keys, tuple(x["image"].shape[1:4])))

    def batch_size(self, x: Batch) -> Array:
        """How many crops there are."""
        return ops.shape(x["image"])[0]

    def describe(self) -> str:
        """Lay out the painting and what follows."""
        return f"{self.appearance.describe()}\n{self.augmentation.describe()}"

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Image and label map."""
        dtypes = {"image": "float32", "label_map": "int32"}
        return {name: keras.KerasTensor(x[name].shape, dtypes[name]) for name in dtypes}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "structures": self.structures,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
            "appearance": self.settings,
            "scale": self.scale,
            "std": self.std.pair,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PaintedCrops":
        """Rebuild the augmentation, then the layer."""
        inner = keras.saving.deserialize_keras_object(config.pop("augmentation"))
        return cls(augmentation=inner, **config)
