"""What is said of a layer that cannot be converted."""

import inspect
import os
from pathlib import Path
from typing import Any

#: Ends of the names of arguments that do not bear on what a layer computes; or, like the backward
#: layer, are kept alike whether they were given or not.
_BESIDE_THE_POINT = (
    *("initializer", "regularizer", "constraint", "weights"),
    *("autocast", "name", "seed", "backward_layer"),
)


#: What to do with a SavedModel.
_SAVED_MODEL = (
    "a SavedModel has no layers to convert, and Keras 3 loads none as a model: load it in the "
    "Keras that saved it (tf.keras up to TensorFlow 2.15, or tf_keras), save it there as .keras "
    "or .h5, and load that"
)


def saved_model(given: Any) -> str | None:
    """What to do where something is TensorFlow's SavedModel: a folder, what TensorFlow loads of it,
    or Keras's layer that calls it; None of anything else."""
    if isinstance(given, (str, os.PathLike)):
        return _SAVED_MODEL if (Path(given) / "saved_model.pb").is_file() else None
    kind = type(given)
    loaded = kind.__module__.startswith("tensorflow.python.saved_model")
    return _SAVED_MODEL if loaded or kind.__name__ == "TFSMLayer" else None


def described(layer: Any) -> str:
    """A layer by its name and class."""
    return f"{layer.name} ({type(layer).__name__})"


def _shown(value: Any) -> str:
    """An argument, without what would fill pages."""
    if isinstance(value, (list, tuple)):
        items = [_shown(item) for item in value]
        # Most layers keep (2, 2) of 2.
        return items[0] if len(set(items)) == 1 else f"({', '.join(items)})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return repr(getattr(value, "__name__", type(value).__name__))


def arguments(layer: Any) -> str:
    """What a layer or an operation was made with, as far as it keeps that, without defaults."""
    given = []
    for name, parameter in inspect.signature(type(layer).__init__).parameters.items():
        shown = _shown(getattr(layer, name, parameter.default))
        usual = shown in (_shown(parameter.default), "'channels_last'", "'linear'")
        if not usual and not name.endswith(_BESIDE_THE_POINT):
            given.append(f"{name}={shown}")
    return ", ".join(given)


def refusal(layer: Any, reason: object) -> str:
    """One line of an error: which layer it is, why it is refused, and what it was made with."""
    given = arguments(layer)
    return f"{described(layer)}: {reason}" + (f"; made with {given}" if given else "")
