"""Rebuilds layers and models of tf_keras that the program holds, also those with code of their own.

A layer or a model with code of its own gets a twin: a layer or a model of Keras 3 with the same
methods and attributes, where the layers among the attributes are of Keras 3 too.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from samepad._building import UnsupportedError
from samepad.keras.errors import BY_TENSORFLOW
from samepad.keras.keras2.graph import Part, Rebuilder, build_activations, fit, is_code
from samepad.keras.keras2.weights import fill_from_live
from samepad.keras.structures import mapped

#: Packages whose classes among the bases of a custom layer a twin does not take methods from.
_NOT_OWN = ("tf_keras", "tensorflow", "builtins")

#: What a twin does not take from a class: it is not constructed or built again.
_LEFT_OUT = ("__init__", "__new__", "__dict__", "__weakref__", "build", "get_config", "from_config")

#: The settings that say for which shapes a layer was built, where there are several.
_SHAPES = ("query_shape", "value_shape", "key_shape")


def rebuilt(
    config: Mapping[str, Any], live: Any = None, twin: Callable[[Any], Any] | None = None
) -> Part:
    """Rebuild a model or layer from its configuration, without weights.

    Args:
        config: The configuration.
        live: The model or layer of tf_keras, if the program holds it.
        twin: As Rebuilder takes it.

    Raises:
        ValueError: It contains layers or arguments that Keras 3 lacks; the message names them all.
            Or the configuration is none that Keras 2 writes.
    """
    rebuilder = Rebuilder(twin)
    try:
        part = rebuilder.part(config, live)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"its configuration is none that Keras 2 writes ({type(error).__name__}: {error})"
        ) from error
    if rebuilder.problems:
        lines = ";\n  ".join(rebuilder.problems)
        raise ValueError(
            f"these of its layers cannot be made in Keras 3:\n  {lines}.\nInstead, {BY_TENSORFLOW}"
        )
    build_activations(part)
    return part


def _kinds(given: Any) -> list[str]:
    """Return the names of the classes of tf_keras that something is an instance of."""
    kinds = type(given).__mro__
    return [kind.__name__ for kind in kinds if kind.__module__.startswith("tf_keras.")]


class Twins:
    """Makes layers and models of Keras 3 for those of tf_keras: one for each."""

    def __init__(self) -> None:
        """Start without any."""
        #: Each layer of tf_keras with its counterpart, by its id.
        self.known: dict[int, tuple[Any, Any]] = {}

    def of(self, given: Any) -> Any:
        """Return the counterpart, with weights, of a layer or a model of tf_keras.

        Raises:
            ValueError: Keras 3 lacks a layer or an argument.
        """
        if id(given) not in self.known:
            made = self._custom(given) if is_code(given) else self._of_keras(given)
            self.known[id(given)] = given, made
        return self.known[id(given)][1]

    def _of_keras(self, given: Any) -> Any:
        """Rebuild a layer or a model of tf_keras's own classes."""
        try:
            settings = given.get_config()
        except NotImplementedError as error:
            raise UnsupportedError(f"a layer in it has no get_config: {error}") from error
        config = {"class_name": type(given).__name__, "config": settings}
        part = rebuilt(config, given, self.of)
        if not hasattr(given, "layers") and given.weights:
            shapes = {name: tuple(settings[name]) for name in _SHAPES if settings.get(name)}
            if shapes:
                part.layer.build(**shapes)
            else:
                part.layer.build(given.get_build_config()["input_shape"])
            build_activations(part)
        fill_from_live(part, given)
        return part.layer

    def _custom(self, given: Any) -> Any:
        """Make the twin of a layer or a model with code of its own."""
        kind = type(given)
        own: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            if base.__module__.partition(".")[0] not in _NOT_OWN:
                own.update(vars(base))
        first = _kinds(given)[0]
        if first not in ("Layer", "Model"):
            raise UnsupportedError(f"{given.name} ({kind.__name__}) is a subclass of {first}")
        methods = {name: value for name, value in own.items() if name not in _LEFT_OUT}
        parent = keras.Model if first == "Model" else keras.Layer
        twin: Any = type(kind.__name__, (parent,), methods)(
            name=fit(given.name), dtype=given.dtype_policy.name, trainable=given.trainable
        )
        base = next(each for each in kind.__mro__ if each.__module__.startswith("tf_keras."))
        of_keras = vars(base())
        for name, value in vars(given).items():
            if name not in of_keras:
                setattr(twin, name, mapped(_plain(value), self._attribute))
        twin._build_shapes_dict = _shapes(given)
        twin.built = True
        return twin

    def _attribute(self, value: Any) -> Any:
        """Return what a twin has for an attribute of tf_keras's layer."""
        kinds = _kinds(value)
        if "Layer" in kinds and "Metric" not in kinds:
            return self.of(value)
        if hasattr(value, "assign") and hasattr(value, "numpy"):
            name = value.name.partition(":")[0].rpartition("/")[2]
            return keras.Variable(np.asarray(value), name=name, trainable=value.trainable)
        return value


def _plain(value: Any) -> Any:
    """Return a structure without the wrappers that TensorFlow puts around lists and dicts."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    # A named tuple takes its items one by one.
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def _shapes(given: Any) -> dict[str, Any]:
    """Return the shapes on which a custom layer was first called, as Keras 3 keeps them."""
    names = list(inspect.signature(given.call).parameters)
    arguments, named = given._saved_model_arg_spec or ((), {})
    in_order = (given._saved_model_inputs_spec, *arguments)
    specs = {**dict(zip(names, in_order, strict=False)), **named}
    return {
        f"{name}_shape": mapped(_plain(spec), lambda each: tuple(each.shape))
        for name, spec in specs.items()
        if all(hasattr(each, "shape") for each in keras.tree.flatten(_plain(spec)))
    }
