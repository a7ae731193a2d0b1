"""Whole functions as one PyTorch program.

Dynamo breaks the graph at every constant that Keras converts from NumPy: label maps would become
178 graphs and views 156, with Python in between. So one call is traced by `make_fx` instead, which
gives a single graph; inductor compiles that.
"""

import itertools
from typing import Any

import keras
import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from anyvox_keras.types import Function

ARRAYS = (np.ndarray, keras.Variable)
FRESH = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)


class TorchProgram:
    """A pure function of tensors, recorded and compiled once for each form of its arguments.

    Args:
        fn: Pure; control flow may depend on shapes and on arguments that are not arrays, but not on
            values: a value that is read while tracing becomes a constant of the program.
        compiler: Makes a function from `(graph, example tensors)`.
    """

    #: whether a program is being recorded: programs called on the way become part of it
    recording = False

    def __init__(self, fn: Function, compiler: Function) -> None:
        self._fn, self._compiler = fn, compiler
        self._programs: dict[Any, tuple[Function, Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """Run the program for arguments of this form."""
        if TorchProgram.recording or torch.compiler.is_compiling():
            return self._fn(*args)
        leaves, spec = pytree.tree_flatten(args)
        leaves = [_tensor(leaf) if isinstance(leaf, ARRAYS) else leaf for leaf in leaves]
        form = (spec, *map(_form, leaves), torch.is_grad_enabled())
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if any(tensor.device.type == "meta" for tensor in tensors):  # Keras asks for shapes
            return self._fn(*args)
        if form not in self._programs:
            self._programs[form] = self._record(leaves, spec, tensors)
        program, outputs = self._programs[form]
        return pytree.tree_unflatten(program(*tensors), outputs)

    def _record(self, leaves: list[Any], spec: Any, tensors: list[Any]) -> tuple[Function, Any]:
        outputs: list[Any] = []

        def flat(*tensors: Any) -> tuple[Any, ...]:
            given = iter(tensors)
            own = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            results, structure = pytree.tree_flatten(self._fn(*pytree.tree_unflatten(own, spec)))
            outputs.append(structure)
            return tuple(results)

        TorchProgram.recording = True
        try:
            graph = fold_constants(make_fx(flat)(*tensors))
        finally:
            TorchProgram.recording = False
        return self._compiler(graph, tensors), outputs[0]


def fold_constants(module: Any) -> Any:
    """Compute once what depends on constants only; merge equal constants.

    Otherwise each call would copy hundreds of small arrays of numpy to the GPU. Only constants made
    while the graph was recorded count: tensors from outside, such as weights, may change.
    """
    known: dict[Any, Any] = {}
    for node in module.graph.nodes:
        fresh = node.target in FRESH and node.args[0].op == "get_attr"
        if fresh:
            known[node] = getattr(module, node.args[0].target)
        elif _is_pure(node) and all(one in known for one in node.all_input_nodes):
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    names: dict[Any, str] = {}
    for node, value in known.items():
        if isinstance(value, torch.Tensor) and any(user not in known for user in node.users):
            name = _constant(module, value, names)
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(module.graph.get_attr(name))
    module.graph.eliminate_dead_code()
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name in {name for name, _ in module.named_buffers()} - used:
        delattr(module, name)
    module.recompile()
    return module


def _constant(module: Any, value: Any, names: dict[Any, str]) -> str:
    content = (value.dtype, value.shape, value.device, _bytes(value))
    if content not in names:
        free = (f"constant{i}" for i in itertools.count() if not hasattr(module, f"constant{i}"))
        names[content] = next(free)
        module.register_buffer(names[content], value.clone())
    return names[content]


def _bytes(value: Any) -> bytes:
    # numpy has no bfloat16
    return value.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def _is_pure(node: Any) -> bool:
    """Return whether a node computes from other nodes without writing into them."""
    writes = getattr(getattr(node.target, "_schema", None), "is_mutable", False)
    return node.op == "call_function" and bool(node.all_input_nodes) and not writes


def _tensor(array: Any) -> Any:
    return array.value if isinstance(array, keras.Variable) else keras.ops.convert_to_tensor(array)


def _form(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return (tuple(leaf.shape), leaf.dtype, leaf.device, leaf.requires_grad)
    return leaf
