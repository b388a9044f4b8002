"""Error messages about layers that cannot be converted."""

import inspect
import os
from pathlib import Path
from typing import Any

#: Ends of the names of arguments that messages leave out: they do not influence what a layer
#: computes or, as backward_layer, have a value even if they were not given.
_BESIDE_THE_POINT = (
    *("initializer", "regularizer", "constraint", "weights"),
    *("autocast", "name", "seed", "backward_layer"),
)


#: Advice about a SavedModel.
_SAVED_MODEL = (
    "a SavedModel has no layers to convert, and Keras 3 loads none as a model: "
    "samepad.tensorflow.load converts it by way of ONNX; or load it in the Keras that saved it "
    "(tf.keras up to TensorFlow 2.15, or tf_keras), save it there as .keras or .h5, and load that"
)


#: Advice about a model of Keras 2 that Keras 3 cannot compute.
BY_TENSORFLOW = (
    "save the model in the Keras that made it by model.save(folder, save_format='tf') and load "
    "that by samepad.tensorflow.load, or export it to ONNX and load that by samepad.onnx.load"
)


def saved_model(given: Any) -> str | None:
    """Return advice if something is a SavedModel of TensorFlow, else None.

    It may be the path of a folder, the object that TensorFlow loads from it, or Keras's layer that
    calls that.
    """
    if isinstance(given, (str, os.PathLike)):
        return _SAVED_MODEL if (Path(given) / "saved_model.pb").is_file() else None
    kind = type(given)
    loaded = kind.__module__.startswith("tensorflow.python.saved_model")
    return _SAVED_MODEL if loaded or kind.__name__ == "TFSMLayer" else None


def described(layer: Any) -> str:
    """Return a layer's name and class."""
    return f"{layer.name} ({type(layer).__name__})"


def _shown(value: Any) -> str:
    """Return an argument as short text: objects appear only by their name or class."""
    if isinstance(value, (list, tuple)):
        items = [_shown(item) for item in value]
        # Most layers keep an argument of 2 as (2, 2).
        return items[0] if len(set(items)) == 1 else f"({', '.join(items)})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return repr(getattr(value, "__name__", type(value).__name__))


def arguments(layer: Any) -> str:
    """Return the constructor's arguments that a layer keeps and that are not the defaults."""
    given = []
    for name, parameter in inspect.signature(type(layer).__init__).parameters.items():
        shown = _shown(getattr(layer, name, parameter.default))
        usual = shown in (_shown(parameter.default), "'channels_last'", "'linear'")
        if not usual and not name.endswith(_BESIDE_THE_POINT):
            given.append(f"{name}={shown}")
    return ", ".join(given)


def refusal(layer: Any, reason: object) -> str:
    """Return a line of an error: the layer, the reason for refusing it, and its arguments."""
    given = arguments(layer)
    return f"{described(layer)}: {reason}" + (f"; made with {given}" if given else "")
