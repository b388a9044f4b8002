"""Models of Keras 2, in files and of tf_keras, against what tf_keras computes."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import samepad.keras
import tensorflow as tf
import tf_keras
import torch
from keras2_models import FUNCTIONS, random_model
from samepad import __main__ as command
from samepad.keras import keras2
from tf_keras import layers
from tf_keras.src.applications import convnext
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def flat(outputs: Any) -> list[Any]:
    return list(tf.nest.flatten(outputs))


def assert_equal_numbers(found: Any, expected: Any, tolerance: float) -> None:
    for ours, theirs in zip(flat(found), flat(expected), strict=True):
        scale = float(np.abs(theirs).max(initial=1e-6))
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * scale)


def check(model: Any, tmp_path: Path, convert: bool = True) -> None:
    """What tf_keras computes, Keras 3 does for the files, and PyTorch for the model."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        value = generator.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # else it goes on with the weights of before
    arrays = [
        generator.normal(0, 1, [2, *tensor.shape[1:]]).astype(tensor.dtype.as_numpy_dtype)
        for tensor in model.inputs
    ]
    given = arrays if len(arrays) > 1 else arrays[0]
    expected = [np.asarray(out) for out in flat(model(given, training=False))]
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        loaded = samepad.keras.load_model(tmp_path / name)
        assert isinstance(loaded, keras.Model)
        assert_equal_numbers(loaded(given, training=False), expected, 1e-5)
    if convert:
        module = samepad.keras.to_torch(model, input_layout="keras").eval()
        with torch.no_grad():
            assert_equal_numbers(module(*map(torch.from_numpy, arrays)), expected, 1e-5)


def without_group(file: Path, path: str, new: Path) -> Path:
    """Copy a file, without one of the groups of its weights."""
    if file.suffix == ".h5":
        shutil.copy(file, new)
        with h5py.File(new, "r+") as weights:
            del weights[path]
        return new
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            content = io.BytesIO(old.read(name))
            if name == "model.weights.h5":
                with h5py.File(content, "r+") as weights:
                    del weights[path]
            archive.writestr(name, content.getvalue())
    return new


@pytest.mark.parametrize("seed", range(60))
def test_random_models(seed: int, tmp_path: Path) -> None:
    check(random_model(seed), tmp_path)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXt block", "EfficientNet stem"])
def test_pieces_of_published_architectures(name: str, tmp_path: Path) -> None:
    image = layers.Input((33, 33, 3))
    if name == "MobileNetV3Small":
        model = tf_keras.applications.MobileNetV3Small(
            weights=None, input_shape=(33, 33, 3), alpha=0.35, classes=5
        )
    elif name == "ConvNeXt block":
        block = convnext.ConvNeXtBlock(8, drop_path_rate=0.1)
        model = tf_keras.Model(image, block(layers.Conv2D(8, 4, 4)(image)))
    else:
        adapted = layers.Normalization()
        adapted.adapt(np.random.default_rng(0).normal(3, 2, (4, 33, 33, 3)))
        x = adapted(layers.Rescaling(1 / 255)(image))
        model = tf_keras.Model(image, layers.DepthwiseConv2D(3, 2, "same")(x))
    check(model, tmp_path)


def states() -> Any:
    x = layers.Input((5, 3), name="x")
    sequence, h, c = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    y = layers.Bidirectional(layers.LSTM(4))(sequence, initial_state=[h, c, h, c])
    return tf_keras.Model(x, [layers.LSTM(4)(sequence, initial_state=[h, c]), y])


def shared() -> Any:
    dense = layers.Dense(4, name="dense")
    inner = tf_keras.Sequential([layers.Input((4,)), dense, layers.ReLU()])
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    sums = layers.Add(name="a/dd")([inner(a), inner(b)])
    return tf_keras.Model([a, b], {"x": inner(sums), "y": tf.concat([a, sums], -1)})


def deep() -> Any:
    """Weights of which some learn, in models in models, under one layer's name."""
    inner = tf_keras.Sequential(
        [
            layers.Dense(3, input_shape=(3,), trainable=False),
            layers.BatchNormalization(),
            layers.Dense(3),
        ]
    )
    outer = tf_keras.Sequential([layers.Input((3,)), inner, layers.BatchNormalization()])
    x = layers.Input((5, 3))
    return tf_keras.Model(x, layers.TimeDistributed(outer)(x))


def names() -> Any:
    """Those that Keras 3 gives operations by itself."""
    x = layers.Input((3,))
    y = layers.Dense(3, name="multiply")(layers.Dense(3, name="add")(x)) * x + x
    return tf_keras.Model(x, layers.Add(name="tf.math.multiply_1")([y * 2.0, x]))


def wide() -> Any:
    """More layers than an HDF5 attribute takes names of."""
    model = tf_keras.Sequential([layers.Input((2,))])
    for i in range(260):
        model.add(layers.Activation("relu", name=f"{'x' * 300}{i}"))
    model.add(layers.Dense(2))
    return model


@pytest.mark.parametrize("make", [states, shared, deep, names, wide])
def test_what_calls_and_names_there_are(make: Any, tmp_path: Path) -> None:
    check(make(), tmp_path, convert=make is not states)


@pytest.mark.parametrize("index", range(len(FUNCTIONS)))
def test_functions_of_tensorflow(index: int, tmp_path: Path) -> None:
    x = layers.Input((5, 4, 6))
    check(tf_keras.Model(x, FUNCTIONS[index](x)), tmp_path)


def test_the_ellipsis_of_tensorflows_slices(tmp_path: Path) -> None:
    """Which tf_keras writes into .h5 files alone."""
    x = layers.Input((5, 4))
    model = tf_keras.Model(x, x[..., 1:, tf.newaxis])
    model.save(tmp_path / "model.h5")
    array = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    for loaded in (samepad.keras.load_model(tmp_path / "model.h5"), keras2.from_live(model)):
        assert_equal_numbers(loaded(array), [array[..., 1:, None]], 0)


def test_half_precision(tmp_path: Path) -> None:
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = tf_keras.Sequential([layers.Input((4,)), layers.Dense(3), layers.ReLU()])
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    model.save(tmp_path / "half.keras")
    loaded = samepad.keras.load_model(tmp_path / "half.keras")
    assert loaded.layers[0].dtype_policy.name == "mixed_float16"


def test_files_of_older_versions(tmp_path: Path) -> None:
    """Which wrote no `reset_after`, other names of classes, arrays among the settings, a list of
    layers in place of a model's configuration, and no version."""
    model = tf_keras.Sequential(
        [
            layers.Input((6, 3)),
            layers.GRU(4, reset_after=False, return_sequences=True),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.25),
        ]
    )
    file = tmp_path / "old.h5"
    check(model, tmp_path)
    model.save(file)
    with h5py.File(file, "r+") as old:
        config = json.loads(old.attrs["model_config"])
        first, gru, norm, leaky = config["config"]["layers"]
        del gru["config"]["reset_after"]
        gru["config"].update(batch_input_shape=first["config"]["batch_input_shape"])
        norm["class_name"] = "BatchNormalizationV1"
        leaky["config"]["alpha"] = {"type": "ndarray", "value": 0.25}
        config["config"] = [gru, norm, leaky]
        old.attrs["model_config"] = json.dumps(config)
        del old.attrs["keras_version"]
    array = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    assert_equal_numbers(samepad.keras.load_model(file)(array), [model(array).numpy()], 1e-5)


def test_layers_for_cudnn(tmp_path: Path) -> None:
    """Their weights are laid out otherwise; only a GPU runs them, so LSTM is the oracle: tf_keras
    itself loads such weights into one."""
    old = tf_keras.Sequential([layers.Input((5, 3))])
    old.add(CuDNNLSTM(4, return_sequences=True))
    old.add(layers.Bidirectional(CuDNNGRU(4)))
    for weight in old.weights:
        weight.assign(np.random.default_rng(0).normal(0, 0.3, weight.shape))
    old.save(tmp_path / "cudnn.h5")
    new = tf_keras.Sequential([layers.Input((5, 3)), layers.LSTM(4, return_sequences=True)])
    new.add(layers.Bidirectional(layers.GRU(4)))
    new.load_weights(tmp_path / "cudnn.h5")
    array = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    loaded = samepad.keras.load_model(tmp_path / "cudnn.h5")
    assert_equal_numbers(loaded(array), [new(array).numpy()], 1e-5)


def test_operations_of_tensorflows_graphs(tmp_path: Path) -> None:
    """As TensorFlow 2.0 to 2.3 saved x + 3.0 and the like."""
    x = layers.Input((4,))
    plus, relu = (
        tf_keras.src.engine.base_layer.TensorFlowOpLayer(
            {"name": kind, "op": kind, "input": ["x", "y"][:inputs], "attr": {"T": {"type": 1}}},
            kind,
            constants,
        )
        for kind, inputs, constants in (("AddV2", 2, {1: 3.0}), ("Relu6", 1, {}))
    )
    check(tf_keras.Model(x, relu(plus(x))), tmp_path, convert=False)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("layers/dense_1", r"lacks weights of last \(Dense\)$"),
        ("layers/dense_1/vars/0", "last"),
        ("layers/sequential/layers", r"lacks weights of within \(Dense\)$"),
        ("layers/rnn/cell/cells/gru_cell", r"lacks weights of steps \(RNN\)$"),
        ("layers/bidirectional/backward_layer/cell/vars", r"lacks weights of both \(Bidirectional"),
        ("layers", "first .*within .*both .*steps .*last "),
        ("model_weights/last", r"lacks weights of last \(Dense\)$"),
        ("model_weights/last/last/kernel:0", r"lacks weights of last \(Dense\)$"),
        ("model_weights/inner", r"lacks weights of inner \(Sequential\)$"),
    ],
)
def test_files_that_lack_weights_of_a_layer(path: str, named: str, tmp_path: Path) -> None:
    inner = [layers.Input((5, 4)), layers.Dense(4, name="within")]
    stack = [
        layers.Input((5, 3)),
        layers.Dense(4, name="first"),
        tf_keras.Sequential(inner, name="inner"),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both"),
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], name="steps"),
        layers.Dense(2, name="last"),
    ]
    file = tmp_path / ("model.h5" if path.startswith("model_weights") else "model.keras")
    tf_keras.Sequential(stack).save(file)
    samepad.keras.load_model(file)
    with pytest.raises(ValueError, match=named):
        samepad.keras.load_model(without_group(file, path, tmp_path / f"new{file.suffix}"))


@pytest.mark.parametrize("path", ["layers/dense", "model_weights/last"])
def test_files_of_keras_3_that_lack_weights_of_a_layer(path: str, tmp_path: Path) -> None:
    file = tmp_path / ("model.h5" if path.startswith("model_weights") else "model.keras")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="last")]).save(file)
    with pytest.raises(ValueError, match=r"Keras cannot load.*last"):
        samepad.keras.load_model(without_group(file, path, tmp_path / f"new{file.suffix}"))


AUGMENTATIONS = [
    lambda: layers.RandomFlip(),
    lambda: layers.RandomRotation(0.1),
    lambda: layers.RandomZoom(0.1),
    lambda: layers.RandomContrast(0.1),
    lambda: layers.RandomTranslation(0.1, 0.1),
    lambda: layers.RandomBrightness(0.1),
    lambda: layers.RandomHeight(0.1),
    lambda: layers.RandomWidth(0.1),
    lambda: layers.RandomCrop(5, 4),
]


@pytest.mark.parametrize("index", range(len(AUGMENTATIONS)))
def test_augmentation(index: int, tmp_path: Path) -> None:
    image = layers.Input((9, 6, 3))
    layer = AUGMENTATIONS[index]()
    model = tf_keras.Model(image, layer(image))
    check(model, tmp_path, convert=not isinstance(layer, layers.RandomCrop))


@pytest.mark.parametrize("wrap", [lambda layer: layer, layers.Bidirectional])
def test_recurrent_layers_of_several_cells(wrap: Any, tmp_path: Path) -> None:
    for cells in (["LSTMCell", "LSTMCell"], ["GRUCell", "SimpleRNNCell", "GRUCell"]):
        sequence = layers.Input((5, 3))
        layer = layers.RNN([getattr(layers, kind)(2) for kind in cells], return_sequences=True)
        check(tf_keras.Model(sequence, wrap(layer)(sequence)), tmp_path)


def test_activations_that_are_layers_with_weights(tmp_path: Path) -> None:
    image = layers.Input((7, 6, 3))
    y = layers.Conv2D(4, 3, activation=layers.PReLU(shared_axes=[1, 2]))(image)
    y = layers.Activation(layers.PReLU())(y)
    y = tf_keras.Sequential([layers.Dense(2, activation=layers.PReLU())])(y)
    check(tf_keras.Model(image, layers.TimeDistributed(layers.Dense(3))(y)), tmp_path)
    sequence = layers.Input((5, 3))
    y = layers.TimeDistributed(layers.Dense(4, activation=layers.PReLU()))(sequence)
    check(tf_keras.Model(sequence, layers.LSTM(3, activation=layers.PReLU())(y)), tmp_path)


class Own(layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize("name", ["code.h5", "code.keras"])
def test_code_is_named_and_not_run(name: str, tmp_path: Path) -> None:
    x = layers.Input((2,))
    y = Own(name="mine")(layers.Lambda(lambda x: x * 2, name="twice")(x))
    y = tf.linalg.expm(tf.reshape(y, (-1, 1, 1)))
    tf_keras.Model(x, y).save(tmp_path / name)
    with pytest.raises(ValueError, match=f"Keras cannot load .*{name}") as raised:
        samepad.keras.load_model(tmp_path / name)
    said = str(raised.value)
    assert "twice (Lambda): it is code, of which none is run" in said
    assert "mine (Own)" in said
    assert "TensorFlow's function tf.linalg.expm" in said
    assert "samepad.tensorflow.load" in said
    assert len(said) < 750


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_files_of_subclassed_models(name: str, tmp_path: Path) -> None:
    class Half(tf_keras.Model):  # type: ignore[misc]
        pass

    x = layers.Input((2,))
    models = [(Half(x, layers.Dense(2)(x)), "Half")]
    if name.endswith(".keras"):
        models.append((Blocks(False), "Blocks"))
        models[-1][0](np.zeros((1, 6, 5, 3), np.float32))
    for model, kind in models:
        model.save(tmp_path / name)
        with pytest.raises(ValueError, match=rf"{kind} is a subclass of Model.*tensorflow"):
            samepad.keras.load_model(tmp_path / name)


@pytest.mark.parametrize(
    "activation",
    [
        {"class_name": "function", "config": "os.system"},
        {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}},
        "my_own",
        ["relu"],
    ],
)
def test_activations_that_are_code(activation: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.h5"
    tf_keras.Sequential([layers.Input((3,)), layers.Dense(2, name="d")]).save(file)
    with h5py.File(file, "r+") as opened:
        config = json.loads(opened.attrs["model_config"])
        config["config"]["layers"][1]["config"]["activation"] = activation
        opened.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ValueError, match=r"d \(Dense\): activation .* is code of its own"):
        samepad.keras.load_model(file)


def test_arguments_that_keras_3_has_not() -> None:
    model = tf_keras.Sequential([layers.Input((4, 3)), layers.LSTM(2, time_major=True, name="l")])
    with pytest.raises(ValueError, match=r"l \(LSTM\): Keras 3's LSTM has no time_major=True"):
        samepad.keras.to_torch(model)
    ragged = tf_keras.Sequential([layers.Input((None, 3), ragged=True), layers.Dense(2)])
    with pytest.raises(ValueError, match="ragged or sparse tensors"):
        samepad.keras.to_torch(ragged)


class Subclass(tf_keras.Model):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x


def test_models_of_tf_keras_without_a_graph() -> None:
    with pytest.raises(ValueError, match=r"it is not built.*call it once"):
        samepad.keras.to_torch(Subclass())
    with pytest.raises(ValueError, match="it is not built"):
        samepad.keras.to_torch(tf_keras.Sequential([layers.Dense(2)]))


class Block(layers.Layer):  # type: ignore[misc]
    def __init__(self, channels: int, by_tensorflow: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.by_tensorflow = by_tensorflow
        self.first = layers.Conv2D(channels, 3, padding="same")
        self.more = [layers.BatchNormalization(), layers.Conv2D(channels, 3, padding="same")]

    def inside(self, x: Any) -> Any:
        for layer in [self.first, *self.more]:
            x = layer(x)
        return tf.nn.relu(x) if self.by_tensorflow else x

    def call(self, x: Any) -> Any:
        return x + self.inside(x)


class Blocks(tf_keras.Model):  # type: ignore[misc]
    def __init__(self, flattens: bool, by_tensorflow: bool = False) -> None:
        super().__init__()
        self.stem = tf_keras.Sequential([layers.Conv2D(4, 3, padding="same")])
        self.blocks = [Block(4, by_tensorflow), Block(4, by_tensorflow)]
        self.pool = layers.Flatten() if flattens else layers.GlobalAveragePooling2D()
        self.head = layers.Dense(2)

    def call(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))


class TorchBlock(nn.Module):
    def __init__(self, by_tensorflow: bool) -> None:
        super().__init__()
        self.by_tensorflow = by_tensorflow
        self.first = nn.Conv2d(4, 4, 3, padding="same")
        self.norm = nn.BatchNorm2d(4, eps=1e-3)
        self.second = nn.Conv2d(4, 4, 3, padding="same")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.norm(self.first(x)))
        return x + (y.relu() if self.by_tensorflow else y)


class TorchBlocks(nn.Module):
    def __init__(self, flattens: bool, by_tensorflow: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding="same")
        self.blocks = nn.Sequential(TorchBlock(by_tensorflow), TorchBlock(by_tensorflow))
        self.flattens = flattens
        self.head = nn.Linear(120 if flattens else 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))
        return self.head(x.flatten(1) if self.flattens else x.mean((2, 3)))


def moved_weights(model: Any) -> None:
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(generator.normal(0.5, 0.2, weight.shape)))


@pytest.mark.parametrize(
    ("flattens", "by_tensorflow"), [(False, False), (True, False), (False, True)]
)
def test_weights_of_models_made_of_blocks(flattens: bool, by_tensorflow: bool) -> None:
    model = Blocks(flattens, by_tensorflow)
    array = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    model(array)
    moved_weights(model)
    module = samepad.keras.load_weights(TorchBlocks(flattens, by_tensorflow), model).eval()
    with torch.no_grad():
        found = module(torch.from_numpy(array).movedim(-1, 1))
    assert_equal_numbers(found, [model(array).numpy()], 1e-5)


@pytest.mark.parametrize("flattens", [False, True])
def test_weights_of_graphs_with_blocks(flattens: bool) -> None:
    image = layers.Input((6, 5, 3))
    body = tf_keras.Sequential([layers.Input((6, 5, 4)), Block(4), Block(4, name="b/2")])
    y = body(layers.Conv2D(4, 3, padding="same")(image))
    y = (layers.Flatten() if flattens else layers.GlobalAveragePooling2D())(y)
    model = tf_keras.Model(image, layers.Dense(2)(y))
    moved_weights(model)
    array = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    module = samepad.keras.load_weights(TorchBlocks(flattens, False), model).eval()
    converted = samepad.keras.to_torch(model).eval()
    with torch.no_grad():
        given = torch.from_numpy(array).movedim(-1, 1)
        for found in (module(given), converted(given)):
            assert_equal_numbers(found, [model(array).numpy()], 1e-5)


class Steps(tf_keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.both = layers.Bidirectional(layers.GRU(4, return_sequences=True))
        self.attention = layers.MultiHeadAttention(2, 4)
        self.scale = self.add_weight(name="scale", shape=(8,))
        self.parts = {"norm": layers.LayerNormalization(), "join": layers.Concatenate()}
        self.last = layers.LSTM(3)

    def call(self, x: Any) -> Any:
        x = self.both(x) * self.scale
        return self.last(self.parts["join"]([self.attention(x, x), self.parts["norm"](x)]))


def test_subclassed_models_become_modules() -> None:
    model = Steps()
    array = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    model(array)
    moved_weights(model)
    module = samepad.keras.to_torch(model).eval()
    with torch.no_grad():
        assert_equal_numbers(module(torch.from_numpy(array)), [model(array).numpy()], 1e-5)


def test_weights_of_models_and_layers_of_tf_keras() -> None:
    stack = [layers.Input((5, 5, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    model = tf_keras.Sequential(stack)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2))
    samepad.keras.load_weights(module, model)
    array = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
    found = module(torch.from_numpy(array).movedim(-1, 1)).detach()
    assert_equal_numbers(found, [model(array).numpy()], 1e-5)
    conv = samepad.keras.load_weights(nn.Conv2d(3, 4, 3), model.layers[0])
    assert torch.equal(conv.weight, module[0].weight)


def test_files_that_hold_no_model(tmp_path: Path) -> None:
    model = tf_keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.save_weights(tmp_path / "alone.h5")
    with pytest.raises(ValueError, match=r"holds weights without a model.*load_weights"):
        samepad.keras.load_model(tmp_path / "alone.h5")
    model.save(tmp_path / "first.h5")
    with h5py.File(tmp_path / "first.h5", "r+") as file:
        file.attrs["keras_version"] = "1.2.2"
    with pytest.raises(ValueError, match=r"Keras 1 wrote it.*Keras 2\.2"):
        samepad.keras.load_model(tmp_path / "first.h5")
    model.save(tmp_path / "saved", save_format="tf")
    with pytest.raises(ValueError, match="a SavedModel has no layers to convert"):
        samepad.keras.load_model(tmp_path / "saved")
    with pytest.raises(FileNotFoundError):
        samepad.keras.load_model(tmp_path / "missing.h5")
    nested = "[" * 100_000 + "]" * 100_000
    with zipfile.ZipFile(tmp_path / "nested.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
        archive.writestr("config.json", nested)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ValueError, match="Keras cannot load"):
        samepad.keras.load_model(tmp_path / "nested.keras")


@pytest.mark.parametrize("name", ["net.h5", "net.keras", "net.KERAS"])
def test_the_command(name: str, tmp_path: Path) -> None:
    model = tf_keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.DepthwiseConv2D(3, 2, "same"),
            layers.Conv2DTranspose(2, 3),
        ]
    )
    model.save(tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    output = tmp_path / "out.py"
    assert command.main(["convert", str(tmp_path / name), "-o", str(output)]) == 0
    assert "SamePadDepthwiseConv2d" in output.read_text()
