"""Compares Keras models with what they are converted to; makes models for that."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import numpy as np
import samepad.keras
import torch
from keras import layers
from samepad.source import write_source

IMAGE = (13, 10, 6)
VOLUME = (6, 7, 5, 2)
SEQUENCE = (12, 6)


def randomize(model: Any) -> None:
    """Replace the ones and zeros with which new layers begin by random weights."""
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.dtype in ("float32", "float64"):
            value = generator.normal(0, 0.3, variable.shape)
            variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)


def inputs_for(model: Any) -> list[Any]:
    generator = np.random.default_rng(1)
    arrays = []
    for tensor in model.inputs:
        shape = [2 if size is None else size for size in tensor.shape]
        if tensor.dtype == "int32":
            arrays.append(generator.integers(0, 5, shape).astype(np.int32))
        else:
            arrays.append(generator.normal(0, 2, shape).astype(tensor.dtype))
    return arrays


def flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def assert_equal(model: Any, input_layout: Any = "keras") -> Any:
    """Check that the converted model and the class of its source compute the same as Keras."""
    randomize(model)
    module = samepad.keras.to_torch(model, input_layout=input_layout).eval()
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    written = namespace["Model"]().eval()
    written.load_state_dict(module.state_dict())
    arrays = inputs_for(model)
    expected = flat(model(arrays if len(arrays) > 1 else arrays[0], training=False))
    tensors = [torch.from_numpy(array) for array in arrays]
    if input_layout == "torch":
        tensors = [t.movedim(-1, 1) if t.dim() > 3 else t for t in tensors]
    found, again = flat(module(*tensors)), flat(written(*tensors))
    assert len(expected) == len(found) == len(again)
    for theirs, ours, twin in zip(expected, found, again, strict=True):
        value = np.asarray(theirs)
        if input_layout == "torch" and ours.dim() > 3:
            ours, twin = ours.movedim(1, -1), twin.movedim(1, -1)
        assert ours.shape == value.shape
        scale = max(float(np.abs(value).max()), 1e-6)
        assert float(np.abs(ours.detach().numpy() - value).max()) <= 1e-5 * scale
        assert torch.equal(ours, twin)
    return module


def sequential(shape: Any, *stack: Any, dtype: str = "float32") -> Any:
    return keras.Sequential([layers.Input(shape, dtype=dtype), *stack])


def small() -> Any:
    return sequential(
        (16, 16, 3),
        layers.Conv2D(4, 3, 2, "same", activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(3),
    )


class Custom(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs
