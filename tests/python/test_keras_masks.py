"""Compares masks, and recurrent layers that are computed step by step, with Keras."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import samepad.keras
import torch
from keras import layers, ops
from keras_oracle import SEQUENCE, assert_equal, inputs_for, randomize, sequential

RECURRENT: dict[str, Callable[..., Any]] = {
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "gru that resets before": lambda *args, **options: layers.GRU(
        *args, reset_after=False, **options
    ),
    "rnn": layers.SimpleRNN,
    "cells": lambda *args, **options: layers.RNN(
        [layers.LSTMCell(3), layers.GRUCell(*args)], **options
    ),
}

#: Words, of which 0 is masked: at the start, in between, at the end and everywhere.
WORDS = np.array([[0, 1, 0, 2, 3, 0], [4, 0, 0, 0, 0, 0], [0] * 6, [1, 2, 3, 4, 1, 2]], np.int32)


def masked(*stack: Any) -> Any:
    embedding = layers.Embedding(5, 4, mask_zero=True)
    return sequential((6,), embedding, *stack, dtype="int32")


def assert_equal_on_words(model: Any) -> Any:
    randomize(model)
    module = samepad.keras.to_torch(model, "keras").eval()
    expected = model(WORDS)
    found = module(torch.from_numpy(WORDS))
    many = isinstance(expected, (list, tuple))
    pairs = zip(expected, found, strict=True) if many else [(expected, found)]
    for theirs, ours in pairs:
        np.testing.assert_allclose(ours.detach(), np.asarray(theirs), rtol=1e-4, atol=1e-5)
    return module


@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"go_backwards": True}])
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_skip_what_is_masked(kind: str, options: dict[str, Any]) -> None:
    assert_equal_on_words(masked(RECURRENT[kind](4, **options)))


def test_states_are_kept_where_steps_are_masked() -> None:
    """Keras gives a layer that also takes states no mask, unless it is told one."""
    words = keras.Input((6,), dtype="int32")
    steps = layers.Embedding(5, 4, mask_zero=True)(words)
    _, *states = layers.LSTM(3, return_state=True)(steps)
    zeros = layers.LSTM(3, return_sequences=True, zero_output_for_mask=True)
    outputs = zeros(steps, initial_state=states)
    masked_outputs = zeros(steps, initial_state=states, mask=ops.not_equal(words, 0))
    assert_equal_on_words(keras.Model(words, [outputs, masked_outputs, *states]))


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mode", ["concat", "sum"])
def test_both_directions_skip_what_is_masked(mode: str, sequences: bool) -> None:
    way = layers.GRU(3, return_sequences=sequences)
    assert_equal_on_words(masked(layers.Bidirectional(way, merge_mode=mode)))


# A model in a model passes no mask on.
@pytest.mark.filterwarnings("ignore:Layer 'sequential.*does not support masking:UserWarning")
@pytest.mark.parametrize(
    "stack",
    [
        lambda: [layers.GlobalAveragePooling1D()],
        lambda: [layers.Dense(3), layers.Dropout(0.5), layers.GlobalAveragePooling1D()],
        lambda: [layers.TimeDistributed(layers.Dense(3)), layers.LSTM(2)],
        lambda: [sequential((6, 4), layers.LSTM(3)), layers.Dense(2)],
        lambda: [layers.LSTM(3, return_sequences=True), layers.LSTM(2)],
        lambda: [layers.BatchNormalization(), layers.LSTM(2)],
    ],
)
def test_masks_are_carried(stack: Any) -> None:
    assert_equal_on_words(masked(*stack()))


def test_masking_hides_steps_of_one_value() -> None:
    model = sequential(SEQUENCE, layers.Masking(2.0), layers.LSTM(3))
    randomize(model)
    (array,) = inputs_for(model)
    array[0, 3:6] = array[1, :2] = 2.0
    found = samepad.keras.to_torch(model)(torch.from_numpy(array))
    np.testing.assert_allclose(found.detach(), np.asarray(model(array)), rtol=1e-4, atol=1e-5)
    assert_equal(model)


@pytest.mark.parametrize(
    "attend",
    [
        lambda x: layers.MultiHeadAttention(2, 3)(x, x),
        lambda x: layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x, use_causal_mask=True),
        lambda x: layers.Attention()([x, x]),
        lambda x: layers.AdditiveAttention()([x, x]),
    ],
)
def test_attention_to_what_is_masked(attend: Any) -> None:
    """One at a time: MultiHeadAttention removes the mask of its input when it is called."""
    words = keras.Input((6,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(words)
    assert_equal_on_words(keras.Model(words, attend(x)))


def test_softmax_with_a_mask() -> None:
    x, mask = keras.Input((5, 4)), keras.Input((5, 4), dtype="bool")
    model = keras.Model([x, mask], layers.Softmax()(x, mask))
    array = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    seen = np.random.default_rng(1).random((2, 5, 4)) > 0.5
    seen[0, 0] = False
    found = samepad.keras.to_torch(model)(torch.from_numpy(array), torch.from_numpy(seen))
    np.testing.assert_allclose(found, np.asarray(model([array, seen])), rtol=1e-5, atol=1e-6)


def conv_lstm(dimensions: int, **options: Any) -> Any:
    shape = (3, *(5, 6, 4)[:dimensions], 2)
    layer = getattr(layers, f"ConvLSTM{dimensions}D")
    return sequential(shape, layer(3, 3, **options))


STEPS: dict[str, Callable[[], Any]] = {
    "cell": lambda: sequential(SEQUENCE, layers.RNN(layers.LSTMCell(3), return_sequences=True)),
    "cells": lambda: sequential(SEQUENCE, layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)])),
    "relu": lambda: sequential(SEQUENCE, layers.LSTM(3, activation="relu", use_bias=False)),
    "hard sigmoid": lambda: sequential(
        SEQUENCE, layers.GRU(3, recurrent_activation="hard_sigmoid", return_sequences=True)
    ),
    "dropout": lambda: sequential(SEQUENCE, layers.LSTM(3, dropout=0.5, recurrent_dropout=0.2)),
    "convolutions 1d": lambda: conv_lstm(1, return_sequences=True),
    "convolutions 2d": lambda: conv_lstm(2, padding="same", strides=2),
    "convolutions 3d": lambda: conv_lstm(3),
    "directions": lambda: sequential(
        SEQUENCE,
        layers.Bidirectional(
            layers.LSTM(3), backward_layer=layers.GRU(2, go_backwards=True, activation="relu")
        ),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    model = STEPS[name]()
    assert_equal(model)


def test_states_of_both_directions() -> None:
    x = keras.Input(SEQUENCE)
    _, *states = layers.Bidirectional(layers.LSTM(3, return_state=True))(x)
    again = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x, initial_state=states)
    assert_equal(keras.Model(x, [again, *states]))


class Counting(layers.Layer):  # type: ignore[misc]
    """A cell of one's own."""

    state_size = 4

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")
        self.built = True

    def call(self, inputs: Any, states: Any) -> Any:
        state = ops.tanh(ops.matmul(inputs, self.kernel) + states[0])
        return state * 2, [state]


def test_cells_of_ones_own_export_and_compile() -> None:
    model = sequential(SEQUENCE, layers.RNN(Counting()))
    module = assert_equal(model)
    array = torch.randn(2, *SEQUENCE)
    expected = module(array)
    torch.testing.assert_close(torch.export.export(module, (array,)).module()(array), expected)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(array), expected)


def test_weights_of_cells_are_loaded() -> None:
    for make in (STEPS["cells"], STEPS["relu"], STEPS["convolutions 2d"]):
        model = make()
        randomize(model)
        expected = samepad.keras.to_torch(model).state_dict().values()
        twin = samepad.keras.load_weights(samepad.keras.to_torch(make()), model)
        pairs = zip(twin.state_dict().values(), expected, strict=True)
        assert all(torch.equal(found, value) for found, value in pairs)
