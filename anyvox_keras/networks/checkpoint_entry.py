"""One array of a PyTorch checkpoint and the weight that it is here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyvox_keras.backend import to_numpy

State = dict[str, np.ndarray]
# PyTorch's axes of a kernel, (out, in, k, k, k) or transposed (in, out, k, k, k), in Keras's order
_KERNEL = {5: (2, 3, 4, 1, 0), 2: (1, 0)}


@dataclass
class Entry:
    """A key of a checkpoint, and what it holds.

    Args:
        key: The key.
        weight: The Keras variable; None for what no computation reads.
        value: What is written where there is no variable.
        kernel: Whether it is a kernel of a convolution or a linear layer, whose axes PyTorch
            orders another way.
    """

    key: str
    weight: Any = None
    value: np.ndarray | None = None
    kernel: bool = False

    def to_torch(self) -> np.ndarray:
        """Return the array as PyTorch has it."""
        if self.weight is None:
            return np.asarray(self.value)
        array = to_numpy(self.weight)
        return array.transpose(np.argsort(_KERNEL[array.ndim])) if self.kernel else array

    def to_keras(self, array: np.ndarray) -> np.ndarray:
        """Return PyTorch's array as Keras has it."""
        return array.transpose(_KERNEL[array.ndim]) if self.kernel else array
