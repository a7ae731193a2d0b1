"""A stream in an input pipeline of TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from anyvox_keras.backend import NAME, process_shard
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream


def tensorflow_dataset(stream: SeekableStream, count: int | None, shard: Any) -> Any:
    """Make a `tf.data.Dataset` of a stream's batches, one of them drawn ahead.

    A map of `tf.data` would run on the CPU, so the volumes are drawn before it, on the device.

    Args:
        stream: The stream that draws the batches.
        count: Number of batches of all pipelines together; None is endless.
        shard: `(i, n)` of this pipeline, or the `tf.distribute.InputContext` that says it. None
            asks the backend.
    """
    if isinstance(shard, tf.distribute.InputContext):
        shard = shard.input_pipeline_id, shard.num_input_pipelines
    if shard is None:
        # A strategy of TensorFlow shares a whole pipeline's batches out by itself.
        shard = (0, 1) if NAME == "tensorflow" else process_shard()
    spec = stream.layer.compute_output_spec({"keys": keras.KerasTensor((stream.batch_size, 2))})
    signature = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in spec.items()}
    return tf.data.Dataset.from_generator(
        lambda: stream.arrays(count, shard), output_signature=signature
    ).prefetch(1)
