"""Compares modules of samepad.keras with Keras, layer by layer and for whole models."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samepad.keras
import torch
from keras import layers
from keras_oracle import (
    IMAGE,
    SEQUENCE,
    VOLUME,
    assert_equal,
    inputs_for,
    randomize,
    sequential,
    small,
)
from samepad.source import write_source

LAYERS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "conv1d": (SEQUENCE, lambda: layers.Conv1D(4, 3, 2, "same", activation="relu")),
    "conv1d causal": (SEQUENCE, lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    "conv1d valid": (SEQUENCE, lambda: layers.Conv1D(4, 4, strides=3)),
    "conv2d": (IMAGE, lambda: layers.Conv2D(4, (3, 2), (2, 3), "same")),
    "conv2d groups": (IMAGE, lambda: layers.Conv2D(4, 3, 2, "same", groups=2, use_bias=False)),
    "conv2d dilation": (IMAGE, lambda: layers.Conv2D(4, 3, padding="same", dilation_rate=(2, 3))),
    "conv2d valid": (IMAGE, lambda: layers.Conv2D(4, (3, 2), (2, 3), activation="gelu")),
    "conv3d": (VOLUME, lambda: layers.Conv3D(3, 3, 2, "same")),
    "depthwise1d": (SEQUENCE, lambda: layers.DepthwiseConv1D(4, 2, "same", depth_multiplier=3)),
    "depthwise2d": (IMAGE, lambda: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)),
    "depthwise2d valid": (IMAGE, lambda: layers.DepthwiseConv2D(3, activation="silu")),
    "separable1d": (SEQUENCE, lambda: layers.SeparableConv1D(5, 4, 2, "same")),
    "separable2d": (IMAGE, lambda: layers.SeparableConv2D(5, 3, 2, "same", depth_multiplier=2)),
    "separable2d valid": (IMAGE, lambda: layers.SeparableConv2D(5, 3, activation="elu")),
    "transposed1d": (SEQUENCE, lambda: layers.Conv1DTranspose(4, 3, 2, "same")),
    "transposed2d": (IMAGE, lambda: layers.Conv2DTranspose(4, 5, (2, 3), "same")),
    "transposed2d valid": (IMAGE, lambda: layers.Conv2DTranspose(4, 3, 2)),
    "transposed2d k < s": (IMAGE, lambda: layers.Conv2DTranspose(4, 2, (3, 4), use_bias=False)),
    "transposed2d k < s, same": (IMAGE, lambda: layers.Conv2DTranspose(4, 1, 2, "same")),
    **{
        f"transposed2d {padding} {kernel} {strides} {dilation} longer by {extra}": (
            IMAGE,
            lambda k=kernel, s=strides, p=padding, d=dilation, e=extra: layers.Conv2DTranspose(
                4, k, s, p, output_padding=e, dilation_rate=d
            ),
        )
        for padding, kernel, strides, dilation, extra in [
            ("same", 3, 2, 1, 0),
            ("same", 3, 2, 1, 1),
            ("same", (4, 5), (3, 2), 1, (2, 1)),
            ("same", 4, 2, 1, 1),
            ("same", 1, 3, 1, 2),
            ("valid", 3, 2, 1, 1),
            ("valid", (2, 3), 3, 1, (2, 0)),
        ]
    },
    "transposed1d longer": (SEQUENCE, lambda: layers.Conv1DTranspose(4, 4, 2, "same", 1)),
    "transposed3d longer": (
        VOLUME,
        lambda: layers.Conv3DTranspose(3, 3, 2, "same", output_padding=1),
    ),
    "transposed3d": (VOLUME, lambda: layers.Conv3DTranspose(3, 3, 2, "same")),
    "max pool 1d": (SEQUENCE, lambda: layers.MaxPooling1D(3, 2, "same")),
    "max pool 2d": (IMAGE, lambda: layers.MaxPooling2D((3, 2), 2, "same")),
    "max pool 2d valid": (IMAGE, lambda: layers.MaxPooling2D()),
    "max pool 3d": (VOLUME, lambda: layers.MaxPooling3D(2, padding="same")),
    "average pool 1d": (SEQUENCE, lambda: layers.AveragePooling1D(5, 2, "same")),
    "average pool 2d": (IMAGE, lambda: layers.AveragePooling2D(3, 2, "same")),
    "average pool 2d valid": (IMAGE, lambda: layers.AveragePooling2D(3, (1, 2))),
    "average pool 3d": (VOLUME, lambda: layers.AveragePooling3D(3, 2, "same")),
    "global max 1d": (SEQUENCE, lambda: layers.GlobalMaxPooling1D()),
    "global max 2d": (IMAGE, lambda: layers.GlobalMaxPooling2D(keepdims=True)),
    "global average 2d": (IMAGE, lambda: layers.GlobalAveragePooling2D()),
    "global average 3d": (VOLUME, lambda: layers.GlobalAveragePooling3D(keepdims=True)),
    "dense": ((7,), lambda: layers.Dense(3, activation="softmax")),
    "dense on an image": (IMAGE, lambda: layers.Dense(3, activation="tanh", use_bias=False)),
    "dense with a layer as activation": (
        (7,),
        lambda: layers.Dense(3, activation=layers.LeakyReLU(negative_slope=0.1)),
    ),
    "dense exponential": ((7,), lambda: layers.Dense(3, activation="exponential")),
    "activation of a layer": (IMAGE, lambda: layers.Activation(layers.ReLU(3.0))),
    "flatten": (IMAGE, lambda: layers.Flatten()),
    "reshape": (IMAGE, lambda: layers.Reshape((5, 13, 12))),
    "reshape -1": (IMAGE, lambda: layers.Reshape((5, -1, 12))),
    "reshape -1 of a vector": ((12,), lambda: layers.Reshape((-1, 4))),
    "permute": (IMAGE, lambda: layers.Permute((3, 1, 2))),
    "repeat": ((7,), lambda: layers.RepeatVector(3)),
    "batch norm": (IMAGE, lambda: layers.BatchNormalization()),
    "batch norm, no scale": (IMAGE, lambda: layers.BatchNormalization(scale=False, epsilon=0.1)),
    "batch norm, no center": (VOLUME, lambda: layers.BatchNormalization(center=False)),
    "batch norm of vectors": ((7,), lambda: layers.BatchNormalization()),
    "batch norm of sequences": (SEQUENCE, lambda: layers.BatchNormalization()),
    "batch norm, frozen": (IMAGE, lambda: layers.BatchNormalization(trainable=False)),
    "batch norm of six dimensions": ((2, 3, 4, 2, 5), lambda: layers.BatchNormalization()),
    "batch norm, axis 1": (IMAGE, lambda: layers.BatchNormalization(axis=1)),
    "layer norm": (IMAGE, lambda: layers.LayerNormalization()),
    "layer norm, two axes": (IMAGE, lambda: layers.LayerNormalization(axis=[-2, -1])),
    "layer norm, bare": (IMAGE, lambda: layers.LayerNormalization(center=False, scale=False)),
    "layer norm, no scale": (IMAGE, lambda: layers.LayerNormalization(scale=False, epsilon=0.1)),
    "group norm": (IMAGE, lambda: layers.GroupNormalization(3)),
    "group norm of each channel": (IMAGE, lambda: layers.GroupNormalization(-1)),
    "relu": (IMAGE, lambda: layers.ReLU()),
    "relu 6": (IMAGE, lambda: layers.ReLU(6.0)),
    "relu 3": (IMAGE, lambda: layers.ReLU(3.0)),
    "relu slope": (IMAGE, lambda: layers.ReLU(negative_slope=0.2)),
    "relu 0": (IMAGE, lambda: layers.ReLU(0.0)),
    "relu all": (IMAGE, lambda: layers.ReLU(3.0, 0.1, 0.5)),
    "leaky relu": (IMAGE, lambda: layers.LeakyReLU()),
    "leaky relu slope": (IMAGE, lambda: layers.LeakyReLU(negative_slope=0.1)),
    "prelu": (IMAGE, lambda: layers.PReLU()),
    "prelu of channels": (IMAGE, lambda: layers.PReLU(shared_axes=[1, 2])),
    "prelu of vectors": ((7,), lambda: layers.PReLU()),
    "elu": (IMAGE, lambda: layers.ELU(alpha=0.7)),
    "softmax": (IMAGE, lambda: layers.Softmax()),
    "softmax axis": (IMAGE, lambda: layers.Softmax(axis=1)),
    "dropout": (IMAGE, lambda: layers.Dropout(0.5)),
    "dropout of samples": (IMAGE, lambda: layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))),
    "gaussian noise": (IMAGE, lambda: layers.GaussianNoise(0.5)),
    "gaussian dropout": (IMAGE, lambda: layers.GaussianDropout(0.5)),
    "spatial dropout": (IMAGE, lambda: layers.SpatialDropout2D(0.5)),
    "up 1d": (SEQUENCE, lambda: layers.UpSampling1D(3)),
    "up 2d": (IMAGE, lambda: layers.UpSampling2D((2, 3))),
    "up 2d bilinear": (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "up 3d": (VOLUME, lambda: layers.UpSampling3D(2)),
    "zeros 1d": (SEQUENCE, lambda: layers.ZeroPadding1D((1, 3))),
    "zeros 2d": (IMAGE, lambda: layers.ZeroPadding2D(((1, 2), (3, 0)))),
    "zeros 3d": (VOLUME, lambda: layers.ZeroPadding3D(((1, 2), (3, 0), (0, 1)))),
    "crop 1d": (SEQUENCE, lambda: layers.Cropping1D((1, 3))),
    "crop 2d": (IMAGE, lambda: layers.Cropping2D(((1, 2), (3, 0)))),
    "crop 3d": (VOLUME, lambda: layers.Cropping3D(1)),
    "rescaling": (IMAGE, lambda: layers.Rescaling(1 / 127.5, offset=-1)),
    "rescaling channels": (IMAGE, lambda: layers.Rescaling([1.0, 2, 3, 4, 5, 6])),
    "normalization": (
        IMAGE,
        lambda: layers.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[1.0, 2, 3, 4, 5, 0]),
    ),
    "lstm": (SEQUENCE, lambda: layers.LSTM(5)),
    "lstm sequences": (SEQUENCE, lambda: layers.LSTM(5, return_sequences=True, use_bias=False)),
    "lstm backwards": (SEQUENCE, lambda: layers.LSTM(5, go_backwards=True)),
    "gru": (SEQUENCE, lambda: layers.GRU(5)),
    "gru sequences": (SEQUENCE, lambda: layers.GRU(5, return_sequences=True, use_bias=False)),
    "gru that resets before": (SEQUENCE, lambda: layers.GRU(5, reset_after=False)),
    "gru that resets before, backwards": (
        SEQUENCE,
        lambda: layers.GRU(5, reset_after=False, go_backwards=True, use_bias=False),
    ),
    "gru that resets before, both ways": (
        SEQUENCE,
        lambda: layers.Bidirectional(layers.GRU(5, reset_after=False, return_sequences=True)),
    ),
    "rnn": (SEQUENCE, lambda: layers.SimpleRNN(5)),
    "rnn relu": (SEQUENCE, lambda: layers.SimpleRNN(5, "relu", return_sequences=True)),
    **{
        f"bidirectional {kind.__name__} {mode} {sequences}": (
            SEQUENCE,
            lambda kind=kind, mode=mode, sequences=sequences: layers.Bidirectional(
                kind(4, return_sequences=sequences), merge_mode=mode
            ),
        )
        for kind, mode, sequences in [
            (layers.LSTM, "concat", True),
            (layers.LSTM, "concat", False),
            (layers.LSTM, "sum", True),
            (layers.GRU, "mul", False),
            (layers.GRU, "ave", True),
            (layers.SimpleRNN, "concat", False),
        ]
    },
    "each step dense": (SEQUENCE, lambda: layers.TimeDistributed(layers.Dense(3))),
    "each step flatten": ((4, *IMAGE), lambda: layers.TimeDistributed(layers.Flatten())),
    "each step model": (
        (4, *IMAGE),
        lambda: layers.TimeDistributed(
            sequential(IMAGE, layers.Conv2D(3, 3, 2, "same"), layers.GlobalMaxPooling2D())
        ),
    ),
    "each step conv": (
        (4, *IMAGE),
        lambda: layers.TimeDistributed(layers.Conv2D(3, 3, 2, "same", activation="relu")),
    ),
    **{
        f"activation {name}": (IMAGE, lambda name=name: layers.Activation(name))
        for name in sorted(
            samepad.keras.activations.ELEMENTWISE | samepad.keras.activations.ALONG_AXIS
        )
    },
}


@pytest.mark.parametrize(
    ("name", "input_layout"),
    [
        (name, layout)
        for name, (shape, _) in LAYERS.items()
        for layout in ("torch", "keras")
        # The layout of a sequence depends on the layer, which another test checks.
        if layout == "keras" or len(shape) != 2
    ],
)
def test_layers(name: str, input_layout: Any) -> None:
    shape, layer = LAYERS[name]
    assert_equal(sequential(shape, layer()), input_layout)


def test_integers_become_floats_where_keras_makes_them() -> None:
    for layer in (layers.Dense(3), layers.Rescaling(1 / 255), layers.BatchNormalization()):
        assert_equal(sequential((7,), layer, dtype="int32"))
    given = keras.Input((7,), dtype="int32")
    assert_equal(keras.Model(given, keras.ops.maximum(given, 2) / 2 + layers.Dense(7)(given)))


def test_models_of_double_precision() -> None:
    model = sequential(
        IMAGE,
        layers.Conv2D(4, 3, dtype="float64"),
        layers.BatchNormalization(dtype="float64"),
        layers.Flatten(dtype="float64"),
        layers.Dense(3, dtype="float64"),
        dtype="float64",
    )
    array = np.random.default_rng(0).normal(size=(2, *IMAGE))
    module = samepad.keras.to_torch(model, "keras").eval()
    np.testing.assert_allclose(module(torch.from_numpy(array)).detach(), model(array), rtol=1e-9)
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    written = namespace["Model"]().eval()
    written.load_state_dict(module.state_dict())
    assert torch.equal(written(torch.from_numpy(array)), module(torch.from_numpy(array)))


def test_groups_of_one_value() -> None:
    model = sequential((1, 1, 4), layers.GroupNormalization(-1))
    randomize(model)
    array = np.random.default_rng(0).normal(size=(1, 1, 1, 4)).astype(np.float32)
    found = samepad.keras.to_torch(model, "keras")(torch.from_numpy(array)).detach()
    np.testing.assert_allclose(found, model(array), rtol=1e-4, atol=1e-4)


def test_numbers_for_each_sample() -> None:
    model = sequential((), layers.Flatten(), layers.Dense(3))
    array = np.arange(4, dtype=np.float32)
    found = samepad.keras.to_torch(model)(torch.from_numpy(array))
    np.testing.assert_allclose(found.detach(), model(array), rtol=1e-5, atol=1e-6)
    assert_equal(sequential((), layers.Reshape((-1,))))
    assert_equal(sequential((), layers.Reshape((1, -1))))


def test_sums_of_integers_keep_their_type() -> None:
    given = keras.Input((4, 6), dtype="int32")
    model = keras.Model(given, keras.ops.sum(given, axis=1))
    (array,) = inputs_for(model)
    found = samepad.keras.to_torch(model)(torch.from_numpy(array)).numpy()
    expected = np.asarray(model(array))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: layers.Conv1D(4, 3)(inputs=x),
        lambda x: sequential(SEQUENCE, layers.Conv1D(4, 3))(inputs=x),
    ],
)
def test_layouts_of_what_is_called_by_name(call: Any) -> None:
    given = keras.Input(SEQUENCE)
    module = samepad.keras.to_torch(keras.Model(given, call(given)))
    assert module(torch.randn(2, 6, 12)).shape == (2, 4, 10)


def test_sequences_and_states_by_name() -> None:
    given = keras.Input(SEQUENCE)
    _, *states = layers.LSTM(3, return_state=True)(sequences=given)
    output = layers.LSTM(3)(initial_state=states, sequences=given)
    assert_equal(keras.Model(given, layers.Dense(2)(inputs=output)))


def stack_of_types(given: str, *dtypes: str) -> Any:
    """Make Dense layers that each compute in another type."""
    return sequential((4,), *(layers.Dense(3, dtype=dtype) for dtype in dtypes), dtype=given)


def step_types() -> Any:
    """Make a model of wrappers, nested models and functions that compute in several types."""
    x = keras.Input((5, 4), dtype="float64")
    inner = sequential((5, 4), layers.Dense(4, dtype="float64"))
    y = layers.TimeDistributed(layers.Dense(4, dtype="float64"))(inner(x)) + layers.ReLU()(x)
    y = layers.Bidirectional(layers.LSTM(2, dtype="float64", return_sequences=True))(y)
    z = layers.Dense(4, dtype="float64", activation=layers.ReLU())(y * np.ones(4))
    z = layers.LayerNormalization()(layers.Add()([y, z]))
    z = layers.GroupNormalization(2)(keras.ops.matmul(z, layers.Rescaling([1, 2, 3, 4])(y[:, :4])))
    return keras.Model(x, [y, layers.Dense(2)(z)])


@pytest.mark.parametrize(
    "model",
    [
        lambda: stack_of_types("float32", "float32", "float64"),
        lambda: stack_of_types("float32", "float64", "float32"),
        lambda: stack_of_types("float32", "float64"),
        lambda: stack_of_types("float16", "float32"),
        lambda: stack_of_types("float64", "float32"),
        step_types,
    ],
)
def test_each_layer_computes_in_its_type(model: Any) -> None:
    assert_equal(model())


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "bfloat16", "mixed_bfloat16"])
def test_half_precision_is_computed_in_single(policy: str) -> None:
    """The difference from Keras is no larger than Keras's own from single precision."""
    model = stack_of_types("float32", policy, "float32", policy)
    module = samepad.keras.to_torch(model)
    (array,) = inputs_for(model)
    found = module(torch.from_numpy(array))
    assert found.dtype == torch.float32
    expected = keras.ops.convert_to_numpy(keras.ops.cast(model(array), "float32"))
    np.testing.assert_allclose(found.detach(), expected, rtol=0.1, atol=0.1)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "maximum": lambda x: keras.ops.maximum(x, 0.5),
    "minimum": lambda x: keras.ops.minimum(0.5, x),
    "minimum of tensors": lambda x: keras.ops.minimum(x, -x),
    "power": lambda x: 2.0 ** (x / 4) - keras.ops.square(x),
    "power of a negative number": lambda x: keras.ops.power(-2.0, 0 * x + 2),
    "reshape by NumPy's integers": lambda x: layers.Reshape((np.int64(-1), np.int64(6)))(x),
    "mean": lambda x: keras.ops.mean(x, axis=(1, 2)),
    "sum": lambda x: keras.ops.sum(x, axis=-1, keepdims=True) + keras.ops.max(x, 3, keepdims=True),
    "least": lambda x: keras.ops.min(x, axis=1),
    "items": lambda x: x[:, 1:-1, 0],
    "every second": lambda x: x[:, None, ::2][:, 0],
    "last": lambda x: x[..., -1],
    "reshape": lambda x: keras.ops.reshape(x, (-1, 5, 36)),
    "reshape to one dimension": lambda x: keras.ops.reshape(x, -1),
    "transpose": lambda x: keras.ops.expand_dims(keras.ops.transpose(x, (0, 3, 1, 2)), 2),
    "matmul": lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2))),
    "matmul with an array": lambda x: keras.ops.matmul(x, np.ones((6, 2), np.float32)),
    "matmul of an array": lambda x: keras.ops.matmul(np.ones((2, x.shape[2]), np.float64), x),
    "array of all dimensions": lambda x: x + np.arange(6.0).reshape(1, 1, 1, 6),
    "tensor": lambda x: keras.ops.maximum(keras.ops.ones((5, 6)), x) / keras.ops.array(2.0),
    "concatenate": lambda x: keras.ops.concatenate([x, 2.0 * x, keras.ops.relu(x)], axis=2),
    "concatenate channels": lambda x: keras.ops.concatenate([x, x + 1.0], axis=-1),
    "stack": lambda x: keras.ops.stack((x, 1.0 - x), axis=-1),
    "new dimensions": lambda x: keras.ops.expand_dims(keras.ops.expand_dims(x, (1, -1)), 0),
    "array": lambda x: x * np.array([1.0, 2, 3, 4, 5, 6]) + np.float32(2),
    "softmax": lambda x: keras.ops.softmax(x, axis=1),
    "leaky relu": lambda x: keras.ops.leaky_relu(x, negative_slope=0.5),
    "elu": lambda x: keras.ops.elu(x, alpha=2.0),
    "celu": lambda x: keras.ops.celu(x, alpha=2.0),
    "gelu": lambda x: keras.ops.gelu(x) + keras.ops.gelu(x, approximate=False),
    "soft shrink": lambda x: keras.ops.soft_shrink(x, 0.2),
    "relu": lambda x: keras.activations.relu(x),
    "relu with options": lambda x: keras.activations.relu(x, 0.1, 3.0, 0.5),
}


@pytest.mark.parametrize("input_layout", ["torch", "keras"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, input_layout: Any, tmp_path: Path) -> None:
    given = keras.Input(IMAGE)
    x = layers.MaxPooling2D(2)(given)
    model = keras.Model(given, FUNCTIONS[name](x))
    assert_equal(model, input_layout)
    model.save(tmp_path / "saved.keras")  # files store tuples as lists
    assert_equal(keras.saving.load_model(tmp_path / "saved.keras"), input_layout)


def test_functions_of_integers_of_numpy() -> None:
    """Keras accepts NumPy's integers as arguments, although it cannot save them."""
    given = keras.Input((4, 6))
    x = keras.ops.softmax(keras.ops.reshape(given, np.array([-1, 3, 8])), np.int64(1))
    assert_equal(keras.Model(given, keras.ops.sum(x, axis=(np.int64(1), np.int64(2)))))


def test_embedding() -> None:
    model = sequential((7,), layers.Embedding(5, 3), layers.GRU(4), dtype="int32")
    assert_equal(model)


def test_one_dimension_is_taken_as_its_first_layer_wants_it() -> None:
    convolution = sequential(SEQUENCE, layers.ReLU(), layers.Conv1D(4, 3, 2, "same"))
    module = samepad.keras.to_torch(convolution)
    assert module(torch.randn(2, 6, 12)).shape == (2, 4, 6)
    recurrent = sequential(SEQUENCE, layers.ReLU(), layers.GRU(4, return_sequences=True))
    assert samepad.keras.to_torch(recurrent)(torch.randn(2, 12, 6)).shape == (2, 12, 4)


def branches() -> Any:
    image = keras.Input(IMAGE, name="an image")
    numbers = keras.Input((6,), name="numbers")
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv 1.a")(image)
    y = x * 0.5 + 1.0
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scale = layers.Dense(6, activation="sigmoid")(scale)
    x = layers.Multiply()([x, scale])
    x = layers.Concatenate()([x, y, layers.Subtract()([x, y]), keras.ops.relu(x - 1.0)])
    x = layers.Maximum()([x, layers.Average()([x, -x])])
    flat = layers.Flatten()(x)
    numbers = layers.Dense(6)(numbers)
    shared = layers.Dense(6, activation="tanh", name="shared")
    both = layers.Add()([shared(numbers), shared(shared(numbers))])
    return keras.Model([image, numbers], [x, layers.Concatenate()([flat, both]), both])


@pytest.mark.parametrize("input_layout", ["torch", "keras"])
def test_functional_models(input_layout: Any) -> None:
    module = assert_equal(branches(), input_layout)
    assert len([name for name, _ in module.named_modules() if name == "shared"]) == 1
    assert sum("shared" in name for name, _ in module.named_parameters()) == 2


def test_models_in_models() -> None:
    block = sequential(IMAGE, layers.Conv2D(6, 3, padding="same"), layers.ReLU(), layers.Dense(6))
    image = keras.Input(IMAGE)
    outer = keras.Model(image, layers.Add()([block(block(image)), image]))
    for layout in ("torch", "keras"):
        module = assert_equal(outer, layout)
        assert len(list(module.children())) == 1
        assert len(list(module.parameters())) == 4


def two_inputs(names: list[str], structure: type) -> Any:
    """Make a model in which swapped inputs change the output."""
    a, b = (keras.Input((5,), name=name) for name in names)
    output = layers.Dense(3)(a) + 2 * layers.Dense(3, use_bias=False)(b)
    return keras.Model(
        dict(zip(names, (a, b), strict=True)) if structure is dict else [a, b], output
    )


@pytest.mark.parametrize("structure", [dict, list])
@pytest.mark.parametrize("names", [["a", "b"], ["b", "a"]])
def test_inputs_by_name_of_models_in_models(names: list[str], structure: type) -> None:
    x, y = keras.Input((5,)), keras.Input((5,))
    inner = two_inputs(names, structure)
    for called in ({"b": x, "a": y}, {"a": x, "b": y}):
        assert_equal(keras.Model([x, y], inner(called)))


def test_outputs_by_name_of_models_in_models() -> None:
    x = keras.Input((5,))
    inner = keras.Model(x, {"z": layers.Dense(3)(x), "a": [layers.Dense(4)(x), layers.Dense(2)(x)]})
    outputs = inner(x)
    assert_equal(keras.Model(x, [outputs["z"], *outputs["a"]]))


def test_a_list_of_one_output_is_the_output() -> None:
    x = keras.Input((5,))
    inner = keras.Model(x, [layers.Dense(3)(x)])
    assert isinstance(assert_equal(inner)(torch.randn(2, 5)), torch.Tensor)


def test_a_layer_with_weights_as_activation() -> None:
    model = sequential(IMAGE, layers.Conv2D(4, 3, activation=layers.PReLU(shared_axes=[1, 2])))
    with pytest.raises(ValueError, match="not built: call the model once"):
        samepad.keras.to_torch(model)
    model(inputs_for(model)[0])
    for layout in ("torch", "keras"):
        assert len(list(assert_equal(model, layout).parameters())) == 3


def test_layers_shared_between_models() -> None:
    shared = layers.Dense(4, name="shared")
    inner = sequential((4,), shared, layers.ReLU())
    x = keras.Input((4,))
    model = keras.Model(x, layers.TimeDistributed(shared)(layers.RepeatVector(3)(inner(shared(x)))))
    module = assert_equal(model)
    assert len(list(module.parameters())) == 2
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    assert len(list(namespace["Model"]().parameters())) == 2


@pytest.mark.parametrize("input_layout", ["torch", "keras"])
def test_a_shared_softmax_is_along_the_axis_that_keras_means(input_layout: Any) -> None:
    image = keras.Input(IMAGE)
    shared = layers.Softmax()
    convolved = shared(layers.Conv2D(6, 3, padding="same")(image))
    assert_equal(keras.Model(image, [convolved, shared(layers.Dense(6)(image))]), input_layout)


@pytest.mark.parametrize("input_layout", ["torch", "keras"])
@pytest.mark.parametrize("merge", [layers.Multiply, layers.Average, layers.Maximum])
def test_merges_of_several_ranks(merge: Any, input_layout: Any) -> None:
    image = keras.Input(IMAGE)
    x = layers.Conv2D(4, 3, 2, "same")(image)
    weight = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
    line = layers.Dense(4)(layers.RepeatVector(5)(weight))
    assert_equal(keras.Model(image, merge()([weight, x, line])), input_layout)
    assert_equal(keras.Model(image, merge()([line, weight])), input_layout)


def test_steps_are_folded_once() -> None:
    model = sequential(
        (4, *IMAGE),
        layers.TimeDistributed(layers.Conv2D(3, 3)),
        layers.TimeDistributed(layers.MaxPooling2D()),
        layers.TimeDistributed(layers.Flatten()),
        layers.GRU(3),
    )
    source = write_source(assert_equal(model))
    assert source.count("flatten(0, 1)") == source.count("unflatten") == 1
    assert source.count(".permute(") == 2


def test_sources_are_the_same_each_time() -> None:
    def source() -> str:
        inputs = keras.Input((3,)), keras.Input((3,), name="named"), keras.Input((3,))
        return samepad.keras.to_source(keras.Model(inputs, inputs[0] * inputs[1] - inputs[2]))

    first = source()
    assert "named" in first
    assert "keras_tensor" not in first
    assert source() == first


def reset_before(*args: Any, **kwargs: Any) -> Any:
    return layers.GRU(*args, reset_after=False, **kwargs)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, reset_before, layers.SimpleRNN])
def test_states_that_recurrent_layers_start_from(kind: Any) -> None:
    source, target = keras.Input(SEQUENCE), keras.Input(SEQUENCE)
    _, *states = kind(4, return_state=True)(source)
    decoded = kind(4, return_sequences=True)(target, initial_state=states)
    assert_equal(keras.Model([source, target], [decoded, kind(4)(target, states)]))


def test_what_is_frozen_stays_as_it_is_in_training() -> None:
    model = sequential(
        IMAGE,
        layers.Conv2D(4, 3, trainable=False),
        layers.BatchNormalization(trainable=False),
        layers.Dense(3),
    )
    module = assert_equal(model, "torch").train()
    array = inputs_for(model)[0]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = module(torch.from_numpy(array).movedim(-1, 1)).movedim(1, -1)
    np.testing.assert_allclose(found.detach(), model(array, training=True), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    trained = sum(parameter.requires_grad for parameter in module.parameters())
    assert trained == len(model.trainable_weights) == 2
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    assert sum(p.requires_grad for p in namespace["Model"]().parameters()) == 2


@pytest.mark.parametrize("shape", [(3,), IMAGE])
def test_training_keeps_the_unbiased_variance_where_keras_keeps_the_biased(shape: Any) -> None:
    """docs/why-other-numbers.md says so; everything else in a training step is equal."""
    model = sequential(shape, layers.BatchNormalization(momentum=0.0))
    module = samepad.keras.to_torch(model).train()
    (array,) = inputs_for(model)
    count = array.size // shape[-1]
    found = module(torch.from_numpy(array).movedim(-1, 1)).movedim(1, -1)
    np.testing.assert_allclose(found.detach(), model(array, training=True), rtol=1e-3, atol=1e-4)
    (norm,) = module.children()
    (layer,) = model.layers
    np.testing.assert_allclose(norm.running_mean, layer.moving_mean, rtol=1e-4, atol=1e-5)
    unbiased = np.asarray(layer.moving_variance) * count / (count - 1)
    np.testing.assert_allclose(norm.running_var, unbiased, rtol=1e-4, atol=1e-5)


def test_noise_is_as_keras_makes_it() -> None:
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    ones = np.ones((50, 4000), np.float32)
    for layer in (layers.GaussianNoise(0.5), layers.GaussianDropout(0.2)):
        module = samepad.keras.to_torch(sequential((4000,), layer)).train()
        found, expected = module(torch.from_numpy(ones)), np.asarray(layer(ones, training=True))
        assert abs(float(found.mean()) - expected.mean()) < 0.01
        assert abs(float(found.std()) - expected.std()) < 0.01


def test_structures_of_outputs() -> None:
    image = keras.Input(IMAGE)
    pooled = layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, {"pooled": pooled, "dense": layers.Dense(3)(pooled)})
    assert set(samepad.keras.to_torch(model)(torch.randn(1, 6, 13, 10))) == {"pooled", "dense"}
    sequence = keras.Input(SEQUENCE)
    states = layers.LSTM(4, return_sequences=True, return_state=True)(sequence)
    assert_equal(keras.Model(sequence, states))
    assert_equal(keras.Model(sequence, layers.GRU(4, return_state=True)(sequence)))
    sides = layers.Bidirectional(layers.LSTM(4), merge_mode=None)(sequence)
    assert_equal(keras.Model(sequence, sides))


def channels_first_twin(last: Any) -> Any:
    """Make a model with channels first, which TensorFlow cannot run on CPUs, and its weights."""
    model = sequential(
        (6, 13, 10),
        layers.Conv2D(4, 3, 2, "same", data_format="channels_first"),
        layers.BatchNormalization(axis=1),
        layers.MaxPooling2D(3, 2, "same", data_format="channels_first"),
        layers.Flatten(data_format="channels_first"),
        layers.Dense(5),
    )
    model.set_weights(last.get_weights())
    return model


def test_channels_first_models() -> None:
    last = sequential(
        IMAGE,
        layers.Conv2D(4, 3, 2, "same"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(3, 2, "same"),
        layers.Flatten(),
        layers.Dense(5),
    )
    randomize(last)
    array = inputs_for(last)[0]
    first = channels_first_twin(last)
    for layout in ("torch", "keras"):
        module = samepad.keras.to_torch(first, layout).eval()
        found = module(torch.from_numpy(array).movedim(-1, 1))
        np.testing.assert_allclose(found.detach(), last(array), rtol=1e-4, atol=1e-5)


def test_gradients() -> None:
    import tensorflow

    model = small()
    randomize(model)
    array = inputs_for(model)[0]
    module = samepad.keras.to_torch(model).eval()
    with tensorflow.GradientTape() as tape:
        loss = tensorflow.reduce_mean(tensorflow.square(model(array, training=False)))
    expected = tape.gradient(loss, [w.value for w in model.trainable_weights])
    module(torch.from_numpy(array).movedim(-1, 1)).square().mean().backward()
    kernel = next(module.parameters())
    assert kernel.grad is not None
    np.testing.assert_allclose(
        kernel.grad.numpy(), np.moveaxis(expected[0], (-1, -2), (0, 1)), rtol=1e-3, atol=1e-5
    )


# The warning is about an annotation in torch.fx.GraphModule's constructor.
@pytest.mark.filterwarnings("ignore:The TorchScript type system doesn't support:UserWarning")
def test_modules_pickle_and_script() -> None:
    module = samepad.keras.to_torch(small()).eval()
    (input,) = (torch.randn(2, 3, 16, 16),)
    expected = module(input)
    assert torch.equal(pickle.loads(pickle.dumps(module))(input), expected)
    assert torch.equal(torch.jit.script(module)(input), expected)
    torch.testing.assert_close(
        torch.compile(module, fullgraph=True, backend="eager")(input), expected
    )


def test_source_is_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    source = samepad.keras.to_source(small(), path, class_name="Small")
    assert path.read_text() == source
    assert "class Small(nn.Module):" in source
    assert "SamePadConv2d(3, 4, 3, stride=2)" in source
    with pytest.raises(ValueError, match="class_name must be a name"):
        samepad.keras.to_source(small(), class_name="a b")


@pytest.mark.parametrize(
    "name", ["self", "class", "None", "torch", "super", "forward", "meta", "1abc", "__x", "слой"]
)
def test_layers_inputs_and_models_called_anything(name: str) -> None:
    given = keras.Input((4,), name=name)
    other = keras.Input((4,), name="other")
    inner = sequential((4,), layers.Dense(4, name=name), layers.Dense(4))
    inner.name = name + "_2"
    assert_equal(keras.Model([given, other], layers.Add()([inner(given), other]), name=name))


def test_keras_is_not_imported() -> None:
    code = (
        "import sys, samepad.keras; assert 'keras' not in sys.modules and 'samepad' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_channels_first_with_jax_as_the_backend() -> None:
    """JAX runs layers with channels first, whereas TensorFlow cannot run them on CPUs."""
    script = Path(__file__).with_name("keras_channels_first.py")
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, script], check=True, env=environment)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ConvNeXtTiny", 64),
        ("DenseNet121", 64),
        ("EfficientNetB0", 64),
        ("EfficientNetV2B0", 64),
        ("InceptionResNetV2", 80),
        ("InceptionV3", 80),
        ("MobileNet", 64),
        ("MobileNetV2", 64),
        ("MobileNetV3Small", 64),
        ("NASNetMobile", 64),
        ("ResNet50", 64),
        ("ResNet50V2", 64),
        ("VGG16", 64),
        ("Xception", 75),
    ],
)
def test_published_architectures(name: str, size: int) -> None:
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size, size, 3), classes=7)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.moving_mean.assign(generator.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(generator.uniform(0.5, 1.5, layer.moving_variance.shape))
    model.layers[-1].activation = keras.activations.linear  # softmax would hide differences
    array = generator.uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    expected = np.asarray(model(array, training=False))
    with torch.no_grad():
        module = samepad.keras.to_torch(model).eval()
        found = module(torch.from_numpy(array).movedim(-1, 1))
    assert np.abs(found.numpy() - expected).max() <= 1e-5 * np.abs(expected).max()
    twin = samepad.keras.to_torch(build(weights=None, input_shape=(size, size, 3), classes=7))
    samepad.keras.load_weights(twin, model)
    theirs, ours = twin.state_dict().values(), module.state_dict().values()
    assert all(torch.equal(left, right) for left, right in zip(theirs, ours, strict=True))


def test_lists_of_rescaling_keep_the_type() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Rescaling([1 / 127.5] * 3, [-1, 0, 1]), layers.Conv2D(4, 3)]
    )
    image = torch.rand(2, 3, 8, 8) * 255
    found = samepad.keras.to_torch(model)(image)
    expected = np.moveaxis(np.asarray(model(image.movedim(1, -1).numpy())), -1, 1)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-5)
