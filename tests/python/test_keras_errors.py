"""Tests which models samepad.keras.to_torch refuses, and its messages."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import numpy as np
import pytest
import samepad.keras
from keras import layers
from keras_oracle import IMAGE, SEQUENCE, Custom, sequential, small


def test_everything_unsupported_is_named_at_once() -> None:
    model = sequential(
        SEQUENCE,
        Custom(name="mine"),
        layers.LSTM(4, activation="relu", return_sequences=True, name="relu_lstm"),
        layers.GRU(4, dropout=0.5, name="wet_gru"),
        layers.Dense(4, activation=lambda x: x * 2, name="dense_lambda"),
        layers.Lambda(lambda x: x, name="lambda_layer"),
        layers.Dense(4, name="fine"),
    )
    with pytest.raises(ValueError, match="no counterpart") as raised:
        samepad.keras.to_torch(model)
    assert len(str(raised.value).splitlines()) == 6
    assert "wet_gru (GRU): dropout inside of a recurrent layer" in str(raised.value)
    assert "made with units=4, dropout=0.5" in str(raised.value)
    for text in ("mine (Custom)", "relu_lstm", "'relu'", "wet_gru", "dense_lambda"):
        assert text in str(raised.value)
    assert "lambda_layer (Lambda)" in str(raised.value)
    assert "fine" not in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "layer", "reason"),
    [
        ((7,), lambda: layers.Embedding(5, 3, mask_zero=True), "mask_zero"),
        (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bicubic"), "bicubic"),
        (SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(3, dropout=0.1)), "dropout"),
        (
            SEQUENCE,
            lambda: layers.Bidirectional(
                layers.LSTM(3), backward_layer=layers.LSTM(3, go_backwards=True, dropout=0.1)
            ),
            "dropout",
        ),
        (
            SEQUENCE,
            lambda: layers.Bidirectional(
                layers.LSTM(3), backward_layer=layers.LSTM(3, "relu", go_backwards=True)
            ),
            "directions of several activations",
        ),
        (
            SEQUENCE,
            lambda: layers.Bidirectional(
                layers.GRU(3),
                backward_layer=layers.GRU(3, reset_after=False, go_backwards=True),
            ),
            "directions of which one has reset_after=False",
        ),
        (SEQUENCE, lambda: layers.Bidirectional(layers.RNN(layers.LSTMCell(3))), "directions that"),
        (SEQUENCE, lambda: layers.LSTM(3, activation=layers.ReLU()), "activation='ReLU'"),
        (IMAGE, lambda: layers.BatchNormalization(axis=2), "axis=2"),
        (IMAGE, lambda: layers.AlphaDropout(0.1, noise_shape=(None, 1, 1, 1)), "noise_shape"),
        (IMAGE, lambda: layers.TimeDistributed(Custom()), "it has no graph"),
        (IMAGE, lambda: Custom(), "not of Keras: it is code"),
        (IMAGE, lambda: layers.LayerNormalization(axis=1), "axis"),
        (IMAGE, lambda: layers.Dropout(0.1, noise_shape=(None, 13, 1, 1)), "noise_shape"),
        (SEQUENCE, lambda: layers.Dropout(0.1, noise_shape=(1, 1, 1)), "noise_shape"),
        (SEQUENCE, lambda: layers.Masking(), "Masking"),
        (SEQUENCE, lambda: layers.LSTM(3, dropout=0.1), "dropout"),
    ],
)
def test_arguments_without_counterpart(shape: Any, layer: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        samepad.keras.to_torch(sequential(shape, layer()))


def test_models_in_models_that_cannot_be_followed() -> None:
    inner = Hundredfold([keras.Input((4,)), layers.Dense(4)], name="inner")
    model = sequential((4,), layers.UnitNormalization(name="unit"), inner, layers.Dense(3))
    with pytest.raises(ValueError, match="unit") as raised:
        samepad.keras.to_torch(model)
    assert "inner (Hundredfold): it is a subclass of keras.Model" in str(raised.value)


def test_layers_called_on_more_than_they_have_counterparts_for() -> None:
    x, mask = keras.Input(SEQUENCE), keras.Input(SEQUENCE)
    _, *states = layers.LSTM(3, return_state=True)(x)
    both = layers.Bidirectional(layers.LSTM(3), name="both")(x, initial_state=states * 2)
    with pytest.raises(ValueError, match=r"both .*called on 5 tensors"):
        samepad.keras.to_torch(keras.Model(x, both))
    masked = layers.Softmax(name="masked")(x, mask)
    with pytest.raises(ValueError, match=r"masked .*called on 2 tensors"):
        samepad.keras.to_torch(keras.Model([x, mask], masked))


def test_layers_that_train_alone_have_no_counterpart() -> None:
    with pytest.raises(ValueError, match=r"\(RandomFlip\): no counterpart"):
        samepad.keras.to_torch(sequential(IMAGE, layers.RandomFlip()))


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
            return inputs

    model = Subclass()
    model(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"subclass of keras\.Model"):
        samepad.keras.to_torch(model)
    with pytest.raises(ValueError, match="input_layout must be"):
        samepad.keras.to_torch(small(), input_layout="nchw")  # type: ignore[arg-type]


class Hundredfold(keras.Sequential):
    """A custom model that computes more than its layers."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return super().call(*args, **kwargs) * 100


def tanh(x: Any) -> Any:
    """A custom function that has the name of one of Keras's activations."""
    return x / 2


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
        (keras.Model(given, layers.LSTM(3, activation=tanh)(given)), "activation='.*tanh'"),
        (keras.Model(given, layers.Rescaling(np.ones((4, 1)))(given)), "one per channel"),
        (Hundredfold([keras.Input((4,)), layers.Dense(3)]), "whose computation is code"),
    ):
        with pytest.raises(ValueError, match=message):
            samepad.keras.to_torch(model)


def test_masks_are_refused_where_they_are_made_and_taken() -> None:
    """The functions by which Keras makes masks are not listed."""
    steps, words = keras.Input(SEQUENCE), keras.Input((7,))
    masked = layers.Masking(name="masking")(steps)
    embedded = layers.Embedding(5, 3, mask_zero=True, name="words")(words)
    outputs = [layers.LSTM(3, name="lstm")(masked), layers.GRU(3, name="gru")(embedded)]
    model = keras.Model([steps, words], outputs)
    with pytest.raises(ValueError, match="masking") as raised:
        samepad.keras.to_torch(model)
    lines = str(raised.value).splitlines()[1:]
    assert sorted(line.split(":")[0].strip() for line in lines) == [
        "gru (GRU)",
        "lstm (LSTM)",
        "masking (Masking)",
        "words (Embedding)",
    ]
    assert "masking (Masking): masks" in str(raised.value)


def test_layers_are_described_by_what_they_were_made_with() -> None:
    steps = keras.Input(SEQUENCE)
    both = layers.Bidirectional(layers.LSTM(3, return_state=True))
    with pytest.raises(ValueError, match="return_state") as raised:
        samepad.keras.to_torch(keras.Model(steps, both(steps)))
    assert "backward_layer" not in str(raised.value)
