"""Random pairs of real scans."""

from collections.abc import Sequence

import numpy as np

from anyvox_keras.random import integers, keys_for
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream

Scans = Sequence[np.ndarray]


class ScanPairs(SeekableStream):
    """What `VoxelMorphTrainer.fit` eats: two different scans of a list, drawn anew each step.

    Pair `i` of a seed is always the same; each ordered pair is as likely as any other. The scans
    lie on one grid, roughly aligned; their modalities may differ. Arrays may be memory-mapped.

    Args:
        images: Arrays `(D, H, W, C)`, at least two.
        carried: What belongs to each image and moves with it, by name: `{"labels": [...]}`, one-hot
            `(D, H, W, L)`, or `{"features": [...]}`; the names are those of the trainer's losses.
        masks: `(D, H, W)` where voxels count, one an image, or none.
        steps: Steps an epoch.
        batch_size: Pairs a step.
        seed: Seed of the pairs.
        split: Name that keeps the pairs of one seed apart.
        fixed: Whether every epoch repeats the same pairs.

    Raises:
        ValueError: If there are fewer than two images, or a list is not as long as they.

    Example:
        ```python
        scans = list(np.random.rand(3, 16, 16, 16, 1).astype("float32"))
        batch = ScanPairs(scans, steps=10)[0][0]  # {"fixed": (1, 16, 16, 16, 1), "moving": ...}
        ```
    """

    def __init__(
        self,
        images: Scans,
        carried: dict[str, Scans] | None = None,
        masks: Scans | None = None,
        steps: int = 100,
        batch_size: int = 1,
        seed: int = 0,
        split: str = "train",
        fixed: bool = False,
    ) -> None:
        super().__init__(batch_size, seed, steps, split, fixed)
        if len(images) < 2:
            raise ValueError(f"`images` must be at least two. Received: {len(images)}")
        lists = {"": images, **{f"_{name}": x for name, x in (carried or {}).items()}}
        if masks is not None:
            lists["_mask"] = masks
        for name, scans in lists.items():
            if len(scans) != len(images):
                raise ValueError(
                    f"`{name[1:]}` must be as many as `images`. "
                    f"Received: {len(scans)} and {len(images)}"
                )
        self.lists = lists

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Hand over the pairs of these numbers."""
        fixed, moving = self._numbers(samples).T
        batch = {}
        for suffix, scans in self.lists.items():
            for name, chosen in (("fixed", fixed), ("moving", moving)):
                batch[name + suffix] = np.stack([scans[i] for i in chosen]).astype("float32")
        return batch

    def _numbers(self, samples: range) -> np.ndarray:
        """Two different scans a pair, `(len(samples), 2)`."""
        count = len(self.lists[""])
        keys = keys_for(self.seed, samples, f"{self.split}/scan_pairs")
        draws = integers(keys, (1,), 0, count * (count - 1), xp=np)[:, 0]
        fixed = draws // (count - 1)
        return np.stack([fixed, (fixed + 1 + draws % (count - 1)) % count], axis=1)
