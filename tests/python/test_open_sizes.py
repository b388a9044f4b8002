"""Tests that symbolic expressions for sizes that a graph leaves open stay short.

If the expression for a size contains the one for the previous layer's size twice, its length
doubles with every layer, and so does the time for compiling or exporting.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import samepad
import torch
from peers import MODELS
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)

MODES = ["same", "same_lower"]
#: Kernels and strides in two dimensions.
WINDOWS = [((1, 2), 1), ((3, 4), 2), ((5, 3), (3, 1)), ((1, 2), (2, 3)), ((3, 2), 5)]
#: Characters that a layer may add to an expression, such as "(((" and " - 1)//2)) + 1".
GROWTH = 30
Layer = Callable[[Tensor], Tensor]


def layers() -> list[nn.Module]:
    """Make layers of every kind, mode, dilation and padding_mode; all keep the channels."""
    found: list[nn.Module] = []
    for (kernel, stride), mode in itertools.product(WINDOWS, MODES):
        found += [
            samepad.SamePadConv2d(2, 2, kernel, stride, mode),
            samepad.SamePadConv2d(2, 2, kernel, stride, mode, dilation=2),
            samepad.SamePadConv2d(2, 2, kernel, stride, mode, padding_mode="replicate"),
            samepad.SamePadConv2d(2, 2, kernel, stride, mode, padding_mode="reflect"),
            samepad.SamePadMaxPool2d(kernel, stride, mode),
            samepad.SamePadMaxPool2d(kernel, stride, mode, dilation=2),
            samepad.SamePadAvgPool2d(kernel, stride, mode),
            samepad.SamePadAvgPool2d(kernel, stride, mode, count_include_pad=True),
            samepad.SamePadConvTranspose2d(2, 2, kernel, stride, mode),
            samepad.SamePadConvTranspose2d(2, 2, kernel, stride, mode, dilation=2),
        ]
    for kernel, stride in WINDOWS:
        found += [
            samepad.SamePadConv2d(2, 2, kernel, stride, "valid"),
            samepad.SamePadConv2d(2, 2, kernel, stride, ((0, 1), (2, 0))),
            samepad.SamePadConv2d(2, 2, kernel, stride, ("causal", "same_lower")),
            samepad.SamePadConv2d(2, 2, kernel, stride, ("same", "valid")),
            samepad.SamePadMaxPool2d(kernel, stride, ("valid", "same")),
            samepad.SamePadAvgPool2d(kernel, stride, ("same_lower", "valid")),
            samepad.SamePadConvTranspose2d(2, 2, kernel, stride, ("same", "valid")),
            samepad.SamePadMaxPool2d(kernel, stride, ((0, 0), (0, 1))),
        ]
    for kernel, stride in [(2, 1), (3, 2), (2, 3)]:
        found += [
            samepad.SamePadConv1d(2, 2, kernel, stride, "causal"),
            samepad.SamePadMaxPool1d(kernel, stride),
            samepad.SamePadAvgPool1d(kernel, stride),
            samepad.SamePadConv3d(2, 2, kernel, stride),
            samepad.SamePadMaxPool3d(kernel, stride),
            samepad.SamePadAvgPool3d(kernel, stride),
        ]
    return found


class Compiled(nn.Module):
    """Calls the operator that graphs of torch.compile contain for a layer."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        layer: Any = self.layer
        output = torch.ops.samepad.compiled_conv2d(
            input, layer.weight, None, layer.stride, layer.padding, layer.dilation
        )
        assert isinstance(output, Tensor)
        return output

    def extra_repr(self) -> str:
        return repr(self.layer)


def compiled_layers() -> list[nn.Module]:
    return [
        Compiled(samepad.SamePadConv2d(2, 2, kernel, stride, mode, dilation))
        for (kernel, stride), mode, dilation in itertools.product(WINDOWS, MODES, [1, 2])
    ]


def symbols(layer: Layer, dimensions: int, depth: int) -> list[tuple[Any, ...]]:
    """Return the expressions of the open sizes after 0 to `depth` calls of the layer."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    sizes = [DimDynamic.STATIC] * 2 + [DimDynamic.DYNAMIC] * dimensions
    x = mode.from_tensor(
        torch.empty(1, 2, *(401, 302, 203)[:dimensions]),
        symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes),
    )
    found = [x.shape]
    with mode, enable_python_dispatcher(), torch.no_grad():
        for _ in range(depth):
            x = layer(x)
            found.append(x.shape)
    return [tuple(size.node.expr for size in shape[2:]) for shape in found]


@pytest.mark.parametrize("layer", [*layers(), *compiled_layers()], ids=repr)
def test_symbols_grow_by_a_constant_at_most(layer: nn.Module) -> None:
    inner: Any = layer.layer if isinstance(layer, Compiled) else layer
    dimensions = int(type(inner).__name__[-2])
    sizes, *outputs = symbols(layer, dimensions, depth=3)
    for dimension in zip(*outputs, strict=True):
        lengths = [len(str(symbol)) for symbol in dimension]
        growth = [after - before for before, after in itertools.pairwise(lengths)]
        assert max(growth) <= GROWTH, dimension
    # The expressions are also right, for every remainder by the stride.
    for n in range(50, 65):
        x = torch.zeros(1, 2, *(n, n + 1, 6)[:dimensions])
        values = dict(zip(sizes, x.shape[2:], strict=True))
        for output in outputs[: 2 if dimensions < 3 else 1]:
            x = layer(x)
            assert tuple(symbol.subs(values) for symbol in output) == x.shape[2:]


STRIDED = [samepad.SamePadConv2d(3, 3, 3, 2) for _ in range(5)]
POOLED = [
    samepad.SamePadConv2d(3, 3, 3, 2),
    samepad.SamePadConv2d(3, 3, 3, 2),
    samepad.SamePadMaxPool2d(3, 2),
    samepad.SamePadAvgPool2d(3, 2),
]
GAPS = [
    samepad.SamePadConv2d(3, 3, 2, 3),
    samepad.SamePadMaxPool2d(2, 3, "same_lower"),
    samepad.SamePadConvTranspose2d(3, 3, 2, 3),
    samepad.SamePadAvgPool2d(2, 3),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("net", "least"), [(STRIDED, 33), (POOLED, 24), (GAPS, 19)], ids=["strided", "pooled", "gaps"]
)
def test_exports_between_bounds(net: list[nn.Module], least: int, strict: bool) -> None:
    """The bounds of nn.Conv2d suffice: the symbols show that no layer gets a size of 1."""
    model = nn.Sequential(*net).eval()
    height = torch.export.Dim("height", min=least, max=512)
    width = torch.export.Dim("width", min=least, max=512)
    program = torch.export.export(
        model,
        (torch.randn(1, 3, 64, 96),),
        dynamic_shapes=({2: height, 3: width},),
        strict=strict,
    )
    for exported in (program, program.run_decompositions()):
        for size in [(least, least + 1), (least + 2, 512), (50, 49)]:
            input = torch.randn(1, 3, *size)
            torch.testing.assert_close(exported.module()(input), model(input))


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("mode", MODES)
def test_gaps_between_windows_are_not_filled(mode: Any, padding_mode: Any) -> None:
    """If e < s, no more elements are filled in than SAME adds.

    More elements follow, which no window reads. They are zeros, because "reflect" and "circular"
    could not provide that many.
    """
    layer = samepad.SamePadConv2d(2, 2, (2, 3), (7, 9), mode, padding_mode=padding_mode)
    counter = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    for size in [(8, 11), (2, 3), (9, 12)]:
        input = torch.randn(1, 2, *size)
        torch.testing.assert_close(compiled(input), layer(input))
    # PyTorch's circular padding takes separate graphs without and with padding.
    assert counter.frame_count == 1 or padding_mode == "circular"


@pytest.mark.parametrize(
    "layer",
    [
        samepad.SamePadConv1d(2, 2, 3, 2),
        samepad.SamePadMaxPool1d(3, 1),
        samepad.SamePadMaxPool1d(3, 2),
        samepad.SamePadAvgPool1d(2, 3),
        samepad.SamePadConvTranspose1d(2, 2, 3, 2),
    ],
    ids=repr,
)
def test_one_graph_for_every_length(layer: nn.Module) -> None:
    counter = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    for length in (8, 9, 10, 13):
        input = torch.randn(1, 2, length)
        torch.testing.assert_close(compiled(input), layer(input))
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", MODELS)
def test_published_models_export_with_open_sizes(name: str) -> None:
    model = samepad.convert(MODELS[name]().eval())
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        model, (torch.randn(2, 3, 96, 80),), dynamic_shapes=({2: auto, 3: auto},)
    )
    images = torch.randn(2, 3, 111, 64)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), model(images), rtol=1e-4, atol=1e-4)
