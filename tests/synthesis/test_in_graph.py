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
def test_torch_compiles_one_full_graph(monkeypatch):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    def batch(pair):
        shapes = BANK.pack([(np.arange(39) + pair) % len(BANK)], words=2**16)
        tensors = {name: torch.tensor(part) for name, part in shapes.items()}
        return torch.tensor(avx.random.keys_for(1, [pair])), tensors

    def synthesise(keys, shapes):
        labels = STREAM.layer.labels.apply(shapes, STREAM.layer.labels.sample(keys))
        return labels, *STREAM.layer.views.draw(labels, keys)

    # Python's bytecode tracer stops at Keras's own conversion of numpy constants, so the tensors
    # are followed first. A value that left the graph on the way would be a constant in it, and
    # the other pair would come out wrong.
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        graph = make_fx(synthesise)(*batch(0))
    compiled = torch.compile(graph, fullgraph=True, backend="eager")
    for traced, eager in zip(compiled(*batch(3)), synthesise(*batch(3)), strict=True):
        np.testing.assert_allclose(traced.numpy(), eager.numpy(), atol=1e-4)
