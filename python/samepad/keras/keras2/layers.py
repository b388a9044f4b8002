"""The layers of Keras 2 in Keras 3: other names, other arguments, and what a name used to mean."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from samepad._building import UnsupportedError

Settings = dict[str, Any]

#: Makes what stands for a layer inside of another one's settings, which is there called by a name.
Nested = Callable[[str, Any], Any]

#: Layers that run code that is not Keras's own, or read files that the model file names.
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_TABLES = ("StringLookup", "IntegerLookup", "TextVectorization")

#: Classes that only models of keras.applications have, by which no name is published.
OF_ARCHITECTURES = {made.__name__: made for made in (CustomScaleLayer, LayerScale, StochasticDepth)}

#: Classes that are called otherwise in Keras 3.
_RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "ThresholdedReLU": "ReLU",
}

#: Ends of the names of arguments that matter in training alone.
_FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")

#: Arguments that Keras 3 has not, and that change nothing here whatever they are: shapes, which
#: tensors tell, and how TensorFlow computes.
_WITHOUT_MEANING = (
    *("batch_input_shape", "build_input_shape", "input_length", "input_dtype", "batch_size"),
    *("query_shape", "key_shape", "value_shape", "implementation", "fused", "autocast"),
)

#: Other such arguments, with the value that says what Keras 3 does always.
_USUAL = {"groups": 1, "trainable": True}

#: Where a layer has sublayers.
SUBLAYERS = ("layer", "backward_layer", "cell")


@keras.saving.register_keras_serializable("samepad")  # type: ignore[untyped-decorator]
def hard_sigmoid(x: Any) -> Any:
    """What Keras 2 calls hard_sigmoid: 0.2 x + 0.5 between 0 and 1. Keras 3's has another slope."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def plain(value: Any) -> Any:
    """A value of a configuration, as Keras 2's formats write it, without their wrapping: lists,
    tuples, arrays, numbers, text and dictionaries."""
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


def _gru(reset_after: bool) -> Callable[[Settings], Settings]:
    """GRU of a file from before the argument was there."""
    return lambda settings: {"reset_after": reset_after, **settings}


#: By the class in Keras 2: arguments that are called otherwise, or had other defaults.
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
}


def _activation(value: Any, nested: Nested) -> Any:
    """An activation: a function's name, or a layer."""
    if is_layer(value):
        return nested("activation", value)
    if value == "hard_sigmoid":
        return hard_sigmoid
    try:
        return keras.activations.get(value)
    except (ValueError, TypeError):
        raise UnsupportedError(f"activation {value!r} is code of its own") from None


def _dtype(value: Any) -> str:
    """A type, or the policy of types of a layer."""
    while isinstance(value, Mapping):
        value = value["config"]["name"]
    return "float32" if value in (None, "_infer", "infer") else str(value)


def _argument(name: str, value: Any, nested: Nested) -> Any:
    if name == "dtype":
        return _dtype(value)
    if name.endswith("activation"):
        return _activation(value, nested)
    if name in SUBLAYERS and is_layer(value):
        return nested(name, value)
    if name == "cells":
        return [nested(f"{name}/{i}", cell) for i, cell in enumerate(value)]
    return plain(value)


def layer_class(kind: str) -> Any:
    """The class in Keras 3 for one of Keras 2.

    Raises:
        UnsupportedError: There is none, or it runs code.
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
    """The layer of Keras 3 for one of Keras 2.

    Args:
        kind: Its class.
        settings: Its configuration.
        nested: Makes the layers that are among its settings.

    Raises:
        UnsupportedError: Keras 3 has no such layer, or it lacks an argument that says something.
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
    return made(**given)
