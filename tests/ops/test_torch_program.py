"""A whole function as one graph of torch, as GPUs get it."""

import keras
import numpy as np
import pytest
from keras import ops

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="about torch")


@pytest.fixture
def record():
    """Make a program of a function, and the list of the graphs that it records."""
    from anyvox_keras.backend.torch_program import TorchProgram

    graphs = []

    def compiler(graph, _):
        graphs.append(graph)
        return graph

    return (lambda fn: TorchProgram(fn, compiler)), graphs


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, "float32"))


def test_a_form_of_arguments_is_recorded_once(record):
    make, graphs = record
    calls = []

    def fn(x, scale):
        calls.append(x)
        return {"double": x["x"] * scale, "none": None}

    program = make(fn)
    for _ in range(3):
        assert program({"x": tensor([1, 2])}, 2)["double"].tolist() == [2, 4]
    assert len(calls) == len(graphs) == 1
    assert program({"x": tensor([1, 2])}, 3)["double"].tolist() == [3, 6]
    assert program({"x": tensor([1, 2, 3])}, 3)["double"].tolist() == [3, 6, 9]
    assert program({"x": np.ones(2, "float32")}, 3)["double"].tolist() == [3, 3]
    assert len(graphs) == 3


def test_constants_are_worked_out_once_and_tensors_from_outside_are_not(record):
    make, graphs = record
    outside = keras.Variable(np.ones(4, "float32"), trainable=False)

    def fn(x):
        table = ops.convert_to_tensor(np.arange(4, dtype="float32"))
        return x * (ops.exp(table) + outside.value * 2) + table

    program = make(fn)
    x = tensor([1, 2, 3, 4])
    program(x)
    outside.assign(np.full(4, 5.0))
    np.testing.assert_allclose(program(x), fn(x))
    names = {getattr(node.target, "__name__", "") for node in graphs[0].graph.nodes}
    assert "exp.default" not in names
    assert "mul.Tensor" in names
    assert len(list(graphs[0].buffers())) <= 3  # two constants, and what lies outside


def test_programs_within_programs_are_one_graph(record):
    make, graphs = record
    inner = make(lambda x: x + 1)
    assert make(lambda x: inner(x) * 2)(tensor([1.0])).tolist() == [4]
    assert len(graphs) == 1


def test_gradients_and_shapes_pass(record):
    make, graphs = record
    program = make(lambda x: (x * x).sum())
    x = tensor([1, 2]).requires_grad_(True)
    program(x).backward()
    assert x.grad.tolist() == [2, 4]
    assert program(x.detach().to("meta")).device.type == "meta"
    assert len(graphs) == 1


def test_control_flow_on_values_is_refused(record):
    make, _ = record
    with pytest.raises(RuntimeError):
        make(lambda x: x * 2 if float(x[0]) > 0 else x)(tensor([1.0]))
