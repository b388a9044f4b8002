"""From a Keras model's graph to PyTorch's."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import fx

from samepad._building import UnsupportedError
from samepad.keras.builder import Builder, Made, Value, computed_in, torch_dtype
from samepad.keras.errors import described, refusal, saved_model
from samepad.keras.functions import apply_function
from samepad.keras.layers import apply, is_model, rule_of, takes_indices
from samepad.keras.live import of_keras_3


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


def sublayers(layer: Any) -> list[Any]:
    """The layers that a model has, or a layer of someone's own class, in order of registration."""
    if hasattr(layer, "layers"):
        return list(layer.layers)
    own = not type(layer).__module__.startswith("keras.")
    return list(layer._flatten_layers(include_self=False, recursive=False)) if own else []


def is_custom(operation: Any) -> bool:
    """Whether code of someone's own calls the layers that an operation holds."""
    call = getattr(type(operation).call, "__module__", "")
    return not call.startswith("keras.") and bool(sublayers(operation))


def all_layers(layer: Any) -> list[Any]:
    """A layer, or those of a model or a custom layer and of such in them, in order: each once, and
    those that are called at each step of a sequence as if they were not. What has weights beside
    those of its layers is there itself too."""
    while type(layer).__name__ == "TimeDistributed":
        layer = layer.layer
    inner = sublayers(layer)
    if not inner and not hasattr(layer, "layers"):
        return [layer]
    theirs = {id(weight) for child in inner for weight in child.weights}
    itself = [] if all(id(weight) in theirs for weight in layer.weights) else [layer]
    found = [*itself, *(below for child in inner for below in all_layers(child))]
    return list({id(each): each for each in found}.values())


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


def _parameters(operation: Any) -> list[str]:
    """What the arguments of an operation's call are named; the first is what it is called on."""
    return list(inspect.signature(operation.call).parameters)


def arguments_of(node: Any) -> list[Any]:
    """What an operation was called with, by position or by name, in the order of its parameters."""
    named = node.arguments.kwargs
    return [
        *node.arguments.args,
        *(named[name] for name in _parameters(node.operation) if name in named),
    ]


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


def _makers_of_masks(nodes: list[Any]) -> set[int]:
    """The functions that Keras itself puts between a layer that masks and those that take masks."""
    masks = {id(mask) for node in nodes for mask in flat(node.arguments.kwargs.get("mask"))}
    makers = set()
    for node in reversed(nodes):
        is_layer = hasattr(node.operation, "trainable_weights")
        if not is_layer and any(id(tensor) in masks for tensor in node.outputs):
            makers.add(id(node.operation))
            masks |= {
                id(item)
                for item in flat(arguments_of(node))
                if getattr(item, "dtype", None) == "bool"
            }
    return makers


def wants_channels_first(tensor: Any, nodes: list[Any]) -> bool:
    """How an input is taken: images and volumes with their channels first, and what has one
    dimension as the first layer that minds wants it."""
    if len(tensor.shape) != 3:
        return len(tensor.shape) > 3
    for node in nodes:
        given = arguments_of(node)
        if not any(argument is tensor for argument in flat(given)):
            continue
        operation = node.operation
        try:
            if is_model(operation):
                inner = functional(operation)
                tensors = inputs_of(inner, given[0])
                position = next(i for i, item in enumerate(tensors) if item is tensor)
                return wants_channels_first(inner.inputs[position], nodes_in_order(inner))
            layout = rule_of(operation).channels_first(operation, 3)
        except UnsupportedError:
            layout = None
        if layout is None:
            return any(wants_channels_first(out, nodes) for out in node.outputs)
        return layout
    return False


@dataclass(frozen=True)
class Converted:
    """The module for a model."""

    module: fx.GraphModule
    #: Which of its inputs it takes as (N, C, ...) where Keras has (N, ..., C).
    inputs: list[bool]
    #: What it returns, flat.
    outputs: list[Value]


class Converter:
    """One conversion: what could not be converted, and the models inside that are done."""

    def __init__(self, model: Any, torch_layout: bool) -> None:
        """`torch_layout`: inputs and outputs have their channels first."""
        self.torch_layout = torch_layout and has_channels_last(model)
        #: A line for each operation.
        self.unsupported: dict[int, str] = {}
        #: Operations that the layers stand for which mask, and are refused for that.
        self.masks: set[int] = set()
        self.made: Made = {}
        self.done: dict[int, Converted] = {}

    def convert(self, model: Any, inputs: list[bool] | None) -> Converted:
        """The module for a model; `inputs` says which of a nested one's come channels first."""
        graph = functional(model)
        b = Builder(self.nested, self.made)
        nodes = nodes_in_order(graph)
        self.masks |= _makers_of_masks(nodes)
        values: dict[int, Value] = {}
        for position, tensor in enumerate(graph.inputs):
            first = (
                inputs[position]
                if inputs is not None
                else self.torch_layout and wants_channels_first(tensor, nodes)
            )
            # Keras numbers what has no name, all over the process.
            name = "x" if tensor.name.startswith("keras_tensor") else tensor.name
            dtype = torch_dtype(tensor.dtype) if inputs is None else computed_in(tensor.dtype)
            values[id(tensor)] = b.input(name, len(tensor.shape), dtype, first)
        taken = [values[id(tensor)].channels_first for tensor in graph.inputs]
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
        return Converted(b.finish(structure, type(model).__name__), taken, outputs)

    def results(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call; where it cannot be said, stand-ins and a line for the error."""
        b.layer = node.operation
        try:
            return self.call(b, node, values)
        except UnsupportedError as error:
            if id(node.operation) not in self.masks:
                self.unsupported[id(node.operation)] = refusal(node.operation, error)
        except Exception as error:
            # With stand-ins for what it takes, anything may go wrong.
            if not self.unsupported:
                raise ValueError(f"cannot convert {refusal(node.operation, error)}") from error
        stand_in = next(iter(values.values())).node
        return [
            Value(stand_in, len(tensor.shape), computed_in(tensor.dtype)) for tensor in node.outputs
        ]

    def call(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call.

        Raises:
            UnsupportedError: It has no counterpart.
        """
        operation, arguments = node.operation, node.arguments
        items = arguments_of(node)
        if not hasattr(operation, "trainable_weights"):
            given = _same_structure(items, lambda item: self.value(b, node, item, values))
            return [apply_function(b, operation, given, node.outputs[0])]
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
        } - {_parameters(operation)[0], "initial_state"}
        if named:
            raise UnsupportedError(f"called with {', '.join(sorted(named))}")
        inputs = [self.value(b, node, tensor, values) for tensor in tensors]
        return apply(b, operation, operation.name, inputs)

    def value(self, b: Builder, node: Any, item: Any, values: dict[int, Value]) -> Any:
        """An argument of a call: its value; in the type of what is made, where Keras casts it to
        that. Layers and models cast floats to types of their own."""
        if id(item) not in values:
            return item
        value, operation = values[id(item)], node.operation
        dtype = computed_in(node.outputs[0].dtype)
        stays = not dtype.is_floating_point or takes_indices(operation) or is_model(operation)
        is_layer = hasattr(operation, "trainable_weights")
        if stays or (is_layer and value.dtype.is_floating_point):
            return value
        return b.cast(value, dtype)

    def nested(self, b: Builder, model: Any, name: str, inputs: list[Value]) -> list[Value]:
        """A model inside of a model, converted once however often it is called."""
        if id(model) not in self.done:
            self.done[id(model)] = self.convert(model, [value.channels_first for value in inputs])
        made = self.done[id(model)]
        given = [
            b.held(b.cast(value, computed_in(tensor.dtype)), first).node
            for value, tensor, first in zip(
                inputs, functional(model).inputs, made.inputs, strict=True
            )
        ]
        b.layer = model
        result = b.module(name, made.module, *given)
        paths = [path for path, _ in _leaves(_returned(functional(model)))]
        return [
            replace(value, node=functools.reduce(b.item, path, result))
            for path, value in zip(paths, made.outputs, strict=True)
        ]


def converted(model: Any, layout: str) -> Converted:
    """The module for a model, as samepad.keras.to_torch makes it; raises as that does."""
    if layout not in ("torch", "keras"):
        raise ValueError(f"input_layout must be 'torch' or 'keras', but got {layout!r}")
    if not hasattr(model, "layers"):
        raise TypeError(
            "keras_model must be a Sequential or functional model of Keras, but got "
            f"{model!r} ({type(model).__name__})"
            + (f": {saved}" if (saved := saved_model(model)) else "")
        )
    try:
        model = of_keras_3(model)
        functional(model)
    except UnsupportedError as error:
        raise ValueError(f"cannot convert the model {described(model)}: {error}") from None
    converter = Converter(model, layout == "torch")
    result = converter.convert(model, None)
    if converter.unsupported:
        lines = "".join(f"\n  {line}" for line in converter.unsupported.values())
        raise ValueError(
            f"cannot convert the model {model.name!r}; these layers have no counterpart in "
            f"PyTorch:{lines}"
        )
    return result
