"""Arguments of `compile` and `fit` where a stream's layer is part of the training graph."""

import inspect
from typing import Any

import keras

from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream


def check_compiled(model: keras.Model) -> None:
    """Refuse what would fail at the first step.

    Raises:
        ValueError: Of `steps_per_execution` or `jit_compile` under PyTorch.
    """
    if keras.backend.backend() != "torch":
        return
    if model.steps_per_execution > 1:
        raise ValueError(
            "`steps_per_execution` must be 1 under PyTorch. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    if model.jit_compile:
        raise ValueError(
            "`jit_compile` must not be True under PyTorch, which cannot compile batches of any "
            "size; the synthesis is compiled where it can be. Received: jit_compile=True"
        )


def fit_arguments(model: keras.Model, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of `keras.Model.fit` by name, completed for a stream.

    A stream's order is kept (`shuffle=False`), so that a run can be repeated, and where
    `keras.callbacks.BackupAndRestore` goes on in a later epoch, the stream does too.

    Raises:
        ValueError: If there is a `class_weight`, which could only weigh vectors of classes.
    """
    bound = inspect.signature(keras.Model.fit).bind(model, *args, **kwargs).arguments
    given = {name: value for name, value in bound.items() if name != "self"}
    refuse_weights(model, class_weight=given.get("class_weight"))
    stream = given.get("x")
    if getattr(stream, "layer", None) is not None:
        given.setdefault("shuffle", False)
    if isinstance(stream, SeekableStream):
        place = _KeepPlace(stream, given.get("initial_epoch", 0))
        given["callbacks"] = _joined(given.get("callbacks"), place)
    return given


def refuse_weights(model: keras.Model, **weights: Any) -> None:
    """Refuse weights that a model's loss would pass over in silence."""
    for name, value in weights.items():
        if value is not None:
            raise ValueError(
                f"`{name}` must be None: {type(model).__name__} does not read it; weigh within the "
                f"loss instead. Received: {name}={str(value)[:60]}"
            )


class _KeepPlace(keras.callbacks.Callback):
    """Moves a stream on to the epoch at which `fit` really begins."""

    def __init__(self, stream: SeekableStream, expected: int) -> None:
        super().__init__()
        self.stream, self.expected = stream, expected
        self.begun = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.begun and not self.stream.fixed:
            done = (epoch - self.expected) * self.stream.steps * self.stream.batch_size
            self.stream.seek(self.stream.position + done)
        self.begun = True


def _joined(callbacks: Any, last: keras.callbacks.Callback) -> Any:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(last)
        return callbacks
    return [*keras.tree.flatten(callbacks or []), last]
