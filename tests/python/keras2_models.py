"""Models of Keras 2, made with tf_keras: parts of published architectures, and random ones."""

import random
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras import layers

#: Makes a random layer; the lists of makers below are for images and for sequences.
Maker = Callable[[random.Random], Any]


def _pick(rng: random.Random, *options: Any) -> Any:
    return rng.choice(options)


def _activation(rng: random.Random) -> Any:
    names = ("relu", "elu", "selu", "tanh", "sigmoid", "swish", "gelu", "softplus", "linear")
    return _pick(rng, None, *names, "hard_sigmoid", layers.LeakyReLU(rng.random()))


def _convolution(rng: random.Random, dimensions: int) -> dict[str, Any]:
    strides = rng.randint(1, 3)
    return {
        "kernel_size": rng.randint(1, 4),
        "strides": strides,
        "padding": _pick(rng, "same", "valid"),
        "dilation_rate": 1 if strides > 1 else rng.randint(1, 2),
        "use_bias": rng.random() < 0.7,
        "activation": _activation(rng),
    }


def _transposed(rng: random.Random, dimensions: int) -> dict[str, Any]:
    options = {**_convolution(rng, dimensions), "dilation_rate": 1}
    # TensorFlow fails for some kernels shorter than the stride, and for some shorter outputs.
    options["kernel_size"] = max(options["kernel_size"], options["strides"])
    if options["strides"] > 1 and rng.random() < 0.5:
        options["output_padding"] = options["strides"] - 1
    return options


def _pool(rng: random.Random) -> dict[str, Any]:
    return {
        "pool_size": rng.randint(1, 3),
        "strides": _pick(rng, None, 1, 2, 3),
        "padding": _pick(rng, "same", "valid"),
    }


def _recurrent(rng: random.Random, kind: Any, **options: Any) -> Any:
    return kind(rng.randint(1, 4), return_sequences=True, use_bias=rng.random() < 0.7, **options)


def _gru(rng: random.Random, **options: Any) -> Any:
    return _recurrent(rng, layers.GRU, reset_after=rng.random() < 0.5, **options)


def _normalization(axis: int) -> Maker:
    return lambda rng: layers.BatchNormalization(
        axis=axis,
        epsilon=_pick(rng, 1e-3, 1e-5),
        center=rng.random() < 0.7,
        scale=rng.random() < 0.7,
        trainable=rng.random() < 0.7,
    )


_ANY: list[Maker] = [
    _normalization(-1),
    lambda rng: layers.LayerNormalization(epsilon=1e-5, center=rng.random() < 0.5),
    lambda rng: layers.Dense(rng.randint(1, 5), activation=_activation(rng)),
    lambda rng: layers.Activation(_activation(rng) or "relu6"),
    lambda rng: layers.LeakyReLU(rng.random()),
    lambda rng: layers.ThresholdedReLU(rng.random()),
    lambda rng: layers.ReLU(_pick(rng, None, 6, 1.5), rng.random(), _pick(rng, 0, 0.3)),
    lambda rng: layers.ELU(rng.random()),
    lambda rng: layers.PReLU(),
    lambda rng: layers.Dropout(0.3),
    lambda rng: layers.GaussianNoise(0.3),
    lambda rng: layers.Rescaling(2.0, -1),
    lambda rng: layers.Normalization(mean=0.5, variance=2.0),
    lambda rng: layers.Softmax(),
    lambda rng: layers.ActivityRegularization(0.1),
]

IMAGES: list[Maker] = [
    lambda rng: layers.Conv2D(rng.randint(1, 5), **_convolution(rng, 2)),
    lambda rng: layers.DepthwiseConv2D(
        **_convolution(rng, 2), depth_multiplier=rng.randint(1, 2), kernel_regularizer="l2"
    ),
    lambda rng: layers.SeparableConv2D(rng.randint(1, 5), **_convolution(rng, 2)),
    lambda rng: layers.Conv2DTranspose(rng.randint(1, 5), **_transposed(rng, 2)),
    lambda rng: layers.MaxPooling2D(**_pool(rng)),
    lambda rng: layers.AveragePooling2D(**_pool(rng)),
    lambda rng: layers.UpSampling2D(2, interpolation=_pick(rng, "nearest", "bilinear")),
    lambda rng: layers.ZeroPadding2D(((1, 2), (0, 1))),
    lambda rng: layers.Cropping2D(((1, 0), (0, 1))),
    lambda rng: layers.SpatialDropout2D(0.3),
    lambda rng: layers.PReLU(shared_axes=[1, 2]),
    lambda rng: layers.GroupNormalization(1),
    lambda rng: layers.experimental.SyncBatchNormalization(),
    lambda rng: layers.Permute((2, 1, 3)),
    *_ANY,
]

SEQUENCES: list[Maker] = [
    lambda rng: layers.Conv1D(rng.randint(1, 5), **_convolution(rng, 1)),
    lambda rng: layers.DepthwiseConv1D(**_convolution(rng, 1)),
    lambda rng: layers.SeparableConv1D(rng.randint(1, 5), **_convolution(rng, 1)),
    lambda rng: layers.Conv1DTranspose(rng.randint(1, 5), **_transposed(rng, 1)),
    lambda rng: layers.MaxPooling1D(**_pool(rng)),
    lambda rng: layers.AveragePooling1D(**_pool(rng)),
    lambda rng: layers.UpSampling1D(2),
    lambda rng: layers.ZeroPadding1D((1, 2)),
    lambda rng: _recurrent(rng, layers.LSTM, unit_forget_bias=False),
    _gru,
    lambda rng: _recurrent(rng, layers.SimpleRNN, activation=_pick(rng, "tanh", "relu")),
    lambda rng: layers.Bidirectional(_gru(rng), merge_mode=_pick(rng, "concat", "sum", "ave")),
    lambda rng: layers.TimeDistributed(layers.Dense(rng.randint(1, 4))),
    *_ANY,
]


def _stack(rng: random.Random, shape: tuple[int, ...], makers: list[Maker], depth: int) -> Any:
    """Make a Sequential model of random layers that fit the shape; some layers are nested."""
    model = tf_keras.Sequential([layers.InputLayer(shape)])
    while len(model.layers) < 4:
        layer = rng.choice(makers)(rng)
        if depth and rng.random() < 0.2:
            layer = _stack(rng, model.output_shape[1:], makers, depth - 1)
        model.add(layer)
        if any(size is not None and size < 3 for size in model.output_shape[1:-1]):
            break
    return model


def random_model(seed: int) -> Any:
    """Make a random model from a seed: Sequential, or functional with branches and functions."""
    rng = random.Random(seed)
    shape, makers = _pick(rng, ((9, 8, 3), IMAGES), ((11, 3), SEQUENCES))
    if rng.random() < 0.4:
        return _stack(rng, shape, makers, 1)
    given = layers.Input(shape, name=_pick(rng, "in/put", None))
    stack = _stack(rng, shape, makers, 1)
    x = stack(given)
    for _ in range(rng.randint(0, 3)):
        x = _pick(rng, *FUNCTIONS)(x)
    y = layers.Concatenate()([x, layers.ReLU()(x)])
    flat = layers.Flatten()(y)
    return tf_keras.Model(given, [flat, layers.Dense(2)(flat)] if rng.random() < 0.3 else flat)


FUNCTIONS: list[Callable[[Any], Any]] = [
    lambda x: x * 2.0 + 1,
    lambda x: 1.0 - x / 3.0,
    lambda x: -x,
    lambda x: tf.nn.relu6(x + 3.0) * x / 6.0,
    lambda x: tf.nn.leaky_relu(x, 0.1),
    lambda x: tf.nn.silu(x),
    lambda x: tf.nn.gelu(x),
    lambda x: tf.nn.softmax(x),
    lambda x: tf.sigmoid(x) * tf.tanh(x),
    lambda x: tf.maximum(x, 0.5),
    lambda x: tf.math.square(x) - tf.abs(x),
    lambda x: x - tf.reduce_mean(x, axis=-1, keepdims=True),
    lambda x: x[:, 1:],
    lambda x: x[:, :, ::2],
    lambda x: tf.transpose(x, [0, *range(2, len(x.shape)), 1]),
    lambda x: tf.reshape(x, (-1, *x.shape[1:])),
    lambda x: tf.expand_dims(x, 1)[:, 0],
]
