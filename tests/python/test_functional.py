"""Compares samepad.functional with PyTorch: what both can compute must be equal."""

import contextlib
import random
from collections.abc import Callable
from typing import Any

import naive
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
    # Sums of hundreds of products in float32 differ by more than the default tolerances.
    dtype = torch.float64 if dimensions == 3 else torch.float32
    arguments = tensors(dimensions, kernel, dtype)
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


def mixes(dimensions: int, modes: list[str], count: int = 8) -> list[Any]:
    """Draw windows with a mode per dimension: kernels, strides, dilations and modes."""
    rng = random.Random(dimensions)

    def each(values: list[Any]) -> tuple[Any, ...]:
        return tuple(rng.choice(values) for _ in range(dimensions))

    return [(each([1, 2, 3, 4]), each([1, 2, 3]), each([1, 2]), each(modes)) for _ in range(count)]


def naive_pads(modes: Any, sizes: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    return tuple(map(naive.pads, modes, sizes, kernel, stride, dilation))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_mode_per_dimension_pads_each_by_its_own(dimensions: int, groups: int) -> None:
    ours, theirs = CONVS[dimensions]
    for kernel, stride, dilation, modes in mixes(
        dimensions, ["same", "same_lower", "causal", "valid"]
    ):
        torch.manual_seed(0)
        input = torch.randn(2, 4, *SIZES[:dimensions], dtype=torch.float64, requires_grad=True)
        weight = torch.randn(8, 4 // groups, *kernel, dtype=torch.float64, requires_grad=True)
        bias = torch.randn(8, dtype=torch.float64, requires_grad=True)
        pads = naive_pads(modes, input.shape[2:], kernel, stride, dilation)
        outputs = (
            ours(input, weight, bias, stride, modes, dilation, groups),
            theirs(padded(input, pads), weight, bias, stride, 0, dilation, groups),
        )
        torch.testing.assert_close(*outputs)
        gradients = [
            torch.autograd.grad(output.sin().sum(), (input, weight, bias)) for output in outputs
        ]
        torch.testing.assert_close(*gradients)
        assert samepad.same_padding(input.shape[2:], kernel, stride, dilation, modes) == pads
        torch.testing.assert_close(
            samepad.functional.pad(input, kernel, stride, dilation, modes), padded(input, pads)
        )


def test_video_is_causal_in_time() -> None:
    layer = samepad.SamePadConv3d(2, 3, 3, 2, ("causal", "same", "same"))
    assert samepad.explain(layer, torch.randn(1, 2, 9, 8, 7)).pads == ((2, 0), (0, 1), (1, 1))
    video = torch.randn(1, 2, 9, 8, 7)
    later = video.clone()
    later[:, :, 5:] += 1
    before, after = layer(video), layer(later)
    assert before.shape == (1, 3, 5, 4, 4)
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3:], after[:, :, 3:])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_transposed_with_a_mode_per_dimension_is_the_gradient(dimensions: int) -> None:
    ours = getattr(samepad.functional, f"conv_transpose{dimensions}d")
    _, convolve = CONVS[dimensions]
    for kernel, stride, dilation, modes in mixes(dimensions, ["same", "same_lower", "valid"]):
        torch.manual_seed(0)
        sizes = [
            (n - 1) * s + (k - 1) * d + 1 if mode == "valid" else n * s
            for n, k, s, d, mode in zip(SIZES, kernel, stride, dilation, modes, strict=False)
        ]
        input = torch.randn(2, 4, *SIZES[:dimensions], dtype=torch.float64, requires_grad=True)
        weight = torch.randn(4, 3, *kernel, dtype=torch.float64, requires_grad=True)
        output = ours(input, weight, None, stride, modes, dilation=dilation)
        wide = torch.zeros(2, 3, *sizes, dtype=torch.float64, requires_grad=True)
        pads = naive_pads(modes, sizes, kernel, stride, dilation)
        forward = convolve(padded(wide, pads), weight, None, stride, 0, dilation)
        (expected,) = torch.autograd.grad(forward, wide, input, create_graph=True)
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(
            *(torch.autograd.grad(y.sin().sum(), (input, weight)) for y in (output, expected))
        )
        given = ours(input, weight, None, stride, modes, dilation=dilation, output_size=sizes)
        torch.testing.assert_close(given, output)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pools_with_a_mode_per_dimension(dimensions: int, ceil_mode: bool) -> None:
    maximum = getattr(samepad.functional, f"max_pool{dimensions}d")
    mean = getattr(samepad.functional, f"avg_pool{dimensions}d")
    torch_maximum = getattr(F, f"max_pool{dimensions}d")
    torch_mean = getattr(F, f"avg_pool{dimensions}d")
    input = torch.randn(2, 4, *SIZES[:dimensions], dtype=torch.float64)
    for kernel, stride, dilation, modes in mixes(dimensions, ["same", "same_lower", "valid"]):
        pads = naive_pads(modes, input.shape[2:], kernel, stride, dilation)
        flat = [amount for pair in reversed(pads) for amount in pair]
        expected = torch_maximum(
            F.pad(input, flat, value=float("-inf")), kernel, stride, 0, dilation, ceil_mode
        )
        values, indices = maximum(input, kernel, stride, modes, dilation, ceil_mode, True)
        assert torch.equal(values, expected)
        assert torch.equal(input.flatten(2).gather(2, indices.flatten(2)), values.flatten(2))
        assert torch.equal(maximum(input, kernel, stride, modes, dilation, ceil_mode), expected)
        pads = naive_pads(modes, input.shape[2:], kernel, stride, (1,) * dimensions)
        sums, shares = (
            torch_mean(padded(x, pads), kernel, stride, 0, ceil_mode)
            for x in (input, torch.ones_like(input))
        )
        torch.testing.assert_close(mean(input, kernel, stride, modes, ceil_mode), sums / shares)
        torch.testing.assert_close(mean(input, kernel, stride, modes, ceil_mode, True), sums)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_equal_modes_are_the_mode(dimensions: int) -> None:
    ours, theirs = CONVS[dimensions]
    arguments = tensors(dimensions)
    for mode in ("same", "same_lower", "valid"):
        single = ours(*arguments, 2, mode)
        assert torch.equal(ours(*arguments, 2, (mode,) * dimensions), single)
        assert torch.equal(ours(*arguments, 2, [mode]), single)
    valid = ours(*arguments, 2, ("valid",) * dimensions)
    assert torch.equal(valid, theirs(*arguments, 2))
    causal = ours(*arguments, 2, ["causal"] * dimensions)
    pads = ((2, 0),) * dimensions
    torch.testing.assert_close(causal, theirs(padded(arguments[0], pads), *arguments[1:], 2))


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
def test_padding_modes_fill_a_mode_per_dimension(padding_mode: Any) -> None:
    input, weight, bias = tensors(2, kernel=4)
    ours = samepad.functional.conv2d(
        input, weight, bias, 2, ("causal", "same_lower"), padding_mode=padding_mode
    )
    pads = ((3, 0), naive.pads("same_lower", 8, 4, 2, 1))
    theirs = F.conv2d(padded(input, pads, padding_mode), weight, bias, 2)
    torch.testing.assert_close(ours, theirs)


def test_an_empty_dimension_beside_a_valid_one() -> None:
    input, weight = torch.ones(2, 4, 0, 5), torch.ones(6, 4, 3, 3)
    modes = ("same", "valid")
    assert samepad.functional.conv2d(input, weight, None, 2, modes).shape == (2, 6, 0, 2)
    assert samepad.functional.max_pool2d(input, 3, 2, modes).shape == (2, 4, 0, 2)
    back = samepad.functional.conv_transpose2d(input, torch.ones(4, 6, 3, 3), None, 2, modes)
    assert back.shape == (2, 6, 0, 11)
    with pytest.raises(RuntimeError, match="padded input size in spatial dimension 1: 0"):
        samepad.functional.conv2d(torch.ones(2, 4, 0, 0), weight, None, 2, modes)


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
