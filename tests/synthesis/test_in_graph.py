"""Proof that the synthesis is part of the graph on each backend."""

import keras
import numpy as np
import pytest

import anyvox_keras as avx

BANK = avx.TemplateBank.geometric(count=40, side=32)
STREAM = avx.SyntheticStream(BANK, side=32, batch_size=1, seed=1)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="about TensorFlow's graph")
def test_one_tensorflow_graph_without_python():
    import tensorflow as tf

    graph = tf.function(STREAM.layer).get_concrete_function(STREAM[0][0]).graph
    names, found = [graph.as_graph_def()], set()
    for definition in names:
        found |= {node.op for node in definition.node}
        found |= {node.op for function in definition.library.function for node in function.node_def}
    assert {"PartitionedCall", "StatefulPartitionedCall"} & found
    assert not {op for op in found if "PyFunc" in op}


@pytest.mark.skipif(keras.config.backend() != "jax", reason="about JAX's jaxpr")
def test_a_jaxpr_without_callbacks():
    import jax

    batch = {name: jax.numpy.asarray(array) for name, array in STREAM[0][0].items()}
    text = str(jax.make_jaxpr(lambda batch: STREAM.layer(batch))(batch))
    assert "while" in text or "scan" in text
    assert "callback" not in text


@pytest.mark.skipif(keras.config.backend() != "torch", reason="about torch.compile")
def test_torch_traces_one_full_graph():
    import torch

    bank = {name: torch.tensor(part) for name, part in BANK.pack([range(39)]).items()}
    keys = torch.tensor(avx.random.keys_for(1, [0]))
    layer = STREAM.layer

    def synthesise(keys, shapes):
        labels = layer.labels.apply(shapes, layer.labels.sample(keys))
        return labels, layer.views.apply(labels, layer.views.sample(keys, (32, 32, 32)))

    # "eager" runs the captured graph as it is: fullgraph refuses any way back to Python.
    traced = torch.compile(synthesise, fullgraph=True, backend="eager")
    labels, views = traced(keys, bank)
    eager_labels, eager_views = synthesise(keys, bank)
    np.testing.assert_array_equal(labels.numpy(), eager_labels.numpy())
    for a, b in zip(keras.tree.flatten(views), keras.tree.flatten(eager_views), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4)
