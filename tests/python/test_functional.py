"""Compares samepad.functional with PyTorch: what both can compute must be equal."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import samepad
import torch
import torch.nn.functional as F
from samepad import _C
from torch import Tensor, nn

CONVS: dict[int, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    1: (samepad.functional.conv1d, F.conv1d),
    2: (samepad.functional.conv2d, F.conv2d),
    3: (samepad.functional.conv3d, F.conv3d),
}
SIZES = (11, 8, 7)


def tensors(
    dimensions: int, kernel: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Make input, weight and bias of a convolution from 4 to 6 channels."""
    torch.manual_seed(0)
    input = torch.randn(2, 4, *SIZES[:dimensions], dtype=dtype)
    weight = torch.randn(6, 4, *[kernel] * dimensions, dtype=dtype)
    return input, weight, torch.randn(6, dtype=dtype)


def padded(input: Tensor, pads: tuple[tuple[int, int], ...], mode: str = "constant") -> Tensor:
    """Call F.pad with the pads of the first dimension first."""
    return F.pad(input, [amount for pair in reversed(pads) for amount in pair], mode)


@pytest.mark.parametrize("kernel", [3, 4, 5, (3, 5)])
def test_the_28x28_input_keeps_its_size(kernel: Any) -> None:
    layer = samepad.SamePadConv2d(1, 128, kernel)
    assert layer(torch.zeros(1, 1, 28, 28)).shape == (1, 128, 28, 28)


@pytest.mark.parametrize("kernel", [3, 4, 5, (3, 5)])
def test_stride_two_halves_it(kernel: Any) -> None:
    layer = samepad.SamePadConv2d(1, 128, kernel, stride=2)
    assert layer(torch.zeros(1, 1, 28, 28)).shape == (1, 128, 14, 14)


def test_tuple_kernel_with_groups_dilation_and_no_bias() -> None:
    layer = samepad.SamePadConv2d(8, 16, (3, 5), groups=4, dilation=(2, 1), bias=False)
    input = torch.randn(2, 8, 28, 27)
    assert layer(input).shape == (2, 16, 28, 27)
    expected = F.conv2d(input, layer.weight, padding=(2, 2), dilation=(2, 1), groups=4)
    assert torch.equal(layer(input), expected)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_stride_one_is_pytorchs_same(dimensions: int, kernel: int, dilation: int) -> None:
    ours, theirs = CONVS[dimensions]
    arguments = [tensor.double() for tensor in tensors(dimensions, kernel)]
    torch.testing.assert_close(
        ours(*arguments, dilation=dilation),
        theirs(*arguments, padding="same", dilation=dilation),
    )


@pytest.mark.parametrize("padding", [0, 1, 2, "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_amounts_are_pytorchs_bit_for_bit(dimensions: int, stride: int, padding: int | str) -> None:
    ours, theirs = CONVS[dimensions]
    arguments = tensors(dimensions)
    assert torch.equal(ours(*arguments, stride, padding), theirs(*arguments, stride, padding))


def test_amounts_per_dimension() -> None:
    input, weight, bias = tensors(2)
    ours = samepad.functional.conv2d(input, weight, bias, (2, 1), (0, 2), (1, 2))
    assert torch.equal(ours, F.conv2d(input, weight, bias, (2, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("mode", ["same", "same_lower"])
def test_padding_modes_fill_the_asymmetric_pads(
    mode: Any, dimensions: int, padding_mode: Any
) -> None:
    ours, theirs = CONVS[dimensions]
    input, weight, bias = tensors(dimensions, kernel=4)
    pads = samepad.same_padding(input.shape[2:], 4, 2, 1, mode)
    torch.testing.assert_close(
        ours(input, weight, bias, 2, mode, padding_mode=padding_mode),
        theirs(padded(input, pads, padding_mode), weight, bias, 2),
    )


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_padding_modes_with_amounts_are_pytorchs(dimensions: int, padding_mode: Any) -> None:
    theirs = getattr(nn, f"Conv{dimensions}d")(4, 6, 3, padding=1, padding_mode=padding_mode)
    ours = getattr(samepad, f"SamePadConv{dimensions}d")(
        4, 6, 3, padding=1, padding_mode=padding_mode
    )
    ours.load_state_dict(theirs.state_dict())
    input = tensors(dimensions)[0]
    assert torch.equal(ours(input), theirs(input))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex32,
        torch.complex64,
        torch.complex128,
    ],
    ids=str,
)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_every_type_that_conv_takes(dimensions: int, dtype: torch.dtype) -> None:
    ours, theirs = CONVS[dimensions]
    input, weight, bias = (
        (t.to(dtype) for t in tensors(dimensions, 4, torch.complex64))
        if dtype.is_complex
        else (t.to(dtype) for t in tensors(dimensions, 4))
    )
    pads = samepad.same_padding(input.shape[2:], 4, 2)
    output = ours(input, weight, bias, 2)
    assert output.dtype == dtype
    torch.testing.assert_close(output, theirs(padded(input, pads), weight, bias, 2))


@pytest.mark.parametrize("plan", ["crop", "pad"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_unbatched_is_a_batch_of_one(dimensions: int, plan: Any) -> None:
    ours, _ = CONVS[dimensions]
    input, weight, bias = tensors(dimensions)
    with _C._force_plan(plan):
        torch.testing.assert_close(
            ours(input[0], weight, bias, 2), ours(input[:1], weight, bias, 2)[0]
        )


@pytest.mark.parametrize("shape", [(2, 4, 0, 5), (2, 4, 5, 0), (2, 4, 0, 0), (0, 4, 5, 6)])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_empty_input_gives_empty_output_with_gradients(
    shape: tuple[int, ...], padding_mode: Any
) -> None:
    input = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(6, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.ones(6, dtype=torch.float64, requires_grad=True)
    output = samepad.functional.conv2d(input, weight, bias, 2, padding_mode=padding_mode)
    assert output.shape == (shape[0], 6, -(-shape[2] // 2), -(-shape[3] // 2))
    assert output.dtype == torch.float64
    output.sum().backward()
    assert input.grad is not None
    assert input.grad.shape == shape
    for parameter in (weight, bias):
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("plan", ["crop", "pad"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    "shape", [(2, 4, 8, 8), (2, 4, 7, 8), (1, 4, 8, 8), (1, 4, 8, 7), (2, 4, 2, 2)]
)
def test_output_is_dense_in_the_layout_of_nn_conv2d(
    shape: tuple[int, ...], memory_format: torch.memory_format, plan: Any
) -> None:
    input = torch.randn(shape).contiguous(memory_format=memory_format)
    weight = torch.randn(6, 4, 3, 3)
    theirs = F.conv2d(input, weight, stride=2, padding=1)
    with _C._force_plan(plan):
        ours = samepad.functional.conv2d(input, weight, stride=2)
    assert ours.shape == theirs.shape
    assert ours.stride() == theirs.stride()
    assert ours.is_contiguous(memory_format=memory_format)
    # The output must not be a view that keeps a larger result alive.
    assert ours.untyped_storage().nbytes() == ours.numel() * ours.element_size()


@pytest.mark.parametrize("plan", ["crop", "pad"])
def test_channels_last_3d_stays(plan: Any) -> None:
    input = torch.randn(2, 4, 6, 8, 7).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(6, 4, 3, 3, 3)
    theirs = F.conv3d(input, weight, stride=2, padding=1)
    with _C._force_plan(plan):
        ours = samepad.functional.conv3d(input, weight, stride=2)
    assert ours.stride() == theirs.stride()


def test_inference_mode() -> None:
    input, weight, bias = tensors(2)
    expected = samepad.functional.conv2d(input, weight, bias, 2)
    with torch.inference_mode():
        output = samepad.functional.conv2d(input, weight, bias, 2)
    assert output.is_inference()
    assert torch.equal(output, expected)


def test_warnings_are_pythons() -> None:
    """PyTorch's warning from C++ inside the operator can be caught and silenced in Python."""
    torch.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match="ComplexHalf support is experimental"):
            samepad.functional.conv1d(*(t.to(torch.complex32) for t in tensors(1)))
    finally:
        torch.set_warn_always(False)


@pytest.mark.parametrize("plan", ["crop", "pad"])
def test_transposed_and_strided_inputs(plan: Any) -> None:
    input = torch.randn(8, 16, 4, 3).permute(3, 2, 0, 1)[..., ::2]
    weight = torch.randn(3, 3, 4, 6).permute(3, 2, 0, 1)
    with _C._force_plan(plan):
        ours = samepad.functional.conv2d(input, weight, stride=2)
        dense = samepad.functional.conv2d(input.contiguous(), weight.contiguous(), stride=2)
    torch.testing.assert_close(ours, dense)


def saved_shapes(plan: Any, **arguments: Any) -> list[torch.Size]:
    """Return the shapes that autograd saves for a convolution of an 8x8 input, by `plan`."""
    shapes = []
    input = torch.randn(2, 4, 8, 8, requires_grad=True)
    weight = torch.randn(6, 4, 3, 3, requires_grad=True)
    forced = _C._force_plan(plan) if plan else contextlib.nullcontext()

    def pack(tensor: Tensor) -> Tensor:
        shapes.append(tensor.shape)
        return tensor

    with forced, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        samepad.functional.conv2d(input, weight, **arguments)
    return shapes


@pytest.mark.parametrize("plan", ["crop", "pad"])
def test_autograd_keeps_the_input_and_no_padded_copy(plan: str) -> None:
    assert sorted(saved_shapes(plan, stride=2)) == [(2, 4, 8, 8), (6, 4, 3, 3)]
    # In other padding modes the padded copy is saved, so the test is able to see copies.
    kept = saved_shapes(plan, stride=2, padding_mode="replicate")
    assert (2, 4, 9, 9) in kept


@pytest.mark.parametrize("padding", ["same", 1, ((1, 1), (1, 1))])
def test_symmetric_pads_copy_nothing(padding: Any) -> None:
    assert sorted(saved_shapes("pad", padding=padding)) == [(2, 4, 8, 8), (6, 4, 3, 3)]
    input, weight = torch.randn(2, 4, 8, 8), torch.randn(6, 4, 3, 3)
    with torch.profiler.profile() as profile, _C._force_plan("symmetric"):
        samepad.functional.conv2d(input, weight, padding=padding)
    names = {event.key for event in profile.key_averages()}
    assert "aten::convolution" in names
    assert not names & {"aten::pad", "aten::constant_pad_nd", "aten::copy_", "aten::clone"}


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (1, 1), (2, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 2), (5, 1), (1, 4)])
@pytest.mark.parametrize("padding", ["same", "same_lower", ((0, 4), (2, 4)), ((4, 0), (3, 2))])
def test_plans_agree(size: Any, stride: Any, kernel: Any, padding: Any) -> None:
    input = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, *kernel, dtype=torch.float64, requires_grad=True)
    results = []
    for plan in ("crop", "pad"):
        with _C._force_plan(plan):
            output = samepad.functional.conv2d(input, weight, None, stride, padding, 1, 2)
        gradients = torch.autograd.grad(output.sin().sum(), (input, weight))
        results.append((output, *gradients))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("pads", [(0, 2), (3, -1), (-3, 6)])
def test_gradients_of_the_plan_that_pads_again(dimensions: int, batch: Any, pads: Any) -> None:
    convolution, torch_convolution = CONVS[dimensions]
    input = torch.randn(*batch, 4, *[2] * dimensions, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, *[2] * dimensions, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    tensors = (input, weight, bias)

    def padded(input: Tensor, weight: Tensor, bias: Tensor) -> Any:
        with _C._force_plan("pad"):
            return convolution(input, weight, bias, 2, (pads,) * dimensions, 1, 2)

    def composed(input: Tensor, weight: Tensor, bias: Tensor) -> Any:
        wide = F.pad(input, [max(pad, 0) for pad in pads] * dimensions)
        wide = F.pad(wide, [min(pad, 0) for pad in pads] * dimensions)
        return torch_convolution(wide, weight, bias, 2, 0, 1, 2)

    outputs = [function(*tensors) for function in (padded, composed)]
    torch.testing.assert_close(*outputs)
    gradients = [torch.autograd.grad(y.sin().sum(), tensors) for y in outputs]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(padded, tensors)
    assert torch.autograd.gradgradcheck(padded, tensors, atol=1e-4)


def test_forcing_a_plan_ends_with_its_context() -> None:
    layer, input = samepad.SamePadConv2d(64, 8, 3, 2), torch.randn(1, 64, 32, 32)

    def plan() -> str:
        return samepad.explain(layer, input).plan

    assert plan() == "dense"
    with _C._force_plan("pad"):
        assert plan() == "pad"
        with _C._force_plan("crop"):
            assert plan() == "crop"
        assert plan() == "pad"
    with pytest.raises(KeyError), _C._force_plan("pad"):
        raise KeyError
    assert plan() == "dense"


def test_same_padding_is_documented_where_it_is_called() -> None:
    assert "before" in (samepad.same_padding.__doc__ or "")
    for convolution, _ in CONVS.values():
        assert "Raises:" in (convolution.__doc__ or "")
