"""Rebuilds models of Keras 2, which Keras 3 does not load, in Keras 3.

They come from files, with their configuration and weights, or are models of the package tf_keras in
the running program. Nothing is deserialized: layers are made by name from plain values, and called
one after another.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from samepad.keras.keras2.graph import MODELS, Part, Rebuilder
from samepad.keras.keras2.weights import fill, fill_from_archive, fill_from_h5

__all__ = ["from_archive", "from_h5", "from_live"]


def _rebuilt(config: Mapping[str, Any]) -> Part:
    """Rebuild a model or layer from its configuration, without weights.

    Raises:
        ValueError: It contains layers or arguments that Keras 3 lacks; the message names them all.
    """
    rebuilder = Rebuilder()
    part = rebuilder.part(config)
    if rebuilder.problems:
        lines = "".join(f"\n  {line}" for line in rebuilder.problems)
        raise ValueError(f"these of its layers cannot be made in Keras 3:{lines}")
    return part


def from_h5(config: str | bytes, file: Any) -> Any:
    """Rebuild the model in an .h5 file of Keras 2.

    Args:
        config: Its configuration, as JSON.
        file: The open h5py.File.

    Raises:
        ValueError: The model contains code, or layers or arguments that Keras 3 lacks; or the
            weights do not fit it.
    """
    model = _rebuilt(json.loads(config))
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
    model = _rebuilt(json.loads(config))
    fill_from_archive(model, file)
    return model.layer


def from_live(given: Any) -> Any:
    """Rebuild a model or a layer of tf_keras in Keras 3; raises ValueError as `from_h5`."""

    def arrays_of(layer: Any) -> list[Any]:
        weights = (*layer.trainable_weights, *layer.non_trainable_weights)
        return [np.asarray(weight) for weight in weights]

    part = _rebuilt({"class_name": type(given).__name__, "config": given.get_config()})
    if part.kind in MODELS:
        fill(part, lambda name: arrays_of(given.get_layer(name)))
    else:
        part.layer.build(given.get_build_config()["input_shape"])
        fill(Part("", "Sequential", parts=[part]), lambda _: arrays_of(given))
    return part.layer
