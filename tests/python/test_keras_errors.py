"""Tests which models samepad.keras.to_torch refuses, and its messages."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import numpy as np
import pytest
import samepad.keras
import tensorflow
from keras import layers
from keras_oracle import IMAGE, SEQUENCE, Custom, sequential, small


def test_everything_unsupported_is_named_at_once() -> None:
    model = sequential(
        SEQUENCE,
        Custom(name="mine"),
        layers.Dropout(0.5, noise_shape=(1, 1, 1), name="wet"),
        layers.Dense(4, activation=lambda x: x * 2, name="dense_lambda"),
        layers.Lambda(lambda x: x, name="lambda_layer"),
        layers.Dense(4, name="fine"),
    )
    with pytest.raises(ValueError, match="no counterpart") as raised:
        samepad.keras.to_torch(model)
    title, *reasons, advice = str(raised.value).splitlines()
    assert "no counterpart" in title
    assert len(reasons) == 3
    assert 'fallback="export"' in advice
    assert "wet (Dropout): noise_shape=(1, 1, 1)" in str(raised.value)
    assert "made with rate=0.5" in str(raised.value)
    assert "dense_lambda" in str(raised.value)
    assert "lambda_layer (Lambda): it holds code of its own" in str(raised.value)
    assert "whose call uses keras.ops" in str(raised.value)
    assert "fine" not in str(raised.value)
    assert "mine" not in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "layer", "reason"),
    [
        (IMAGE, lambda: layers.Resizing(7, 7, antialias=True), "antialias=True"),
        (IMAGE, lambda: layers.Resizing(7, 7, interpolation="area"), "interpolation='area'"),
        (IMAGE, lambda: layers.GroupNormalization(2, axis=2), "axis=2"),
        (IMAGE, lambda: layers.AlphaDropout(0.1, noise_shape=(None, 1, 1, 1)), "noise_shape"),
        (IMAGE, lambda: layers.TimeDistributed(Custom()), "it has no graph"),
        (IMAGE, lambda: layers.Dropout(0.1, noise_shape=(None, 13, 1, 1)), "noise_shape"),
        (SEQUENCE, lambda: layers.Dropout(0.1, noise_shape=(1, 1, 1)), "noise_shape"),
    ],
)
def test_arguments_without_counterpart(shape: Any, layer: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        samepad.keras.to_torch(sequential(shape, layer()))


def test_models_in_models_that_cannot_be_followed() -> None:
    inner = Outside([keras.Input((4,)), layers.Dense(4)], name="inner")
    model = sequential((4,), layers.Lambda(lambda x: x, name="unit"), inner, layers.Dense(3))
    with pytest.raises(ValueError, match="unit") as raised:
        samepad.keras.to_torch(model)
    assert "inner (Outside): its code cannot be followed" in str(raised.value)


def test_layers_without_counterpart() -> None:
    with pytest.raises(ValueError, match=r"\(Solarization\): no counterpart"):
        samepad.keras.to_torch(sequential((8, 8, 3), layers.Solarization()))


@pytest.mark.parametrize("given", [3, None, "model.keras", layers.Dense(3)])
def test_what_is_no_model(given: Any) -> None:
    with pytest.raises(TypeError, match=rf"keras_model must be .*\({type(given).__name__}\)"):
        samepad.keras.to_torch(given)


def test_a_model_called_otherwise_than_by_its_inputs() -> None:
    x = keras.Input((4,), name="a")
    inner = keras.Model({"a": x}, layers.Dense(3)(x), name="inner")
    wide = sequential((4, 1), layers.Flatten())
    wide.name = "wide"
    model = keras.Model(x, wide(x))  # Keras adds a dimension to the input
    with pytest.raises(ValueError, match=r"wide .*: called with 1 inputs of ranks \[2\]"):
        samepad.keras.to_torch(model)
    y = keras.Input((4,))
    model = keras.Model([x, y], inner({"a": x, "b": y}))
    with pytest.raises(ValueError, match=r"inner .*: called with \['a', 'b'\]"):
        samepad.keras.to_torch(model)


def test_models_without_a_graph() -> None:
    with pytest.raises(ValueError, match="not built"):
        samepad.keras.to_torch(keras.Sequential([layers.Dense(3)]))

    class Subclass(keras.Model):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return tensorflow.nn.relu(inputs)

    model = Subclass()
    model(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="its code cannot be followed"):
        samepad.keras.to_torch(model)
    with pytest.raises(ValueError, match="input_layout must be"):
        samepad.keras.to_torch(small(), input_layout="nchw")  # type: ignore[arg-type]


class Outside(keras.Sequential):
    """A custom model that computes by functions that are not Keras's."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return tensorflow.nn.relu(super().call(*args, **kwargs))


def test_what_would_give_other_numbers_is_refused() -> None:
    given = keras.Input((4, 5))
    ones = keras.ops.ones((1, 4, 5))
    quantized = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    quantized.layers[-1].quantize("int8")
    for model, message in (
        (keras.Model(given, keras.ops.softmax(given, axis=None)), "axis=None"),
        (keras.Model(given, layers.BatchNormalization()(given, training=True)), "training=True"),
        (quantized, "quantized to int8"),
        (keras.Model(given, layers.Add()([given, ones])), "called with a constant"),
        (
            keras.Model(given, layers.GRU(3)(given, initial_state=keras.ops.ones((1, 3)))),
            "called with a constant",
        ),
        (keras.Model(given, layers.Rescaling(np.ones((4, 1)))(given)), "one per channel"),
        (Outside([keras.Input((4,)), layers.Dense(3)]), "its code cannot be followed"),
    ):
        with pytest.raises(ValueError, match=message):
            samepad.keras.to_torch(model)


def test_layers_are_described_by_what_they_were_made_with() -> None:
    steps = keras.Input(batch_shape=(2, *SEQUENCE))
    both = layers.Bidirectional(layers.LSTM(3, stateful=True))
    with pytest.raises(ValueError, match="stateful=True") as raised:
        samepad.keras.to_torch(keras.Model(steps, both(steps)))
    assert "backward_layer" not in str(raised.value)
