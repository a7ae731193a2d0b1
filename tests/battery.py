"""The checks that every layer of the package passes, on every backend."""

import json
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from anyvox_keras.backend import compiled, to_numpy, value_and_gradient
from anyvox_keras.random import keys_for

ATOL = 1e-5
# bfloat16 keeps eight bits of each value; a few layers add up
MIXED = 0.03


def check_layer(
    cls: type,
    config: dict[str, Any],
    x: Any,
    keys: np.ndarray | None = None,
    differentiable: bool = True,
    atol: float = ATOL,
) -> Any:
    """Run the battery on `cls(**config)` called with `x` (array or dict, batch of >= 2).

    Config round trip, symbolic `None` batch, eager = compiled, batch = each sample alone,
    same seed same output, finite gradients, mixed precision, one compiled `fit` step.
    Returns the eager output as numpy, for the caller's own checks.
    """
    layer = cls(**config)
    _check_config(layer)
    x = tree.map_structure(ops.convert_to_tensor, x)
    if keys is None and "keys" in layer._call_signature.parameters:
        keys = keys_for(0, range(tree.flatten(x)[-1].shape[0]))
    arguments = () if keys is None else (ops.convert_to_tensor(keys),)
    eager = _numpy(_call(layer, x, *arguments))
    same = {"rtol": atol, "atol": atol}

    _assert_close(_numpy(_call(cls(**config), x, *arguments)), eager, "same seed, same output")
    jitted = compiled(lambda x, *keys: _call(layer, x, *keys))
    _assert_close(_numpy(jitted(x, *arguments)), eager, "eager = compiled", **same)
    _check_samples_alone(layer, x, arguments, eager, same)
    _check_symbolic(layer, x, arguments, eager)
    if differentiable:
        _check_gradient(layer, x, arguments)
    _check_fit(cls, config, x, arguments)
    _check_mixed_precision(cls, config, x, arguments, eager)
    return eager


def _call(layer: keras.Layer, x: Any, *keys: Any) -> Any:
    extra = {"training": True} if "training" in layer._call_signature.parameters else {}
    return layer(x, *keys, **extra)


def _numpy(y: Any) -> Any:
    return tree.map_structure(to_numpy, y)


def _assert_close(actual: Any, expected: Any, what: str, **tolerance: float) -> None:
    tree.map_structure(
        lambda a, b: np.testing.assert_allclose(
            a.astype("float64"), b.astype("float64"), err_msg=what, **tolerance
        ),
        actual,
        expected,
    )


def _check_config(layer: keras.Layer) -> None:
    json.dumps(layer.get_config())
    saved = json.dumps(keras.saving.serialize_keras_object(layer))
    loaded = keras.saving.deserialize_keras_object(json.loads(saved))
    assert type(loaded) is type(layer)
    # Through JSON, where a pair becomes a list.
    assert json.loads(json.dumps(loaded.get_config())) == json.loads(json.dumps(layer.get_config()))


def _check_samples_alone(
    layer: keras.Layer, x: Any, keys: tuple[Any, ...], whole: Any, same: dict[str, float]
) -> None:
    batch = tree.flatten(whole)[0].shape[0]
    assert batch >= 2, "the battery wants a batch of at least two samples"
    for i in range(batch):
        # Arrays without a batch axis (a resident bank's words) have rank 1.
        one = tree.map_structure(lambda a: a[i : i + 1] if len(a.shape) > 1 else a, x)  # noqa: B023
        alone = _numpy(_call(layer, one, *(k[i : i + 1] for k in keys)))
        part = tree.map_structure(lambda a: a[i : i + 1], whole)  # noqa: B023
        _assert_close(alone, part, "batch = each sample alone", **same)


def _symbolic(x: Any) -> Any:
    def spec(a: Any) -> keras.KerasTensor:
        dtype = keras.backend.standardize_dtype(a.dtype)
        if len(a.shape) == 1:
            return keras.Input(batch_shape=tuple(a.shape), dtype=dtype)
        return keras.Input(tuple(a.shape[1:]), dtype=dtype)

    return tree.map_structure(spec, x)


def _check_symbolic(layer: keras.Layer, x: Any, keys: tuple[Any, ...], eager: Any) -> None:
    output = layer(_symbolic(x), *(_symbolic(k) for k in keys))

    def compare(symbol: keras.KerasTensor, value: np.ndarray) -> None:
        assert symbol.shape == (None, *value.shape[1:]), (symbol.shape, value.shape)
        assert symbol.dtype == str(value.dtype), (symbol.dtype, value.dtype)

    tree.map_structure(compare, output, eager)


def _scalar(y: Any) -> Any:
    return sum(ops.sum(ops.square(ops.cast(part, "float32"))) for part in tree.flatten(y))


def _check_gradient(layer: keras.Layer, x: Any, keys: tuple[Any, ...]) -> None:
    _, gradient = value_and_gradient(lambda x: _scalar(_call(layer, x, *keys)))(x)
    assert np.isfinite(to_numpy(gradient)).all(), "finite gradients"


class _Readout(keras.Layer):
    """Maps any outputs to one trainable number a sample."""

    def build(self, _: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, y: Any) -> Any:
        flat = [ops.reshape(ops.cast(part, "float32"), (ops.shape(part)[0], -1)) for part in y]
        return self.scale * sum(ops.mean(part, axis=1, keepdims=True) for part in flat)

    def compute_output_shape(self, shapes: Any) -> tuple[int | None, int]:
        return (None, 1)


def _check_fit(cls: type, config: dict[str, Any], x: Any, keys: tuple[Any, ...]) -> None:
    inputs, key_inputs = _symbolic(x), [_symbolic(k) for k in keys]
    outputs = _Readout()(tree.flatten(cls(**config)(inputs, *key_inputs)))
    model = keras.Model([inputs, *key_inputs], outputs)
    model.compile("sgd", "mse")
    batch = int(tree.flatten(x)[-1].shape[0])
    if any(len(a.shape) == 1 for a in tree.flatten(x)):
        loss = model.train_on_batch([x, *keys], np.zeros((batch, 1), "float32"))
    else:
        data = tree.map_structure(to_numpy, [x, *keys])
        history = model.fit(data, np.zeros((batch, 1), "float32"), batch_size=batch, verbose=0)
        loss = history.history["loss"][0]
    assert np.isfinite(loss), "one compiled fit step"


def _check_mixed_precision(
    cls: type, config: dict[str, Any], x: Any, keys: tuple[Any, ...], eager: Any
) -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        output = _numpy(tree.map_structure(_to_float32, _call(cls(**config), x, *keys)))
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    for value, reference in zip(tree.flatten(output), tree.flatten(eager), strict=True):
        assert value.shape == reference.shape
        apart = np.linalg.norm(value.astype("float64") - reference.astype("float64"))
        size = np.linalg.norm(reference.astype("float64"))
        assert apart <= MIXED * size + ATOL, f"mixed precision is {apart / size:.3f} away"


def _to_float32(y: Any) -> Any:
    # numpy has no bfloat16.
    return ops.cast(y, "float32") if "float" in str(y.dtype) else y
