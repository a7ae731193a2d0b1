"""Synthetic pairs and scans in one batch."""

from typing import Any

import numpy as np

from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.voxelmorph.scan_pairs import ScanPairs


class JoinedPairs(SeekableStream):
    """What `VoxelMorphTrainer.fit` eats to train on both: each batch holds a pair of each kind.

    Args:
        synthetic: A `SyntheticStream`, whose batch size, seed and length are taken.
        scans: Pairs of scans, as many a step.

    Raises:
        ValueError: If the batch sizes differ.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.voxelmorph.scan_pairs import ScanPairs
        from anyvox_keras.voxelmorph import JoinedPairs

        bank = avx.TemplateBank.geometric(count=50, side=16)
        scans = list(np.random.rand(3, 16, 16, 16, 1).astype("float32"))
        pairs = JoinedPairs(avx.SyntheticStream(bank, side=16), ScanPairs(scans))
        ```
    """

    def __init__(self, synthetic: Any, scans: ScanPairs) -> None:
        if synthetic.batch_size != scans.batch_size:
            raise ValueError(
                "`synthetic` and `scans` must have one batch size. "
                f"Received: {synthetic.batch_size} and {scans.batch_size}"
            )
        super().__init__(
            synthetic.batch_size, synthetic.seed, synthetic.steps, synthetic.split, synthetic.fixed
        )
        self.synthetic, self.scans = synthetic, scans
        self.layer, self.classes = synthetic.layer, synthetic.classes

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Hand over the pairs of these numbers, of both kinds."""
        return {**self.synthetic.batch(samples), **self.scans.batch(samples)}
