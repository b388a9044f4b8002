"""Compares quantized models, and those of ONNX Runtime's optimizer, with ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import samepad.onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import run
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from samepad.source import write_source
from torch import nn

# Of the exporter's and the quantizer's own making.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::torch.jit.TracerWarning",
    "ignore::UserWarning",
)


class Net(nn.Module):
    """Uses every operator that ONNX Runtime's static quantizer writes in its own domain."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.dense = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.leaky_relu(self.first(x), 0.1)
        y = self.depthwise(x)
        x = (x + y) * torch.sigmoid(y)
        x = torch.cat([x[:, :4], y[:, 4:]], 1)
        x = self.pointwise(nn.functional.avg_pool2d(x, 2))
        return self.dense(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class Images(CalibrationDataReader):  # type: ignore[misc]
    """Random images from which the quantizer takes the ranges."""

    def __init__(self) -> None:
        self.images = iter(np.random.default_rng(0).normal(size=(4, 4, 3, 32, 32)))

    def get_next(self) -> Any:
        image = next(self.images, None)
        return None if image is None else {"x": image.astype(np.float32)}


def exported(net: nn.Module, input: torch.Tensor, path: Path) -> Path:
    torch.onnx.export(
        net, (input,), path, dynamo=False, input_names=["x"], opset_version=13, verbose=False
    )
    return path


def optimized(path: Path, level: str = "ORT_ENABLE_EXTENDED") -> Any:
    """Return the model that ONNX Runtime's optimizer makes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def kinds(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


def outputs(model: Any, *arrays: Any) -> Any:
    """Return the outputs of the module, which its source has to give too."""
    module = samepad.onnx.load(model)
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    twin = namespace["Model"]().eval()
    twin.load_state_dict(module.state_dict())
    tensors = [torch.from_numpy(array) for array in arrays]
    with torch.no_grad():
        found, other = module(*tensors), twin(*tensors)
    torch.testing.assert_close(found, other, rtol=0, atol=0)
    return found.numpy() if isinstance(found, torch.Tensor) else [each.numpy() for each in found]


@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", [QuantFormat.QOperator, QuantFormat.QDQ])
def test_static_quantization(
    form: Any, per_channel: bool, activations: Any, tmp_path: Path
) -> None:
    """The outputs, of 8 bits, are equal within one step, and mostly equal."""
    torch.manual_seed(0)
    image = torch.randn(4, 3, 32, 32)
    path, quantized = exported(Net().eval(), image, tmp_path / "net.onnx"), tmp_path / "q.onnx"
    quantize_static(
        path,
        quantized,
        Images(),
        quant_format=form,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=QuantType.QInt8,
    )
    model = onnx.load(quantized)
    (expected,) = run(model, image.numpy())
    step = np.diff(np.unique(expected)).min()
    smaller = optimized(quantized)
    for candidate in (model, smaller):
        difference = np.abs(outputs(candidate, image.numpy()) - expected)
        assert difference.max() <= 1.01 * step
        assert (difference < step / 2).mean() > 0.5
    wanted = {"QLinearConv", "QGemm", "QLinearConcat", "QLinearAveragePool"}
    assert wanted <= kinds(smaller)
    if form == QuantFormat.QOperator:
        more = {
            "QLinearAdd",
            "QLinearMul",
            "QLinearSigmoid",
            "QLinearLeakyRelu",
            "QLinearGlobalAveragePool",
        }
        assert wanted | more <= kinds(model)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, bidirectional=True)
        self.dense = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.lstm(x)[0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("net", [Net, Recurrent])
def test_dynamic_quantization(net: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    input = torch.randn(4, 3, 32, 32) if net is Net else torch.randn(7, 2, 6)
    path, quantized = exported(net().eval(), input, tmp_path / "net.onnx"), tmp_path / "q.onnx"
    weights = QuantType.QUInt8 if net is Net else QuantType.QInt8
    quantize_dynamic(path, quantized, weight_type=weights)
    model = onnx.load(quantized)
    smaller = optimized(quantized)
    if net is Net:
        assert {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"} <= kinds(model)
    else:
        assert "DynamicQuantizeLSTM" in kinds(model)
        assert "DynamicQuantizeMatMul" in kinds(smaller) or "MatMulInteger" in kinds(smaller)
    (expected,) = run(model, input.numpy())
    for candidate in (model, smaller):
        if "MatMulIntegerToFloat" in kinds(candidate):
            continue
        found = outputs(candidate, input.numpy())
        # Where the input of a quantizer is between two steps, rounding errors decide.
        assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()
        assert np.median(np.abs(found - expected)) <= 1e-5


class Fused(nn.Module):
    """Holds what the optimizer fuses: convolutions, sums, activations and normalizations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.other = nn.Conv2d(8, 8, 3, padding=1)
        self.query = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.dense = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x).relu()
        x = (self.other(y) + y).clamp(0, 1)
        x = x.flatten(2).transpose(1, 2)
        scores = torch.matmul(self.query(x), x.transpose(1, 2)) * 0.3
        x = self.norm(x + torch.matmul(scores.softmax(-1), x))
        x = nn.functional.gelu(self.query(x))
        x = x * torch.sigmoid(1.702 * x)
        return torch.relu(self.dense(x.mean(1)))


def test_the_optimizers_operators(tmp_path: Path) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 6, 5)
    path = exported(Fused().eval(), image, tmp_path / "net.onnx")
    model = optimized(path, "ORT_ENABLE_EXTENDED")
    wanted = {"FusedConv", "FusedMatMul", "FusedGemm", "SkipLayerNormalization", "QuickGelu"}
    assert wanted <= kinds(model)
    assert kinds(model) & {"Gelu", "BiasGelu"}
    (expected,) = run(path, image.numpy())
    np.testing.assert_allclose(outputs(model, image.numpy()), expected, rtol=1e-4, atol=1e-6)


def microsoft(kind: str, arrays: list[Any], outputs: int = 1, **attributes: Any) -> Any:
    """Make a model of one node of com.microsoft, whose first input is the model's."""
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(arrays)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, names, results, "odd_one", domain="com.microsoft", **attributes)
    constants = [
        numpy_helper.from_array(array, name)
        for array, name in zip(arrays, names, strict=True)
        if array is not None
    ]
    first = constants.pop(0)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x0", first.data_type, first.dims)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


NODES: dict[str, tuple[str, list[Any], int, dict[str, Any]]] = {
    **{
        f"FusedConv, {name}": (
            "FusedConv",
            [normal(1, 2, 5, 5), normal(3, 2, 3, 3), normal(3)],
            1,
            {"activation": name, **({"activation_params": numbers} if numbers else {})},
        )
        for name, numbers in {
            "Relu": [],
            "Tanh": [],
            "Sigmoid": [],
            "LeakyRelu": [0.3],
            "Clip": [-0.5, 0.7],
            "HardSigmoid": [0.3, 0.4],
        }.items()
    },
    "FusedMatMul": (
        "FusedMatMul",
        [normal(2, 4, 3), normal(2, 5, 4)],
        1,
        {"transA": 1, "transB": 1, "alpha": 0.7},
    ),
    "FusedGemm": (
        "FusedGemm",
        [normal(3, 4), normal(4, 5), normal(5)],
        1,
        {"activation": "LeakyRelu", "activation_alpha": 0.2, "alpha": 0.5},
    ),
    "Gelu": ("Gelu", [normal(3, 4)], 1, {}),
    "BiasGelu": ("BiasGelu", [normal(3, 4), normal(4)], 1, {}),
    "QuickGelu": ("QuickGelu", [normal(3, 4)], 1, {"alpha": 1.5}),
    "SkipLayerNormalization": (
        "SkipLayerNormalization",
        [normal(2, 3, 4), normal(3, 2, 4).reshape(2, 3, 4), normal(4), normal(1, 4)[0], normal(4)],
        1,
        {"epsilon": 1e-5},
    ),
    "DynamicQuantizeMatMul": (
        "DynamicQuantizeMatMul",
        [
            normal(3, 8),
            np.arange(40, dtype=np.int8).reshape(8, 5),
            np.full(5, 0.1, np.float32),
            np.zeros(5, np.int8),
            normal(5),
        ],
        1,
        {},
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_nodes_of_onnxruntime(name: str) -> None:
    kind, arrays, count, attributes = NODES[name]
    model = microsoft(kind, arrays, count, **attributes)
    expected = run(model, arrays[0])[0]
    np.testing.assert_allclose(outputs(model, arrays[0]), expected, rtol=1e-4, atol=1e-5)


def test_other_operators_of_onnxruntime_are_refused() -> None:
    model = microsoft("MultiHeadAttention", [normal(1, 2, 4)] * 3, num_heads=2)
    with pytest.raises(ValueError, match=r"odd_one \(com.microsoft.MultiHeadAttention .*no count"):
        samepad.onnx.load(model)
    with pytest.raises(ValueError, match="activation='Gelu', expected one of"):
        samepad.onnx.load(
            microsoft("FusedConv", [normal(1, 2, 5, 5), normal(3, 2, 3, 3)], activation="Gelu")
        )
