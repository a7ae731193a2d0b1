"""Crops of labelled scans, for `fit`."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from anyvox_keras import random
from anyvox_keras.segmentation.case import Case
from anyvox_keras.segmentation.pad_to import pad_to
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream


class CropStream(SeekableStream):
    """An endless, seekable stream of crops of a few labelled volumes.

    Per crop a volume is drawn, then a place: uniformly, or, `balanced`, about a voxel of a label
    drawn among those of the volume, background included. A volume smaller than the crop is padded
    by its minimum and label 0. Crop `i` of a seed is the same in every batch and after a resume.

    Args:
        cases: The volumes.
        side: Side of the crops.
        batch_size: Crops a step.
        seed: Seed of the draws.
        steps: Steps an epoch.
        balanced: Whether labels take turns.
        augmentation: Layer that a `Segmenter` calls on each batch inside its graph, such as
            `SegmentationAugmentation`; None for none.
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
        side: int = 128,
        batch_size: int = 4,
        seed: int = 0,
        *,
        steps: int = 75,
        balanced: bool = False,
        augmentation: keras.layers.Layer | None = None,
        split: str = "train",
        fixed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, seed, steps, split, fixed, **kwargs)
        if not cases or side < 1:
            raise ValueError(
                f"`cases` must not be empty and `side` be >= 1. Received: {len(cases)} cases, "
                f"side={side}"
            )
        self.side, self.balanced, self.layer = side, balanced, augmentation
        self.cases = [_padded(case, side) for case in cases]

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Cut the crops of these numbers: `image`, `label_map`, and `keys` to augment by."""
        which = self._draw(samples, "case", 0, len(self.cases))
        labels, voxels = (self._draw(samples, name, 0, 2**31 - 1) for name in ("label", "voxel"))
        crops = [
            self._crop(self.cases[case], sample, int(label), int(voxel))
            for case, sample, label, voxel in zip(which, samples, labels, voxels, strict=True)
        ]
        images, label_maps = (np.stack(arrays) for arrays in zip(*crops, strict=True))
        keys = random.keys_for(self.seed, samples, self.split)
        return {"keys": keys, "image": images[..., None], "label_map": label_maps}

    def _crop(self, case: Case, sample: int, label: int, voxel: int) -> tuple[Any, Any]:
        room = np.asarray(case.image.shape) - self.side
        if self.balanced:
            places = case.places[case.labels[label % len(case.labels)]]
            centre = np.unravel_index(places[voxel % len(places)], case.image.shape)
            corner = np.clip(np.asarray(centre) - self.side // 2, 0, room)
        else:
            corner = self._draw(range(sample, sample + 1), "corner", 0, room + 1, 3)[0]
        place = tuple(slice(int(start), int(start) + self.side) for start in corner)
        return case.image[place], case.label_map[place]

    def _draw(self, samples: range, what: str, low: int, high: Any, *shape: int) -> np.ndarray:
        keys = random.keys_for(self.seed, samples, f"{self.split}/{what}")
        return np.asarray(random.integers(keys, shape, low, high, xp=np))


def _padded(case: Case, side: int) -> Case:
    image, place = pad_to(case.image, (side,) * 3)
    if image.shape == case.image.shape:
        return case
    label_map = np.zeros(image.shape, "int32")
    label_map[place] = case.label_map
    return Case(case.name, image, label_map)
