"""TensorFlow's files: SavedModels, frozen graphs and .tflite files."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dataclasses
import importlib.util
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samepad
import samepad.tensorflow
import tensorflow as tf
import torch
from keras import layers
from samepad import __main__ as command
from samepad import _files
from samepad._comparison import Settings, compare
from samepad.tensorflow.graphs import RefusedError, graph_ends, read_graph, read_saved_model
from tensorflow.core.protobuf import saved_model_pb2


def network() -> Any:
    """Return a network whose SAME padding is uneven in every layer."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((10, 10, 3)),
            layers.Conv2D(8, 3, 2, "same", activation="relu"),
            layers.DepthwiseConv2D(2, padding="same"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2DTranspose(4, 3, 2, "same"),
            layers.AveragePooling2D(3, 2, padding="same"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def images(*shape: int) -> Any:
    return np.random.default_rng(1).random(shape).astype(np.float32)


def samples() -> Iterator[list[Any]]:
    """Yield the images from which TensorFlow Lite takes the ranges of values."""
    for image in images(20, 1, 10, 10, 3):
        yield [image]


def lite(path: Path, kind: str) -> Path:
    """Write the network as a .tflite file: "float", "half", or "int8" throughout."""
    converter = tf.lite.TFLiteConverter.from_keras_model(network())
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "half":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():  # the converter does not count the samples as statistics
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        path.write_bytes(converter.convert())
    return path


def converted(file: Path, *options: str) -> int:
    output = file.parent / "net.py"
    return command.main(["convert", str(file), "-o", str(output), *options])


@pytest.mark.parametrize("kind", ["float", "half", "int8"])
def test_lite(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lite(tmp_path / "net.tflite", kind)
    assert converted(file, *(["--atol=6"] if kind == "int8" else [])) == 0
    printed = capsys.readouterr().out
    assert "SamePadConvTranspose2d" in printed
    assert "compared with TensorFlow Lite for serving_default_keras_tensor" in printed
    namespace: dict[str, Any] = {}
    exec((tmp_path / "net.py").read_text(), namespace)
    module = namespace["Model"]()
    module.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    if kind == "int8":
        result = module(torch.randint(-128, 128, (2, 10, 10, 3), dtype=torch.int8))
        assert (result.dtype, result.shape) == (torch.int8, (2, 5))
    else:
        image = images(2, 10, 10, 3)
        found = module(torch.from_numpy(image)).detach()
        np.testing.assert_allclose(found, network()(image), rtol=5e-3 if kind == "half" else 1e-4)


def test_integers_may_differ_by_one_step(tmp_path: Path) -> None:
    model = _files.open_tensorflow(lite(tmp_path / "net.tflite", "int8"))("torch")
    (given,) = model.inputs
    assert given.quantized
    assert model.steps == [1.0]
    image = np.random.default_rng(0).integers(-128, 128, (50, 10, 10, 3), np.int8)
    (expected,) = model.run([image])

    def ours(arrays: list[Any]) -> Any:
        (found,) = model.call(model.module, [torch.from_numpy(array) for array in arrays])
        return found.numpy()

    # Each of six layers rounds values half-way between two integers in a way of its own. ONNX
    # Runtime's result is as far from TensorFlow Lite's.
    steps = np.abs(ours([image]).astype(int) - expected)
    assert expected.std() > 5
    assert steps.max() <= 3
    assert (steps <= 1).mean() > 0.9
    for difference, right in ((1, True), (3, False)):
        other = dataclasses.replace(model, run=lambda arrays, d=difference: [ours(arrays) - d])
        result = compare(other, Settings(1e-4, 0.0))
        assert result.right == right
        assert any("--atol=6 allows for it" in line for line in result.report) != right


def test_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    model.export(tmp_path / "saved", verbose=False)
    assert converted(tmp_path / "saved") == 0
    assert "compared with TensorFlow for" in capsys.readouterr().out
    module = samepad.tensorflow.load(tmp_path / "saved")
    image = images(2, 10, 10, 3)
    np.testing.assert_allclose(
        module(torch.from_numpy(image)).detach(), model(image), rtol=1e-4, atol=1e-6
    )


class Two(tf.Module):
    """Has two signatures, of which one has outputs that are not in alphabetical order."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def one(self, x):
        return x + 1

    @tf.function(
        input_signature=[tf.TensorSpec((None, 4), name="v"), tf.TensorSpec((None, 4), name="u")]
    )
    def two(self, v, u):
        return {"z": u - v, "y": u * v}


def test_signatures(tmp_path: Path) -> None:
    module = Two()
    folder = str(tmp_path / "two")
    tf.saved_model.save(module, folder, {"one": module.one, "two": module.two})
    for name in (None, "three"):
        with pytest.raises(RefusedError, match=rf"signature is {name!r}, .*\['one', 'two'\]"):
            read_saved_model(Path(folder), name)
    taken = samepad.tensorflow.load(folder, signature="two")
    names = [node.name for node in taken.graph.nodes if node.op == "placeholder"]
    given = {"u": torch.rand(2, 4), "v": torch.rand(2, 4)}
    y, z = taken(*(given[name] for name in names))
    torch.testing.assert_close(y, given["u"] * given["v"])
    torch.testing.assert_close(z, given["u"] - given["v"])


def frozen(path: Path) -> Path:
    """Write a graph as TensorFlow 1 did, with a placeholder that has a default value."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        image = v1.placeholder(tf.float32, (None, 8, 8, 3), "image")
        factor = v1.placeholder_with_default(2.0, (), "factor")
        kernel = tf.constant(images(3, 3, 3, 4))
        hidden = tf.nn.conv2d(image * factor, kernel, 2, "SAME", name="hidden")
        tf.nn.max_pool2d(hidden, 3, 2, "SAME", name="out")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_frozen_graph(tmp_path: Path) -> None:
    file = frozen(tmp_path / "frozen.pb")
    assert converted(file) == 0
    module = samepad.tensorflow.load(file, inputs=["image:0"], outputs=["hidden"])
    image = images(2, 8, 8, 3)
    expected = tf.nn.conv2d(image * 2, images(3, 3, 3, 4), 2, "SAME")
    np.testing.assert_allclose(module(torch.from_numpy(image)).detach(), expected, rtol=1e-4)


def test_ends_of_graphs(tmp_path: Path) -> None:
    graph = read_graph(frozen(tmp_path / "frozen.pb"))
    ends = graph_ends(graph, None, None)
    assert (ends.inputs, ends.outputs, ends.defaults) == (["image:0"], ["out:0"], ["factor"])
    assert graph_ends(graph, ["factor", "image"], None).defaults == []
    with pytest.raises(RefusedError, match=r"outputs has \['nothing'\], expected names of tensors"):
        graph_ends(graph, None, ["nothing"])
    del graph.node[:]
    with pytest.raises(RefusedError, match="no inputs of its own"):
        graph_ends(graph, None, None)


class Hostile(tf.Module):
    """Does more than compute: what it does is given by name."""

    def __init__(self, effect: str, path: Path) -> None:
        super().__init__()
        self.effect, self.path = effect, str(path)

    def act(self) -> None:
        if self.effect == "WriteFile":
            tf.io.write_file(self.path, "x")
        elif self.effect == "ReadFile":
            tf.io.read_file(self.path)
        elif self.effect == "PrintV2":
            tf.print("x", output_stream=f"file://{self.path}")
        elif self.effect == "SaveV2":
            tf.raw_ops.SaveV2(
                prefix=self.path, tensor_names=["x"], shape_and_slices=[""], tensors=[1.0]
            )
        else:
            tf.py_function(lambda: 1.0, [], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def __call__(self, x):
        if tf.reduce_sum(x) > 0:  # in a function that is called by the graph's
            self.act()
        return x + 1


@pytest.mark.parametrize("effect", ["WriteFile", "ReadFile", "PrintV2", "SaveV2", "EagerPyFunc"])
def test_what_does_more_than_compute(effect: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    folder = tmp_path / "hostile"
    tf.saved_model.save(Hostile(effect, touched), str(folder))
    with pytest.raises(RefusedError, match=f"may use files, the network or Python.*: {effect};"):
        read_saved_model(folder, None)
    with tf.Graph().as_default() as graph:
        Hostile(effect, touched).act()
    (tmp_path / "hostile.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(RefusedError, match=effect):
        read_graph(tmp_path / "hostile.pb")
    assert not touched.exists()


def test_what_is_run_when_a_file_is_loaded(tmp_path: Path) -> None:
    """Loading a SavedModel runs its initializers, here one that reads a file."""

    class Initialized(Two):
        def __init__(self) -> None:
            super().__init__()
            text = tmp_path / "table.txt"
            text.write_text("1\n2\n")
            key = tf.lookup.TextFileIndex.LINE_NUMBER
            value = tf.lookup.TextFileIndex.WHOLE_LINE
            table = tf.lookup.TextFileInitializer(str(text), tf.int64, key, tf.int64, value)
            self.table = tf.lookup.StaticHashTable(table, -1)

    module = Initialized()
    tf.saved_model.save(module, str(tmp_path / "saved"), module.one)
    file = tmp_path / "saved" / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = content.meta_graphs
    for _ in ("as TensorFlow writes it", "where only the object says so"):
        with pytest.raises(RefusedError, match="InitializeTableFromTextFileV2"):
            read_saved_model(tmp_path / "saved", None)
        graph.ClearField("collection_def")
        graph.signature_def.pop("__saved_model_init_op", None)
        file.write_bytes(content.SerializeToString())


def test_refusals_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one message and no traceback."""
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    hostile = tmp_path / "hostile"
    tf.saved_model.save(Hostile("WriteFile", tmp_path / "touched"), str(hostile))

    class Unknown(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((4, 4))])
        def __call__(self, x):
            return tf.linalg.svd(x, compute_uv=False)

    unknown = tmp_path / "unknown"
    tf.saved_model.save(Unknown(), str(unknown))
    for path, message in (
        (broken, f"tf2onnx cannot convert {broken}: "),
        (hostile, "WriteFile; export the model without them"),
        (unknown, "Svd] is not supported; .*; if the model was made in Keras"),
    ):
        assert converted(path) == 1
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert all(part in error for part in message.split(".*"))
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "net.py").exists()


def test_arguments(tmp_path: Path) -> None:
    lite_file = tmp_path / "net.tflite"
    lite_file.write_bytes(b"")
    other = tmp_path / "net.txt"
    other.write_bytes(b"")
    part = tmp_path / "saved_model.pb"
    part.write_bytes(b"")
    for path, message in (
        (tmp_path / "missing.pb", "no file or SavedModel"),
        (other, r"expected a \.tflite file"),
        (part, f"part of a SavedModel: pass the folder {tmp_path}"),
    ):
        with pytest.raises(ValueError, match=message):
            samepad.tensorflow.load(path)
    with pytest.raises(ValueError, match=r"signature is 'x', but .* is no SavedModel"):
        samepad.tensorflow.load(lite_file, signature="x")
    with pytest.raises(ValueError, match=r"outputs is \['x'\], but .* is no frozen graph"):
        samepad.tensorflow.load(lite_file, outputs=["x"])


def test_without_tf2onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = frozen(tmp_path / "frozen.pb")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else found(name)
    )
    with pytest.raises(ImportError, match="needs tf2onnx: pip install tf2onnx"):
        samepad.tensorflow.load(file)
    assert converted(file) == 1
    assert "needs tf2onnx: pip install tf2onnx" in capsys.readouterr().err


def test_a_process_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tf2onnx does to its own process becomes an error too."""
    file = frozen(tmp_path / "frozen.pb")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 9\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(ValueError, match="its process ended with status 9: out of memory"):
        samepad.tensorflow.load(file)


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    os.mkfifo(endless := tmp_path / "endless.pb")
    order = {"kind": "graph", "path": str(endless), "inputs": None, "outputs": None}
    code = [sys.executable, "-m", "samepad.tensorflow.child", json.dumps(order)]
    held = os.open(endless, os.O_RDWR)  # so that reading it does not end
    try:
        child = subprocess.run(code, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=100)
    finally:
        os.close(held)
    assert child.returncode == 1


def test_rounding_while_running_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorFlow Lite rounds what layers with integer weights take; the module does not."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((64,)), layers.Dense(256), layers.Dense(8)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    file = tmp_path / "dynamic.tflite"
    file.write_bytes(converter.convert())
    assert converted(file) == 1
    assert "--rtol=0.05 allows for it" in capsys.readouterr().out
    assert converted(file, "--rtol=0.05") == 0
