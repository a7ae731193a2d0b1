"""Inference that lets go of every activation after its last reader."""

import gc
from typing import Any

import keras

from anyvox_keras.backend import is_eager_inference
from anyvox_keras.types import Array


class LeanInference:
    """What a functional model inherits, before `keras.Model`, to hold few activations at a time.

    Where Keras computes layer after layer (PyTorch), it keeps what every one of them returned until
    the last has run, which of a UNet is several times the memory it needs.
    """

    def call(
        self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any
    ) -> Any:
        """Run the graph: leanly in inference, else as Keras does."""
        if training or mask is not None or not is_eager_inference(inputs):
            run: Any = super()
            return run.call(inputs, training=training, mask=mask, **kwargs)
        return run_leanly(self, inputs)


def run_leanly(model: Any, volumes: Array) -> Array:
    """Return the one output of a functional model of one input, and hold no array that is done.

    Args:
        model: The model; its layers learn from Keras's context that this is inference.
        volumes: Its input.
    """
    depths = model._nodes_by_depth
    nodes = [n for depth in sorted(depths, reverse=True) for n in depths[depth] if not n.is_input]
    last = {id(symbol): node for node in nodes for symbol in node.input_tensors}
    last.pop(id(model.outputs[0]), None)
    arrays = {id(model.inputs[0]): volumes}
    for node in nodes:
        arguments, named = node.arguments.fill_in(arrays)
        results = keras.tree.flatten(node.operation(*arguments, **named))
        arrays.update((id(symbol), y) for symbol, y in zip(node.outputs, results, strict=True))
        # These names would keep the arrays for one layer more.
        del arguments, named, results
        for symbol in node.input_tensors:
            if last.get(id(symbol)) is node:
                arrays.pop(id(symbol), None)
        if len(node.input_tensors) > 1:
            # Keras walks a list of arguments by functions that hold it, and themselves, in a ring.
            gc.collect(1)
    return arrays[id(model.outputs[0])]
