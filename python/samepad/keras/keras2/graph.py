"""Rebuilds a model of Keras 2 from its configuration as a model of Keras 3."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from samepad._building import UnsupportedError
from samepad.keras.keras2.functions import CALLS, THROUGH, function_of
from samepad.keras.keras2.layers import OF_ARCHITECTURES, Settings, layer_of, plain, type_name

#: The classes of models that are a graph of layers; until Keras 2.3 the class was "Model".
_FUNCTIONAL = ("Functional", "Model")
MODELS = (*_FUNCTIONAL, "Sequential")

#: What a reference has in place of a layer's name if it is a constant.
_CONSTANT = "_CONSTANT_VALUE"

#: Layers whose first argument may be a list of a sequence and the initial states.
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM2D")


@dataclass
class Part:
    """A layer or a model of Keras 2, and its counterpart in Keras 3."""

    #: The name and class in Keras 2.
    name: str
    kind: str
    #: The layer or model of Keras 3; for an input, its tensor.
    layer: Any = None
    #: The function that is called, if this represents a function in place of a layer.
    function: Callable[..., Any] | None = None
    #: The layers of a model, in the configuration's order; or a layer's sublayers, by attribute.
    parts: list["Part"] = field(default_factory=list)
    #: Whether the layer of Keras 3 has been made with its weights.
    filled: bool = False


class _WaitError(Exception):
    """The call that makes a tensor has not been made yet."""


def _is_reference(value: Any) -> bool:
    """Whether a value refers to a tensor, or is a constant in place of one.

    A reference consists of a layer's name, the number of the call and the number of the output.
    """
    if not (isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str)):
        return False
    return value[0] == _CONSTANT or all(isinstance(index, int) for index in value[1:3])


def _references(value: Any) -> Iterator[list[Any]]:
    """Yield the references in a call's arguments, or in a model's inputs or outputs."""
    if _is_reference(value):
        yield value
        yield from _references(value[3:])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _references(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item)


def _mapped(value: Any, tensor: Callable[[list[Any]], Any]) -> Any:
    """Replace the references in a structure by their tensors."""
    if _is_reference(value):
        return tensor(value)
    if isinstance(value, (list, tuple)):
        return [_mapped(item, tensor) for item in value]
    if isinstance(value, Mapping) and "class_name" not in value:
        return {key: _mapped(item, tensor) for key, item in value.items()}
    return plain(value)


def _class_name(config: Mapping[str, Any]) -> str:
    """Return the name of the class of a layer or a model.

    Raises:
        UnsupportedError: It is a custom class.
    """
    package, _, name = config["class_name"].rpartition(">")
    module = config.get("module")
    if not module:
        package = package or str(config.get("registered_name") or "").rpartition(">")[0]
    own = package not in ("", "keras", "Keras") and name not in OF_ARCHITECTURES
    if own or (module and module.partition(".")[0] not in ("keras", "tf_keras", "tensorflow")):
        raise UnsupportedError("it is code, of which none is run")
    return str(name)


def is_code(live: Any) -> bool:
    """Whether code that is not Keras's computes a layer or a model of tf_keras."""
    return not type(live).call.__module__.startswith("tf_keras.")


def class_in_keras(live: Any) -> str:
    """Return the name of the class of tf_keras that a layer or a model of it has or derives from.

    Raises:
        UnsupportedError: A layer of a derived class, which may be built otherwise.
    """
    kinds = [kind for kind in type(live).__mro__ if kind.__module__.startswith("tf_keras.")]
    if kinds[0] is not type(live) and not hasattr(live, "layers"):
        raise UnsupportedError(f"it is a subclass of {kinds[0].__name__}")
    return str(kinds[0].__name__)


def build_activations(part: Part) -> None:
    """Make the weights of layers that are the activations of others, in a part.

    Keras 3 makes them when the activation runs, and computes the shapes in a model without it.
    """
    for inner in part.parts:
        if inner.name.endswith("activation") and not inner.layer.built:
            nodes, built = part.layer._inbound_nodes, part.layer.get_build_config()
            if nodes:
                inner.layer.build(nodes[0].outputs[0].shape)
            elif built and "input_shape" in built:
                inner.layer.build(part.layer.compute_output_shape(built["input_shape"]))
        build_activations(inner)


def _name_of(config: Mapping[str, Any]) -> str | None:
    """Return the name of a layer or a model, if its configuration has one."""
    settings = config["config"]
    return config.get("name") or (settings.get("name") if isinstance(settings, Mapping) else None)


class Rebuilder:
    """Rebuilds a model, and collects the reasons for everything that it cannot rebuild."""

    def __init__(self, twin: Callable[[Any], Any] | None = None) -> None:
        """Start without problems.

        Args:
            twin: Makes the layer of Keras 3, with its weights, for a layer of tf_keras whose code
                is someone's own; needed to rebuild models that the program holds.
        """
        self.twin = twin
        #: One line for each layer that cannot be rebuilt in Keras 3.
        self.problems: list[str] = []

    def part(self, config: Mapping[str, Any], live: Any = None) -> Part:
        """Rebuild a layer or a model; if that is not possible, add a line to `problems`.

        Args:
            config: Its configuration.
            live: The layer or model of tf_keras itself, if the program holds it.
        """
        settings = config["config"]
        kind = config["class_name"]
        name = live.name if live is not None else _name_of(config) or kind
        part = Part(name, kind)
        try:
            if self.twin and live is not None and is_code(live):
                part.layer, part.filled = self.twin(live), True
                return part
            part.kind = kind = class_in_keras(live) if live is not None else _class_name(config)
            if kind in _FUNCTIONAL:
                self._functional(part, settings, live)
            elif kind == "Sequential":
                self._sequential(part, settings, config.get("build_config"), live)
            elif kind == "InputLayer":
                part.layer = _input(settings)
            elif kind in THROUGH:
                part.function = lambda first, **_: first
            elif kind in CALLS:
                part.function = function_of(kind, settings)
            else:
                self._layer(part, settings, live)
        except UnsupportedError as error:
            self.problems.append(f"{name} ({kind}): {error}")
        return part

    def _layer(self, part: Part, settings: Settings, live: Any) -> None:
        def nested(attribute: str, config: Any) -> Any:
            inner = self.part(config, getattr(live, attribute, None))
            part.parts.append(replace(inner, name=attribute))
            return inner.layer

        if not isinstance(settings, Mapping):
            raise UnsupportedError("its configuration is not that of a layer")
        made = layer_of(part.kind, {**settings, "name": fit(part.name)}, nested)
        part.layer = made

    def _parts(self, configs: list[Any], live: Any) -> list[Part]:
        """Rebuild the layers of a model."""
        if live is None:
            return [self.part(config) for config in configs]
        # Also an InputLayer, which the attribute `layers` of a Sequential model leaves out.
        layers = live._flatten_layers(include_self=False, recursive=False)
        return [self.part(*each) for each in zip(configs, layers, strict=True)]

    def _sequential(self, part: Part, settings: Any, built: Any, live: Any) -> None:
        configs = settings["layers"] if isinstance(settings, Mapping) else settings
        part.parts = self._parts(configs, live)
        if self.problems:
            return
        layers = [inner.layer for inner in part.parts]
        shape = _shape_of(configs[0]) if configs else None
        if shape is None and isinstance(settings, Mapping):
            shape = settings.get("build_input_shape") or (built or {}).get("input_shape")
        if shape is not None and part.parts[0].kind != "InputLayer":
            layers.insert(0, keras.Input(batch_shape=tuple(plain(shape))))
        part.layer = keras.Sequential(layers, name=fit(part.name))

    def _functional(self, part: Part, settings: Settings, live: Any) -> None:
        configs = settings["layers"]
        part.parts = self._parts(configs, live)
        if self.problems:
            return
        graph = _Graph(dict(zip((config["name"] for config in configs), part.parts, strict=True)))
        ends = [settings["input_layers"], settings["output_layers"]]
        graph.run(configs, ends)
        inputs, outputs = (_alone(_mapped(end, graph.tensor)) for end in ends)
        part.layer = keras.Model(inputs, outputs, name=fit(part.name))


def fit(name: str) -> str:
    """Return a layer's name in the form that Keras 3 accepts."""
    return name.replace("/", "_")


def _shape_of(config: Any) -> Any:
    """Return the input shape, with batch, that a model's first layer has, or None."""
    while True:
        settings = config["config"]
        layers = settings.get("layers") if isinstance(settings, Mapping) else settings
        if not layers:
            return settings.get("batch_input_shape")
        config = layers[0]


def _input(settings: Settings) -> Any:
    if settings.get("ragged") or settings.get("sparse"):
        raise UnsupportedError("ragged or sparse tensors")
    shape = settings.get("batch_input_shape", settings.get("batch_shape"))
    return keras.Input(
        batch_shape=tuple(plain(shape)),
        dtype=type_name(settings.get("dtype")),
        name=fit(settings["name"]),
    )


def _alone(structure: Any) -> Any:
    """Return the item of a list of one item, as Keras 2 does; other structures unchanged."""
    return structure[0] if isinstance(structure, list) and len(structure) == 1 else structure


class _Graph:
    """The calls of a model's layers."""

    def __init__(self, parts: dict[str, Part]) -> None:
        """Start with the layers by name, and the inputs' tensors."""
        self.parts = parts
        #: For each layer, the flat list of outputs of each call that has been made.
        self.outputs: dict[str, list[list[Any]]] = {
            name: [[part.layer]] for name, part in parts.items() if part.kind == "InputLayer"
        }
        #: Names that are taken, and the ids of operations that have got theirs.
        self.names = {fit(name) for name, part in parts.items() if not part.function}
        self.known: set[int] = set()
        #: The number of each layer's first call, which is 1 for nested models.
        self.first: dict[str, int] = {}

    def tensor(self, reference: list[Any]) -> Any:
        """Return the tensor of a reference.

        Raises:
            _WaitError: The call that makes it has not been made yet.
        """
        name, call, output, *_ = reference
        if name == _CONSTANT:
            return plain(output)
        calls = self.outputs.get(name, [])
        index = call - self.first[name]
        if index >= len(calls):
            raise _WaitError
        return calls[index][output]

    def run(self, configs: list[Any], ends: Any) -> None:
        """Make all calls, each after the calls that make its tensors.

        Raises:
            UnsupportedError: Keras 3 cannot make a call; or a tensor depends on itself or on a call
                that does not exist.
        """
        waiting = {config["name"]: list(config.get("inbound_nodes") or []) for config in configs}
        for name, call, *_ in _references([list(waiting.values()), ends]):
            self.first[name] = min(call, self.first.get(name, call))
        while waiting:
            left = {}
            for name, calls in waiting.items():
                made = 0
                try:
                    for call in calls:
                        self.call(name, call)
                        made += 1
                except _WaitError:
                    left[name] = calls[made:]
            if left == waiting:
                raise UnsupportedError(f"nothing gives the inputs of {', '.join(left)}")
            waiting = left

    def call(self, name: str, inbound: Any) -> None:
        """Make one call of a layer from the references to its arguments."""
        part = self.parts[name]
        named: dict[str, Any] = {}
        for reference in _references(inbound):
            if len(reference) == 4:
                named = _mapped(reference[3], self.tensor)
                break
        given = _mapped(inbound, self.tensor)
        named = {key: value for key, value in named.items() if value is not None}
        try:
            if part.function:
                outputs = part.function(given, **named)
                self.rename(part, keras.tree.flatten(outputs))
            else:
                outputs = _called(part, given, named)
        except (UnsupportedError, ValueError, TypeError) as error:
            raise UnsupportedError(f"the call of {name} ({part.kind}): {error}") from error
        self.outputs.setdefault(name, []).append(keras.tree.flatten(outputs))

    def rename(self, part: Part, tensors: list[Any]) -> None:
        """Give the operations that a function consists of names that no layer has."""
        while tensors:
            tensor = tensors.pop()
            operation, call, _ = getattr(tensor, "_keras_history", (None, 0, 0))
            if operation is None or id(operation) in self.known or hasattr(operation, "weights"):
                continue
            self.known.add(id(operation))
            name = fit(part.name)
            while name in self.names:
                name = f"{name}_{type(operation).__name__}"
            operation.name = name
            self.names.add(name)
            tensors += operation._inbound_nodes[call].input_tensors


def _called(part: Part, given: Any, named: dict[str, Any]) -> Any:
    """Call a layer of Keras 3, and return its outputs."""
    given = _alone(given)
    if part.kind in _RECURRENT and isinstance(given, list):
        given, *named["initial_state"] = given
    return part.layer(given, **named)
