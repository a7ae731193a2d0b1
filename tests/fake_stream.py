"""A stream of small pairs that costs next to nothing, for tests of what trains on streams."""

from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random


class FakeStream(keras.utils.PyDataset):
    """Noisy boxes: pair `i` of a seed is always the same, as `SyntheticStream`'s are."""

    def __init__(
        self,
        side: int = 16,
        batch_size: int = 1,
        seed: int = 0,
        steps: int = 4,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed, self.steps, self.fixed = batch_size, seed, steps, fixed
        self.position = 0
        self._begun = self._complete = False
        self.layer = _Boxes(side)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray]]:
        self._complete = self._complete or (self._begun and step == self.steps - 1)
        first = self.position + step * self.batch_size
        pairs = range(first, first + self.batch_size)
        return ({"keys": random.keys_for(self.seed, pairs)},)

    def seek(self, position: int) -> None:
        self.position = position

    def on_epoch_begin(self) -> None:
        self._begun, self._complete = True, False

    def on_epoch_end(self) -> None:
        if self._complete and not self.fixed:
            self.position += self.steps * self.batch_size
        self._begun = self._complete = False

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
