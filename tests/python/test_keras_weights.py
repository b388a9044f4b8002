"""Tests samepad.keras.load_weights on modules that someone has written."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import copy
import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import samepad
import samepad.keras
import tensorflow
import torch
from keras import layers
from keras_oracle import Custom, inputs_for, randomize, sequential, small
from samepad.gru import ResetBeforeGRU
from torch import Tensor, nn


class HandWritten(nn.Module):
    """A module that corresponds to `small` as someone might write it."""

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
    # With flatten="keras" the rows are not reordered.
    samepad.keras.load_weights(module, model, flatten="keras")
    np.testing.assert_array_equal(module.linear.weight.detach().T, model.layers[-1].kernel)


def test_weights_of_one_layer() -> None:
    layer = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    array = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    expected = layer(array)
    module = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    found, _ = samepad.keras.load_weights(module, layer)(torch.from_numpy(array))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_a_gru_that_resets_before() -> None:
    layer = layers.Bidirectional(layers.GRU(4, reset_after=False, return_sequences=True))
    array = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    expected = layer(array)
    module = ResetBeforeGRU(3, 4, batch_first=True, bidirectional=True)
    found, _ = samepad.keras.load_weights(module, layer)(torch.from_numpy(array))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit() -> None:
    model, module = small(), HandWritten()
    module.linear = nn.Linear(10, 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"dense.* \(Dense\).*linear.*\(3, 10\).*\(3, 256\)"):
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


def assert_loads(model: Any, module: nn.Module, *, sequence: bool = False) -> None:
    """Check that the module, with channels first and the model's weights, equals Keras."""
    randomize(model)
    samepad.keras.load_weights(module, model).eval()
    arrays = inputs_for(model)
    tensors = [torch.from_numpy(array) for array in arrays]
    if not sequence:
        tensors = [t.movedim(-1, 1) if t.dim() > 2 else t for t in tensors]
    expected = np.asarray(model(arrays if len(arrays) > 1 else arrays[0], training=False))
    np.testing.assert_allclose(module(*tensors).detach(), expected, rtol=1e-4, atol=1e-4)


class Wired(nn.Module):
    """A module with submodules by name, whose forward is a function of them and the inputs."""

    def __init__(self, forward: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.function = forward

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


def test_two_heads_of_one_flattened_image() -> None:
    image = keras.Input((6, 5, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Concatenate()([layers.Dense(2)(x), layers.Dense(3)(x)]))

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x).flatten(1)
        return torch.cat([m.first(x), m.second(x)], 1)

    module = Wired(
        forward, conv=nn.Conv2d(3, 4, 3), first=nn.Linear(48, 2), second=nn.Linear(48, 3)
    )
    assert_loads(model, module)


@pytest.mark.parametrize(
    "flatten", [layers.Flatten(), layers.Reshape((-1,)), layers.Reshape((48,))]
)
def test_what_stands_between_flatten_and_dense(flatten: Any) -> None:
    model = sequential(
        (6, 5, 3),
        layers.Conv2D(4, 3),
        flatten,
        layers.BatchNormalization(),
        layers.PReLU(),
        layers.LayerNormalization(),
        layers.Dropout(0.5),
        layers.Dense(2),
    )
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Flatten(),
        nn.BatchNorm1d(48, eps=1e-3),
        nn.PReLU(48),
        nn.LayerNorm(48, eps=1e-3),
        nn.Linear(48, 2),
    )
    assert_loads(model, module)


def test_flattened_images_put_together() -> None:
    image, numbers = keras.Input((4, 5, 3)), keras.Input((6,))
    parts = [numbers, layers.Flatten()(image), layers.Flatten()(layers.MaxPooling2D(2)(image))]
    model = keras.Model([image, numbers], layers.Dense(2)(layers.Concatenate()(parts)))

    def forward(m: Any, image: Tensor, numbers: Tensor) -> Tensor:
        pooled = nn.functional.max_pool2d(image, 2)
        return m.linear(torch.cat([numbers, image.flatten(1), pooled.flatten(1)], 1))

    assert_loads(model, Wired(forward, linear=nn.Linear(6 + 60 + 12, 2)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: keras.ops.transpose(x, (0, 3, 1, 2)),
        lambda x: keras.ops.matmul(x, np.tri(4, dtype=np.float32)),
        lambda x: keras.ops.mean(x, axis=1, keepdims=True),
        lambda x: keras.ops.sum(x, axis=2, keepdims=True),
    ],
)
def test_what_functions_make_of_an_image_is_as_keras_has_it(function: Any) -> None:
    image = keras.Input((6, 5, 3))
    x = function(layers.Conv2D(4, 2)(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    randomize(model)
    head = samepad.keras.load_weights(
        nn.Sequential(nn.Conv2d(3, 4, 2), nn.Linear(model.layers[-1].kernel.shape[0], 2)), model
    )[-1]
    np.testing.assert_array_equal(head.weight.detach().T, model.layers[-1].kernel)


def test_an_image_of_one_pixel_is_in_both_orders() -> None:
    model = sequential(
        (6, 5, 3),
        layers.Conv2D(4, 2),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Flatten(),
        layers.Reshape((1, 1, 4)),
        layers.Conv2D(2, 1),
        layers.Flatten(),
    )
    pool, again = nn.AdaptiveAvgPool2d(1), nn.Unflatten(1, (4, 1, 1))
    convolutions = nn.Conv2d(3, 4, 2), nn.Conv2d(4, 2, 1)
    assert_loads(
        model,
        nn.Sequential(convolutions[0], pool, nn.Flatten(), again, convolutions[1], nn.Flatten()),
    )


def test_a_flattened_image_in_a_model_inside() -> None:
    head = sequential((36,), layers.ReLU(), layers.Dense(2))
    model = sequential((4, 3, 3), layers.Conv2D(3, 1), layers.Flatten(), head)
    assert_loads(
        model, nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.ReLU(), nn.Linear(36, 2))
    )


def test_sequences_are_flattened_as_they_are_held() -> None:
    held_last = sequential((7, 3), layers.LSTM(4, return_sequences=True), layers.Flatten())
    held_last.add(layers.Dense(2))

    def forward(m: Any, x: Tensor) -> Tensor:
        return m.linear(m.lstm(x)[0].flatten(1))

    module = Wired(forward, lstm=nn.LSTM(3, 4, batch_first=True), linear=nn.Linear(28, 2))
    assert_loads(held_last, module, sequence=True)
    plain = sequential((7, 3), layers.Flatten(), layers.Dense(2))
    assert_loads(plain, nn.Sequential(nn.Flatten(), nn.Linear(21, 2)), sequence=True)
    held_first = sequential((7, 3), layers.Conv1D(4, 1), layers.Flatten(), layers.Dense(2))
    assert_loads(held_first, nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(28, 2)))


def test_images_flattened_at_each_step() -> None:
    model = sequential(
        (5, 4, 4, 2),
        layers.TimeDistributed(layers.Conv2D(3, 3)),
        layers.TimeDistributed(layers.Flatten()),
        layers.Bidirectional(layers.GRU(4)),
    )

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x.movedim(2, 1).flatten(0, 1)).flatten(1).unflatten(0, (-1, 5))
        return m.gru(x)[1].movedim(0, 1).flatten(1)

    gru = nn.GRU(12, 4, batch_first=True, bidirectional=True)
    assert_loads(model, Wired(forward, conv=nn.Conv2d(2, 3, 3), gru=gru))


class Block(nn.Module):
    """Has children with the names of those of a separable convolution, and other children."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, groups=3)
        self.norm = nn.BatchNorm2d(3, eps=1e-3)
        self.pointwise = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.norm(self.depthwise(x))).amax((2, 3))  # type: ignore[no-any-return]


def test_a_block_is_no_separable_convolution() -> None:
    depthwise, norm = layers.DepthwiseConv2D(3), layers.BatchNormalization()
    stack = depthwise, norm, layers.Conv2D(4, 1), layers.GlobalMaxPooling2D()
    assert_loads(sequential((7, 6, 3), *stack), Block())


def test_layers_and_modules_that_are_shared() -> None:
    shared = layers.Dense(4)
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(sequential((4,), shared, layers.ReLU())(shared(x))))
    dense = nn.Linear(4, 4)
    module = nn.Sequential(dense, nn.Sequential(dense, nn.ReLU()), nn.Linear(4, 2))
    assert_loads(model, module)
    at_each_step = layers.TimeDistributed(shared)
    at_each_step.build((None, 3, 4))
    samepad.keras.load_weights(nn.Linear(4, 4), at_each_step)
    at_each_pixel = layers.TimeDistributed(layers.TimeDistributed(shared))
    at_each_pixel.build((None, 3, 3, 4))
    samepad.keras.load_weights(nn.Linear(4, 4), at_each_pixel)


def test_channels_first_in_keras_too() -> None:
    stack = [layers.Flatten(data_format="channels_first"), layers.Dense(2)]
    model = sequential((3, 4, 5), *stack)
    randomize(model)
    module = samepad.keras.load_weights(nn.Sequential(nn.Flatten(), nn.Linear(60, 2)), model)
    (array,) = inputs_for(model)
    found = module(torch.from_numpy(array)).detach()
    np.testing.assert_allclose(found, model(array), rtol=1e-4, atol=1e-5)


def test_orders_that_cannot_be_followed() -> None:
    flattened = sequential((4, 4, 2), layers.Flatten(), layers.Reshape((4, 8)), layers.GRU(3))
    with pytest.raises(ValueError, match=r"reshape.*takes features that were flattened.*'keras'"):
        samepad.keras.load_weights(nn.GRU(8, 3), flattened)
    samepad.keras.load_weights(nn.GRU(8, 3), flattened, flatten="keras")
    image, numbers = keras.Input((4, 4, 2)), keras.Input((32,))
    shared = layers.Dense(3, name="shared")
    twice = keras.Model([image, numbers], [shared(layers.Flatten()(image)), shared(numbers)])
    with pytest.raises(ValueError, match=r"shared \(Dense\): called on features in several orders"):
        samepad.keras.load_weights(nn.Linear(32, 3), twice)
    added = keras.Model([image, numbers], shared(layers.Add()([layers.Flatten()(image), numbers])))
    with pytest.raises(ValueError, match=r"add.*its inputs' features are in several orders"):
        samepad.keras.load_weights(nn.Linear(32, 3), added)


def built(layer: Any, *shape: int) -> Any:
    layer.build((None, *shape))
    return layer


MISFITS: dict[str, tuple[Callable[[], Any], nn.Module, str]] = {
    "gru": (
        lambda: built(layers.GRU(4, reset_after=False), 5, 3),
        nn.GRU(3, 4),
        "it has reset_after=True; expected False",
    ),
    "gru that resets before": (
        lambda: built(layers.GRU(4), 5, 3),
        ResetBeforeGRU(3, 4),
        "it has reset_after=False; expected True",
    ),
    "rnn of relu": (
        lambda: built(layers.SimpleRNN(4, "relu"), 5, 3),
        nn.RNN(3, 4),
        "it has nonlinearity='tanh'; expected 'relu'",
    ),
    "rnn of tanh": (
        lambda: built(layers.SimpleRNN(4), 5, 3),
        nn.RNN(3, 4, nonlinearity="relu"),
        "it has nonlinearity='relu'; expected 'tanh'",
    ),
    "lstm": (
        lambda: built(layers.LSTM(4, recurrent_activation="relu"), 5, 3),
        nn.LSTM(3, 4),
        "recurrent_activation='relu', where PyTorch computes with 'sigmoid'",
    ),
    "lstm into gru": (lambda: built(layers.LSTM(4), 5, 3), nn.GRU(3, 4), "a LSTM is LSTM"),
    "conv into transposed": (
        lambda: built(layers.Conv2D(4, 3), 9, 9, 4),
        nn.ConvTranspose2d(4, 4, 3),
        "a Conv2D is Conv2d",
    ),
    "transposed into conv": (
        lambda: built(layers.Conv2DTranspose(4, 3), 9, 9, 4),
        nn.Conv2d(4, 4, 3),
        "a Conv2DTranspose is ConvTranspose2d",
    ),
    "dense into embedding": (
        lambda: built(layers.Dense(4, use_bias=False), 3),
        nn.Embedding(4, 3),
        "a Dense is Linear",
    ),
    "batch norm": (
        lambda: built(layers.BatchNormalization(), 3),
        nn.BatchNorm1d(3),
        "it has eps=1e-05; expected 0.001",
    ),
    "layer norm": (lambda: built(layers.LayerNormalization(), 3), nn.LayerNorm(3), "eps"),
    "group norm": (
        lambda: built(layers.GroupNormalization(2), 5, 4),
        nn.GroupNorm(4, 4, eps=1e-3),
        "num_groups=4; expected 2",
    ),
    "lazy": (lambda: built(layers.Dense(3), 4), nn.LazyLinear(3), "is lazy"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_modules_that_compute_something_else(name: str) -> None:
    make, module, message = MISFITS[name]
    layer = make()
    with pytest.raises(ValueError, match=message) as raised:
        samepad.keras.load_weights(module, layer)
    assert f"{layer.name} ({type(layer).__name__}): does not fit" in str(raised.value)
    assert type(module).__name__ in str(raised.value)


def test_quantized_weights() -> None:
    model = sequential((4,), layers.Dense(3, name="small"))
    model.layers[0].quantize("int8")
    with pytest.raises(ValueError, match=r"small \(Dense\).*quantized to int8.*units=3"):
        samepad.keras.load_weights(nn.Linear(4, 3), model)


def test_no_weights_are_skipped_for_their_names() -> None:
    custom = Custom(name="seed")
    custom.built = True
    custom.add_weight(shape=(2,), name="seed")
    model = sequential((2,), layers.Dropout(0.5), custom, layers.Dense(3))
    with pytest.raises(ValueError, match="2 layers of Keras have weights, but 1 of the module"):
        samepad.keras.load_weights(nn.Linear(2, 3), model)
    with pytest.raises(ValueError, match=r"seed \(Custom\).*no counterpart is known"):
        samepad.keras.load_weights(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)), model)


class KerasBlock(layers.Layer):  # type: ignore[misc]
    """A custom layer that holds layers, also in a list.

    Its code uses operations of Keras, or of TensorFlow, which Keras cannot follow.
    """

    def __init__(self, filters: int, relu: Any = keras.ops.relu) -> None:
        super().__init__()
        self.convs = [layers.Conv2D(filters, 3, 2, "same"), layers.Conv2D(filters, 1)]
        self.norm = layers.BatchNormalization()
        self.relu = relu

    def call(self, x: Any, training: bool = False) -> Any:
        for conv in self.convs:
            x = conv(x)
        return self.relu(self.norm(x, training=training))


class KerasHead(layers.Layer):  # type: ignore[misc]
    """A custom layer whose own code flattens."""

    def __init__(self, flatten: bool) -> None:
        super().__init__()
        self.dense = layers.Dense(3)
        self.norm = layers.LayerNormalization()
        self.flatten = flatten

    def call(self, x: Any) -> Any:
        x = layers.Flatten()(x) if self.flatten else keras.ops.mean(x, axis=(1, 2))
        return self.dense(self.norm(x))


class Subclass(keras.Model):  # type: ignore[misc]
    def __init__(self, flatten: bool, relu: Any) -> None:
        super().__init__()
        self.first = KerasBlock(4, relu)
        self.second = KerasBlock(5, relu)
        self.head = KerasHead(flatten)

    def call(self, inputs: Any) -> Any:
        return self.head(self.second(self.first(inputs)))


def of_blocks(flatten: bool, relu: Any) -> Any:
    image = keras.Input((11, 9, 3))
    x = KerasBlock(5, relu)(KerasBlock(4, relu)(image))
    return keras.Model(image, KerasHead(flatten)(x))


class TorchBlock(nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            samepad.SamePadConv2d(channels, filters, 3, 2), nn.Conv2d(filters, filters, 1)
        )
        self.norm = nn.BatchNorm2d(filters, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convs(x)).relu()


class OfBlocks(nn.Module):
    def __init__(self, flatten: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(TorchBlock(3, 4), TorchBlock(4, 5))
        features = 5 * 3 * 3 if flatten else 5
        # The order is that of the layers in KerasHead.
        self.head = nn.ModuleList([nn.Linear(features, 3), nn.LayerNorm(features, eps=1e-3)])
        self.flatten = flatten

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(x)
        x = x.flatten(1) if self.flatten else x.mean((2, 3))
        return self.head[0](self.head[1](x))


@pytest.mark.parametrize("relu", [keras.ops.relu, tensorflow.nn.relu], ids=["keras", "tensorflow"])
@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("make", [Subclass, of_blocks])
def test_layers_in_layers_of_ones_own(make: Any, flatten: bool, relu: Any) -> None:
    model = make(flatten, relu)
    array = np.random.default_rng(0).normal(size=(2, 11, 9, 3)).astype(np.float32)
    model(array)
    randomize(model)
    module = samepad.keras.load_weights(OfBlocks(flatten), model).eval()
    found = module(torch.from_numpy(array).movedim(-1, 1)).detach()
    np.testing.assert_allclose(found, model(array), rtol=1e-4, atol=1e-5)


class Hidden(keras.Model):  # type: ignore[misc]
    """A model whose code cannot be followed."""

    def __init__(self, flatten: bool, scale: bool = False) -> None:
        super().__init__()
        self.conv = layers.Conv2D(5, 3)
        self.dense = layers.Dense(3)
        self.flatten = flatten
        if scale:
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        x = tensorflow.convert_to_tensor(self.conv(x))
        if self.flatten:
            return self.dense(tensorflow.reshape(x, (-1, 45)))
        return self.dense(tensorflow.reduce_mean(x, (1, 2)))


def test_code_that_cannot_be_followed() -> None:
    array = np.ones((1, 5, 5, 3), np.float32)
    hidden, pooled, scaled = Hidden(True), Hidden(False), Hidden(False, scale=True)
    for model in (hidden, pooled, scaled):
        model(array)
    stack = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(45, 3))
    with pytest.raises(ValueError, match=r"code of hidden.*cannot be followed.*flatten='keras'"):
        samepad.keras.load_weights(stack, hidden)
    samepad.keras.load_weights(stack, hidden, flatten="keras")
    torch.testing.assert_close(stack[1].weight.T.detach().numpy(), hidden.dense.kernel.numpy())
    stack = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(5, 3))
    samepad.keras.load_weights(stack, pooled)
    with pytest.raises(ValueError, match=r"3 layers of Keras have weights.*\n.*\(Hidden\)"):
        samepad.keras.load_weights(stack, scaled)


def test_all_that_does_not_fit_is_named_at_once() -> None:
    model = sequential((4,), layers.Dense(3, name="one"), layers.Dense(2, name="two"))
    with pytest.raises(ValueError, match="one") as raised:
        samepad.keras.load_weights(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), model)
    assert "two (Dense): does not fit 1 (Linear): it has weight of shape (2, 5)" in str(
        raised.value
    )


def test_what_has_no_weights_to_give() -> None:
    with pytest.raises(TypeError, match="must be a layer or a model of Keras, not int"):
        samepad.keras.load_weights(nn.Linear(2, 2), 3)
    with pytest.raises(ValueError, match="0 layers of Keras have weights, but 1 of the module"):
        samepad.keras.load_weights(nn.Linear(2, 2), built(layers.ReLU(), 2))


def with_constants(mean: float = 1.0) -> Any:
    """Make a model with constants per channel, in a nested model, and as weights."""
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(mean, 2, (8, 3)))
    inner = sequential((3, 3, 4), layers.Normalization(mean=[1, 2, 3, 4], variance=[1, 2, 3, 4]))
    image = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 2)(adapted(layers.Rescaling([1.0, 2, 3], [0.0, 1, mean])(image)))
    x = layers.BatchNormalization()(inner(x)) * np.arange(4)
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


def from_source(model: Any, input_layout: Any) -> nn.Module:
    namespace: dict[str, Any] = {}
    exec(samepad.keras.to_source(model, input_layout=input_layout), namespace)
    module = namespace["Model"]()
    assert isinstance(module, nn.Module)
    return module


def from_source_held(model: Any, input_layout: Any) -> nn.Module:
    return nn.Sequential(from_source(model, input_layout))


def converted_copy(model: Any, input_layout: Any) -> nn.Module:
    return copy.deepcopy(samepad.keras.to_torch(model, input_layout))


@pytest.mark.parametrize("input_layout", ["torch", "keras"])
@pytest.mark.parametrize("make", [from_source, from_source_held, converted_copy])
def test_modules_made_of_a_model_take_all_of_it(make: Any, input_layout: Any) -> None:
    """Constants are set too, and the flattening order is known, for a retrained model."""
    model = with_constants(3.0)
    randomize(model)
    flatten: Any = "keras" if make is from_source_held else None
    module = make(with_constants(), input_layout)
    samepad.keras.load_weights(module, model, flatten).eval()
    (array,) = inputs_for(model)
    image = torch.from_numpy(array)
    found = module(image.movedim(-1, 1) if input_layout == "torch" else image).detach()
    np.testing.assert_allclose(found, model(array), rtol=1e-4, atol=1e-5)


def test_constants_that_the_model_has_not() -> None:
    module = from_source(with_constants(), "torch")
    module.register_buffer("mine", torch.zeros(2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"cannot fill .*mine \(2,\)"):
        samepad.keras.load_weights(module, with_constants())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    "hidden",
    [
        lambda module: pickle.loads(pickle.dumps(module)),
        lambda module: nn.Sequential(module),
    ],
)
def test_what_may_be_made_of_a_model_is_not_reordered_unasked(hidden: Any) -> None:
    model = small()
    module = hidden(samepad.keras.to_torch(model))
    with pytest.raises(ValueError, match="say flatten='keras'"):
        samepad.keras.load_weights(module, model)
    samepad.keras.load_weights(module, model, flatten="keras").eval()
    (array,) = inputs_for(model)
    found = module(torch.from_numpy(array).movedim(-1, 1)).detach()
    np.testing.assert_allclose(found, model(array), rtol=1e-4, atol=1e-5)
