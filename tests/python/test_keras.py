"""samepad.keras against Keras: models and weights, layer by layer."""

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
import samepad
import samepad.keras
import torch
from keras import layers
from samepad.source import write_source
from torch import Tensor, nn

IMAGE = (13, 10, 6)
VOLUME = (6, 7, 5, 2)
SEQUENCE = (12, 6)


def randomize(model: Any) -> None:
    """Weights that are none of the ones and zeros that layers are born with."""
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.dtype == "float32":
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
            arrays.append(generator.normal(0, 2, shape).astype(np.float32))
    return arrays


def flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def assert_equal(model: Any, input_layout: Any = "keras") -> Any:
    """The converted model, its source's class and Keras give the same."""
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
    "batch norm, axis 1": (IMAGE, lambda: layers.BatchNormalization(axis=1)),
    "layer norm": (IMAGE, lambda: layers.LayerNormalization()),
    "layer norm, two axes": (IMAGE, lambda: layers.LayerNormalization(axis=[-2, -1])),
    "layer norm, bare": (IMAGE, lambda: layers.LayerNormalization(center=False, scale=False)),
    "layer norm, no scale": (IMAGE, lambda: layers.LayerNormalization(scale=False, epsilon=0.1)),
    "group norm": (IMAGE, lambda: layers.GroupNormalization(3)),
    "relu": (IMAGE, lambda: layers.ReLU()),
    "relu 6": (IMAGE, lambda: layers.ReLU(6.0)),
    "relu 3": (IMAGE, lambda: layers.ReLU(3.0)),
    "relu slope": (IMAGE, lambda: layers.ReLU(negative_slope=0.2)),
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
        # How a sequence is taken depends on the layer: another test.
        if layout == "keras" or len(shape) != 2
    ],
)
def test_layers(name: str, input_layout: Any) -> None:
    shape, layer = LAYERS[name]
    assert_equal(sequential(shape, layer()), input_layout)


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
    """A model of the same weights with its channels first; TensorFlow on CPU cannot run it."""
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


def small() -> Any:
    return sequential(
        (16, 16, 3),
        layers.Conv2D(4, 3, 2, "same", activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(3),
    )


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


# Of what torch.fx.GraphModule's constructor annotates.
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
    inner = sequential((4,), layers.Dense(4, name=name))
    inner.name = name + "_2"
    assert_equal(keras.Model([given, other], layers.Add()([inner(given), other]), name=name))


class Custom(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs


def test_everything_unsupported_is_named_at_once() -> None:
    model = sequential(
        SEQUENCE,
        Custom(name="mine"),
        layers.LSTM(4, activation="relu", return_sequences=True, name="relu_lstm"),
        layers.GRU(4, reset_after=False, name="old_gru"),
        layers.Dense(4, activation=lambda x: x * 2, name="dense_lambda"),
        layers.Lambda(lambda x: x, name="lambda_layer"),
        layers.Dense(4, name="fine"),
    )
    with pytest.raises(ValueError, match="no counterpart") as raised:
        samepad.keras.to_torch(model)
    for text in ("mine (Custom)", "relu_lstm", "'relu'", "old_gru", "reset_after", "dense_lambda"):
        assert text in str(raised.value)
    assert "lambda_layer (Lambda)" in str(raised.value)
    assert "fine" not in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "layer", "reason"),
    [
        ((7,), lambda: layers.Embedding(5, 3, mask_zero=True), "mask_zero"),
        (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bicubic"), "bicubic"),
        (IMAGE, lambda: layers.Conv2DTranspose(4, 3, 2, output_padding=1), "output_padding"),
        (IMAGE, lambda: layers.LayerNormalization(axis=1), "axis"),
        (IMAGE, lambda: layers.Dropout(0.1, noise_shape=(None, 13, 1, 1)), "noise_shape"),
        (SEQUENCE, lambda: layers.Masking(), "Masking"),
        (SEQUENCE, lambda: layers.LSTM(3, dropout=0.1), "dropout"),
    ],
)
def test_arguments_without_counterpart(shape: Any, layer: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        samepad.keras.to_torch(sequential(shape, layer()))


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


class HandWritten(nn.Module):
    """What someone wrote by hand for `small`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4, eps=1e-3)
        self.linear = nn.Linear(8 * 8 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.conv(x).relu()).flatten(1))  # type: ignore[no-any-return]


def test_weights_into_a_module_written_by_hand() -> None:
    model = small()
    randomize(model)
    array = inputs_for(model)[0]
    module = samepad.keras.load_weights(HandWritten(), model).eval()
    found = module(torch.from_numpy(array).movedim(-1, 1))
    np.testing.assert_allclose(found.detach(), model(array), rtol=1e-4, atol=1e-5)
    # In Keras's order the rows stay as they are.
    samepad.keras.load_weights(module, model, flatten="keras")
    np.testing.assert_array_equal(module.linear.weight.detach().T, model.layers[-1].kernel)


def test_weights_of_one_layer() -> None:
    layer = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    array = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    expected = layer(array)
    module = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    found, _ = samepad.keras.load_weights(module, layer)(torch.from_numpy(array))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit() -> None:
    model, module = small(), HandWritten()
    module.linear = nn.Linear(10, 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"'dense.*' \(Dense\).*linear.*\(3, 10\).*\(3, 256\)"):
        samepad.keras.load_weights(module, model)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    with pytest.raises(ValueError, match="3 layers of Keras have weights, but 1 of the module"):
        samepad.keras.load_weights(nn.Linear(2, 2), model)
    with pytest.raises(ValueError, match="not built"):
        samepad.keras.load_weights(nn.Linear(2, 2), layers.Dense(2))
    with pytest.raises(TypeError, match=r"module must be an nn\.Module, not int"):
        samepad.keras.load_weights(3, model)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flatten must be"):
        samepad.keras.load_weights(module, model, flatten="C")  # type: ignore[arg-type]
    custom = Custom()
    custom.built = True
    custom.add_weight(shape=(2,), name="w")
    with pytest.raises(ValueError, match="no counterpart is known"):
        samepad.keras.load_weights(nn.Linear(2, 2), custom)


def test_keras_is_not_imported() -> None:
    code = (
        "import sys, samepad.keras; assert 'keras' not in sys.modules and 'samepad' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_with_jax_as_the_backend() -> None:
    code = """
import numpy as np, keras, torch, samepad.keras
from keras import layers
assert keras.backend.backend() == "jax"
model = keras.Sequential([layers.Input((6, 13, 10)),
    layers.Conv2D(4, 3, 2, "same", data_format="channels_first"),
    layers.AveragePooling2D(3, 2, "same", data_format="channels_first"),
    layers.Reshape((4, -1)), layers.GRU(3)])
array = np.random.default_rng(0).normal(size=(2, 6, 13, 10)).astype(np.float32)
found = samepad.keras.to_torch(model).eval()(torch.from_numpy(array))
np.testing.assert_allclose(found.detach(), model(array), rtol=1e-4, atol=1e-5)
"""
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


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
    model.layers[-1].activation = keras.activations.linear  # whose outputs show more than softmax's
    array = generator.uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    expected = np.asarray(model(array, training=False))
    with torch.no_grad():
        found = samepad.keras.to_torch(model).eval()(torch.from_numpy(array).movedim(-1, 1))
    assert np.abs(found.numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


class Hundredfold(keras.Sequential):
    """A model with a computation of its own around that of its layers."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return super().call(*args, **kwargs) * 100


def test_what_would_give_other_numbers_is_refused() -> None:
    given = keras.Input((4, 5))
    quantized = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    quantized.layers[-1].quantize("int8")
    for model, message in (
        (keras.Model(given, keras.ops.softmax(given, axis=1)), "axis=1"),
        (keras.Model(given, keras.ops.leaky_relu(given, negative_slope=0.5)), "negative_slope=0.5"),
        (keras.Model(given, keras.ops.elu(given, alpha=2.0)), "alpha=2.0"),
        (keras.Model(given, keras.ops.gelu(given)), "approximate=True"),
        (keras.Model(given, layers.BatchNormalization()(given, training=True)), "training=True"),
        (quantized, "quantized to int8"),
        (Hundredfold([keras.Input((4,)), layers.Dense(3)]), "whose computation is code"),
    ):
        with pytest.raises(ValueError, match=message):
            samepad.keras.to_torch(model)


def test_lists_of_rescaling_keep_the_type() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Rescaling([1 / 127.5] * 3, [-1, 0, 1]), layers.Conv2D(4, 3)]
    )
    image = torch.rand(2, 3, 8, 8) * 255
    found = samepad.keras.to_torch(model)(image)
    expected = np.moveaxis(np.asarray(model(image.movedim(1, -1).numpy())), -1, 1)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-5)
