"""Compares samepad.onnx with ONNX's own operator tests, ONNX Runtime and published models."""

import importlib.util
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import samepad
import samepad.onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx_models import assert_as_onnxruntime, from_source, one_node
from samepad.onnx.limits import graphs_of
from samepad.onnx.operators import OPERATORS
from samepad.source import write_source
from torch import nn

#: Patterns for the names of cases that the converter refuses, and the reasons.
REFUSED = {
    "averagepool_.*dilations": "torch's average pools have none",
    "precomputed_strides": "max pool indices by columns",
    "not_[234]d": "opset 1",
}
#: Patterns for the names of cases that train, which are computed as in inference, and noted.
TRAINING = "batchnorm_.*training|training_dropout"
#: Cases whose tolerance is less than the rounding errors of their long sums.
ROUNDED = "dft_inverse|attention.*fp16"
#: The types that torch computes with.
TYPES = set(
    map(
        np.dtype,
        ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"],
    )
)


def operators_of(graph: Any) -> set[str]:
    """Return the operators of a graph and of the graphs in it."""
    inner = [operators_of(each) for node in graph.node for each in graphs_of(node)]
    return {node.op_type for node in graph.node}.union(*inner)


def all_cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases of some operators overflow on purpose
        cases = collect_testcases(None)
    return {
        case.name: case
        for case in cases
        if operators_of(case.model.graph) <= set(OPERATORS)
        and all(node.domain == "" for node in case.model.graph.node)
        and "flexattention" not in case.name  # their graphs contain functions
        # These use a fractional output size where ONNX Runtime and torch use the real one.
        and not re.search("downsample_scales_.*_align_corners", case.name)
        and all(
            # Not sequences, which are lists, nor optional values, which may be None.
            not isinstance(array, list) and np.asarray(array).dtype in TYPES
            for data in case.data_sets
            for part in data
            for array in part
        )
    }


CASES = all_cases()


def test_there_are_cases_for_every_operator() -> None:
    tested = set().union(*(operators_of(case.model.graph) for case in CASES.values()))
    # The cases of Upsample and Resize are refused, or have their scales as inputs.
    assert set(OPERATORS) <= tested
    assert len(CASES) > 700


def with_constants(case: Any, weights: bool = False) -> tuple[Any, list[int]]:
    """Make shapes, axes and scales constant, as real models have them; return the inputs too.

    With `weights`, all inputs except the first become constants.
    """
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kinds = {node.op_type for node in model.graph.node}
    always = {"Resize", "Upsample", "Dropout", "LSTM", "GRU", "RNN"}
    inputs = []
    for position, given in enumerate(case.model.graph.input):
        array = np.asarray(case.data_sets[0][0][position])
        if position and (weights or array.dtype == np.int64 or kinds & always):
            model.graph.initializer.append(numpy_helper.from_array(array, given.name))
        else:
            inputs.append(position)
    return model, inputs


def reason(name: str) -> str | None:
    """Return why a case may be refused, or None if it must not be."""
    return next((why for pattern, why in REFUSED.items() if re.search(pattern, name)), None)


def test_reasons_to_refuse_are_needed() -> None:
    needed = set()
    for name, case in CASES.items():
        if reason(name):
            try:
                samepad.onnx.load(with_constants(case)[0])
            except ValueError:
                needed.add(reason(name))
    assert needed == set(REFUSED.values())


@pytest.mark.parametrize("weights", [False, True], ids=["given", "constant"])
@pytest.mark.parametrize("name", CASES)
def test_cases(name: str, weights: bool) -> None:
    case = CASES[name]
    model, positions = with_constants(case, weights)
    try:
        module = samepad.onnx.load(model)
    except ValueError:
        assert reason(name)
        return
    if re.search(TRAINING, name):
        assert "training_mode" in str(module.meta["notes"]) or "Dropout" in module.meta["notes"]
    if re.search(TRAINING, name) and "zero_ratio" not in name:
        return  # test_training_is_as_in_inference compares the outputs
    for inputs, expected in case.data_sets:
        given = [torch.from_numpy(np.array(inputs[i])) for i in positions]
        for candidate in (module, from_source(module)):
            with torch.no_grad():
                found = candidate(*given)
            found = found if isinstance(found, tuple) else (found,)
            for ours, theirs in zip(found, expected, strict=True):
                assert ours.numpy().dtype == np.asarray(theirs).dtype
                atol = case.atol
                if re.search(ROUNDED, name):
                    atol = np.finfo(theirs.dtype).eps * np.abs(theirs).max()
                np.testing.assert_allclose(ours.numpy(), theirs, case.rtol, atol, strict=True)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER", "VALID", "pads"])
def test_padding(kind: str, padding: str) -> None:
    generator = np.random.default_rng(sum(map(ord, kind + padding)))
    for _ in range(12):
        dimensions = int(generator.integers(1, 4))
        kernel = generator.integers(1, 5, dimensions).tolist()
        # ONNX Runtime shifts the padding if k < s, so there are no such strides.
        strides = [int(generator.integers(1, k + 1)) for k in kernel]
        sizes = [int(generator.integers(k, k + 6)) for k in kernel]
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
        if padding == "pads":
            attributes["pads"] = [int(generator.integers(0, k)) for k in kernel * 2]
        else:
            attributes["auto_pad"] = padding
        weights = []
        if "Conv" in kind:
            shape = (4, 2, *kernel) if kind == "Conv" else (4, 3, *kernel)
            channels = 4
            attributes["group"] = 2
            outputs = 4 if kind == "Conv" else 6
            weights = [generator.normal(size=s).astype(np.float32) for s in (shape, (outputs,))]
        else:
            channels = 3
        array = generator.normal(size=(2, channels, *sizes)).astype(np.float32)
        if kind == "ConvTranspose" and padding == "pads":
            full = [(n - 1) * s + k for n, s, k in zip(sizes, strides, kernel, strict=True)]
            pads = attributes["pads"]
            if any(f <= pads[i] + pads[dimensions + i] for i, f in enumerate(full)):
                continue
        assert_as_onnxruntime(one_node(kind, array.shape, weights, **attributes), array)


def basic_pitch() -> Path:
    """Find Spotify's Basic Pitch, made in TensorFlow with strided SAME convolutions."""
    spec = importlib.util.find_spec("basic_pitch")  # not imported: it needs librosa and more
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "saved_models/icassp_2022/nmp.onnx"


def test_a_published_model() -> None:
    array = np.random.default_rng(0).uniform(-1, 1, (2, 43844, 1)).astype(np.float32)
    module = assert_as_onnxruntime(basic_pitch(), array)
    assert torch.equal(
        pickle.loads(pickle.dumps(module))(torch.from_numpy(array))[0],
        module(torch.from_numpy(array))[0],
    )


@pytest.mark.parametrize("how", ["export", "strict export", "compile"])
def test_a_published_model_exports_and_compiles(how: str) -> None:
    """The batch stays open, because shapes, axes and amounts are numbers, not tensors."""
    module = samepad.onnx.load(basic_pitch())
    sounds = [torch.rand(n, 43844, 1) for n in (2, 3)]
    candidate: Any
    if how == "compile":
        torch._dynamo.reset()
        candidate = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    else:
        candidate = torch.export.export(
            module,
            (sounds[0],),
            dynamic_shapes=({0: torch.export.Dim("n")},),
            strict=how.startswith("strict"),
        ).module()
    with torch.no_grad():
        for sound in sounds:
            torch.testing.assert_close(candidate(sound), module(sound))


class Shapes(nn.Module):
    """Computes with sizes as exported models do: products, quotients, comparisons, slices."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        flat = x.reshape(n, c * h * w)[:, : (h * w) // 2 + (h - 1) // 2]
        tiled = flat.unsqueeze(1).expand(n, 3, -1)
        zeros = torch.zeros(n, 3, c + 1, dtype=x.dtype)
        ramp = torch.arange(h, dtype=x.dtype).repeat(3, 1).expand(n, 3, h)
        return torch.cat([tiled, zeros, ramp, x.mean((2, 3))[:, None].expand(n, 3, c)], 2)


# Of the exporter's own making.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("dynamo", [True, False])
def test_sizes_stay_open(dynamo: bool, tmp_path: Path) -> None:
    path = tmp_path / "shapes.onnx"
    image = torch.randn(2, 3, 6, 5)
    sizes = {0: "n", 2: "h", 3: "w"}
    how: dict[str, Any] = {"dynamic_shapes": (sizes,)} if dynamo else {"dynamic_axes": {"x": sizes}}
    torch.onnx.export(
        Shapes().eval(), (image,), path, dynamo=dynamo, input_names=["x"], verbose=False, **how
    )
    module = samepad.onnx.load(path)
    open_sizes = dict.fromkeys(sizes, torch.export.Dim.AUTO)
    program = torch.export.export(module, (image,), dynamic_shapes=(open_sizes,)).module()
    for size in ((2, 3, 6, 5), (4, 3, 8, 7)):
        other = torch.randn(size)
        assert_as_onnxruntime(path, other.numpy())
        for candidate in (module, program, from_source(module)):
            torch.testing.assert_close(candidate(other), Shapes()(other))


#: Code that computes `t`, a shape or one of its numbers, from the shape `s` of `x`.
OF_SIZES = {
    "Size": "k = Size(x)  t = Reshape(k, one)",
    "ReduceProd": "t = ReduceProd(s)",
    "ReduceProd to a scalar": "k = ReduceProd<keepdims = 0>(s)  t = Unsqueeze(k, zero)",
    "Cast": "i = Cast<to = 6>(s)  k = Slice(i, zero, first)  l = Cast<to = 7>(k)  t = Mul(l, rest)",
    "Cast to floats": "f = Cast<to = 1>(s)  k = Cast<to = 7>(f)  t = Gather(k, order)",
    "Gather and Squeeze": "k = Gather(s, zero)  l = Squeeze(k)  m = Unsqueeze(l, zero)  "
    "t = Concat<axis = 0>(m, minus)",
    "Sub and Add": "k = Sub(s, order)  t = Add(k, order)",
    "Mul and Div": "k = Mul(s, rest)  t = Div(k, rest)",
    "Equal and Where": "q = Equal(s, minus)  k = Where(q, rest, s)  t = Slice(k, zero, three)",
    "Shape of a shape": "k = Shape(s)  l = Gather(k, zero)  m = Sub(l, three)  "
    "t = Concat<axis = 0>(m, minus)",
    "Identity": "t = Identity(s)",
}


@pytest.mark.parametrize("name", OF_SIZES)
def test_sizes_are_numbers(name: str) -> None:
    """They are not tensors, whose values no exporter can see."""
    text = f"""
    <ir_version: 10, opset_import: ["": 19]>
    net (float[a, b, c] x) => (float[] y)
    <int64[1] zero = {{0}}, int64[1] one = {{-1}}, int64[1] minus = {{-1}}, int64[1] three = {{3}},
     int64[1] first = {{1}}, int64[3] rest = {{1, 1, 1}}, int64[3] order = {{2, 0, 1}}>
    {{ s = Shape(x)  {OF_SIZES[name]}  y = Reshape(x, t) }}
    """
    if name == "Cast":  # x is a cube, whose sizes are all equal to the first one
        text = text.replace("float[a, b, c]", "float[a, a, a]")
    model = onnx.parser.parse_model(text)
    shape = (2, 2, 2) if name == "Cast" else (2, 3, 4)
    module = assert_as_onnxruntime(model, np.random.default_rng(0).random(shape, np.float32))
    assert "tensor" not in write_source(module)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        samepad.SamePadConv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        samepad.SamePadDepthwiseConv2d(8, 5, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
        nn.Softmax(dim=1),
    ).eval()


# Of the exporter's own making.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_there_and_back(tmp_path: Path) -> None:
    original, image = small(), torch.randn(2, 3, 17, 16)
    path = tmp_path / "model.onnx"
    torch.onnx.export(original, (image,), path, dynamo=True, verbose=False)
    module = assert_as_onnxruntime(path, image.numpy())
    torch.testing.assert_close(module(image), original(image))
    torch.testing.assert_close(from_source(module)(image), original(image))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_transposed_same_with_output_padding(mode: str) -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(2, 3, 3, 3)).astype(np.float32)
    model = one_node(
        "ConvTranspose",
        (1, 2, 5, 4),
        [weight],
        auto_pad=mode,
        strides=[2, 3],
        output_padding=[1, 1],
    )
    assert_as_onnxruntime(model, generator.normal(size=(1, 2, 5, 4)).astype(np.float32))


def test_batch_size_by_gather_of_a_scalar() -> None:
    constants = {
        "zero": np.array(0, np.int64),
        "axes": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "flatten",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 19)])
    assert_as_onnxruntime(model, np.ones((4, 2, 3), np.float32))


def test_onnx_is_not_imported() -> None:
    code = "import sys, samepad; assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    # The source's imports work without the package onnx.
    hidden = """
import sys
sys.modules["onnx"] = None
import samepad.onnx.ops
try:
    samepad.onnx.load("model.onnx")
except ImportError as error:
    assert "pip install onnx" in str(error)
else:
    raise SystemExit(1)
"""
    subprocess.run([sys.executable, "-c", hidden], check=True)
