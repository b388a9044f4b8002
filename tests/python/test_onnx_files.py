"""Tests the contents of ONNX files: tensors of all types, unusual names, invalid models."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
import samepad.onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_models import assert_as_onnxruntime, one_node
from samepad.source import write_source


def model_of(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 19, **parts: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "net", inputs, outputs, **parts)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("my.own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def floats(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def cast_to_float(tensor: Any) -> onnx.ModelProto:
    """Make a model that casts a tensor and adds it to its input."""
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "v"], ["y"]),
    ]
    return model_of(nodes, [floats("x", 2, 3)], [floats("y", 2, 3)], initializer=[tensor])


@pytest.mark.parametrize(
    "dtype",
    [
        np.float16,
        np.float64,
        np.int16,
        np.uint16,
        np.uint32,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
    ],
)
def test_types_of_initializers(dtype: Any) -> None:
    values = np.array([[1.5, -2, 0.25], [8, 0, -0.5]])
    values = values.astype(dtype) if np.dtype(dtype).kind != "u" else abs(values).astype(dtype)
    module = samepad.onnx.load(cast_to_float(numpy_helper.from_array(values, "w")))
    expected = torch.from_numpy(values.astype(np.float32))
    torch.testing.assert_close(module(torch.zeros(2, 3)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["STRING", "INT4", "FLOAT4E2M1"])
def test_types_that_torch_has_not(kind: str) -> None:
    number = TensorProto.DataType.Value(kind)
    values: Any = [b"text"] * 6 if kind == "STRING" else [1] * 6
    tensor = helper.make_tensor("w", number, (2, 3), values)
    with pytest.raises(ValueError, match=f"initializer w: type {kind}"):
        samepad.onnx.load(
            model_of(
                [helper.make_node("Identity", ["x"], ["y"])],
                [floats("x", 2)],
                [floats("y", 2)],
                initializer=[tensor],
            )
        )


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("where", ["initializer", "constant"])
def test_sparse_tensors(flat: bool, where: str) -> None:
    indices = np.array([1, 5], np.int64) if flat else np.array([[0, 1], [1, 2]], np.int64)
    values = np.array([2.5, -1], np.float32)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(values, "w"), numpy_helper.from_array(indices, "i"), [2, 3]
    )
    nodes, parts = [helper.make_node("Add", ["x", "w"], ["y"])], {}
    if where == "initializer":
        parts["sparse_initializer"] = [sparse]
    else:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse))
    model = model_of(nodes, [floats("x", 2, 3)], [floats("y", 2, 3)], **parts)
    assert_as_onnxruntime(model, np.ones((2, 3), np.float32))


NAMES = ["self", "class", "torch", "nn", "x.1", "1", "//", "café", "forward", "size", "None"]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    """Inputs, weights, nodes and outputs have nearly the same name."""
    weight = numpy_helper.from_array(np.ones((1, 1, 2), np.float32), name + "w")
    nodes = [
        helper.make_node("Conv", [name, name + "w"], ["a"], name=name),
        helper.make_node("Conv", ["a", name + "w"], ["b"], name=name + " "),
        helper.make_node("Add", ["b", "second"], ["c"], name="add"),
        helper.make_node("Shape", ["c"], ["s"]),
        helper.make_node("Expand", ["c", "s"], [name + "y"]),
    ]
    inputs = [floats(name, 1, 1, "n"), floats("second", 1, 1, 1)]
    outputs = [floats(name + "y", 1, 1, "m")]
    model = model_of(nodes, inputs, outputs, initializer=[weight])
    arrays = np.arange(5, dtype=np.float32).reshape(1, 1, 5), np.ones((1, 1, 1), np.float32)
    module = assert_as_onnxruntime(model, *arrays)
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    twin = namespace["Model"]()
    twin.load_state_dict(module.state_dict())
    given = [torch.from_numpy(array) for array in arrays]
    torch.testing.assert_close(twin(*given), module(*given), rtol=0, atol=0)


def test_everything_unsupported_is_named_at_once() -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("AveragePool", ["x"], ["c"], name="pool", kernel_shape=[2], dilations=[2]),
        helper.make_node("Mine", ["b"], ["y"], name="last", domain="my.own"),
    ]
    model = model_of(nodes, [floats("x", 1, 1, 8)], [floats("y")])
    with pytest.raises(ValueError, match="cannot convert") as raised:
        samepad.onnx.load(model)
    for text in (
        "first (RandomNormalLike",
        "pool (AveragePool",
        "dilations=[2]",
        "last (my.own.Mine {})",
    ):
        assert text in str(raised.value)
    assert "fine" not in str(raised.value)


def test_what_does_not_fit_names_the_node() -> None:
    """The message also has the operator, the attributes and what is wrong with them."""
    weight = np.zeros((4, 3, 3), np.float32)
    model = one_node("Conv", (1, 9, 8), [weight], group=3)
    model.graph.node[0].name = "first"
    with pytest.raises(ValueError, match=r"first \(Conv \{'group': 3\}\): out_channels"):
        samepad.onnx.load(model)
    model = one_node("Conv", (1, 3, 8), [weight], kernel_shape=[5])
    with pytest.raises(ValueError, match=r"kernel_shape=\[5\], expected \[3\]"):
        samepad.onnx.load(model)


@pytest.mark.parametrize("opset", [1, 4])
def test_old_opsets(opset: int) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = model_of([node], [floats("x", 2)], [floats("y", 2)], opset)
    with pytest.raises(ValueError, match=f"its opset is {opset}, expected at least 5"):
        samepad.onnx.load(model)


def test_a_model_that_is_none() -> None:
    """ONNX's checker says what is wrong with models and files."""
    model = one_node("Relu", (1, 2), [])
    model.graph.node[0].input[0] = "missing"
    with pytest.raises(ValueError, match=r"the model is no ONNX model that can be read.*missing"):
        samepad.onnx.load(model)
    with pytest.raises(ValueError, match="Required attribute 'kernel_shape' is missing"):
        samepad.onnx.load(one_node("MaxPool", (1, 1, 4), []))


def test_functions_of_the_model() -> None:
    """The nodes of a function replace each of its calls."""
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("my.own", 1)]
    body = [helper.make_node("Mul", ["a", "a"], ["b"]), helper.make_node("Add", ["a", "b"], ["c"])]
    function = helper.make_function("my.own", "Mine", ["a"], ["c"], body, opsets[:1])
    nodes = [
        helper.make_node("Mine", ["x"], ["z"], domain="my.own"),
        helper.make_node("Mine", ["z"], ["y"], domain="my.own"),
    ]
    graph = helper.make_graph(nodes, "net", [floats("x", 2)], [floats("y", 2)])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=[function])
    assert_as_onnxruntime(model, np.array([0.5, -2], np.float32))


def test_functions_have_attributes() -> None:
    """Attributes may be given, have a default, or be passed on to another function."""
    text = """
    <ir_version: 9, opset_import: ["": 18, "my.own": 1]>
    net (float[2, 3, 4] x) => (float[2, 3, 4] y)
    { a = my.own.Leak<slope = 0.5>(x)  b = my.own.Leak(a)  y = my.own.Twice(b) }
    <domain: "my.own", opset_import: ["": 18]>
    Leak<slope: float = 0.125>(a) => (b) { b = LeakyRelu<alpha: float = @slope>(a) }
    <domain: "my.own", opset_import: ["": 18, "my.own": 1]>
    Twice(a) => (c)
    { b = my.own.Leak<slope = 2.0>(a)  d = my.own.Leak(a)  c = Add(b, d) }
    """
    model = onnx.parser.parse_model(text)
    array = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    assert_as_onnxruntime(model, array)


def test_a_product_that_a_function_uses_twice() -> None:
    """A bias becomes part of the layer only if nothing else uses the product."""
    weight = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    bias = numpy_helper.from_array(np.ones(2, np.float32), "bias")
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("my.own", 1)]
    body = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Mul", ["a", "s"], ["c"])]
    function = helper.make_function("my.own", "Mine", ["a", "b"], ["c"], body, opsets[:1])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Mine", ["z", "bias"], ["y"], domain="my.own"),
    ]
    given, found = [floats("x", 1, 2)], [floats("y", 1, 2)]
    graph = helper.make_graph(nodes, "net", given, found, [weight, bias])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=[function])
    assert_as_onnxruntime(model, np.array([[0.5, -2]], np.float32))


def test_graphs_in_messages() -> None:
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "branch", [], [value("z", TensorProto.FLOAT, [2])]
    )
    node = helper.make_node("SequenceMap", ["x"], ["y"], "each", body=branch)
    model = model_of([node], [floats("x", 2)], [floats("y", 2)])
    expected = r"each \(SequenceMap \{'body': a graph\}\): no counterpart"
    with pytest.raises(ValueError, match=expected):
        samepad.onnx.load(model)


def test_errors_end() -> None:
    nodes = [helper.make_node("Mine", ["x"], [f"y{i}"], domain="my.own") for i in range(5000)]
    long = helper.make_node("Mine", ["x"], ["y"], domain="my.own", numbers=[1] * 10**5)
    with pytest.raises(ValueError, match="and 4,801 more") as raised:
        samepad.onnx.load(model_of([long, *nodes], [floats("x", 2)], [floats("y", 2)]))
    assert len(str(raised.value)) < 20_000


def saved_beside(folder: Path, array: NDArray[Any]) -> Path:
    """Write a model whose weight is in a separate file."""
    folder.mkdir()
    model = one_node("Add", array.shape, [array])
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "weights.bin"}
    onnx.save(model, folder / "net.onnx", **options)
    assert (folder / "weights.bin").is_file()
    return folder / "net.onnx"


def test_weights_beside_the_model(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    path = saved_beside(tmp_path / "there", array)
    assert_as_onnxruntime(path, np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="initializers w0 are kept in files that were not"):
        samepad.onnx.load(onnx.load(path, load_external_data=False))


@pytest.mark.parametrize("location", ["../secret.bin", "/secret.bin", "link.bin", "missing.bin"])
def test_weights_elsewhere_are_not_read(location: str, tmp_path: Path) -> None:
    """The weight's path leads out of the model's folder."""
    array = np.ones((2, 3), np.float32)
    path = saved_beside(tmp_path / "there", array)
    secret = (path.parent / "weights.bin").rename(tmp_path / "secret.bin")
    (path.parent / "link.bin").symlink_to(secret)
    model = onnx.load(path, load_external_data=False)
    entry = model.graph.initializer[0].external_data[0]
    assert entry.key == "location"
    entry.value = str(tmp_path) + location if location.startswith("/") else location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"net\.onnx is no ONNX model that can be read"):
        samepad.onnx.load(path)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        samepad.onnx.load(tmp_path / "missing.onnx")
    model = one_node("Relu", (1, 2), [])
    whole = model.SerializeToString()
    for content in (whole[: len(whole) // 2], b"no model at all", b""):
        path = tmp_path / "broken.onnx"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.onnx is no ONNX model"):
            samepad.onnx.load(path)
    with pytest.raises(TypeError, match=r"a path or an onnx\.ModelProto, not int"):
        samepad.onnx.load(3)
