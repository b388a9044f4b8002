"""Compiled convolutions: which of them call samepad's kernels, and that results are equal."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import samepad
import torch
import torch.nn.functional as F
from samepad.functional import conv2d
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounter
from torch.autograd import forward_ad

FLOAT, DOUBLE, BFLOAT16 = torch.float32, torch.float64, torch.bfloat16
FORMATS = [torch.contiguous_format, torch.channels_last]


def recording(calls: set[str]) -> Any:
    """Return a compiler backend that runs graphs unchanged and records their operators."""

    def note(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        calls.update(str(n.target) for n in graph.graph.nodes if n.op == "call_function")
        return graph.forward

    return aot_autograd(fw_compiler=note)


def operators(layer: Callable[..., Tensor], *inputs: Tensor, dynamic: bool = False) -> set[str]:
    calls: set[str] = set()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=recording(calls))
    torch.testing.assert_close(compiled(*inputs), layer(*inputs))
    return calls


OWN = "samepad.deferred_conv.default"
PYTORCHS = "aten.convolution.default"


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (samepad.SamePadConv2d(3, 4, 3, 2), (2, 3, 8, 8), OWN),
        (samepad.SamePadConv2d(3, 4, 3, 2), (3, 8, 8), OWN),
        (samepad.SamePadConv2d(3, 4, 3, 2, ((0, 1), (1, 0))), (2, 3, 8, 8), OWN),
        (samepad.SamePadConv1d(3, 4, 3, 2), (2, 3, 8), OWN),
        (samepad.SamePadConv2d(4, 4, 3, groups=4), (2, 4, 8, 8), OWN),
        (samepad.SamePadConv2d(4, 4, 3, groups=4, dtype=BFLOAT16), (2, 4, 8, 8), OWN),
        (samepad.SamePadConv2d(3, 4, 3), (2, 3, 8, 8), PYTORCHS),
        (samepad.SamePadConv2d(4, 4, 3, 1, 1, groups=4), (2, 4, 8, 8), PYTORCHS),
        (samepad.SamePadConv2d(3, 4, 3, 2, dtype=torch.half), (2, 3, 8, 8), PYTORCHS),
        (samepad.SamePadConv2d(3, 4, 3, 2, padding_mode="replicate"), (2, 3, 8, 8), PYTORCHS),
        (samepad.SamePadConv3d(3, 4, 3, 2), (2, 3, 8, 8, 8), OWN),
        (samepad.SamePadConv3d(4, 4, 3, groups=4), (2, 4, 8, 8, 8), OWN),
    ],
    ids=str,
)
def test_where_there_are_kernels_they_are_called(
    layer: nn.Conv2d, shape: tuple[int, ...], expected: str
) -> None:
    input = torch.randn(shape, dtype=layer.weight.dtype)
    calls = operators(layer, input)
    assert {OWN, PYTORCHS} & calls == {expected}


def test_a_graph_for_every_size_chooses_when_it_runs() -> None:
    calls = operators(samepad.SamePadConv2d(3, 4, 3), torch.randn(2, 3, 7, 9), dynamic=True)
    assert PYTORCHS in calls  # with stride 1 the pads are the same for every size
    layer = samepad.SamePadConv2d(3, 4, 3, 2)
    assert OWN in operators(layer, torch.randn(2, 3, 7, 9), dynamic=True)


def test_autocast_casts_before_it_is_chosen() -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, 2)
    with torch.autocast("cpu", torch.half):
        assert PYTORCHS in operators(layer, torch.randn(2, 3, 8, 8))


def test_exported_programs_are_made_of_pytorchs_operators() -> None:
    for strict in (True, False):
        program = torch.export.export(
            samepad.SamePadConv2d(3, 4, 3, 2), (torch.randn(1, 3, 8, 8),), strict=strict
        ).run_decompositions()
        calls = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
        assert PYTORCHS in calls
        assert not any("samepad" in call for call in calls)


def test_programs_with_a_mode_per_dimension_are_exported_with_open_sizes() -> None:
    model = nn.Sequential(
        samepad.SamePadConv3d(3, 4, 3, 2, ("causal", "same", "same")),
        samepad.SamePadMaxPool3d(2, 2, ("valid", "same", "same_lower")),
        samepad.SamePadConvTranspose3d(4, 2, 3, 2, ("same", "valid", "same_lower")),
        samepad.SamePadConv3d(2, 2, 3, 1, ("causal", "same", "same"), padding_mode="replicate"),
    )
    dims = [torch.export.Dim(name, min=8, max=64) for name in ("time", "height", "width")]
    program = torch.export.export(
        model,
        (torch.randn(1, 3, 9, 10, 11),),
        dynamic_shapes=({axis + 2: dim for axis, dim in enumerate(dims)},),
    ).run_decompositions()
    assert not any("samepad" in str(node.target) for node in program.graph.nodes)
    for sizes in ((9, 10, 11), (8, 13, 16), (12, 9, 8)):
        input = torch.randn(1, 3, *sizes)
        torch.testing.assert_close(program.module()(input), model(input))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("padding", [("causal", "same"), ["same_lower", "valid"]], ids=str)
def test_a_mode_per_dimension_is_compiled(padding: Any, dynamic: bool) -> None:
    assert OWN in operators(samepad.SamePadConv2d(3, 4, 3, 2, padding), torch.randn(2, 3, 8, 9))
    torch._dynamo.reset()
    compiled = torch.compile(conv2d, fullgraph=True, dynamic=dynamic)
    for size in [(7, 8), (8, 9), (6, 11)] if dynamic else [(7, 8)]:
        shapes = (2, 4, *size), (8, 4, 3, 3), (8,)
        given = [torch.randn(shape, requires_grad=True) for shape in shapes]
        settings = {"stride": 2, "padding": padding}
        torch.testing.assert_close(
            gradients(compiled, tuple(given), **settings),
            gradients(conv2d, tuple(given), **settings),
            rtol=1e-4,
            atol=1e-4,
        )


def gradients(
    function: Callable[..., Tensor], tensors: tuple[Tensor, ...], **arguments: Any
) -> list[Tensor]:
    output = function(*tensors, **arguments)
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    return [output, *torch.autograd.grad(output.sin().sum(), wanted)]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("memory_format", FORMATS, ids=["planes", "pixels"])
def test_compiled_as_eager(memory_format: torch.memory_format, groups: int, dynamic: bool) -> None:
    """With Inductor, outputs, every combination of gradients, and layouts are as in eager mode."""
    torch._dynamo.reset()
    compiled = torch.compile(conv2d, fullgraph=True, dynamic=dynamic)
    sizes = [(7, 8), (8, 9), (6, 10)] if dynamic else [(7, 8)]
    for wanted, (height, width) in zip(
        itertools.islice(itertools.product([True, False], repeat=3), 7), itertools.cycle(sizes)
    ):
        shapes = (2, 4, height, width), (8, 4 // groups, 3, 3), (8,)
        tensors = tuple(
            torch.randn(shape, dtype=DOUBLE)
            .contiguous(memory_format=memory_format if len(shape) == 4 else torch.contiguous_format)
            .requires_grad_(needed)
            for shape, needed in zip(shapes, wanted, strict=True)
        )
        arguments = {"stride": 2, "groups": groups}
        ours, eager = (gradients(f, tensors, **arguments) for f in (compiled, conv2d))
        torch.testing.assert_close(ours, eager)
        assert [each.stride() for each in ours] == [each.stride() for each in eager]


@pytest.mark.parametrize("padding", ["same", ("causal", "same", "same_lower")], ids=str)
@pytest.mark.parametrize("groups", [1, 4])
def test_three_dimensions_compiled_as_eager(groups: int, padding: Any) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(samepad.functional.conv3d, fullgraph=True, dynamic=True)
    for size in [(5, 7, 8), (4, 6, 9)]:
        shapes = (2, 4, *size), (8, 4 // groups, 3, 3, 3), (8,)
        tensors = tuple(torch.randn(shape, dtype=DOUBLE).requires_grad_() for shape in shapes)
        ours, eager = (
            gradients(f, tensors, stride=2, groups=groups, padding=padding)
            for f in (compiled, samepad.functional.conv3d)
        )
        torch.testing.assert_close(ours, eager)


def test_the_layout_that_the_graph_runs_with_is_the_operators() -> None:
    """Inductor uses channels_last for its own convolutions and for what follows them."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1), samepad.SamePadConv2d(16, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 8, 3)
    )
    compiled = torch.compile(model, fullgraph=True)
    input = torch.randn(2, 3, 16, 16, requires_grad=True)
    torch.testing.assert_close(gradients(compiled, (input,)), gradients(model, (input,)))


@pytest.mark.parametrize(
    "transform",
    [
        torch.func.vmap,
        lambda f: torch.func.grad(lambda x: f(x).sin().sum()),
        lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1],
        lambda f: torch.func.vmap(torch.func.grad(lambda x: f(x).sin().sum())),
    ],
    ids=["vmap", "grad", "jvp", "per-sample gradients"],
)
def test_transforms_are_compiled_too(transform: Callable[..., Any]) -> None:
    weight = torch.randn(4, 3, 3, 3, dtype=DOUBLE)

    def convolve(input: Tensor) -> Tensor:
        return conv2d(input, weight, stride=2)

    operators(transform(convolve), torch.randn(2, 3, 7, 8, dtype=DOUBLE))


def test_weights_of_every_shape_are_served_by_one_graph() -> None:
    counter = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(conv2d, fullgraph=True, dynamic=True, backend=counter)
    for channels, filters in [(5, 6), (7, 4), (12, 11)]:
        tensors = torch.randn(2, channels, 15, 17), torch.randn(filters, channels, 3, 3)
        torch.testing.assert_close(compiled(*tensors, stride=2), conv2d(*tensors, stride=2))
    assert counter.frame_count == 1


def test_weights_of_open_shapes_are_exported() -> None:
    class Model(nn.Module):
        def forward(self, input: Tensor, weight: Tensor) -> Tensor:
            return conv2d(input, weight, stride=2)

    channels, filters = torch.export.Dim("channels"), torch.export.Dim("filters")
    given = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    sizes = {1: channels}, {0: filters, 1: channels}
    program = torch.export.export(Model(), given, dynamic_shapes=sizes).module()
    other = torch.randn(2, 5, 8, 8), torch.randn(7, 5, 3, 3)
    torch.testing.assert_close(program(*other), Model()(*other))


class OnlyATens(Tensor):
    """A wrapper subclass, such as DTensor, that supports only ATen's operators."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Any:
        wrapper = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        wrapper.inner = inner
        return wrapper

    def __repr__(self, **_: Any) -> str:  # for the compiler's log: there are no elements
        return type(self).__name__

    def __tensor_flatten__(self) -> Any:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: Any, *_: Any) -> Any:
        return OnlyATens(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any, kwargs: Any = None) -> Any:
        assert function.namespace in ("aten", "prim"), function
        unwrapped = torch.utils._pytree.tree_map_only(OnlyATens, lambda t: t.inner, args)
        return torch.utils._pytree.tree_map_only(Tensor, cls, function(*unwrapped, **kwargs or {}))


def test_subclasses_see_pytorchs_operators() -> None:
    input, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    compiled = torch.compile(lambda *t: conv2d(*t, stride=2), fullgraph=True, backend="aot_eager")
    output = compiled(OnlyATens(input), OnlyATens(weight))
    torch.testing.assert_close(output.inner, conv2d(input, weight, stride=2))


def test_forward_mode_around_a_graph() -> None:
    def function(input: Tensor, weight: Tensor) -> Tensor:
        return conv2d(input, weight, stride=2)

    tensors = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    tangents = []
    for each in (function, compiled):
        with forward_ad.dual_level():
            output = each(tensors[0], forward_ad.make_dual(tensors[1], torch.ones(4, 3, 3, 3)))
            tangents.append(forward_ad.unpack_dual(output).tangent)
    torch.testing.assert_close(tangents[1], tangents[0])


def test_amounts_that_are_open_are_pytorchs() -> None:
    tensors = torch.randn(2, 3, 8, 9), torch.randn(4, 3, 3, 3)
    compiled = torch.compile(conv2d, fullgraph=True, dynamic=True, backend="aot_eager")
    for amount in (5, 3, 2):
        expected = F.conv2d(*tensors, stride=2, padding=amount)
        assert torch.equal(compiled(*tensors, stride=2, padding=amount), expected)
    with pytest.raises(RuntimeError, match="negative padding"):
        compiled(*tensors, stride=2, padding=-1)


def test_gradients_of_another_shape_are_refused() -> None:
    tensors = torch.randn(2, 4, 2, 2), torch.randn(2, 3, 9, 8), torch.randn(4, 3, 3, 3)
    with pytest.raises(RuntimeError, match=r"gradient of size \[2, 4, 5, 4\], but got"):
        torch.ops.samepad.deferred_conv_backward(
            *tensors, None, [1, 1, 0, 1], [2, 2], [1, 1], 1, [True, True, False]
        )


@pytest.mark.parametrize("mode", [None, "same"])
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_opcheck(dimensions: int, groups: int, mode: str | None) -> None:
    def doubles(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=DOUBLE)

    input = doubles(2, 4, *(6, 5)[:dimensions])
    weight = doubles(8, 4 // groups, *[3] * dimensions)
    pads = [] if mode else [0, 1] * dimensions
    shared = (mode, pads, [2] * dimensions, [1] * dimensions, groups)
    tensors = [each.requires_grad_() for each in (input, weight, doubles(8))]
    torch.library.opcheck(torch.ops.samepad.deferred_conv, (*tensors, *shared))
    sizes = [(n + 1) // 2 if mode else (n - 2) // 2 + 1 for n in input.shape[2:]]
    gradient = doubles(2, 8, *sizes)
    for mask in ([True, True, True], [True, False, False], [False, True, False]):
        torch.library.opcheck(
            torch.ops.samepad.deferred_conv_backward,
            (gradient, input.detach(), weight.detach(), *shared, mask),
        )
