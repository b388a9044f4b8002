"""From a Keras model's graph to PyTorch's."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from samepad.keras.builder import Builder, Made, Value
from samepad.keras.errors import UnsupportedError, refusal
from samepad.keras.functions import apply_function
from samepad.keras.layers import apply, is_model, rule_of


def functional(model: Any) -> Any:
    """The graph of a Sequential or functional model.

    Raises:
        UnsupportedError: It has none: it is not built, or a class of its own computes it.
    """
    graph = model if hasattr(model, "_nodes_by_depth") else getattr(model, "_functional", None)
    if not getattr(model, "built", False):
        raise UnsupportedError(
            "it is not built: give it an Input, or call model.build(input_shape)"
        )
    if not getattr(type(model).call, "__module__", "").startswith("keras."):
        raise UnsupportedError("it is a subclass of keras.Model, whose computation is code")
    if not getattr(graph, "_nodes_by_depth", None):
        raise UnsupportedError("it has no graph: Keras cannot tell a layer's output without a call")
    return graph


def nodes_in_order(graph: Any) -> list[Any]:
    """The calls of operations, each after what it takes; of one depth, in the layers' order."""
    depths = graph._nodes_by_depth
    positions = {id(operation): i for i, operation in enumerate(graph.operations)}
    return [
        node
        for depth in sorted(depths, reverse=True)
        for node in sorted(depths[depth], key=lambda node: positions[id(node.operation)])
        if not node.is_input
    ]


def all_layers(layer: Any) -> list[Any]:
    """A layer, or those of a model and of the models in it, in order: each once, and those that are
    called at each step of a sequence as if they were not."""
    if type(layer).__name__ == "TimeDistributed":
        layer = layer.layer
    if not hasattr(layer, "layers"):
        return [layer]
    found = [inner for child in layer.layers for inner in all_layers(child)]
    return list({id(inner): inner for inner in found}.values())


def has_channels_last(model: Any) -> bool:
    """Whether tensors have their channels last: no layer says that they do not."""
    formats = {getattr(layer, "data_format", None) for layer in all_layers(model)}
    return "channels_first" not in formats


def _leaves(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What is in a structure, in the order in which Keras flattens it, after the keys to it."""
    if isinstance(structure, dict):
        keys: Any = sorted(structure)
    elif isinstance(structure, (list, tuple)):
        keys = range(len(structure))
    else:
        yield path, structure
        return
    for key in keys:
        yield from _leaves(structure[key], (*path, key))


def flat(structure: Any) -> list[Any]:
    """What is in a structure, in the order in which Keras flattens it."""
    return [leaf for _, leaf in _leaves(structure)]


def _same_structure(structure: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(structure, dict):
        return {key: _same_structure(value, leaf) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_same_structure(value, leaf) for value in structure)
    return leaf(structure)


def inputs_of(graph: Any, given: Any) -> list[Any]:
    """What a model is called with, in the order of its inputs.

    Args:
        graph: The model's.
        given: A tensor, or a structure of them: by name, where it is a dictionary.

    Raises:
        UnsupportedError: Keras would pair them otherwise than by order or by name.
    """
    expected = graph._inputs_struct
    if isinstance(given, dict):
        # Keras flattens a dictionary by its keys where the model was made with one, and asks for
        # the names of the inputs where it was not.
        keys = {t.name: t for t in flat(expected)} if not isinstance(expected, dict) else expected
        if set(given) != set(keys):
            raise UnsupportedError(f"called with {sorted(given)}, where it takes {sorted(keys)}")
        given = given if keys is expected else [given[name] for name in keys]
    tensors = flat(given)
    ranks = [len(getattr(tensor, "shape", ())) for tensor in tensors]
    if ranks != [len(tensor.shape) for tensor in graph.inputs]:
        raise UnsupportedError(
            f"called with {len(tensors)} inputs of ranks {ranks}, where it takes "
            f"{[len(tensor.shape) for tensor in graph.inputs]}"
        )
    return tensors


def _returned(graph: Any) -> Any:
    """The structure of a model's outputs; Keras returns the one tensor of a list of one."""
    structure = graph._outputs_struct
    alone = isinstance(structure, (list, tuple)) and len(structure) == 1
    return structure[0] if alone else structure


def wants_channels_first(tensor: Any, nodes: list[Any]) -> bool:
    """How an input is taken: images and volumes with their channels first, and what has one
    dimension as the first layer that minds wants it."""
    if len(tensor.shape) != 3:
        return len(tensor.shape) > 3
    for node in nodes:
        if not any(argument is tensor for argument in flat(node.arguments.args)):
            continue
        operation = node.operation
        try:
            if is_model(operation):
                inner = functional(operation)
                given = inputs_of(inner, node.arguments.args[0])
                position = next(i for i, item in enumerate(given) if item is tensor)
                return wants_channels_first(inner.inputs[position], nodes_in_order(inner))
            layout = rule_of(operation).channels_first(operation, 3)
        except UnsupportedError:
            layout = None
        if layout is None:
            return any(wants_channels_first(out, nodes) for out in node.outputs)
        return layout
    return False


class Converter:
    """One conversion: what could not be converted, and the models inside that are done."""

    def __init__(self, model: Any, torch_layout: bool) -> None:
        """`torch_layout`: inputs and outputs have their channels first."""
        self.torch_layout = torch_layout and has_channels_last(model)
        #: A line for each operation.
        self.unsupported: dict[int, str] = {}
        self.made: Made = {}
        self.done: dict[int, tuple[list[bool], fx.GraphModule, list[Value]]] = {}

    def convert(self, model: Any, inputs: list[bool] | None) -> tuple[fx.GraphModule, list[Value]]:
        """The module for a model, and what it returns, flat.

        `inputs` says which of a nested model's inputs come with their channels first.
        """
        graph = functional(model)
        b = Builder(self.nested, self.made)
        nodes = nodes_in_order(graph)
        values: dict[int, Value] = {}
        for position, tensor in enumerate(graph.inputs):
            first = (
                inputs[position]
                if inputs is not None
                else self.torch_layout and wants_channels_first(tensor, nodes)
            )
            # Keras numbers what has no name, all over the process.
            name = "x" if tensor.name.startswith("keras_tensor") else tensor.name
            values[id(tensor)] = b.input(name, len(tensor.shape), first)
        for node in nodes:
            results = self.results(b, node, values)
            for tensor, result in zip(node.outputs, results, strict=True):
                values[id(tensor)] = result
        if inputs is None:
            for tensor in graph.outputs:
                value = values[id(tensor)]
                image = len(tensor.shape) > 3 or value.channels_first
                values[id(tensor)] = b.held(value, self.torch_layout and image)
        structure = _same_structure(_returned(graph), lambda tensor: values[id(tensor)].node)
        outputs = [values[id(tensor)] for tensor in graph.outputs]
        return b.finish(structure, type(model).__name__), outputs

    def results(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call; where it cannot be said, stand-ins and a line for the error."""
        b.layer = node.operation
        try:
            return self.call(b, node, values)
        except UnsupportedError as error:
            self.unsupported[id(node.operation)] = refusal(node.operation, error)
        except Exception as error:
            # With stand-ins for what it takes, anything may go wrong.
            if not self.unsupported:
                raise ValueError(f"cannot convert {refusal(node.operation, error)}") from error
        stand_in = next(iter(values.values())).node
        return [Value(stand_in, len(tensor.shape)) for tensor in node.outputs]

    def call(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call.

        Raises:
            UnsupportedError: It has no counterpart.
        """
        operation, arguments = node.operation, node.arguments
        items = [*arguments.args, *arguments.kwargs.values()]
        if not hasattr(operation, "trainable_weights"):
            given = [self.value(b, node, item, values) for item in items]
            return [apply_function(b, operation, given, len(node.outputs[0].shape))]
        if is_model(operation):
            tensors = inputs_of(functional(operation), items[0])
        else:
            rule_of(operation)  # before what else may keep it from being converted
            tensors = [item for item in flat(items) if id(item) in values]
        if any(id(item) not in values and hasattr(item, "shape") for item in flat(items)):
            raise UnsupportedError("called with a constant")
        if arguments.kwargs.get("training"):
            raise UnsupportedError("called with training=True")
        named = {
            key
            for key, value in arguments.kwargs.items()
            if any(id(item) in values for item in flat(value))
        } - {"inputs", "initial_state"}
        if named:
            raise UnsupportedError(f"called with {', '.join(sorted(named))}")
        inputs = [self.value(b, node, tensor, values) for tensor in tensors]
        return apply(b, operation, operation.name, inputs)

    def value(self, b: Builder, node: Any, item: Any, values: dict[int, Value]) -> Any:
        """An argument of a call: its value; as floats, where Keras makes floats of integers."""
        if id(item) not in values:
            return item
        value = values[id(item)]
        made = node.outputs[0].dtype
        looks_up = type(node.operation).__name__ == "Embedding" or is_model(node.operation)
        if looks_up or "float" in item.dtype or "float" not in made:
            return value
        dtype = torch.float64 if made == "float64" else torch.float32
        return replace(value, node=b.method("to", value.node, dtype))

    def nested(self, b: Builder, model: Any, name: str, inputs: list[Value]) -> list[Value]:
        """A model inside of a model, converted once however often it is called."""
        if id(model) not in self.done:
            layouts = [value.channels_first for value in inputs]
            self.done[id(model)] = (layouts, *self.convert(model, layouts))
        layouts, module, outputs = self.done[id(model)]
        given = [b.held(value, first).node for value, first in zip(inputs, layouts, strict=True)]
        b.layer = model
        result = b.module(name, module, *given)
        paths = [path for path, _ in _leaves(_returned(functional(model)))]
        return [
            replace(value, node=functools.reduce(b.item, path, result))
            for path, value in zip(paths, outputs, strict=True)
        ]
