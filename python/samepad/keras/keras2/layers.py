"""Converts Keras 2's layers, arguments and types to Keras 3's, where these have changed."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from samepad._building import UnsupportedError

Settings = dict[str, Any]

#: Makes the layer for a configuration in another layer's settings, where it is called by a name.
Nested = Callable[[str, Any], Any]

#: Layers that run code other than Keras's own, or read files that the model's file names.
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_TABLES = ("StringLookup", "IntegerLookup", "TextVectorization")

#: Classes that only models of keras.applications use, and that Keras does not publish.
OF_ARCHITECTURES = {made.__name__: made for made in (CustomScaleLayer, LayerScale, StochasticDepth)}

#: Classes that have another name in Keras 3.
_RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "ThresholdedReLU": "ReLU",
    # In inference these two return their input.
    "RandomHeight": "Identity",
    "RandomWidth": "Identity",
    # In inference it resizes, which Keras 3's does not.
    "RandomCrop": "Resizing",
}

#: Ends of the names of arguments that matter only in training.
_FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")

#: Arguments that Keras 3 lacks and that do not change what a layer computes, whatever their value:
#: shapes, which are known from the tensors, how TensorFlow computes, and how it draws numbers.
_WITHOUT_MEANING = (
    *("batch_input_shape", "build_input_shape", "input_length", "input_dtype", "batch_size"),
    *("query_shape", "key_shape", "value_shape", "implementation", "fused", "autocast"),
    "rng_type",
)

#: Further arguments that Keras 3 lacks, each with the value that corresponds to Keras 3's
#: behaviour.
_USUAL = {"groups": 1, "trainable": True}

#: The arguments by which a layer gets sublayers.
SUBLAYERS = ("layer", "backward_layer", "cell")


@keras.saving.register_keras_serializable("samepad")  # type: ignore[untyped-decorator]
def hard_sigmoid(x: Any) -> Any:
    """Keras 2's hard_sigmoid: 0.2 x + 0.5, clamped to 0 and 1. Keras 3's has another slope."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def plain(value: Any) -> Any:
    """Unwrap a value of a configuration as Keras 2's formats write it.

    The result consists of lists, tuples, arrays, numbers, text and dictionaries.
    """
    if isinstance(value, Mapping):
        kind = value.get("class_name")
        if kind in ("__tuple__", "TensorShape"):
            return tuple(plain(item) for item in value["items"])
        if kind == "__ellipsis__":
            return ...
        if kind in ("__numpy__", "__tensor__"):
            return np.asarray(value["config"]["value"], value["config"]["dtype"])
        if value.get("type") == "ndarray":
            return np.asarray(value["value"])
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def is_layer(value: Any) -> bool:
    """Whether a value of a configuration is a layer."""
    return isinstance(value, Mapping) and "class_name" in value and "config" in value


def _without(settings: Settings, *names: str) -> Settings:
    return {name: value for name, value in settings.items() if name not in names}


def _one_axis(settings: Settings) -> Settings:
    axis = settings.get("axis", -1)
    return {**settings, "axis": axis[0] if isinstance(axis, list) and len(axis) == 1 else axis}


def _renamed(old: str, new: str) -> Callable[[Settings], Settings]:
    def translate(settings: Settings) -> Settings:
        return {**_without(settings, old), **({new: settings[old]} if old in settings else {})}

    return translate


def _only(*names: str) -> Callable[[Settings], Settings]:
    return lambda settings: {name: settings[name] for name in names if name in settings}


def _gru(reset_after: bool) -> Callable[[Settings], Settings]:
    """Set the default of `reset_after` for files that are older than the argument."""
    return lambda settings: {"reset_after": reset_after, **settings}


#: For classes of Keras 2, the translation of arguments with other names or defaults.
_TRANSLATED: dict[str, Callable[[Settings], Settings]] = {
    "BatchNormalization": _one_axis,
    "BatchNormalizationV1": _one_axis,
    "BatchNormalizationV2": _one_axis,
    "SyncBatchNormalization": lambda settings: {**_one_axis(settings), "synchronized": True},
    "LeakyReLU": _renamed("alpha", "negative_slope"),
    "ThresholdedReLU": _renamed("theta", "threshold"),
    "GRU": _gru(False),
    "GRUCell": _gru(False),
    "CuDNNGRU": _gru(True),
    **dict.fromkeys(("RandomHeight", "RandomWidth"), _only("name", "dtype")),
    "RandomCrop": lambda settings: {
        **_only("name", "dtype", "height", "width")(settings),
        "crop_to_aspect_ratio": True,
    },
}


def _activation(name: str, value: Any, nested: Nested) -> Any:
    """Convert an activation, which is a function's name or a layer's configuration."""
    if is_layer(value) and isinstance(value["config"], Mapping) and "name" in value["config"]:
        return nested(name, value)
    if value == "hard_sigmoid":
        return hard_sigmoid
    if value is None or isinstance(value, str):
        with contextlib.suppress(ValueError):
            return keras.activations.get(value)
    raise UnsupportedError(f"{name} {str(value)[:100]!r} is code of its own")


def type_name(value: Any) -> str:
    """Return the name of a type, or of a layer's dtype policy."""
    while isinstance(value, Mapping):
        value = value["config"]["name"]
    return "float32" if value in (None, "_infer", "infer") else str(value)


def _argument(name: str, value: Any, nested: Nested) -> Any:
    if name == "dtype":
        return type_name(value)
    if name.endswith("activation"):
        return _activation(name, value, nested)
    if name in SUBLAYERS and is_layer(value):
        return nested(name, value)
    if name == "cells":
        return [nested(f"{name}/{i}", cell) for i, cell in enumerate(value)]
    return plain(value)


def layer_class(kind: str) -> Any:
    """Return the class in Keras 3 for one of Keras 2.

    Raises:
        UnsupportedError: There is none, or it runs code or reads tables.
    """
    name = _RENAMED.get(kind, kind)
    if name in _CODE:
        raise UnsupportedError("it is code, of which none is run")
    if name in _TABLES:
        raise UnsupportedError("it keeps a table beside the model, which is not read")
    found = OF_ARCHITECTURES.get(name) or getattr(keras.layers, name, None)
    if not (inspect.isclass(found) and issubclass(found, keras.Layer)):
        raise UnsupportedError("Keras 3 has no such class: it is code, or was removed")
    return found


def layer_of(kind: str, settings: Settings, nested: Nested) -> Any:
    """Make the layer of Keras 3 for one of Keras 2.

    Args:
        kind: The name of its class.
        settings: Its configuration.
        nested: Makes the layers among its settings.

    Raises:
        UnsupportedError: Keras 3 has no such layer, or lacks an argument that matters.
    """
    made = layer_class(kind)
    settings = _TRANSLATED.get(kind, dict)(dict(settings))
    known = set(inspect.signature(made.__init__).parameters)
    if "kwargs" in known:
        known |= {"name", "trainable", "dtype"}
    given, unknown = {}, []
    for name, value in settings.items():
        if name.endswith(_FOR_TRAINING) or name in _WITHOUT_MEANING:
            continue
        if name in known:
            given[name] = _argument(name, value, nested)
        elif value not in (None, False) and _USUAL.get(name, ...) != value:
            unknown.append(f"{name}={value!r}")
    if unknown:
        raise UnsupportedError(f"Keras 3's {made.__name__} has no {', '.join(unknown)}")
    try:
        return made(**given)
    except (TypeError, ValueError) as error:
        raise UnsupportedError(f"Keras 3's {made.__name__}: {error}") from error
