"""A stream for training loops of TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream


def tensorflow_dataset(stream: SeekableStream, count: int | None) -> Any:
    """Make a `tf.data.Dataset` of a stream's batches, one of them drawn ahead.

    A map of `tf.data` would run on the CPU, so the volumes are drawn before it, on the device.
    """
    spec = stream.layer.compute_output_spec({"keys": keras.KerasTensor((stream.batch_size, 2))})
    signature = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in spec.items()}
    return tf.data.Dataset.from_generator(
        lambda: stream.arrays(count), output_signature=signature
    ).prefetch(1)
