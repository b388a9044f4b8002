"""Gives broken and malicious files to `python -m samepad convert`.

One process with limited memory gets all of them. Each file has to give a one-line error within
little time, and to leave nothing behind.
"""

import io
import json
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import pytest
from keras import layers
from onnx import TensorProto, helper, parser

HUGE = 2**33
#: CPU seconds that a file may take, far above what each takes. The first also starts TensorFlow.
MOST_SECONDS = 60

CHILD = """
import contextlib, io, json, resource, sys, time
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (14 << 30, 14 << 30))
from samepad import __main__ as command

results = {}
for name in sys.argv[1:]:
    said, start = io.StringIO(), time.process_time()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = command.main(["convert", name, "-o", "out/net.py"])
        except SystemExit as error:
            status = error.code
        except BaseException as error:
            status = repr(error)
    seconds = time.process_time() - start
    left = [path.name for path in Path("out").iterdir()]
    results[name] = status, said.getvalue(), left, seconds
print(json.dumps(results))
"""


def onnx_model(
    *nodes: Any, shape: Any = (2,), constants: Any = (), sparse: Any = (), functions: Any = ()
) -> bytes:
    """Make a model with the input x, of this shape, and the output y."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(constants),
        sparse_initializer=list(sparse),
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opsets, functions=list(functions))
    return bytes(model.SerializeToString())


def constant(dims: list[int], content: bytes) -> Any:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=content)


def external(location: str) -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def sparse(dims: list[int], index: int = 0) -> Any:
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [index])
    return helper.make_sparse_tensor(values, indices, dims)


def nested_functions(depth: int) -> bytes:
    """Make functions of which each calls the next one."""
    functions = []
    for i in range(depth):
        inner = helper.make_node("Relu", ["a"], ["b"])
        if i:
            inner = helper.make_node(f"F{i - 1}", ["a"], ["b"], domain="own")
        opsets = [helper.make_opsetid("", 19), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"F{i}", ["a"], ["b"], [inner], opsets))
    outer = helper.make_node(f"F{depth - 1}", ["x"], ["y"], domain="own")
    return onnx_model(outer, functions=functions)


def nested_messages(depth: int) -> bytes:
    """Write graphs nested in graphs, directly as bytes of protobuf."""

    def number(value: int) -> bytes:
        more = value >> 7
        return bytes([value & 127 | 128]) + number(more) if more else bytes([value])

    content = b""
    for _ in range(depth):
        content = b"\x3a" + number(len(content)) + content
    return content


RELU = helper.make_node("Relu", ["x"], ["y"])
ADD = helper.make_node("Add", ["x", "w"], ["y"])


def endless_loop() -> bytes:
    """Make a model that ONNX Runtime runs for ages."""
    text = """<ir_version: 10, opset_import: ["" : 18]>
    net (float[2] x) => (float[2] y) <int64 n = {4611686018427387904}> {
        y = Loop(n, "", x) <body = body (int64 i, bool c, float[2] s) => (bool co, float[2] so) {
            co = Identity(c)
            so = Tanh(s)
        }>
    }"""
    return bytes(parser.parse_model(text).SerializeToString())


ONNX = {
    "empty": b"",
    "text": b"no model",
    "truncated": onnx_model(ADD, constants=[constant([9], b"\0" * 36)])[:-60],
    "nested_messages": nested_messages(2000),
    "nested_functions": nested_functions(3000),
    "sparse": onnx_model(ADD, sparse=[sparse([2**32])]),
    "sparse_overflow": onnx_model(ADD, sparse=[sparse([2**62, 2**62])]),
    "sparse_negative": onnx_model(ADD, sparse=[sparse([-5])]),
    "sparse_outside": onnx_model(ADD, sparse=[sparse([4], 9)]),
    "declared": onnx_model(RELU, shape=[1, HUGE]),
    "declared_open": onnx_model(RELU, shape=["n", HUGE]),
    "declared_overflow": onnx_model(RELU, shape=[2**62, 2**62]),
    "dimensions": onnx_model(RELU, shape=[f"n{i}" for i in range(100)]),
    "constant": onnx_model(ADD, constants=[constant([HUGE], b"\0" * 4)]),
    "constant_negative": onnx_model(ADD, constants=[constant([-3], b"\0" * 4)]),
    "external": onnx_model(ADD, constants=[external("none.bin")]),
    "external_above": onnx_model(ADD, constants=[external("../up")]),
    "pads": onnx_model(
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2**40], auto_pad="SAME_UPPER"),
        shape=[1, 1, 8],
    ),
}


def archive(
    whole: bytes, units: Any = 3, shape: Any = (None, 8), extra: str = "0", **members: Any
) -> bytes:
    """Make a .keras file with another layer, config.json or model.weights.h5."""
    buffer = io.BytesIO()
    compressed = zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(whole)) as file, compressed as made:
        contents: dict[str, Any] = {name: file.read(name) for name in file.namelist()}
        config = json.loads(contents["config.json"])
        first, dense = config["config"]["layers"]
        first["config"]["batch_shape"] = list(shape)
        dense["config"]["units"] = units
        config_text = f'{json.dumps(config)[:-1]}, "extra": {extra}}}'
        contents["config.json"] = members.get("config", config_text)
        contents["model.weights.h5"] = members.get("weights", contents["model.weights.h5"])
        for name, content in contents.items():
            made.writestr(name, content)
    return buffer.getvalue()


def hdf5(**attributes: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(attributes)
    return buffer.getvalue()


def huge_weights() -> bytes:
    """Make a file that declares huge weights, but does not store them."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("layers/dense/vars/0", (HUGE,), "f4", chunks=(1024,))
        file.create_dataset("layers/dense/vars/1", (3,), "f4")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    file = tmp_path_factory.mktemp("whole") / "whole.keras"
    keras.Sequential([layers.Input((8,)), layers.Dense(3, name="dense")]).save(file)
    whole = file.read_bytes()
    deep = 100_000
    return {
        "truncated.keras": whole[:-200],
        "lists.keras": archive(whole, config="[" * deep + "]" * deep),
        "dicts.keras": archive(whole, config='{"a":' * deep + "1" + "}" * deep),
        "inside.keras": archive(whole, extra="[" * deep + "]" * deep),
        "not_quite.keras": archive(whole, units="many", extra='{"a":' * 900 + "1" + "}" * 900),
        "bomb.keras": archive(whole, config=" " * (2**27 + 1)),
        "json.keras": archive(whole, config="{"),
        "list.keras": archive(whole, config="[]"),
        "units.keras": archive(whole, units=HUGE),
        "units_overflow.keras": archive(whole, units=2**62),
        "units_negative.keras": archive(whole, units=-5),
        "declared.keras": archive(whole, shape=[None, HUGE]),
        "declared_batch.keras": archive(whole, shape=[HUGE, 8]),
        "weights.keras": archive(whole, weights=huge_weights()),
        "no_weights.keras": archive(whole, weights=b"none"),
        "deep.h5": hdf5(model_config="[" * 30_000 + "]" * 30_000),
        "empty.h5": hdf5(),
        "text.h5": b"no model",
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, keras_files: dict[str, bytes]) -> Any:
    folder = tmp_path_factory.mktemp("hostile")
    files = {**{f"{name}.onnx": content for name, content in ONNX.items()}, **keras_files}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "folder.onnx").mkdir()
    (folder / "link.onnx").symlink_to("link.onnx")
    (folder / "out").mkdir()
    before = sorted(folder.rglob("*"))
    names = [*files, "folder.onnx", "link.onnx"]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *names],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    assert sorted(folder.rglob("*")) == before
    return json.loads(child.stdout)


def test_each_ends_in_one_line(results: Any) -> None:
    wrong = {}
    for name, (status, said, left, _) in results.items():
        lines = [line for line in said.splitlines() if not line.startswith(("[", "usage: "))]
        # The reasons for refusing a model are listed below that line, one for each node.
        lines = [line for line in lines if not line.startswith("  ")]
        if status not in (1, 2) or len(lines) != 1 or "error: " not in lines[0] or left:
            wrong[name] = status, said, left
    assert not wrong


def test_each_ends_soon(results: Any) -> None:
    assert {name: sec for name, (*_, sec) in results.items() if sec > MOST_SECONDS} == {}


def test_ctrl_c_ends_a_comparison_that_never_returns(tmp_path: Path) -> None:
    """Python's own handler would run only after ONNX Runtime's loop."""
    (tmp_path / "loop.onnx").write_bytes(endless_loop())
    command = [sys.executable, "-m", "samepad", "convert", "loop.onnx", "-o", "net.py"]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if "comparing" in line:
            break
    time.sleep(2)  # into the loop
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said == "interrupted: nothing is written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["loop.onnx"]


def test_names_in_messages_are_not_taken_for_commands(tmp_path: Path) -> None:
    """An escape sequence in a name could hide or forge lines on a terminal."""
    node = helper.make_node("Unknown", ["x"], ["y"], name="a\x1b[31mb\rc")
    (tmp_path / "names.onnx").write_bytes(onnx_model(node))
    command = [sys.executable, "-m", "samepad", "convert", "names.onnx", "-o", "net.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert all(c.isprintable() or c == "\n" for c in result.stderr)
