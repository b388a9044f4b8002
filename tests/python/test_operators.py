"""Tests each operator under PyTorch's transforms; test_transforms.py has more for convolutions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import samepad
import samepad.functional as same
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter


def doubles(*shape: int) -> Tensor:
    """Make a float64 tensor that needs gradients; its elements differ, so maxima have no ties."""
    elements = torch.randperm(int(torch.tensor(shape).prod()), dtype=torch.float64) / 7
    return elements.reshape(shape).sub(3).requires_grad_()


@dataclass(frozen=True)
class Sample:
    """An operator and its arguments, tensors first."""

    operator: str
    tensors: tuple[Tensor, ...]
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def overload(self) -> str:
        amounts = not isinstance(self.arguments.get("padding", "same"), str)
        return "padding" if amounts else "default"

    @property
    def function(self) -> Callable[..., Any]:
        packet = getattr(torch.ops.samepad, self.operator)
        overload = getattr(packet, self.overload)
        return lambda *tensors: overload(*tensors, **self.arguments)

    def __str__(self) -> str:
        return f"{self.operator}-{self.arguments}".replace(" ", "")


def samples() -> Iterator[Sample]:
    for d in (1, 2, 3):
        size = (5, 4, 3)[:d]
        # Kernel 2 with stride 1 is padded on one side, kernel 3 with stride 2 on one or both.
        paddings: list[dict[str, Any]] = [
            {"stride": [2] * d},
            {"stride": [1] * d, "padding": "same_lower"},
            {"stride": [2] * d, "padding": [1] * d},
            {"stride": [1] * d, "padding": [0, 1] * d},
        ]
        x, unbatched = doubles(2, 2, *size), doubles(2, *size)
        weight, bias = doubles(2, 2, *[3] * d), doubles(4)
        for options in paddings:
            for convolution in (f"conv{d}d", f"compiled_conv{d}d"):
                filters = doubles(4, 1, *[3] * d)
                yield Sample(convolution, (x, filters, bias), {"groups": 2, **options})
            yield Sample(f"conv_transpose{d}d", (x, weight, bias), {"groups": 2, **options})
            for kernel in (2, 3):
                window = {"kernel_size": [kernel] * d, **options}
                yield Sample(f"max_pool{d}d", (x,), window)
                yield Sample(f"max_pool{d}d_with_indices", (x,), window)
                yield Sample(f"avg_pool{d}d", (x,), window)
        yield Sample(f"max_pool{d}d", (unbatched,), {"kernel_size": [2] * d, "dilation": [2] * d})
        yield Sample(f"avg_pool{d}d", (unbatched,), {"kernel_size": [3] * d})
        odd = {"stride": [2] * d, "output_size": [2 * n - 1 for n in size]}
        yield Sample(f"conv_transpose{d}d", (unbatched, weight, None), {**odd, "groups": 1})
        yield Sample("pad", (x,), {"kernel_size": [3] * d, "stride": [2] * d, "value": 1.5})
    yield Sample("pad", (doubles(1, 2, 5),), {"kernel_size": [4], "mode": "reflect"})


SAMPLES = list(samples())
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


#: Operators without samples: test_compiled.py tests those that only compiled graphs call, and
#: test_fused_conv.py the one that has no gradient.
OTHERS = {"deferred_conv", "deferred_conv_backward", "fused_conv"}


def test_there_are_samples_for_every_operator() -> None:
    registered = {
        name.removeprefix("samepad::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("samepad::")
    }
    sampled = {
        sample.operator + f".{sample.overload}".replace(".default", "") for sample in SAMPLES
    }
    assert sampled == registered - OTHERS


@pytest.mark.row("opcheck")
@every_sample
def test_opcheck(sample: Sample) -> None:
    operator = getattr(getattr(torch.ops.samepad, sample.operator), sample.overload)
    torch.library.opcheck(operator, sample.tensors, sample.arguments)


def differentiable(sample: Sample) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Return the sample as a function from its tensors to its first result, and the tensors."""
    tensors = tuple(tensor for tensor in sample.tensors if tensor is not None)
    missing = [None] * (len(sample.tensors) - len(tensors))

    def function(*given: Tensor) -> Tensor:
        output = sample.function(*given, *missing)
        return output[0] if isinstance(output, tuple) else output

    return function, tensors


SMALL = [sample for sample in SAMPLES if not sample.operator.endswith("3d")]


@pytest.mark.row("autograd: gradcheck, gradgradcheck, forward mode")
@pytest.mark.parametrize("sample", SMALL, ids=str)
def test_gradients(sample: Sample) -> None:
    function, tensors = differentiable(sample)
    assert torch.autograd.gradcheck(
        function, tensors, check_forward_ad=True, check_batched_grad=True, fast_mode=True
    )
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


@pytest.fixture
def _no_vmap_loop() -> Iterator[None]:
    """Make vmap raise for operators without a rule, instead of looping over the samples."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)


@pytest.mark.row("torch.func: vmap, per-sample gradients")
@pytest.mark.usefixtures("_no_vmap_loop")
@every_sample
def test_vmap_and_per_sample_gradients(sample: Sample) -> None:
    function, tensors = differentiable(sample)
    stacked = tuple(torch.stack([tensor, tensor * 2, -tensor]).detach() for tensor in tensors)
    torch.testing.assert_close(
        torch.vmap(function)(*stacked),
        torch.stack([function(*each) for each in zip(*stacked, strict=True)]),
    )

    def loss(*each: Tensor) -> Tensor:
        return function(*each).square().sum()

    gradients = torch.vmap(torch.func.grad(loss))(*stacked)
    for index, each in enumerate(zip(*stacked, strict=True)):
        leaf = each[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(leaf, *each[1:]), leaf)
        torch.testing.assert_close(gradients[index], expected)


@pytest.mark.row("meta and fake tensors")
@every_sample
def test_meta_and_fake_tensors_have_shape_and_layout(sample: Sample) -> None:
    function, tensors = differentiable(sample)
    expected = function(*tensors)
    meta = function(*(tensor.detach().to("meta") for tensor in tensors))
    assert (meta.shape, meta.dtype, meta.stride()) == (
        expected.shape,
        expected.dtype,
        expected.stride(),
    )
    with torch._subclasses.FakeTensorMode() as mode:
        fake = function(*(mode.from_tensor(tensor) for tensor in tensors))
    assert (fake.shape, fake.stride()) == (expected.shape, expected.stride())


@pytest.mark.row("autocast, bfloat16 and float16")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_casts_transposed_convolutions_as_torchs(dtype: torch.dtype) -> None:
    layer = samepad.SamePadConvTranspose2d(2, 3, 3, 2)
    pool = samepad.SamePadAvgPool2d(3, 2)
    input = torch.randn(1, 2, 5, 6)
    with torch.autocast("cpu", dtype):
        output = layer(input)
        assert output.dtype == dtype
        assert pool(output).dtype == nn.AvgPool2d(3, 2)(output).dtype
    torch.testing.assert_close(output.float(), layer(input), rtol=0.02, atol=0.02)


LAYERS = [
    samepad.SamePadConvTranspose2d(3, 4, 3, 2),
    samepad.SamePadConvTranspose2d(3, 4, (2, 4), (3, 1), "same_lower"),
    samepad.SamePadConvTranspose2d(3, 4, 3, 2, padding=1, output_padding=1),
    samepad.SamePadMaxPool2d(3, 2),
    samepad.SamePadMaxPool2d((2, 3), (1, 2), "same_lower"),
    samepad.SamePadMaxPool2d(2, 3, dilation=2),
    samepad.SamePadAvgPool2d(3, 2),
    samepad.SamePadAvgPool2d(2, 1),
    samepad.SamePadAvgPool2d(3, 2, padding=((0, 1), (1, 1))),
    samepad.SamePadAvgPool2d(3, 2, count_include_pad=True),
    samepad.SamePadSeparableConv2d(3, 4, 3, 2, depth_multiplier=2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_one_compiled_graph_serves_every_size(layer: nn.Module) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    for size in [(8, 10), (9, 8), (8, 11), (15, 22), (33, 34), (64, 7)]:
        input = torch.randn(2, 3, *size)
        torch.testing.assert_close(compiled(input), layer(input))
    assert counter.frame_count == 1


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_torch_function_modes_and_subclasses_see_the_call(layer: nn.Module) -> None:
    class Sub(Tensor):
        pass

    output = layer(torch.randn(1, 3, 9, 8).as_subclass(Sub))
    assert isinstance(output, Sub)


class Decoder(nn.Module):
    """Calls a transposed convolution with an output_size that differs from call to call."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        self.down = samepad.SamePadConv2d(3, 4, 3, 2)
        self.up = samepad.SamePadConvTranspose2d(4, 3, 3, 2, padding)
        self.pool = samepad.SamePadMaxPool2d(3, 2, return_indices=True)

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.down(input)
        return (self.up(features, input.shape[-2:]) + input, *self.pool(features))


@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_one_graph_for_sizes_asked_for(padding: str) -> None:
    torch._dynamo.reset()
    model = Decoder(padding)
    counter = CompileCounter()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for size in [(40, 36), (41, 37), (33, 50), (64, 31), (9, 8)]:
        input = torch.randn(2, 3, *size)
        torch.testing.assert_close(compiled(input), model(input))
    assert counter.frame_count == 1


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_exports_for_sizes_asked_for(padding: str, strict: bool) -> None:
    model = Decoder(padding).eval()
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        model, (torch.randn(2, 3, 40, 36),), dynamic_shapes=({2: auto, 3: auto},), strict=strict
    )
    for exported in (program, program.run_decompositions()):
        for size in [(39, 35), (41, 36), (40, 37), (11, 12)]:
            input = torch.randn(2, 3, *size)
            torch.testing.assert_close(exported.module()(input), model(input))


def test_a_size_out_of_range_is_refused_in_a_compiled_graph_too() -> None:
    weight = torch.randn(4, 3, 3, 3)

    def decode(input: Tensor, height: int) -> Tensor:
        return same.conv_transpose2d(input, weight, None, 2, output_size=(height, 8))

    compiled = torch.compile(decode, fullgraph=True, dynamic=True, backend="eager")
    assert compiled(torch.randn(1, 4, 5, 4), 9).shape == (1, 3, 9, 8)
    with pytest.raises(Exception, match="output_size to be from"):
        compiled(torch.randn(1, 4, 5, 4), 12)
