"""Tests convolutions under autograd, compilation and PyTorch's other transforms."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import samepad
import torch
from samepad import _C
from samepad.functional import conv1d, conv2d, conv3d
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode

CONVS = [(1, conv1d), (2, conv2d), (3, conv3d)]
#: Every kind of padding, with a stride that makes SAME asymmetric.
PADDINGS = ["same", "same_lower", "valid", 1, ((0, 1), (2, 1))]


def doubles(*shape: int) -> Tensor:
    """Make a float64 tensor that needs gradients."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def samples(dimensions: int) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return arguments for the operators with this number of dimensions."""
    input = doubles(2, 4, *(6, 5, 4)[:dimensions])
    unbatched = input[0].detach().requires_grad_()
    weight, bias = doubles(6, 2, *[3] * dimensions), doubles(6)
    shared = {"dilation": [1] * dimensions, "groups": 2}
    return [
        ((input, weight, bias, [2] * dimensions, "same"), shared),
        ((input, weight, None, [1] * dimensions, "same_lower"), shared),
        ((unbatched, weight, bias, [2] * dimensions, "same"), shared),
        ((input, weight, bias, [2], "same"), {**shared, "padding_mode": "replicate"}),
        ((input, weight, bias, [2] * dimensions, [0, 1] * dimensions), shared),
        ((input, weight, bias, [1] * dimensions, [1] * dimensions), shared),
    ]


# torch 2.15's own check looks at the .grad of tensors that it has made.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("sample", range(6))
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_opcheck(dimensions: int, sample: int) -> None:
    arguments, options = samples(dimensions)[sample]
    packet = getattr(torch.ops.samepad, f"conv{dimensions}d")
    operator = packet.default if isinstance(arguments[4], str) else packet.padding
    torch.library.opcheck(operator, arguments, options)


@pytest.mark.parametrize("plan", ["crop", "pad"])
@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize(("dimensions", "conv"), CONVS)
def test_gradients(dimensions: int, conv: Callable[..., Tensor], padding: str, plan: Any) -> None:
    """Compares first and second order, and forward mode, with finite differences."""
    size, kernel = ((5, 4, 3)[:dimensions], (3, 2, 2)[:dimensions])
    inputs = (doubles(1, 2, *size), doubles(2, 1, *kernel), doubles(2))

    def function(*tensors: Tensor) -> Tensor:
        with _C._force_plan(plan):
            return conv(*tensors, 2, padding, 1, 2)

    assert torch.autograd.gradcheck(
        function, inputs, check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("padding", PADDINGS)
def test_one_compiled_graph_serves_every_size(padding: Any) -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding)
    counter = CompileCounter()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    # The first input is not square, because the compiler takes equal sizes for the same size.
    for height, width in [(8, 10), (9, 8), (8, 11), (15, 22), (33, 34), (224, 5)]:
        input = torch.randn(2, 3, height, width)
        torch.testing.assert_close(compiled(input), layer(input))
    assert counter.frame_count == 1


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_inductor(padding: Any, dynamic: bool) -> None:
    """Runs Inductor, the default compiler, forward and backward."""
    torch._dynamo.reset()
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding)
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic)
    for size in [(8, 9), (13, 8)]:
        input = torch.randn(2, 3, *size, requires_grad=True)
        results = []
        for function in (layer, compiled):
            output = function(input)
            results.append((output, *torch.autograd.grad(output.sin().sum(), input)))
        torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize(
    "layer",
    [
        samepad.SamePadConv1d(3, 4, 3, 2, "causal"),
        samepad.SamePadConv1d(3, 4, 2, 3),
        samepad.SamePadConv2d(3, 4, 1, 2),
        samepad.SamePadConv2d(3, 4, (2, 5), (3, 1), dilation=(1, 2)),
        samepad.SamePadConv3d(3, 4, 3, 2, padding_mode="replicate"),
    ],
    ids=lambda layer: layer.extra_repr(),
)
def test_compiles_with_kernels_of_every_kind(layer: nn.Module) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    dimensions = len(layer.kernel_size)  # type: ignore[arg-type]
    for size in [(8, 9, 10), (9, 8, 7), (11, 13, 12)]:
        input = torch.randn(2, 3, *size[:dimensions])
        torch.testing.assert_close(compiled(input), layer(input))
    assert counter.frame_count == 1


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("padding", ["same", "same_lower", ((0, 1), (2, 1))])
def test_exports_with_dynamic_sizes(padding: Any, strict: bool) -> None:
    model = nn.Sequential(
        samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding),
        nn.ReLU(),
        # A kernel smaller than its stride, where the formula for the padding is clamped to 0.
        samepad.SamePadConv2d(4, 4, 2, stride=3, padding="same_lower"),
    ).eval()
    shapes = {0: torch.export.Dim("n"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(
        model, (torch.randn(2, 3, 16, 18),), dynamic_shapes=(shapes,), strict=strict
    )
    for exported in (program, program.run_decompositions()):
        for size in itertools.product(range(17, 23), range(18, 24)):
            input = torch.randn(3, 3, *size)
            torch.testing.assert_close(exported.module()(input), model(input))


@pytest.mark.parametrize("padding", PADDINGS)
def test_torchscript(padding: Any) -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding)
    scripted = torch.jit.script(layer)
    traced = torch.jit.trace(layer, torch.randn(1, 3, 8, 8))
    for size in [(8, 8), (9, 7)]:
        input = torch.randn(2, 3, *size)
        assert torch.equal(scripted(input), layer(input))
        # A trace that contained the pads for 8x8 as constants would differ at 9x7.
        assert torch.equal(traced(input), layer(input))


def test_fx_sees_the_operator() -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=((0, 1), (0, 1)))
    traced = torch.fx.symbolic_trace(layer)
    assert [str(n.target) for n in traced.graph.nodes if n.op == "call_function"] == [
        "samepad.conv2d"
    ]
    input = torch.randn(2, 3, 9, 8)
    assert torch.equal(traced(input), layer(input))


def test_torch_function_modes_and_subclasses_see_the_call() -> None:
    class Recorder(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    class Sub(Tensor):
        pass

    seen: list[str] = []
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2)
    input = torch.randn(1, 3, 8, 8)
    with Recorder():
        layer(input)
    assert "samepad.conv2d" in seen
    assert isinstance(layer(input.as_subclass(Sub)), Sub)


@pytest.fixture
def _no_vmap_loop() -> Iterator[None]:
    """Make vmap raise for operators without a rule, instead of looping over the samples."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)


@pytest.mark.usefixtures("_no_vmap_loop")
@pytest.mark.parametrize("padding", PADDINGS)
def test_vmap_over_samples_and_weights(padding: Any) -> None:
    input, weight = torch.randn(3, 2, 4, 8, 9), torch.randn(3, 6, 4, 3, 3)
    mapped = torch.vmap(lambda x, w: conv2d(x, w, None, 2, padding))(input, weight)
    looped = torch.stack(
        [conv2d(x, w, None, 2, padding) for x, w in zip(input, weight, strict=True)]
    )
    torch.testing.assert_close(mapped, looped)


@pytest.mark.usefixtures("_no_vmap_loop")
def test_per_sample_gradients() -> None:
    layer = samepad.SamePadConv2d(4, 6, 3, stride=2).double()
    parameters = dict(layer.named_parameters())
    input = torch.randn(3, 4, 8, 9, dtype=torch.float64)

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, (sample[None],)).square().sum()

    gradients = torch.vmap(torch.func.grad(loss), (None, 0))(parameters, input)
    for index, sample in enumerate(input):
        expected = torch.autograd.grad(loss(parameters, sample), list(parameters.values()))
        for name, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(gradients[name][index], gradient)


@pytest.mark.parametrize("padding", PADDINGS)
def test_meta_and_fake_tensors_have_the_shape(padding: Any) -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding)
    expected = layer(torch.randn(2, 3, 9, 8))
    meta = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding, device="meta")
    output = meta(torch.randn(2, 3, 9, 8, device="meta"))
    assert (output.shape, output.device.type) == (expected.shape, "meta")
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.empty(2, 3, 9, 8)).shape == expected.shape


@pytest.mark.parametrize("plan", ["crop", "pad"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
def test_autocast_computes_in_the_smaller_type(padding: Any, dtype: torch.dtype, plan: Any) -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, stride=2, padding=padding)
    input = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", dtype), _C._force_plan(plan):
        output = layer(input)
    assert output.dtype == dtype
    smaller = layer.to(dtype)
    torch.testing.assert_close(output, smaller(input.to(dtype)), rtol=0.02, atol=0.02)


def test_autocast_casts_before_it_pads() -> None:
    types = []

    class Recorder(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types_: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if "pad" in str(function):
                types.append(args[0].dtype)
            return function(*args, **(kwargs or {}))

    layer = samepad.SamePadConv2d(3, 4, 3, stride=2)
    with torch.autocast("cpu", torch.bfloat16), Recorder():
        layer(torch.randn(2, 3, 8, 8))
    assert types == [torch.bfloat16]


def test_flops_are_those_of_the_outputs() -> None:
    """They are two per kernel element, channel and output, as for nn.Conv2d."""
    layer = samepad.SamePadConv2d(4, 6, 3, stride=2)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(2, 4, 8, 8))
    assert counter.get_total_flops() == 2 * 2 * (4 * 3 * 3) * (6 * 4 * 4)


def test_weight_norm_parametrization() -> None:
    layer = nn.utils.parametrizations.weight_norm(samepad.SamePadConv2d(4, 6, 3, stride=2))
    input = torch.randn(2, 4, 8, 8)
    assert torch.equal(layer(input), conv2d(input, layer.weight, layer.bias, 2))


#: Mistakes that the binding refuses in eager calls; traced calls have only the schema for that.
MISSHAPEN = [
    (RuntimeError, conv1d, {"padding": (1, 2)}),
    (RuntimeError, conv2d, {"padding": ((1, 2),)}),
    (RuntimeError, conv2d, {"padding": (0, 1, 0, 1)}),
    (RuntimeError, conv2d, {"padding": (1, 2, 3)}),
    (TypeError, conv2d, {"padding": ((1, 2, 3), (4,))}),
    (TypeError, conv2d, {"padding": (1, (1, 2))}),
    (TypeError, conv2d, {"padding": None}),
    (TypeError, conv2d, {"padding": 0.5}),
    (TypeError, conv2d, {"stride": ((2,), (2,))}),
    (TypeError, conv2d, {"stride": None}),
    (TypeError, conv2d, {"dilation": "1"}),
]


@pytest.mark.parametrize(("error", "conv", "arguments"), MISSHAPEN)
def test_traced_calls_refuse_what_eager_calls_refuse(
    error: type[Exception], conv: Callable[..., Tensor], arguments: dict[str, Any]
) -> None:
    class Sub(Tensor):
        pass

    dimensions = 1 if conv is conv1d else 2
    input, weight = torch.ones(1, 4, *[8] * dimensions), torch.ones(6, 4, *[3] * dimensions)
    for each in (input, input.as_subclass(Sub)):
        with pytest.raises(error, match=next(iter(arguments))) as raised:
            conv(each, weight, **arguments)
        assert raised.type is error
    compiled = torch.compile(conv, backend="eager", fullgraph=True)
    # The compiler wraps an error in its own message and class.
    with pytest.raises(Exception, match=next(iter(arguments))):
        compiled(input, weight, **arguments)
