"""Compares custom layers and models, and layers of Keras whose code is followed, with Keras."""

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
from keras_oracle import IMAGE, SEQUENCE, assert_equal, inputs_for, randomize, sequential


class Scaled(layers.Layer):  # type: ignore[misc]
    """Has weights of its own beside a layer, which it makes first but calls last."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.last = layers.Dense(units, name="last")
        self.first = layers.Dense(units, activation="gelu", name="first")

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.offsets = [self.add_weight(shape=(), name="offset", trainable=False) for _ in "ab"]
        self.first.build(shape)
        self.last.build((*shape[:-1], self.first.units))
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self.last(self.first(inputs * self.scale + self.offsets[0]) - self.offsets[1])


class Patches(layers.Layer):  # type: ignore[misc]
    """Computes with the batch size, as vision transformers do."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = layers.Conv2D(units, 3, 3)
        self.positions = layers.Embedding(13, units, name="positions")
        self.inner = Scaled(units, name="scaled")

    def build(self, shape: Any) -> None:
        self.project.build(shape)
        self.positions.build((1, 13))
        self.inner.build((None, None, self.project.filters))
        self.token = self.add_weight(shape=(1, 1, self.project.filters), name="token")
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> Any:
        x = self.project(inputs)
        batch, _, _, channels = ops.shape(x)
        x = ops.reshape(x, (batch, -1, channels))
        x = ops.concatenate([ops.tile(self.token, (batch, 1, 1)), x], axis=1)
        x = x + self.positions(ops.expand_dims(ops.arange(13), 0))
        heads = ops.transpose(ops.reshape(x, (batch, 13, 2, -1)), (0, 2, 1, 3))
        rows = ops.reshape(heads, (batch * 2, 13, channels // 2))
        x = ops.reshape(rows, (batch, 2, 13, -1))
        x = x + ops.zeros((batch, 1, 1, 1)) if not training else x
        return self.inner(ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (*ops.shape(x)[:1], 13, -1)))


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.patches = Patches(4)
        self.head = layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        x = self.patches(inputs)
        return {"all": x, "first": self.head(x[:, 0])}


def patches() -> Any:
    return sequential(IMAGE, layers.Conv2D(5, 1), Patches(4, name="patches"))


@pytest.mark.parametrize("input_layout", ["torch", "keras"])
def test_custom_layers_are_followed(input_layout: Any) -> None:
    model = patches()
    module = assert_equal(model, input_layout)
    names = dict(module.named_parameters())
    expected = {"token", "positions.weight", "scaled.scale", "scaled.first.weight"}
    assert {f"patches.{name}" for name in expected} <= set(names)
    assert not names["patches.scaled.offset"].requires_grad
    assert names["patches.token"].requires_grad


def test_custom_layers_take_batches_of_any_size() -> None:
    model = patches()
    module = assert_equal(model)
    array = np.random.default_rng(0).normal(size=(5, *IMAGE)).astype(np.float32)
    expected = np.asarray(model(array))
    np.testing.assert_allclose(
        module(torch.from_numpy(array)).detach(), expected, rtol=1e-4, atol=1e-5
    )
    size = torch.export.Dim("size", min=2, max=100)
    program = torch.export.export(
        module, (torch.randn(3, *IMAGE),), dynamic_shapes=({0: size},)
    ).module()
    np.testing.assert_allclose(
        program(torch.from_numpy(array)).detach(), expected, rtol=1e-4, atol=1e-5
    )


def test_weights_of_custom_layers_are_loaded() -> None:
    model = patches()
    randomize(model)
    module = samepad.keras.to_torch(model, "keras")
    twin = samepad.keras.to_torch(patches(), "keras")
    samepad.keras.load_weights(twin, model)
    theirs, ours = twin.state_dict().values(), module.state_dict().values()
    assert all(torch.equal(left, right) for left, right in zip(theirs, ours, strict=True))


def test_subclassed_models() -> None:
    model = Subclassed()
    array = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype(np.float32)
    model(array)
    randomize(model)
    expected = model(array)
    module = samepad.keras.to_torch(model, "keras").eval()
    found = module(torch.from_numpy(array))
    assert list(found) == ["all", "first"]
    for name, value in found.items():
        np.testing.assert_allclose(
            value.detach(), expected[name], rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_gradients_of_custom_layers() -> None:
    import tensorflow

    model = patches()
    randomize(model)
    (array,) = inputs_for(model)
    module = samepad.keras.to_torch(model, "keras")
    with tensorflow.GradientTape() as tape:
        loss = tensorflow.reduce_mean(tensorflow.square(model(array)))
    token = next(w for w in model.trainable_weights if w.name == "token")
    expected = tape.gradient(loss, token.value)
    module(torch.from_numpy(array)).square().mean().backward()
    found = dict(module.named_parameters())["patches.token"].grad
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


class Hundredfold(keras.Sequential):
    """Computes more than its layers."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return super().call(*args, **kwargs) * 100


def tanh(x: Any) -> Any:
    """Has the name of one of Keras's activations."""
    return x / 2


def test_what_code_computes_beside_its_layers() -> None:
    assert_equal(Hundredfold([keras.Input((4,)), layers.Dense(3)]))
    assert_equal(sequential(SEQUENCE, layers.LSTM(3, activation=tanh)))
    assert_equal(sequential((4,), Hundredfold([keras.Input((4,)), layers.Dense(3)])))


class Tensorflow(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        import tensorflow

        return tensorflow.nn.relu(inputs)


class OfBatch(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs * ops.cast(ops.shape(inputs)[0] // 2, inputs.dtype)


class Unknown(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return ops.median(inputs, axis=-1)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Tensorflow, r"tensorflow \(Tensorflow\): its code cannot be followed"),
        (OfBatch, r"of_batch \(OfBatch\): its code computes with the batch size"),
        (Unknown, r"median \(Median\): no counterpart"),
    ],
)
def test_code_that_cannot_be_followed(layer: Any, reason: str) -> None:
    x = keras.Input((7,))
    model = keras.Model(x, layer(name=layer.__name__.lower() if layer is Tensorflow else None)(x))
    with pytest.raises(ValueError, match=reason):
        samepad.keras.to_torch(model)


QUERY, VALUE, MASK = (5, 8), (7, 8), (5, 7)


def attended(layer: Any, *shapes: Any, **options: Any) -> Any:
    inputs = [keras.Input(shape) for shape in shapes]
    if isinstance(layer, layers.MultiHeadAttention):
        return keras.Model(inputs, layer(*inputs, **options))
    return keras.Model(inputs, layer(inputs, **options))


ATTENTION: dict[str, Callable[[], Any]] = {
    "heads": lambda: attended(layers.MultiHeadAttention(2, 3), QUERY, VALUE),
    "heads, settings": lambda: attended(
        layers.MultiHeadAttention(2, 3, 5, use_bias=False, output_shape=6), QUERY, VALUE, VALUE
    ),
    "heads, scores": lambda: attended(
        layers.MultiHeadAttention(2, 3), QUERY, VALUE, return_attention_scores=True
    ),
    "heads, dropout": lambda: attended(layers.MultiHeadAttention(2, 3, dropout=0.5), QUERY, VALUE),
    "heads, causal": lambda: attended(
        layers.MultiHeadAttention(2, 3), QUERY, QUERY, use_causal_mask=True
    ),
    "heads, axes": lambda: attended(
        layers.MultiHeadAttention(2, 3, attention_axes=(2,)), (4, *QUERY), (4, *VALUE)
    ),
    "groups": lambda: attended(layers.MultiHeadAttention(2, 3, sliding_window=2), QUERY, QUERY),
    "dot products": lambda: attended(layers.Attention(use_scale=True), QUERY, VALUE),
    "dot products, keys": lambda: attended(layers.Attention(), QUERY, VALUE, VALUE),
    "dot products, causal": lambda: attended(
        layers.Attention(score_mode="concat"), QUERY, QUERY, use_causal_mask=True
    ),
    "additive": lambda: attended(layers.AdditiveAttention(), QUERY, VALUE),
    "dot": lambda: attended(layers.Dot(axes=2), QUERY, VALUE),
    "dot, normalized": lambda: attended(layers.Dot(axes=(1, 1), normalize=True), QUERY, QUERY),
    "grouped queries": lambda: sequential_attention(),
}


def sequential_attention() -> Any:
    x = keras.Input(QUERY)
    return keras.Model(x, layers.GroupQueryAttention(4, 4, 2)(x, x))


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str) -> None:
    assert_equal(ATTENTION[name]())


LAYERS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "einsum": (SEQUENCE, lambda: layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")),
    "einsum, heads": (
        SEQUENCE,
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), activation="relu"),
    ),
    "rms": (SEQUENCE, lambda: layers.RMSNormalization()),
    "unit": (IMAGE, lambda: layers.UnitNormalization()),
    "unit, two axes": (IMAGE, lambda: layers.UnitNormalization(axis=[1, 2])),
    "layer norm, axis 1": (IMAGE, lambda: layers.LayerNormalization(axis=1)),
    "layer norm, apart": (IMAGE, lambda: layers.LayerNormalization(axis=[1, 3])),
    "layer norm, rms": (IMAGE, lambda: layers.LayerNormalization(rms_scaling=True)),
    "batch norm, axis 2": (IMAGE, lambda: layers.BatchNormalization(axis=2)),
    "softmax, axes": (IMAGE, lambda: layers.Softmax(axis=(1, 2))),
    "flip": (IMAGE, lambda: layers.RandomFlip()),
    "rotation": (IMAGE, lambda: layers.RandomRotation(0.5)),
    "contrast": ((8, 8, 3), lambda: layers.RandomContrast(0.5)),
    "resizing": (IMAGE, lambda: layers.Resizing(7, 21)),
    **{
        f"resizing, {mode}": (IMAGE, lambda mode=mode: layers.Resizing(7, 21, mode))
        for mode in ("nearest", "lanczos3", "lanczos5")
    },
    # TensorFlow rounds positions to 1 / 1024 of a pixel, which these sizes do not need.
    "resizing, bicubic": (IMAGE, lambda: layers.Resizing(26, 5, "bicubic")),
    "up, bicubic": (IMAGE, lambda: layers.UpSampling2D((2, 4), interpolation="bicubic")),
    "up, lanczos3": (IMAGE, lambda: layers.UpSampling2D(2, interpolation="lanczos3")),
    "center crop": (IMAGE, lambda: layers.CenterCrop(6, 7)),
    "adaptive average 1d": (SEQUENCE, lambda: layers.AdaptiveAveragePooling1D(5)),
    "adaptive average 2d": (IMAGE, lambda: layers.AdaptiveAveragePooling2D((5, 3))),
    "adaptive max 2d": (IMAGE, lambda: layers.AdaptiveMaxPooling2D(4)),
    "adaptive average 3d": ((6, 7, 5, 2), lambda: layers.AdaptiveAveragePooling3D((3, 2, 4))),
}


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    shape, layer = LAYERS[name]
    assert_equal(sequential(shape, layer()))


def test_augmentation_says_so() -> None:
    module = samepad.keras.to_torch(sequential(IMAGE, layers.RandomFlip(name="flip")))
    assert repr(module.flip) == "OnlyInTraining(RandomFlip)"
    image = torch.randn(2, 6, 13, 10)
    assert torch.equal(module.train()(image), image)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cast": lambda x: ops.cast(ops.cast(x, "int32"), "float32") + ops.cast(x > 0, "float32"),
    "einsum": lambda x: ops.einsum("nhwc,nhvc->nwv", x, x),
    "squeeze": lambda x: ops.squeeze(ops.squeeze(x[:, :1, :, :1], 1), axis=-1),
    "where": lambda x: ops.where(x > 0.5, x, -1.0) + ops.where(ops.equal(x, x), 1.0, x),
    "clip": lambda x: ops.clip(x, -1, 0.5),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=2.0),
    "take": lambda x: ops.take(x, [2, 0, 1], axis=1) + ops.take(x, 3, axis=-1)[:, :3, :, None],
    "take by a table": lambda x: ops.take(x, np.array([[0, 1], [2, 2]]), axis=3),
    "take along": lambda x: ops.take_along_axis(x, ops.argmax(x, axis=1, keepdims=True), axis=1),
    "split": lambda x: ops.split(x, 3, axis=-1)[1] + ops.split(x, [1, 4], axis=3)[1][..., :2],
    "unstack": lambda x: ops.unstack(x, axis=1)[2],
    "slice": lambda x: ops.slice(x, (0, 1, 2, 0), (2, 3, 4, 5)),
    "comparisons": lambda x: ops.cast(
        ops.logical_and(x >= 0, ops.logical_not(ops.not_equal(x, x))) | (x < -1), "float32"
    ),
    "any and all": lambda x: ops.cast(
        ops.any(x > 3, axis=(1, 2)) & ops.all(x > -3, axis=[1, 2]), "float32"
    ),
    "reductions": lambda x: ops.var(x, axis=1) + ops.std(x, axis=1) + ops.logsumexp(x, axis=1),
    "all axes": lambda x: ops.reshape(x, (-1, 780)) - ops.sum(x) + ops.mean(x),
    "rolls": lambda x: ops.roll(x, (1, -2), (1, 2)) + ops.flip(x, axis=1),
    "tile": lambda x: ops.tile(x, (1, 2, 1, 3)),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "axes": lambda x: ops.swapaxes(ops.moveaxis(x, 1, -1), 1, 2),
    "elementwise": lambda x: ops.rsqrt(ops.abs(x) + 1) + ops.floor(x) * ops.sign(x) + ops.erf(x),
    "remainders": lambda x: ops.mod(x, 3.0) + ops.floor_divide(x, 2.0),
    "normalize": lambda x: ops.normalize(x, axis=1) + ops.rms_normalization(x),
    "cumulative": lambda x: ops.cumsum(x, axis=1),
    "one hot": lambda x: ops.one_hot(ops.argmax(x, axis=-1), 6),
    "like": lambda x: ops.zeros_like(x) + ops.ones_like(x) + ops.full_like(x, 3.0),
    "attention": lambda x: ops.dot_product_attention(x, x, x, is_causal=True),
    "transpose": lambda x: ops.transpose(x),
    "tensordot": lambda x: ops.tensordot(x, np.ones((6, 2), np.float32), axes=1),
    "triangle": lambda x: ops.tril(x[..., 0]) + ops.triu(x[..., 1], k=1),
    "convolution": lambda x: ops.conv(x, np.ones((3, 3, 6, 4), np.float32), 2, "same"),
    "resize": lambda x: ops.image.resize(x, (26, 5), interpolation="bicubic"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    image = keras.Input(IMAGE)
    assert_equal(keras.Model(image, FUNCTIONS[name](layers.Conv2D(6, 1)(image))))
