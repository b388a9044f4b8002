"""Exports samepad's operators by torch.onnx.export(dynamo=False), and runs ONNX Runtime."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import samepad
import samepad.functional as F
import samepad.onnx
import torch
from onnx_models import run
from torch import Tensor, nn

# The exporter itself causes these warnings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning"
)

SIZES = {1: (13,), 2: (9, 12), 3: (5, 8, 7)}
OTHERS = {1: (8,), 2: (13, 7), 3: (6, 5, 9)}
NAMES = ("first", "second", "third")


class Called(nn.Module):
    """A module that calls a function with the input and these arguments."""

    def __init__(self, function: Any, *args: Any, **options: Any) -> None:
        super().__init__()
        self.function, self.args, self.options = function, args, options

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.args, **self.options)


def exported(
    module: nn.Module, input: Tensor, path: Path, open_sizes: bool, opset: int = 13
) -> Any:
    dims = range(input.dim() - len(SIZES[min(input.dim() - 2, 3)]), input.dim())
    axes = {"x": {0: "n", **{dim: f"d{dim}" for dim in dims}}} if open_sizes else None
    torch.onnx.export(
        module.eval(),
        (input,),
        path,
        dynamo=False,
        input_names=["x"],
        dynamic_axes=axes,
        opset_version=opset,
    )
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert not any(each.name == "auto_pad" for n in model.graph.node for each in n.attribute)
    return path


def assert_exports(module: nn.Module, *inputs: Tensor, path: Path, opset: int = 13) -> None:
    """Check an export for all inputs; its sizes are fixed if there is only one input."""
    exported(module, inputs[0], path, open_sizes=len(inputs) > 1, opset=opset)
    for input in inputs:
        with torch.no_grad():
            expected = module(input)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for ours, theirs in zip(expected, run(path, input.numpy()), strict=True):
            assert ours.numpy().dtype == theirs.dtype
            np.testing.assert_allclose(theirs, ours.numpy(), 1e-4, 1e-5, strict=True)


def images(dimensions: int) -> list[Tensor]:
    torch.manual_seed(dimensions)
    return [torch.randn(n, 4, *s[dimensions]) for n, s in ((2, SIZES), (3, OTHERS))]


def window(dimensions: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Draw a kernel, strides and dilations."""
    generator = np.random.default_rng(seed)
    draw = lambda low, high: generator.integers(low, high, dimensions).tolist()  # noqa: E731
    return draw(1, 4), draw(1, 4), draw(1, 3)


def paddings(dimensions: int, kernel: list[int]) -> list[Any]:
    pairs = tuple((k - 1, k // 2) for k in kernel)
    modes = ["same", "same_lower", "valid", 1, pairs]
    return modes + (["causal"] if dimensions == 1 else [])


@pytest.mark.parametrize("many", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_convolutions(dimensions: int, many: bool, tmp_path: Path) -> None:
    inputs = images(dimensions)[: 2 if many else 1]
    function = getattr(F, f"conv{dimensions}d")
    for seed, groups in itertools.product(range(2), (1, 2)):
        kernel, stride, dilation = window(dimensions, seed)
        weight, bias = torch.randn(6, 4 // groups, *kernel), torch.randn(6)
        for padding in paddings(dimensions, kernel):
            module = Called(function, weight, bias, stride, padding, dilation, groups)
            assert_exports(module, *inputs, path=tmp_path / "net.onnx")


@pytest.mark.parametrize("fill", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("many", [False, True], ids=["fixed", "open"])
def test_fills(fill: str, many: bool, tmp_path: Path) -> None:
    weight = torch.randn(6, 4, 3, 2)
    module = Called(F.conv2d, weight, stride=2, padding="same", padding_mode=fill)
    opset = 19 if fill == "circular" and many else 13
    assert_exports(module, *images(2)[: 2 if many else 1], path=tmp_path / "net.onnx", opset=opset)


@pytest.mark.parametrize("many", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_transposed_convolutions(dimensions: int, many: bool, tmp_path: Path) -> None:
    inputs = images(dimensions)[: 2 if many else 1]
    function = getattr(F, f"conv_transpose{dimensions}d")
    for seed in range(3):
        kernel, stride, dilation = window(dimensions, seed)
        weight, bias = torch.randn(4, 3, *kernel), torch.randn(6)
        pairs = tuple((k // 2, 0) for k in kernel)
        for padding in ("same", "same_lower", "valid", 0, pairs):
            options: dict[str, Any] = {"groups": 2, "dilation": dilation, "padding": padding}
            if padding == 0:
                options["output_padding"] = [s - 1 for s in stride]
            module = Called(function, weight, bias, stride, **options)
            assert_exports(module, *inputs, path=tmp_path / "net.onnx")
        if many:
            continue
        for padding in ("same", "same_lower", "valid"):
            sizes = Called(function, weight, bias, stride, padding, dilation=dilation, groups=2)
            whole = sizes(inputs[0]).shape[2:]
            less = [m - (s - 1 if padding != "valid" else 0) for m, s in zip(whole, stride)]  # noqa: B905
            module = Called(
                function,
                *(weight, bias, stride, padding),
                groups=2,
                dilation=dilation,
                output_size=less,
            )
            assert_exports(module, inputs[0], path=tmp_path / "net.onnx")


@pytest.mark.parametrize("many", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pools(dimensions: int, many: bool, tmp_path: Path) -> None:
    inputs = [image - 5 for image in images(dimensions)[: 2 if many else 1]]
    maxima, means = getattr(F, f"max_pool{dimensions}d"), getattr(F, f"avg_pool{dimensions}d")
    for seed in range(2):
        kernel, stride, dilation = window(dimensions, seed)
        limited = [min((k - 1) // 2, 1) for k in kernel]
        pairs = tuple((k - 1, k // 2) for k in kernel)
        for padding, up in itertools.product(("same", "same_lower", limited, pairs), (False, True)):
            if many and up and not isinstance(padding, str):
                continue
            options = {"padding": padding, "ceil_mode": up}
            modules = [
                Called(maxima, kernel, stride, dilation=dilation, **options),
                Called(maxima, kernel, stride, dilation=dilation, return_indices=True, **options),
                *(
                    Called(means, kernel, stride, count_include_pad=c, **options)
                    for c in (0 > 1, 1 > 0)
                ),
            ]
            if dimensions > 1:
                modules.append(Called(means, kernel, stride, divisor_override=3, **options))
            for module in modules:
                assert_exports(module, *inputs, path=tmp_path / "net.onnx")


@pytest.mark.parametrize("many", [False, True], ids=["fixed", "open"])
@pytest.mark.parametrize("fill", ["constant", "reflect", "replicate", "circular"])
def test_pad(fill: str, many: bool, tmp_path: Path) -> None:
    value = -2.5 if fill == "constant" else None
    for mode in ("same", "same_lower"):
        module = Called(F.pad, [3, 4], [2, 3], 1, mode, fill, value)
        inputs = images(2)[: 2 if many else 1]
        opset = 19 if fill == "circular" and many else 13
        assert_exports(module, *inputs, path=tmp_path / "net.onnx", opset=opset)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        samepad.SamePadConv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        samepad.SamePadMaxPool2d(3, 2),
        samepad.SamePadAvgPool2d(2, 2),
        samepad.SamePadConvTranspose2d(8, 4, 3, 2),
    ).eval()


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 17])
def test_a_net_in_many_opsets(opset: int, tmp_path: Path) -> None:
    inputs = [torch.randn(1, 3, 33, 20), torch.randn(2, 3, 16, 31)]
    many = inputs[: 2 if opset >= 11 else 1]
    assert_exports(net(), *many, path=tmp_path / "net.onnx", opset=opset)
    assert_exports(samepad.SamePadConv2d(3, 4, 3, 2), inputs[0][0], path=tmp_path / "one.onnx")


def test_open_sizes_in_old_opsets(tmp_path: Path) -> None:
    with pytest.raises(torch.onnx.errors.SymbolicValueError, match="opset_version=11"):
        exported(net(), torch.randn(1, 3, 33, 20), tmp_path / "net.onnx", True, opset=9)


def test_scripted_modules(tmp_path: Path) -> None:
    samepad.onnx.register_symbolics()
    image = torch.randn(1, 3, 33, 20)
    path = exported(torch.jit.script(net()), image, tmp_path / "net.onnx", open_sizes=False)
    np.testing.assert_allclose(run(path, image.numpy())[0], net()(image).detach(), 1e-4, 1e-5)


@pytest.mark.parametrize("sizes", ["fixed", "open"])
@pytest.mark.parametrize("kind", ["convolution", "transposed", "max pool", "average pool"])
def test_a_mode_per_dimension(kind: str, sizes: str, tmp_path: Path) -> None:
    modes = ("same", "valid", "same_lower")
    layers = {
        "convolution": samepad.SamePadConv3d(4, 3, 3, 2, ("causal", "same_lower", "valid")),
        "transposed": samepad.SamePadConvTranspose3d(4, 3, 3, 2, modes),
        "max pool": samepad.SamePadMaxPool3d(3, 2, modes),
        "average pool": samepad.SamePadAvgPool3d(3, 2, modes),
    }
    inputs = images(3)
    assert_exports(layers[kind], *inputs[: 2 if sizes == "open" else 1], path=tmp_path / "m.onnx")
