"""Proof that every effect, optional ones too, is part of the graph on each backend."""

import keras
import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras.random import draw_all, keys_for
from anyvox_keras.synthesis.appearance.appearance import EFFECTS as APPEARANCE
from anyvox_keras.synthesis.augmentation import TrainTimeAugmentation
from anyvox_keras.synthesis.augmentation.train_time_augmentation import EFFECTS as AUGMENTATION

BANK = avx.TemplateBank.geometric(count=40, side=32)
EXTRAS = ("ghosting", "inversion", "slices", "rician", "noise", "cut_out")
VIEWS = avx.PairedViews(avx.Appearance(**{name: {} for name in EXTRAS}))
STREAM = avx.SyntheticStream(BANK, side=32, batch_size=1, seed=1, views=VIEWS)
AUGMENT = TrainTimeAugmentation(crop=24)


def program(batch):
    """Everything that is drawn between a few integers and what a network sees."""
    return AUGMENT(STREAM.layer(batch), keys=batch["keys"], training=True)


def test_the_program_holds_every_effect():
    assert set(VIEWS.appearance.effects) == set(APPEARANCE)
    assert set(AUGMENT.effects) == set(AUGMENTATION)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="about TensorFlow's graph")
def test_one_tensorflow_graph_without_python():
    import tensorflow as tf

    graph = tf.function(program).get_concrete_function(STREAM[0][0]).graph
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
    text = str(jax.make_jaxpr(program)(batch))
    assert "while" in text or "scan" in text
    assert "callback" not in text


SMALL = (12, 12, 12)
on_torch = pytest.mark.skipif(keras.config.backend() != "torch", reason="about torch.compile")


def assert_one_full_graph(fn, first, second, atol=1e-4):
    """Record with the first arguments, as on a GPU, compile without a break, run with the second.

    A value that left the graph on the way would be a constant in it, and the second result would
    come out wrong.
    """
    import torch

    from anyvox_keras.backend.torch_program import TorchProgram

    graphs = []

    def compiler(graph, _):
        graphs.append(graph)
        return torch.compile(graph, fullgraph=True, backend="eager")

    program = TorchProgram(fn, compiler)
    program(*first)
    for recorded, eager in zip(program(*second), fn(*second), strict=True):
        np.testing.assert_allclose(recorded.numpy(), eager.numpy(), atol=atol)
    assert len(graphs) == 1


@on_torch
@pytest.mark.slow
def test_torch_compiles_the_table_as_one_graph():
    import torch

    # Each template and each view is one more round of the same.
    labels, appearance = avx.LabelEnsemble(16, count=(3, 5)), avx.Appearance()

    def batch(pair):
        shapes = BANK.pack([np.arange(4) + pair], words=2**14)
        tensors = {name: torch.tensor(part) for name, part in shapes.items()}
        return torch.tensor(keys_for(1, [pair])), tensors

    def synthesise(keys, shapes):
        label_map = labels.apply(shapes, labels.sample(keys))
        return label_map, appearance.draw(label_map, keys)

    assert_one_full_graph(synthesise, batch(0), batch(3))


STEPS = {
    **{name: VIEWS.appearance.effects[name] for name in EXTRAS},
    **{f"train-time {name}": effect for name, effect in AUGMENT.effects.items()},
}


@on_torch
@pytest.mark.parametrize("name", STEPS)
def test_torch_compiles_each_other_effect(name):
    import torch

    always = STEPS[name].__class__.from_config({**STEPS[name].get_config(), "probability": 1.0})

    def batch(number):
        image = np.random.default_rng(number).random((1, *SMALL, 1), dtype="float32")
        # How draws are made is the table's business: here they are the graph's input.
        drawn = draw_all(keys_for(1, [number]), always.plan(SMALL))
        return torch.tensor(image), drawn

    def finished(image, drawn):
        return (always.apply(image, always.finish(drawn, SMALL)),)

    assert_one_full_graph(finished, batch(0), batch(3))


@on_torch
def test_torch_compiles_the_shared_steps():
    import torch

    bare = TrainTimeAugmentation(crop=8, **dict.fromkeys(AUGMENTATION))

    def batch(number):
        rng = np.random.default_rng(number)
        labels = rng.integers(0, 5, (1, *SMALL)).astype("int32")
        image = rng.random((1, *SMALL, 1), dtype="float32")
        drawn = draw_all(keys_for(1, [number]), bare.plan(SMALL))
        return torch.tensor(labels), torch.tensor(image), drawn

    def shared(labels, image, drawn):
        pair = {"label_map": labels, "view1": image, "view2": image + 1}
        moved = bare.apply(pair, bare.finish(drawn, SMALL))
        return tuple(moved[name] for name in pair)

    assert_one_full_graph(shared, batch(0), batch(3))
