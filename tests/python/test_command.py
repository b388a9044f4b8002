"""The command `python -m samepad`."""

import contextlib
import errno
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import samepad
import samepad.keras
import torch
from keras import layers
from samepad import __main__ as command
from samepad import _files


def small() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, 2, "same", activation="relu"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["info"]) == 0
    printed = capsys.readouterr().out
    for text in (samepad.__version__, torch.__version__, "threads", "crop", "depthwise"):
        assert text in printed


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
# Keras warns that .h5 is an old format.
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_convert(suffix: str, tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / f"saved{suffix}")
    result = subprocess.run(
        [sys.executable, "-m", "samepad", "convert", f"saved{suffix}", "-o", "net.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "SamePadConv2d" in result.stdout
    assert "largest difference of outputs" in result.stdout
    namespace: dict[str, Any] = {}
    exec((tmp_path / "net.py").read_text(), namespace)
    module = namespace["Model"]()
    module.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    array = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    found = module(torch.from_numpy(array).movedim(-1, 1))
    np.testing.assert_allclose(found.detach(), model(array), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnx.reference"])
def test_convert_onnx(
    runtime: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if runtime != "onnxruntime":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
            onnx.helper.make_node("Shape", ["y"], ["shape"]),
            onnx.helper.make_node("GlobalAveragePool", ["y"], ["mean"]),
            onnx.helper.make_node("Expand", ["mean", "shape"], ["z"]),
        ],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, "h", 17])],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 4, "p", 9])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(
        graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 19)]
    )
    onnx.save(model, tmp_path / "net.onnx")
    output = tmp_path / "net.py"
    assert command.main(["convert", str(tmp_path / "net.onnx"), "-o", str(output)]) == 0
    assert "SamePadConv2d" in capsys.readouterr().out
    namespace: dict[str, Any] = {}
    exec(output.read_text(), namespace)
    module = namespace["Model"]()
    module.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    image = torch.randn(2, 3, 12, 17)
    expected = samepad.functional.conv2d(image, torch.from_numpy(weight), stride=2)
    expected = expected.mean((2, 3), keepdim=True).expand_as(expected)
    torch.testing.assert_close(module(image), expected)


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: Path) -> str:
    """Return the error about a file, and check that no file is left behind."""
    before = sorted(tmp_path.iterdir())
    assert command.main(["convert", str(file), "-o", str(tmp_path / "net.py")]) == 1
    assert sorted(tmp_path.iterdir()) == before
    return capsys.readouterr().err


def test_files_that_are_no_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole.keras"
    small().save(whole)
    truncated = tmp_path / "truncated.keras"
    truncated.write_bytes(whole.read_bytes()[:1000])
    foreign = tmp_path / "foreign.h5"
    foreign.write_text("no model")
    for file in (truncated, foreign):
        assert f"Keras cannot load {file}" in refused(tmp_path, capsys, file)
    assert "it is no .keras file, or not all of one" in refused(tmp_path, capsys, truncated)
    file = tmp_path / "foreign.onnx"
    file.write_text("no model")
    assert f"{file} is no ONNX model" in refused(tmp_path, capsys, file)


class Own(layers.Layer):  # type: ignore[misc]
    """A custom layer."""


def test_code_in_a_model_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential(
        [layers.Input((2,)), layers.Lambda(lambda x: x * 2, name="twice"), Own(name="mine")]
    )
    file = tmp_path / "code.keras"
    model.save(file)
    said = refused(tmp_path, capsys, file)
    assert f"Keras cannot load {file}: " in said
    assert "twice (Lambda), mine (Own)" in said
    assert "safe_mode" not in said


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_unbuilt_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "unbuilt.keras"
    keras.Sequential([layers.Dense(2)], name="late").save(file)
    said = refused(tmp_path, capsys, file)
    assert "late (Sequential)" in said
    assert "it is not built" in said


def test_the_whole_message_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keras's message names the layer only after the first line."""

    @keras.saving.register_keras_serializable("mine")
    class Own(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    file = tmp_path / "own.keras"
    keras.Sequential([layers.Input((2,)), Own(name="odd_one")]).save(file)
    keras.saving.get_custom_objects().clear()
    said = refused(tmp_path, capsys, file)
    assert f"Keras cannot load {file}" in said
    assert "odd_one" in said


@pytest.mark.parametrize("suffix", [".KERAS", ".H5", ".ONNX"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_suffixes_of_other_systems(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"saved{suffix.lower()}"
    if suffix == ".ONNX":
        node = onnx.helper.make_node("Relu", ["x"], ["y"])
        values = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"
        ]
        graph = onnx.helper.make_graph([node], "net", values[:1], values[1:])
        opsets = [onnx.helper.make_opsetid("", 19)]
        onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=opsets), file)
    else:
        small().save(file)
    file = file.rename(file.with_suffix(suffix))
    assert command.main(["convert", str(file), "-o", str(tmp_path / "net.py")]) == 0
    assert (tmp_path / "net.py").is_file()


@pytest.mark.parametrize("layout", ["torch", "keras"])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_written_is_what_is_compared(
    layout: str,
    damaged: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model is converted once, so a module that is damaged in one layout is noticed."""
    made = []
    convert = _files.converted

    def other(model: Any, given: Any) -> Any:
        made.append(given)
        result = convert(model, given)
        if damaged and given == layout:
            with torch.no_grad():
                next(result.module.parameters()).mul_(2)
        return result

    monkeypatch.setattr(_files, "converted", other)
    image, sequence = layers.Input((8, 8, 3)), layers.Input((5, 3))
    x = layers.Conv2D(4, 3, 2, "same")(image)
    y = layers.Conv1D(4, 3)(sequence)
    keras.Model([image, sequence], {"x": x, "y": y, "z": layers.GRU(2)(y)}).save(
        tmp_path / "both.keras"
    )
    arguments = ["convert", str(tmp_path / "both.keras"), "-o", str(tmp_path / "net.py")]
    assert command.main([*arguments, "--input-layout", layout]) == damaged
    assert made == [layout]
    assert (tmp_path / "net.py").exists() != damaged


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_half_precision_is_compared_in_single(policy: str, tmp_path: Path) -> None:
    """This includes inputs in half precision, shared layers, nested models, adapted layers."""
    file = tmp_path / "half.keras"
    keras.utils.set_random_seed(0)
    shared, norm = layers.Dense(3, dtype=policy), layers.BatchNormalization(dtype=policy)
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(3, dtype=policy), norm])
    scale = layers.Normalization(dtype=policy)
    scale.adapt(np.arange(12.0).reshape(4, 3))
    given = layers.Input((3,), dtype=policy.removeprefix("mixed_"), name="float16")
    keras.Model(given, shared(inner(shared(scale(given))))).save(file)
    assert command.main(["convert", str(file), "-o", str(tmp_path / "net.py")]) == 0


def test_other_backends_of_keras(tmp_path: Path) -> None:
    """Keras's PyTorch backend averages wrongly if SAME pads one side more: it is not used."""
    keras.Sequential([layers.Input((8, 8, 3)), layers.AveragePooling2D(3, 2, "same")]).save(
        tmp_path / "saved.keras"
    )
    result = subprocess.run(
        [sys.executable, "-m", "samepad", "convert", "saved.keras", "-o", "net.py"],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "compared with Keras on tensorflow" in result.stdout


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_sizes_that_a_model_leaves_open(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default size of 64 is too small for these pools."""
    file = tmp_path / f"deep.{kind}"
    if kind == "keras":
        keras.Sequential(
            [layers.Input((None, None, 1)), layers.MaxPooling2D(9), layers.MaxPooling2D(9)]
        ).save(file)
    else:
        pool = {"kernel_shape": [9, 9], "strides": [9, 9]}
        nodes = [
            onnx.helper.make_node("MaxPool", ["x"], ["h"], **pool),
            onnx.helper.make_node("MaxPool", ["h"], ["y"], **pool),
        ]
        values = [
            onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 1, h, w])
            for n, h, w in (("x", "h", "w"), ("y", "i", "j"))
        ]
        graph = onnx.helper.make_graph(nodes, "net", values[:1], values[1:])
        opsets = [onnx.helper.make_opsetid("", 19)]
        onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=opsets), file)
    assert "--input-shape sets the sizes" in refused(tmp_path, capsys, file)
    arguments = ["convert", str(file), "-o", str(tmp_path / "net.py"), "--input-shape"]
    for shape in ("81,90", "3,81,90,2", "81,90,2"):
        assert command.main([*arguments, shape]) == 1
        assert "does not fit the model's input [None, " in capsys.readouterr().err
    fitting = ["81,90,1", "3,81,90,1"] if kind == "keras" else ["1,81,90", "3,1,81,90"]
    assert command.main([*arguments, fitting[0], "--input-shape", fitting[0]]) == 1
    assert "2 input shapes are given, but the model has 1" in capsys.readouterr().err
    for shape in fitting:
        assert command.main([*arguments, shape, "--force"]) == 0
    with pytest.raises(SystemExit):
        command.main([*arguments, "0,3"])


@pytest.mark.parametrize("shape", [(-1, 3, 8, 8), (-1, -1, -1, -1)])
def test_sizes_that_are_open_as_minus_one(shape: tuple[int, ...], tmp_path: Path) -> None:
    """ONNX Runtime takes -1 for an open size, and so does the command."""
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size)
        for name, size in (("x", shape), ("y", (-1, 4, -1, -1)))
    ]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = onnx.helper.make_graph([node], "net", values[:1], values[1:], [weight])
    opsets = [onnx.helper.make_opsetid("", 19)]
    file = tmp_path / "open.onnx"
    onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=opsets), file)
    arguments = ["convert", str(file), "-o", str(tmp_path / "net.py"), "--input-shape"]
    for given in ("3,8,8", "5,3,8,8"):
        assert command.main([*arguments, given, "--force"]) == 0


def test_saved_models(tmp_path: Path) -> None:
    """samepad.keras refuses TensorFlow's SavedModels, which are folders, with advice."""
    import tensorflow

    folder = tmp_path / "saved"
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.export(folder, verbose=False)
    layer = layers.TFSMLayer(str(folder), call_endpoint="serve")
    around = keras.Sequential([layers.Input((4,)), layer])
    advice = (
        r"a SavedModel has no layers to convert.*samepad\.tensorflow\.load.*"
        r"save it there as \.keras or \.h5"
    )
    for given in (folder, str(folder), tensorflow.saved_model.load(str(folder)), layer):
        with pytest.raises(TypeError, match=advice):
            samepad.keras.to_torch(given)
        with pytest.raises(TypeError, match=advice):
            samepad.keras.load_weights(torch.nn.Linear(4, 3), given)
    with pytest.raises(ValueError, match=advice):
        samepad.keras.to_torch(around)
    with pytest.raises(ValueError, match=advice):
        samepad.keras.load_weights(torch.nn.Linear(4, 3), around)


def test_inputs_and_outputs_by_name(tmp_path: Path) -> None:
    """The names are neither in the order of the calls nor in alphabetical order."""
    inputs = {"b": layers.Input((4,), name="b"), "a": layers.Input((3,), name="a")}
    hidden = layers.Dense(5)(inputs["b"])
    outputs = {"z": layers.Dense(2)(hidden), "y": layers.Dense(2)(inputs["a"])}
    file = tmp_path / "named.keras"
    keras.Model(inputs, outputs).save(file)
    assert command.main(["convert", str(file), "-o", str(tmp_path / "net.py")]) == 0


def test_unsupported_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "stateful.keras"
    keras.Sequential(
        [layers.Input((4, 2), batch_size=1), layers.GRU(3, stateful=True, name="memory")]
    ).save(file)
    assert "memory (GRU)" in refused(tmp_path, capsys, file)


def test_a_difference_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.keras"
    small().save(file)
    monkeypatch.setattr(command, "TOLERANCE", -1.0)
    assert "nothing is written" in refused(tmp_path, capsys, file)


def test_an_output_of_another_shape_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.keras"
    small().save(file)
    converted = _files.converted

    def other(model: Any, layout: Any) -> Any:
        made = converted(model, layout)
        last = [name for name, _ in made.module.named_children()][-1]
        made.module.add_module(last, torch.nn.Linear(64, 1))
        return made

    monkeypatch.setattr(_files, "converted", other)
    assert "an output has shape torch.Size([2, 1])" in refused(tmp_path, capsys, file)


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("present", [False, True])
def test_all_or_nothing_is_written(
    fault: BaseException, call: int, present: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds whatever error stops the command, at whatever step."""
    paths = [tmp_path / "net.py", tmp_path / "net.pt"]
    if present:
        for path in paths:
            path.write_bytes(b"old")
    replace, count = Path.replace, iter(range(100))

    def replace_or_fail(self: Path, target: Path) -> Path:
        if next(count) == call:
            raise fault
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_or_fail)
    fails = call < 4 if present else call < 2
    with pytest.raises(type(fault)) if fails else contextlib.nullcontext():
        command.write_together(dict.fromkeys(paths, b"new"), force=present)
    assert sorted(tmp_path.iterdir()) == (sorted(paths) if present or not fails else [])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (b"old" if fails else b"new")


def test_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "model.keras"
    small().save(file)
    monkeypatch.setattr(command, "write_together", interrupt)
    assert command.main(["convert", str(file), "-o", str(tmp_path / "net.py")]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the files that were to be written."""

    def fail(path: str, *_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "mkdir", fail)  # root may write anywhere
    target = tmp_path / "net.py"
    with pytest.raises(ValueError, match=f"cannot write {target}: Permission denied"):
        command.write_together({target: b""})


@pytest.mark.parametrize("folder", ["net.py", "net.pt"])
def test_a_folder_in_the_place_of_an_output(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.keras"
    small().save(file)
    (tmp_path / folder).mkdir()
    with pytest.raises(SystemExit) as raised:
        command.main(["convert", str(file), "-o", str(tmp_path / "net.py")])
    assert raised.value.code == 2
    assert f"{folder} is a folder" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", folder]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "missing.keras", "-o", "net.py"], "there is no file"),
        (["convert", __file__, "-o", "net.txt"], "must be a .py file"),
        (["convert", __file__, "-o", "missing/net.py"], "there is no folder"),
        (["convert", __file__, "-o", "net.py"], "must end in .keras or .h5"),
        ([], "required"),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(arguments)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_convert_shows_what_optimizing_gains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small().save(tmp_path / "saved.keras")
    arguments = ["convert", str(tmp_path / "saved.keras"), "-o", str(tmp_path / "net.py")]
    assert command.main([*arguments, "--optimize"]) == 0
    printed, steps = capsys.readouterr()
    assert "SamePadConv2d + relu -> FusedConv2d" in printed
    assert "times on the example inputs: original" in printed
    assert "[4/5] optimizing for inference" in steps
    assert "Fused" not in (tmp_path / "net.py").read_text()
    assert command.main([*arguments, "--force"]) == 0
    assert "optimized" not in capsys.readouterr().out
