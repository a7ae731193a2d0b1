"""Crops of labelled scans for `fit`, and their augmentation."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, RandomLayer
from anyvox_keras.segmentation.dataset import Case, pad_to, sides_of
from anyvox_keras.synthesis.appearance import (
    Appearance,
    BiasField,
    Effect,
    GammaContrast,
    GaussianBlur,
    GaussianNoise,
    GibbsRinging,
    Sharpen,
    rescale,
)
from anyvox_keras.synthesis.appearance.effect import apply_in_order, describe, rows_of
from anyvox_keras.synthesis.augmentation.spatial import AffineAugmentation
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.types import Array

Settings = Mapping[str, Any] | None
Batch = dict[str, Array]
#: The effects of the paper's fine-tuning, in their order.
EFFECTS: dict[str, tuple[type[Effect], dict[str, Any]]] = {
    "noise": (GaussianNoise, {"probability": 0.33, "std": (0.0, 0.1)}),
    "bias": (BiasField, {"probability": 0.33, "coefficients": (0.0, 0.05)}),
    "gibbs": (GibbsRinging, {"probability": 0.33, "alpha": (0.0, 0.33)}),
    "gamma": (GammaContrast, {"probability": 0.33, "gamma": (0.5, 4.5)}),
    "blur": (GaussianBlur, {"probability": 0.33, "sigma": (0.0, 0.1)}),
    "sharpen": (Sharpen, {"probability": 0.33}),
}
_MILD: dict[str, Any] = {
    "noise": {"probability": 0.15, "std": (0.0, 0.05)},
    "bias": {"probability": 0.15},
    "gibbs": None,
    "gamma": {"probability": 0.3, "gamma": (0.7, 1.5)},
    "blur": {"probability": 0.15, "sigma": (0.3, 0.8)},
    "sharpen": None,
}
#: Settings by name that change the intensities of crops less than the paper's, for few steps. Few
#: scans are learnt by heart within minutes, their sizes and poses above all: "wide" varies these,
#: and the light.
MILDER: dict[str, dict[str, Any]] = {
    "wide": {
        **_MILD,
        "bias": {"probability": 0.5, "coefficients": (-0.3, 0.3)},
        "affine": {
            "probability": 0.9,
            "degrees": (-30.0, 30.0),
            "scale": (0.7, 1.4),
            "shear": (-0.1, 0.1),
            # One part grows where another shrinks: a large ventricle beside a small one.
            "elastic": (0.0, 3.0),
            "nodes": 24.0,
        },
    },
    "light": {
        **_MILD,
        "affine": {
            "probability": 0.5,
            "degrees": (-15.0, 15.0),
            "scale": (0.85, 1.15),
            "shear": (-0.05, 0.05),
        },
    },
}
#: What the stream's appearance model lacks, for contrasts turned around.
TURNED: dict[str, Any] = {"inversion": {"probability": 0.5}}


# steps of a probability
_PARTS = 1000


class CropStream(SeekableStream):
    """An endless, seekable stream of crops of a few labelled volumes.

    Per crop a volume is drawn, then a place: uniformly, or, `balanced`, about a voxel of a label
    drawn among those of the volume, background included. A volume smaller than the crop is padded
    by its minimum and label 0. Crop `i` of a seed is the same in every batch and after a resume.

    Args:
        cases: The volumes.
        side: Sides of the crops in voxels, one number or one per axis.
        batch_size: Crops a step.
        seed: Seed of the draws.
        steps: Steps an epoch.
        balanced: Whether labels take turns.
        augmentation: Layer that a `Segmenter` calls on each batch inside its graph, such as
            `SegmentationAugmentation`; None for none.
        missing: Probability that a channel of a crop is 0, as one that a scan lacks; one is always
            left. Of a single channel none is missing.
        painted: Share of crops of cases that have `structures`, where there are others too.
        split: Name that keeps streams of one seed apart.
        fixed: Whether every epoch repeats the same crops.
        **kwargs: Of `keras.utils.PyDataset`.

    Raises:
        ValueError: If there is no case, or an argument is out of range.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.segmentation import Case, CropStream

        image = np.random.rand(20, 18, 12).astype("float32")
        stream = CropStream([Case("a", image, (image > 0.5).astype("int32"))], side=16, steps=2)
        segmenter = avx.Segmenter(avx.UNet(width=4, levels=2), classes=1)
        segmenter.compile()
        segmenter.fit(stream, verbose=0)
        ```
    """

    def __init__(
        self,
        cases: Sequence[Case],
        side: int | Sequence[int] = 128,
        batch_size: int = 4,
        seed: int = 0,
        *,
        steps: int = 75,
        balanced: bool = False,
        augmentation: keras.layers.Layer | None = None,
        missing: float = 0.0,
        painted: float = 0.5,
        split: str = "train",
        fixed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, seed, steps, split, fixed, **kwargs)
        self.sides = sides_of(side)
        if not cases or min(self.sides) < 1:
            raise ValueError(
                f"`cases` must not be empty and `side` be >= 1. Received: {len(cases)} cases, "
                f"side={side}"
            )
        self.balanced, self.layer, self.missing = balanced, augmentation, missing
        self.painted = painted
        self.cases = [_padded(case, self.sides) for case in cases]

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Cut the crops of these numbers: `image`, `label_map`, and `keys` to augment by.

        Where there are cases to paint, also `structures`, and which crops are `painted`.
        """
        chosen = self._cases(samples)
        labels, voxels = (self._draw(samples, name, 0, 2**31 - 1) for name in ("label", "voxel"))
        places = [
            self._place(case, sample, int(label), int(voxel))
            for case, sample, label, voxel in zip(chosen, samples, labels, voxels, strict=True)
        ]
        cut = list(zip(chosen, places, strict=True))
        images = np.stack([case.image[place] for case, place in cut])
        images = self._without_some(images, samples) if images.ndim == 5 else images[..., None]
        batch = {
            "keys": random.keys_for(self.seed, samples, self.split),
            "image": images,
            "label_map": np.stack([case.label_map[place] for case, place in cut]),
        }
        if any(self._to_paint):
            maps = [case.label_map if case.structures is None else case.structures
                    for case in chosen]  # fmt: skip
            zipped = zip(maps, places, strict=True)
            batch["structures"] = np.stack([array[place] for array, place in zipped])
            batch["painted"] = np.asarray([case.structures is not None for case in chosen])
        return batch

    def _cases(self, samples: range) -> list[Case]:
        """Draw a case for each crop; of both kinds, first which kind."""
        if len(set(self._to_paint)) == 1:
            which = self._draw(samples, "case", 0, len(self.cases))
            return [self.cases[place] for place in which]
        kinds = self._draw(samples, "kind", 0, _PARTS) < self.painted * _PARTS
        draws = self._draw(samples, "case", 0, 2**31 - 1)
        groups = {
            kind: [c for c, own in zip(self.cases, self._to_paint, strict=True) if own == kind]
            for kind in (True, False)
        }
        pairs = zip(kinds.tolist(), draws.tolist(), strict=True)
        return [groups[kind][draw % len(groups[kind])] for kind, draw in pairs]

    @property
    def _to_paint(self) -> list[bool]:
        return [case.structures is not None for case in self.cases]

    def _without_some(self, images: np.ndarray, samples: range) -> np.ndarray:
        """Leave channels out, but the one of the largest draw."""
        channels = images.shape[-1]
        draws = self._draw(samples, "channels", 0, _PARTS, channels)
        kept = (draws >= self.missing * _PARTS) | (draws == draws.max(1, keepdims=True))
        return np.where(kept[:, None, None, None], images, np.float32(0))

    def _place(self, case: Case, sample: int, label: int, voxel: int) -> tuple[slice, ...]:
        room = np.asarray(case.label_map.shape) - self.sides
        if self.balanced:
            places = case.places[case.labels[label % len(case.labels)]]
            centre = np.unravel_index(places[voxel % len(places)], case.label_map.shape)
            corner = np.clip(np.asarray(centre) - np.asarray(self.sides) // 2, 0, room)
        else:
            corner = self._draw(range(sample, sample + 1), "corner", 0, room + 1, 3)[0]
        ends = zip(corner, self.sides, strict=True)
        return tuple(slice(int(start), int(start) + side) for start, side in ends)

    def _draw(self, samples: range, what: str, low: int, high: Any, *shape: int) -> np.ndarray:
        keys = random.keys_for(self.seed, samples, f"{self.split}/{what}")
        return np.asarray(random.integers(keys, shape, low, high, xp=np))


def _padded(case: Case, sides: Sequence[int]) -> Case:
    image, place = pad_to(case.image, sides)
    if image.shape == case.image.shape:
        return case
    label_map = _placed(case.label_map, image.shape[:3], place)
    structures = case.structures
    if structures is not None:
        structures = _placed(structures, image.shape[:3], place)
    return Case(case.name, image, label_map, structures)


def _placed(labels: np.ndarray, shape: Sequence[int], place: tuple[slice, ...]) -> np.ndarray:
    padded = np.zeros(shape, "int32")
    padded[place] = labels
    return padded


@export
class SegmentationAugmentation(RandomLayer):
    """Augment crops and their labels (fine-tuning of arXiv 2411.02372).

    Each with probability 0.33: noise (std U(0, 0.1)), bias (coefficients U(0, 0.05)), Gibbs ringing
    (alpha U(0, 0.33)), gamma U(0.5, 4.5), blur (sigma U(0, 0.1)), sharpening; then an affine
    (0.98), which the labels share; then the image is rescaled to [0, 1], unless `rescaled` is
    False: windows of prediction keep the scan's scale. The identity in inference.

    With `appearance` the effects that paint synthetic volumes (`Appearance`, but its mixture) take
    the place of those of the image, intensities turned around in half of the crops: a network that
    saw one contrast then works on others.

    Args:
        appearance: Settings of `Appearance`'s effects by name; `{}` takes all as they are, None is
            the fine-tuning's own set.
        rescaled: Whether each crop ends in [0, 1].
        seed: Seed of the draws made without keys.
        **settings: Settings of `noise`, `bias`, `gibbs`, `gamma`, `blur`, `sharpen` or `affine`;
            what they do not name stays as it is, None leaves the step out. What is left are
            arguments of `keras.Layer`.

    Call arguments:
        x: `image` `(B, D, H, W, C)`, whose channels share the draws, `label_map` `(B, D, H, W)`,
            and `keys` `(B, 2)` to fix the draws, as `CropStream` hands them over.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.segmentation import SegmentationAugmentation

        crops = {
            "image": np.random.rand(1, 16, 16, 16, 1).astype("float32"),
            "label_map": np.ones((1, 16, 16, 16), "int32"),
        }
        crops = SegmentationAugmentation(sharpen=None)(crops, training=True)
        ```
    """

    augments = True

    def __init__(
        self,
        appearance: Settings = None,
        seed: int = 0,
        rescaled: bool = True,
        **settings: Any,
    ) -> None:
        names = ("affine", *EFFECTS)
        chosen = {name: settings.pop(name) for name in list(settings) if name in names}
        super().__init__(seed=seed, **settings)
        self._settings = {"appearance": appearance, "rescaled": rescaled, **chosen}
        self.rescaled = rescaled
        affine = chosen.get("affine", {})
        self.affine = None if affine is None else AffineAugmentation(**affine)
        self.effects: dict[str, Effect] = {
            name: kind(**{**default, **chosen.get(name, {})})
            for name, (kind, default) in EFFECTS.items()
            if chosen.get(name, {}) is not None
        }
        if appearance is not None:
            self.effects = Appearance(**{**TURNED, **appearance}).effects

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Tell what every step draws, by its name."""
        return {name: step.plan(shape) for name, step in self.steps().items()}

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Turn drawn values into the parameters of every step."""
        return {name: step.finish(drawn[name], shape) for name, step in self.steps().items()}

    def apply(self, x: Batch, params: Params) -> Batch:
        """Augment with drawn parameters."""
        image, label_map = ops.cast(x["image"], "float32"), ops.cast(x["label_map"], "int32")
        image = apply_in_order(self.effects, image, params)
        pair = {"image": image, "label_map": label_map}
        if self.affine is not None:
            pair = self.affine.apply(pair, params["affine"])
        image = rescale(pair["image"]) if self.rescaled else pair["image"]
        return {"image": image, "label_map": pair["label_map"]}

    def call(self, x: Batch, keys: Array | None = None, training: bool | None = None) -> Batch:
        """Augment in training, by the batch's own keys where it has them."""
        pair = {name: x[name] for name in ("image", "label_map")}
        return super().call(pair, x.get("keys", keys), training)

    def draw(self, x: Batch, keys: Array) -> Batch:
        """Draw and augment."""
        return self.apply(x, self.sample(keys, tuple(x["image"].shape[1:4])))

    def batch_size(self, x: Batch) -> Array:
        """How many crops there are."""
        return ops.shape(x["image"])[0]

    def steps(self) -> dict[str, Any]:
        """Every step that draws, in order, by its name."""
        return {**self.effects, **({} if self.affine is None else {"affine": self.affine})}

    def describe(self) -> str:
        """Lay out the steps with their probabilities and ranges as a table."""
        return describe("Augmentation of crops", rows_of(self.steps()))

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The same volumes."""
        dtypes = {"image": "float32", "label_map": "int32"}
        return {name: keras.KerasTensor(x[name].shape, dtypes[name]) for name in dtypes}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), **self._settings}
