"""From a Keras model's graph to PyTorch's."""

import functools
import inspect
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from torch import fx

from samepad._building import UnsupportedError
from samepad.keras.builder import Builder, Made, Value, computed_in, torch_dtype
from samepad.keras.errors import described, refusal, saved_model
from samepad.keras.exporting import exported
from samepad.keras.functions import apply_function, constant
from samepad.keras.layers import apply, is_followed, is_model, of_images, rule_of, takes_indices
from samepad.keras.live import of_keras_3
from samepad.keras.structures import all_layers, flat, is_code, leaves, mapped
from samepad.keras.tracing import Traced, followed, mask_of, nodes_to
from samepad.keras.weights import own_names

#: Key of a module's `meta`: the layers that were exported, a line for each.
EXPORTED = "exported"
_ADVICE = '\nsamepad.keras.to_torch(model, fallback="export") has Keras export them to ONNX'


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
    if is_code(model):
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


def has_channels_last(model: Any) -> bool:
    """Whether tensors have their channels last: no layer says that they do not."""
    formats = {getattr(layer, "data_format", None) for layer in all_layers(model)}
    return "channels_first" not in formats


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


def _signature(node: Any, tensors: tuple[Any, ...]) -> str:
    """What an operation was called with: the shapes of tensors, and where which of them is."""
    positions = {id(tensor): (i, tensor.shape) for i, tensor in enumerate(tensors)}
    called_with = [list(node.arguments.args), node.arguments.kwargs]
    return repr(mapped(called_with, lambda item: positions.get(id(item), item)))


@dataclass(frozen=True)
class _Calls:
    """The calls that compute a model or a layer."""

    owner: Any
    #: Keras's tensors.
    inputs: list[Any]
    outputs: list[Any]
    #: The structure of what it returns; None for the tensor or the tuple of the outputs.
    returned: Any
    nodes: list[Any]
    #: Variables that the calls take, each with the tensor that stands for it.
    weights: list[tuple[Any, Any]] = field(default_factory=list)
    #: Arrays, likewise.
    constants: list[tuple[Any, Any]] = field(default_factory=list)


def _calls_of_model(model: Any) -> _Calls:
    graph = functional(model)
    return _Calls(model, graph.inputs, graph.outputs, _returned(graph), nodes_in_order(graph))


def _calls_of_code(layer: Any, trace: Traced) -> _Calls:
    inputs = [stand_in for _, stand_in in trace.inputs]
    return _Calls(
        layer,
        inputs,
        trace.outputs,
        trace.returned,
        trace.nodes,
        trace.weights,
        trace.constants,
    )


def _calls_of(model: Any) -> _Calls:
    """The calls that compute a model that is converted.

    Raises:
        UnsupportedError: It is not built, or its code cannot be followed.
    """
    if not getattr(model, "built", False) or not is_code(model):
        return _calls_of_model(model)
    trace = followed(model)
    return _calls_of_code(model, trace)


def in_order(module: fx.GraphModule, layer: Any, b: Builder) -> None:
    """Put the submodules of a custom layer's module in the order in which Keras lists its layers.

    In that order `samepad.keras.load_weights` pairs them.
    """
    listed = {id(each): i for i, each in enumerate(layer._flatten_layers(include_self=False))}
    positions = {
        b.names[id(made)]: listed[owner]
        for owner, several in b.made.items()
        for made in several.values()
        if id(made) in b.names and owner in listed
    }
    last = len(listed)
    children = dict(module.named_children())
    for name in sorted(children, key=lambda name: positions.get(name, last)):
        module._modules[name] = module._modules.pop(name)


def _names_of(tensors: list[Any]) -> list[str]:
    # Keras numbers what has no name, all over the process.
    return ["x" if each.name.startswith("keras_tensor") else each.name for each in tensors]


@dataclass(frozen=True)
class Converted:
    """The module for a model or a layer."""

    module: fx.GraphModule
    #: Which of its inputs it takes as (N, C, ...) where Keras has (N, ..., C).
    inputs: list[bool]
    #: What it returns, flat.
    outputs: list[Value]


class Converter:
    """One conversion: what could not be converted, and the models inside that are done."""

    def __init__(self, model: Any, torch_layout: bool, fallback: bool = False) -> None:
        """`torch_layout`: inputs and outputs have their channels first; `fallback`: what no rule
        covers is exported."""
        self.fallback = fallback
        #: A line for each operation that was exported.
        self.exported: list[str] = []
        self.torch_layout = torch_layout and has_channels_last(model)
        #: A line for each operation.
        self.unsupported: dict[int, str] = {}
        self.made: Made = {}
        self.done: dict[Any, Converted] = {}
        #: Keeps layers that code makes when it is called, so that their ids stay theirs.
        self.traces: list[Traced] = []

    def convert(self, calls: _Calls, inputs: list[bool] | None) -> Converted:
        """The module for a model or a layer; `inputs` says which of a nested one's come channels
        first."""
        b = Builder(self.nested, self.code, self.made)
        values: dict[int, Value] = {}
        self.add_weights(b, calls, values)
        for position, tensor in enumerate(calls.inputs):
            first = (
                inputs[position]
                if inputs is not None
                else self.torch_layout and wants_channels_first(tensor, calls.nodes)
            )
            (name,) = _names_of([tensor])
            dtype = torch_dtype(tensor.dtype) if inputs is None else computed_in(tensor.dtype)
            values[id(tensor)] = b.input(name, tensor.shape, dtype, first)
        self.add_constants(b, calls, values)
        taken = [values[id(tensor)].channels_first for tensor in calls.inputs]
        for node in calls.nodes:
            self.add(b, node, values)
        if inputs is None:
            for tensor in calls.outputs:
                value = values[id(tensor)]
                image = len(tensor.shape) > 3 or value.channels_first
                values[id(tensor)] = b.held(value, self.torch_layout and image)
        structure = mapped(calls.returned, lambda tensor: values[id(tensor)].node)
        outputs = [values[id(tensor)] for tensor in calls.outputs]
        module = b.finish(structure, type(calls.owner).__name__)
        if is_followed(calls.owner):
            in_order(module, calls.owner, b)
        return Converted(module, taken, outputs)

    def add_weights(self, b: Builder, calls: _Calls, values: dict[int, Value]) -> None:
        """Add the variables that the calls take as parameters."""
        names = own_names([variable for variable, _ in calls.weights])
        for name, (variable, tensor) in zip(names, calls.weights, strict=True):
            dtype = computed_in(tensor.dtype)
            trainable = bool(variable.trainable and calls.owner.trainable)
            node = b.weight(b.name(name), variable, dtype, trainable and dtype.is_floating_point)
            values[id(tensor)] = Value(node, len(tensor.shape), dtype)

    @staticmethod
    def add_constants(b: Builder, calls: _Calls, values: dict[int, Value]) -> None:
        """Add the arrays on which layers are called as buffers."""
        for array, tensor in calls.constants:
            values[id(tensor)] = constant(b, calls.owner, array, None)

    def add(self, b: Builder, node: Any, values: dict[int, Value]) -> None:
        """Add one call, and note the values of its outputs."""
        results = self.results(b, node, values)
        for tensor, result in zip(node.outputs, results, strict=True):
            values[id(tensor)] = result

    def results(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call; where it cannot be said, stand-ins and a line for the error."""
        b.layer = node.operation
        try:
            return self.call(b, node, values)
        except UnsupportedError as error:
            reason: object = error
            try:
                if self.fallback:
                    return self.export(b, node, values, error)
            except UnsupportedError as failure:
                reason = f"{error}, {failure}"
            self.unsupported[id(node.operation)] = refusal(node.operation, reason)
        except Exception as error:
            # With stand-ins for what it takes, anything may go wrong.
            if not self.unsupported:
                raise ValueError(f"cannot convert {refusal(node.operation, error)}") from error
        stand_in = next(iter(values.values())).node
        return [
            Value(stand_in, len(tensor.shape), computed_in(tensor.dtype)) for tensor in node.outputs
        ]

    def export(
        self, b: Builder, node: Any, values: dict[int, Value], reason: UnsupportedError
    ) -> list[Value]:
        """The outputs of one call that no rule covers, of a module that was exported.

        Raises:
            UnsupportedError: It takes a mask, or cannot be exported.
        """
        given = flat([list(node.arguments.args), node.arguments.kwargs])
        tensors = list({id(item): item for item in given if id(item) in values}.values())
        if any(mask_of(tensor) is not None for tensor in tensors):
            raise UnsupportedError("and is not exported with a mask")
        if self.unsupported:  # its inputs may be stand-ins, and the model is refused anyway
            raise UnsupportedError("and is not exported, as others cannot be")
        name = b.name(node.operation.name)
        b.root.add_module(name, exported(node, tensors))
        inputs = [b.held(values[id(tensor)], False).node for tensor in tensors]
        result = b.graph.call_module(name, tuple(inputs))
        self.exported.append(refusal(node.operation, reason))
        single = len(node.outputs) == 1
        return [
            Value(
                result if single else b.item(result, position),
                len(tensor.shape),
                computed_in(tensor.dtype),
            )
            for position, tensor in enumerate(node.outputs)
        ]

    def call(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of one call.

        Raises:
            UnsupportedError: It has no counterpart.
        """
        operation, arguments = node.operation, node.arguments
        items = arguments_of(node)
        if not hasattr(operation, "trainable_weights"):
            given = mapped(items, lambda item: values.get(id(item), item))
            return apply_function(b, operation, given, node.outputs)
        tensors = [item for item in flat(items) if id(item) in values]
        masked = any(mask_of(tensor) is not None for tensor in tensors)
        follows = is_followed(operation, masked)
        if not follows and not is_model(operation):
            rule_of(operation)  # before what else may keep it from being converted
        if arguments.kwargs.get("training") and not of_images(operation):
            raise UnsupportedError("called with training=True")
        if follows:
            return self.follow(b, node, values)
        mask = None
        if is_model(operation):
            tensors = inputs_of(functional(operation), items[0])
        else:
            mask = self.mask(b, node, values)
        if any(id(item) not in values and hasattr(item, "shape") for item in flat(items)):
            raise UnsupportedError("called with a constant")
        named = {
            key
            for key, value in arguments.kwargs.items()
            if any(id(item) in values for item in flat(value))
        } - {_parameters(operation)[0], "initial_state", "mask"}
        if named:
            raise UnsupportedError(f"called with {', '.join(sorted(named))}")
        given_mask = self.argument(node, "mask")
        tensors = [tensor for tensor in tensors if tensor is not given_mask]
        inputs = [self.value(b, node, tensor, values) for tensor in tensors]
        return apply(b, operation, operation.name, inputs, mask)

    @staticmethod
    def argument(node: Any, name: str) -> Any:
        """An argument of a call by its name, or None."""
        call = inspect.signature(node.operation.call)
        if name not in call.parameters:
            return None
        return call.bind(*node.arguments.args, **node.arguments.kwargs).arguments.get(name)

    def mask(self, b: Builder, node: Any, values: dict[int, Value]) -> Value | None:
        """The mask that Keras gives a layer: the argument, or what is attached to the first input.

        Raises:
            UnsupportedError: The layer takes a mask that its counterpart does not.
        """
        if "mask" not in _parameters(node.operation):
            return None
        mask = self.argument(node, "mask")
        arguments = [*node.arguments.args, *node.arguments.kwargs.values()]
        tensors = [given for given in arguments if any(id(item) in values for item in flat(given))]
        # Keras attaches no mask to a call on several arguments, such as a sequence and states.
        if mask is None and len(tensors) == 1:
            mask = mask_of(next(iter(flat(arguments_of(node)))))
        if isinstance(mask, (list, tuple)):
            mask = next((each for each in mask if each is not None), None)
        return None if mask is None else self.tensor(b, mask, values)

    def tensor(self, b: Builder, tensor: Any, values: dict[int, Value]) -> Value:
        """The value of a tensor, such as a mask, whose calls may not be among a model's."""
        if id(tensor) not in values:
            layer = b.layer
            for node in nodes_to([tensor], frozenset(values)):
                self.add(b, node, values)
            b.layer = layer
        return values[id(tensor)]

    def code(self, layer: Any, arguments: list[Any]) -> fx.GraphModule:
        """A module of a layer whose code is followed, such as a cell; it returns a flat tuple."""
        key = (id(layer), "code")
        if key not in self.done:
            trace = followed(layer, SimpleNamespace(args=arguments, kwargs={}))
            calls = replace(_calls_of_code(layer, trace), returned=tuple(trace.outputs))
            self.done[key] = self.convert(calls, [False] * len(trace.inputs))
        return self.done[key].module

    def follow(self, b: Builder, node: Any, values: dict[int, Value]) -> list[Value]:
        """The outputs of a layer whose code is followed: of a module of its own.

        Raises:
            UnsupportedError: The code cannot be followed.
        """
        layer = node.operation
        trace = followed(layer, node.arguments)
        self.traces.append(trace)
        if len(trace.outputs) != len(node.outputs):
            raise UnsupportedError("its code cannot be followed (it has several outputs)")
        tensors, stand_ins = zip(*trace.inputs, strict=True)
        given = [
            b.cast(self.tensor(b, tensor, values), computed_in(stand_in.dtype))
            for tensor, stand_in in trace.inputs
        ]
        own = dict(zip(map(id, stand_ins), given, strict=True))
        if not trace.nodes and all(id(output) in own for output in trace.outputs):
            return [own[id(output)] for output in trace.outputs]
        first = [value.channels_first for value in given]
        key = (id(layer), _signature(node, tensors), tuple(first))
        if key not in self.done:
            self.done[key] = self.convert(_calls_of_code(layer, trace), first)
        b.layer = layer
        made = self.done[key]
        result = b.module(layer.name, made.module, *(value.node for value in given))
        paths = [path for path, leaf in leaves(trace.returned) if leaf is not None]
        return [
            replace(value, node=functools.reduce(b.item, path, result))
            for path, value in zip(paths, made.outputs, strict=True)
        ]

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
            first = [value.channels_first for value in inputs]
            self.done[id(model)] = self.convert(_calls_of_model(model), first)
        made = self.done[id(model)]
        given = [
            b.held(b.cast(value, computed_in(tensor.dtype)), first).node
            for value, tensor, first in zip(
                inputs, functional(model).inputs, made.inputs, strict=True
            )
        ]
        b.layer = model
        result = b.module(name, made.module, *given)
        paths = [path for path, _ in leaves(_returned(functional(model)))]
        return [
            replace(value, node=functools.reduce(b.item, path, result))
            for path, value in zip(paths, made.outputs, strict=True)
        ]


def converted(model: Any, layout: str, fallback: str | None = None) -> Converted:
    """The module for a model, as samepad.keras.to_torch makes it; raises as that does."""
    if fallback not in (None, "export"):
        raise ValueError(f"fallback must be None or 'export', but got {fallback!r}")
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
        calls = _calls_of(model)
    except UnsupportedError as error:
        raise ValueError(f"cannot convert the model {described(model)}: {error}") from None
    converter = Converter(model, layout == "torch", fallback == "export")
    result = converter.convert(calls, None)
    if converter.unsupported:
        lines = "".join(f"\n  {line}" for line in converter.unsupported.values())
        raise ValueError(
            f"cannot convert the model {model.name!r}; these layers have no counterpart in "
            f"PyTorch:{lines}" + ("" if fallback else _ADVICE)
        )
    if converter.exported:
        result.module.meta[EXPORTED] = "\n".join(converter.exported)
    return result
