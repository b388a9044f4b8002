"""Rebuilds models of Keras 2, which Keras 3 does not load, in Keras 3.

They come from files, with their configuration and weights, or are models of the package tf_keras in
the running program. Nothing is deserialized: layers are made by name from plain values, and called
one after another.
"""

import json
from collections.abc import Mapping
from typing import Any

from samepad.keras.errors import BY_TENSORFLOW
from samepad.keras.keras2.graph import MODELS, Part
from samepad.keras.keras2.twins import Twins, rebuilt
from samepad.keras.keras2.weights import fill_from_archive, fill_from_h5

__all__ = ["from_archive", "from_h5", "from_live"]


def _of_file(text: str | bytes) -> Part:
    """Rebuild the model of a file from its configuration, without weights.

    Raises:
        ValueError: As `from_h5`.
    """
    config = json.loads(text)
    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ValueError("its configuration is not that of a model of Keras 2")
    kind = str(config["class_name"]).rpartition(">")[2]
    if kind not in MODELS:
        raise ValueError(
            f"{kind} is a subclass of Model, whose computation is code that the file lacks: "
            f"{BY_TENSORFLOW}; or make it there, call its load_weights with the file, and "
            "give it to samepad.keras.load_weights"
        )
    return rebuilt(config)


def from_h5(config: str | bytes, file: Any) -> Any:
    """Rebuild the model in an .h5 file of Keras 2.

    Args:
        config: Its configuration, as JSON.
        file: The open h5py.File.

    Raises:
        ValueError: The model contains code, or layers or arguments that Keras 3 lacks; or the
            weights do not fit it.
    """
    model = _of_file(config)
    fill_from_h5(model, file)
    return model.layer


def from_archive(config: bytes, file: Any) -> Any:
    """Rebuild the model in a .keras file of Keras 2.

    Args:
        config: Its configuration, as JSON.
        file: The open h5py.File with its weights.

    Raises:
        ValueError: As `from_h5`.
    """
    model = _of_file(config)
    fill_from_archive(model, file)
    return model.layer


def from_live(given: Any) -> Any:
    """Rebuild a model or a layer of tf_keras in Keras 3; raises ValueError as `from_h5`.

    Someone's own layers and models, whose code the program holds, keep their code.
    """
    return Twins().of(given)
