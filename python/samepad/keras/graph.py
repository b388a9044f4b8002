"""From a Keras model's graph to PyTorch's."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from samepad.keras.activations import ALONG_AXIS, ELEMENTWISE, activate
from samepad.keras.builder import Builder, UnsupportedError, Value
from samepad.keras.layers import apply, rule_of

#: Operations of functional models that are no layers, such as `x + y`: of keras.ops.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "TrueDivide": operator.truediv,
    "Power": operator.pow,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Negative": operator.neg,
    "Absolute": torch.abs,
    "Square": torch.square,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
}

#: Activations among them have classes that are named after their functions.
_ACTIVATIONS = {name.replace("_", ""): name for name in (*ELEMENTWISE, *ALONG_AXIS)}

#: What they compute with in the layers that stand for them.
_SETTINGS = {
    "axis": -1,
    "alpha": 1.0,
    "negative_slope": 0.2,
    "threshold": 0.5,
    "approximate": False,
}


def functional(model: Any) -> Any:
    """The graph of a Sequential or functional model.

    Raises:
        ValueError: The model has none: it is not built, or a class of its own computes it.
    """
    graph = model if hasattr(model, "_nodes_by_depth") else getattr(model, "_functional", None)
    own = not getattr(getattr(type(model), "call", None), "__module__", "").startswith("keras.")
    if own or graph is None or not getattr(graph, "_nodes_by_depth", None):
        reason = (
            "it is a subclass of keras.Model, whose computation is code"
            if getattr(model, "built", False)
            else "it is not built: give it an Input, or call model.build(input_shape)"
        )
        raise ValueError(
            f"cannot convert the model {getattr(model, 'name', model)!r} "
            f"({type(model).__name__}): {reason}"
        )
    return graph


def is_model(operation: Any) -> bool:
    """Whether an operation is a model inside of a model."""
    return hasattr(operation, "layers") and hasattr(operation, "inputs")


def nodes_in_order(graph: Any) -> list[Any]:
    """The calls of operations, each after what it takes."""
    depths = graph._nodes_by_depth
    return [
        node
        for depth in sorted(depths, reverse=True)
        for node in depths[depth]
        if not node.is_input and node.operation is not None
    ]


def all_layers(model: Any) -> list[Any]:
    """The layers of a model and of the models in it, in order."""
    layers: list[Any] = []
    for layer in model.layers:
        layers += all_layers(layer) if is_model(layer) else [layer]
    return layers


def _flat(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [item for value in structure.values() for item in _flat(value)]
    if isinstance(structure, (list, tuple)):
        return [item for value in structure for item in _flat(value)]
    return [structure]


def _same_structure(structure: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(structure, dict):
        return {key: _same_structure(value, leaf) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_same_structure(value, leaf) for value in structure)
    return leaf(structure)


class Converter:
    """One conversion: what could not be converted, and the models inside that are done."""

    def __init__(self, model: Any, torch_layout: bool) -> None:
        """`torch_layout`: inputs and outputs have their channels first."""
        formats = {getattr(layer, "data_format", None) for layer in all_layers(model)}
        self.torch_layout = torch_layout and "channels_first" not in formats
        self.unsupported: dict[str, str] = {}
        self.done: dict[int, tuple[list[bool], fx.GraphModule, list[Value]]] = {}

    def wants_channels_first(self, tensor: Any, nodes: list[Any]) -> bool:
        """How an input is taken: images and volumes with their channels first, and what has one
        dimension as the first layer that minds wants it."""
        if len(tensor.shape) != 3:
            return len(tensor.shape) > 3
        for node in nodes:
            if not any(argument is tensor for argument in _flat(node.arguments.args)):
                continue
            operation = node.operation
            if is_model(operation):
                inner = functional(operation)
                return self.wants_channels_first(inner.inputs[0], nodes_in_order(inner))
            try:
                layout = rule_of(operation).channels_first(operation, 3)
            except UnsupportedError:
                layout = None
            if layout is None:
                return any(self.wants_channels_first(out, nodes) for out in node.outputs)
            return layout
        return False

    def convert(self, model: Any, inputs: list[bool] | None) -> tuple[fx.GraphModule, list[Value]]:
        """The module for a model, and in which layouts it returns what it returns.

        `inputs` says which of a nested model's inputs come with their channels first.
        """
        graph = functional(model)
        b = Builder()
        nodes = nodes_in_order(graph)
        values: dict[int, Value] = {}
        for position, tensor in enumerate(graph.inputs):
            first = (
                inputs[position]
                if inputs is not None
                else self.torch_layout and self.wants_channels_first(tensor, nodes)
            )
            values[id(tensor)] = b.input(tensor.name, len(tensor.shape), first)
        for node in nodes:
            results = self.results(b, node, values)
            for tensor, result in zip(node.outputs, results, strict=True):
                values[id(tensor)] = result
        outputs: list[Value] = []

        def output(tensor: Any) -> fx.Node:
            value = values[id(tensor)]
            if inputs is None:
                image = len(tensor.shape) > 3 or value.channels_first
                value = b.held(value, self.torch_layout and image)
            outputs.append(value)
            return value.node

        structure = _same_structure(graph._outputs_struct, output)
        return b.finish(structure, type(model).__name__), outputs

    def results(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call; where it cannot be said, stand-ins and a line for the error."""
        operation = node.operation
        try:
            return self.call(b, node, values)
        except UnsupportedError as error:
            self.unsupported[f"{operation.name} ({type(operation).__name__})"] = str(error)
        stand_in = next(iter(values.values())).node
        return [Value(stand_in, len(tensor.shape)) for tensor in node.outputs]

    def call(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call.

        Raises:
            UnsupportedError: It has no counterpart.
        """
        operation, arguments = node.operation, node.arguments
        if arguments.kwargs.get("training"):
            raise UnsupportedError("called with training=True")
        tensors = [item for item in _flat(arguments.args) if id(item) in values]
        named = [
            key
            for key, value in arguments.kwargs.items()
            if any(id(item) in values for item in _flat(value))
        ]
        if hasattr(operation, "trainable_weights") and named:
            raise UnsupportedError(f"called with {', '.join(named)}")
        inputs = [values[id(tensor)] for tensor in tensors]
        if is_model(operation):
            return self.nested(b, operation, inputs)
        if not hasattr(operation, "trainable_weights"):
            return [self.function(b, operation, arguments, values)]
        return apply(b, operation, operation.name, inputs)

    def nested(self, b: Builder, model: Any, inputs: list[Value]) -> list[Value]:
        """A model inside of a model, converted once however often it is called."""
        structure = functional(model)._outputs_struct
        if isinstance(structure, dict):
            raise UnsupportedError("outputs by name, of a model inside of the model")
        if id(model) not in self.done:
            layouts = [value.channels_first for value in inputs]
            self.done[id(model)] = (layouts, *self.convert(model, layouts))
        layouts, module, outputs = self.done[id(model)]
        given = [b.held(value, first).node for value, first in zip(inputs, layouts, strict=True)]
        b.layer = model
        node = b.module(model.name, module, *given)
        if not isinstance(structure, (list, tuple)):
            return [Value(node, outputs[0].rank, outputs[0].channels_first)]
        return [
            Value(b.call(operator.getitem, node, i), value.rank, value.channels_first)
            for i, value in enumerate(outputs)
        ]

    def function(
        self, b: Builder, operation: Any, arguments: Any, values: dict[int, Value]
    ) -> Value:
        """An operation that is no layer."""
        kind = type(operation).__name__
        activation = _ACTIVATIONS.get(kind.lower())
        args = list(arguments.args) + list(arguments.kwargs.values())
        inputs = [values[id(item)] for item in args if id(item) in values]
        if not type(operation).__module__.startswith("keras."):
            raise UnsupportedError("no counterpart")
        if activation is not None and len(args) == 1:
            for setting, default in _SETTINGS.items():
                if getattr(operation, setting, default) != default:
                    raise UnsupportedError(f"{setting}={getattr(operation, setting)!r}")
            return activate(b, activation, operation.name, inputs[0])
        if kind not in _FUNCTIONS:
            raise UnsupportedError("no counterpart")
        ranks = {value.rank for value in inputs}
        if len(ranks) > 1:
            inputs = [b.held(value, channels_first=False) for value in inputs]
        inputs = b.alike(inputs)
        rest = iter(inputs)
        given: list[Any] = []
        for item in args:
            if id(item) in values:
                given.append(next(rest).node)
            elif isinstance(item, (int, float)):
                given.append(item)
            else:
                raise UnsupportedError(f"called with {item!r}")
        widest = max(inputs, key=lambda value: value.rank)
        return Value(b.call(_FUNCTIONS[kind], *given), widest.rank, widest.channels_first)
