"""A stream of small pairs that costs next to nothing, for tests of what trains on streams."""

from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream


class FakeStream(SeekableStream):
    """Noisy boxes: pair `i` of a seed is always the same, as `SyntheticStream`'s are."""

    def __init__(
        self,
        side: int = 16,
        batch_size: int = 1,
        seed: int = 0,
        steps: int = 4,
        fixed: bool = False,
    ) -> None:
        super().__init__(batch_size, seed, steps, "train", fixed)
        self.layer = _Boxes(side)

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        return {"keys": random.keys_for(self.seed, samples)}

    def arrays(self) -> Any:
        yield {k: ops.convert_to_numpy(v) for k, v in self.layer(self[0][0]).items()}


class _Boxes(keras.Layer):
    def __init__(self, side: int) -> None:
        super().__init__(dtype="float32", autocast=False, trainable=False)
        self.side = side

    def call(self, batch: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        keys, shape = batch["keys"], (self.side,) * 3
        index = ops.stack(ops.meshgrid(*(ops.arange(n) for n in shape), indexing="ij"), -1)
        cuts = random.integers(random.fold_in(keys, "cuts"), (3,), 3, self.side - 3)
        beyond = ops.cast(index[None] >= cuts[:, None, None, None, :], "int32")
        label_map = ops.sum(beyond * np.asarray([1, 2, 4], "int32"), axis=-1)
        pair = {"label_map": label_map}
        for name in ("view1", "view2"):
            sub = random.fold_in(keys, name)
            means = random.uniform(random.fold_in(sub, "means"), (8,))
            flat = ops.take_along_axis(means, ops.reshape(label_map, (-1, self.side**3)), axis=1)
            noise = random.normal(random.fold_in(sub, "noise"), (self.side**3,))
            pair[name] = ops.reshape(flat + 0.05 * noise, (-1, *shape, 1))
        return pair
