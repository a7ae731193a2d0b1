"""The only door to TensorFlow, PyTorch and JAX: what differs between them, under one name each.

The rest of the package is written in `keras.ops`. Each framework has a sibling module with the same
functions (PyTorch's processes have one of their own); one `if` chooses it, when this package is
first imported.
"""

import keras

from anyvox_keras.backend.arrays import mean_over_space, to_numpy
from anyvox_keras.backend.device import cpu_has_bfloat16, peak_memory_mb

NAME: str = keras.config.backend()

if NAME == "tensorflow":
    from anyvox_keras.backend.tensorflow import (
        agreed,
        batch_normalize,
        batch_shares,
        compiled,
        conv3d,
        device_count,
        device_name,
        double,
        fft3,
        gradients_averaged,
        grid_sample,
        has_bfloat16,
        ifft3,
        is_eager_inference,
        is_eager_on_cpu,
        map_samples,
        max_pool,
        mean_over_devices,
        no_gradient,
        on_devices,
        peers,
        process_shard,
        recorded,
        recorded_over_samples,
        reducible,
        reflect_pad,
        repeat,
        replicas,
        run_processes,
        standardize_over_space,
        summed_over_peers,
        traced_once,
        value_and_gradient,
    )
elif NAME == "torch":
    from anyvox_keras.backend.torch import (
        batch_normalize,
        compiled,
        conv3d,
        device_name,
        double,
        fft3,
        grid_sample,
        has_bfloat16,
        ifft3,
        is_eager_inference,
        is_eager_on_cpu,
        map_samples,
        max_pool,
        no_gradient,
        recorded,
        recorded_over_samples,
        reducible,
        reflect_pad,
        repeat,
        replicas,
        standardize_over_space,
        traced_once,
        value_and_gradient,
    )
    from anyvox_keras.backend.torch_processes import (
        agreed,
        batch_shares,
        device_count,
        gradients_averaged,
        mean_over_devices,
        on_devices,
        peers,
        process_shard,
        run_processes,
        summed_over_peers,
    )
elif NAME == "jax":
    from anyvox_keras.backend.jax import (
        agreed,
        batch_normalize,
        batch_shares,
        compiled,
        conv3d,
        device_count,
        device_name,
        double,
        fft3,
        gradients_averaged,
        grid_sample,
        has_bfloat16,
        ifft3,
        is_eager_inference,
        is_eager_on_cpu,
        map_samples,
        max_pool,
        mean_over_devices,
        no_gradient,
        on_devices,
        peers,
        process_shard,
        recorded,
        recorded_over_samples,
        reducible,
        reflect_pad,
        repeat,
        replicas,
        run_processes,
        standardize_over_space,
        summed_over_peers,
        traced_once,
        value_and_gradient,
    )
else:
    raise ImportError(
        "anyvox_keras needs the Keras backend tensorflow, torch or jax. "
        f"Received: KERAS_BACKEND={NAME}"
    )


__all__ = [
    "NAME",
    "agreed",
    "batch_normalize",
    "batch_shares",
    "compiled",
    "conv3d",
    "cpu_has_bfloat16",
    "device_count",
    "device_name",
    "double",
    "fft3",
    "gradients_averaged",
    "grid_sample",
    "has_bfloat16",
    "ifft3",
    "is_eager_inference",
    "is_eager_on_cpu",
    "map_samples",
    "max_pool",
    "mean_over_devices",
    "mean_over_space",
    "no_gradient",
    "on_devices",
    "peak_memory_mb",
    "peers",
    "process_shard",
    "recorded",
    "recorded_over_samples",
    "reducible",
    "reflect_pad",
    "repeat",
    "replicas",
    "run_processes",
    "standardize_over_space",
    "summed_over_peers",
    "traced_once",
    "to_numpy",
    "value_and_gradient",
]
