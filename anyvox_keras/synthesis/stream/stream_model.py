"""The base of models whose training graph takes in a stream's layer."""

import contextlib
import inspect
from typing import Any

import keras

from anyvox_keras.backend import (
    batch_shares,
    gradients_averaged,
    peers,
    reducible,
    replicas,
    summed_over_peers,
)
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.types import Array


class StreamModel(keras.Model):
    """A Keras model that `fit` ties to the stream it is given.

    A stream's order is kept (`shuffle=False`), so that a run can be repeated, and where
    `keras.callbacks.BackupAndRestore` goes on in a later epoch, the stream does too. What would
    fail at the first step, or would be passed over in silence, is refused before it. Under
    a strategy of `tf.distribute` each device takes its share of a step's samples: N devices with
    one sample each see and learn what one device with N samples does (batch normalisation
    excepted, whose statistics are each device's own). Subclasses write `bind(stream)`.

    Attributes:
        weighs_samples: Whether the loss reads `sample_weight`, which is refused otherwise.
    """

    weighs_samples = True

    def bind(self, stream: Any) -> None:
        """Make the layer of `stream` part of the training graph, if it has one."""
        raise NotImplementedError

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure training as `keras.Model.compile`.

        Raises:
            ValueError: Of `steps_per_execution` or `jit_compile` under PyTorch.
        """
        super().compile(*args, **kwargs)
        if keras.backend.backend() != "torch":
            return
        if self.steps_per_execution > 1:
            raise ValueError(
                "`steps_per_execution` must be 1 under PyTorch. "
                f"Received: steps_per_execution={self.steps_per_execution}"
            )
        if self.jit_compile:
            raise ValueError(
                "`jit_compile` must not be True under PyTorch, which cannot compile batches of any "
                "size; the synthesis is compiled where it can be. Received: jit_compile=True"
            )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._build_optimizer()

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `keras.Model.fit`, binding `x.layer` if `x` is a stream.

        Raises:
            ValueError: If there is a `class_weight`, or a `sample_weight` that the loss can't read;
                if `validation_data` is a stream of another layer; or if a step's samples can't be
                shared evenly among the devices of a strategy.
        """
        bound = inspect.signature(keras.Model.fit).bind(self, x, *args, **kwargs).arguments
        given = {name: value for name, value in bound.items() if name != "self"}
        checked, _, held_out = keras.utils.unpack_x_y_sample_weight(given.get("validation_data"))
        # Keras weighs vectors of classes by it, not maps.
        self.refuse(class_weight=given.get("class_weight"))
        self.refuse_sample_weight(given.get("sample_weight"))
        self.refuse_sample_weight(held_out)
        layer = getattr(x, "layer", None)
        if layer is not None and getattr(checked, "layer", layer) is not layer:
            raise ValueError(
                "`validation_data` must be drawn by the layer of `x`, as `x.held_out(steps)` is. "
                f"Received: {type(checked).__name__} with a layer of its own"
            )
        self.bind(x)
        self._build_optimizer()
        if layer is not None:
            given.setdefault("shuffle", False)
        if isinstance(x, SeekableStream):
            self._require_even_shares(x)
            place = _KeepPlace(x, given.get("initial_epoch", 0))
            given["callbacks"] = _joined(given.get("callbacks"), place)
        with self._shared(x), self._shared(checked), gradients_averaged(self):
            return super().fit(**given)

    def _shared(self, stream: Any) -> Any:
        """Let this process see its part of a stream's batches, where several train this model."""
        shares = getattr(self, "distribute_strategy", None) is not None  # TensorFlow does it
        if shares or not isinstance(stream, SeekableStream):
            return contextlib.nullcontext()
        return stream.shared(peers())

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Show the model the shapes of a step under a strategy of TensorFlow.

        Keras 3.15 would show it the mean over the devices of integer keys, which are then not
        integers, and which `MultiWorkerMirroredStrategy` refuses.
        """
        if iterator is not None and self._distribute_strategy is not None:
            batch = next(next(iter(iterator))[2])
            local = self.distribute_strategy.experimental_local_results
            data_batch = keras.tree.map_structure(lambda x: local(x)[0], batch)
        super()._maybe_symbolic_build(data_batch=data_batch)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metrics of all processes' samples."""
        with summed_over_peers(self.metrics_variables):
            result: dict[str, Any] = reducible(super().get_metrics_result())
            return result

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as `keras.Model.evaluate`; processes share a stream's batches out."""
        with self._shared(x):
            return super().evaluate(x, *args, **kwargs)

    def _build_optimizer(self) -> None:
        """Make the optimizer's slots: before the first step, and before saved ones are loaded.

        TensorFlow traces a step that makes variables once more without them, which takes as long.
        """
        optimizer = getattr(self, "optimizer", None)  # of a compiled model alone
        if not self.built or optimizer is None or optimizer.built:
            return
        strategy = getattr(self, "distribute_strategy", None)  # of Keras on TensorFlow alone
        with strategy.scope() if strategy else contextlib.nullcontext():
            optimizer.build(self.trainable_variables)

    def _require_even_shares(self, stream: SeekableStream) -> None:
        """Refuse a device without a sample: its loss, a mean of nothing, would be NaN."""
        devices = batch_shares(self)
        if stream.batch_size % devices:
            raise ValueError(
                f"`batch_size` must be a multiple of the {devices} devices that share it. "
                f"Received: batch_size={stream.batch_size}"
            )

    def share_of(self, mean: Array) -> Array:
        """Turn a mean over this device's samples into its part of the mean over all devices'.

        Keras adds the gradients of all devices. Its own losses are such parts already.
        """
        return mean / replicas()

    def refuse_sample_weight(self, weight: Any) -> None:
        """Refuse weights of samples where the loss would not read them."""
        if not self.weighs_samples:
            self.refuse(sample_weight=weight)

    def refuse(self, **weights: Any) -> None:
        """Refuse weights that are given."""
        for name, value in weights.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must be None: {type(self).__name__} does not read it; weigh within "
                    f"the loss instead. Received: {name}={str(value)[:60]}"
                )


class _KeepPlace(keras.callbacks.Callback):
    """Moves a stream on to the epoch at which `fit` really begins."""

    def __init__(self, stream: SeekableStream, expected: int) -> None:
        super().__init__()
        self.stream, self.expected = stream, expected
        self.place, self.begun = stream.position, False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Under a strategy TensorFlow has read the first steps, in vain, to learn the shapes.
        self.stream.seek(self.place)

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
