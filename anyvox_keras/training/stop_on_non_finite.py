"""Stop a training whose loss is no number any more."""

import math
from typing import Any

import keras


class StopOnNonFinite(keras.callbacks.Callback):
    """End `fit` with an error that names the pair to blame, before anything is saved.

    Put it in front of callbacks that save.

    Args:
        stream: The stream that is trained on; its seed, pair numbers and keys are printed.

    Raises:
        FloatingPointError: From `fit`, at the first step whose loss is NaN or infinite.

    Example:
        ```python
        bank = avx.TemplateBank.geometric(20, side=16)
        stop = StopOnNonFinite(avx.SyntheticStream(bank, side=16))
        # pretrainer.fit(stream, callbacks=[stop])
        ```
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            first = self.stream.position + batch * self.stream.batch_size
            last = first + self.stream.batch_size - 1
            keys = self.stream[batch][0]["keys"].tolist()
            raise FloatingPointError(
                f"the loss is {loss} at pairs {first} to {last} of seed {self.stream.seed} "
                f"(keys {keys}); the last checkpoint is sound"
            )
