"""Functions for ONNX's operators on values for which PyTorch has no single function."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import samepad
from samepad.onnx.shapes import flatten, integers, number


def cast(input: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast to a type."""
    return input.to(dtype)


def cast_like(input: Tensor, target: Tensor) -> Tensor:
    """CastLike: cast to the type of another tensor."""
    return input.to(target.dtype)


def quotient(left: int, right: int) -> int:
    """Div of sizes, rounded towards zero."""
    if right < 0:
        left, right = -left, -right
    # One of the two parts is 0. They need no branch, so that a symbolic size may have any sign.
    above: int = torch.sym_max(left, 0)  # type: ignore[no-untyped-call]
    below: int = torch.sym_max(-left, 0)  # type: ignore[no-untyped-call]
    return above // right - below // right


def remainder(left: int, right: int) -> int:
    """Mod of sizes with fmod=1: the remainder has the sign of `left`."""
    return left - right * quotient(left, right)


def choose(condition: bool, left: int, right: int) -> int:
    """Where of sizes, without a branch, so that the condition may be symbolic."""
    chosen: int = torch.sym_ite(condition, 1, 0)  # type: ignore[no-untyped-call]
    return right + chosen * (left - right)


def differ(left: bool, right: bool) -> bool:
    """Xor of comparisons of sizes."""
    not_both: bool = torch.sym_not(left & right)  # type: ignore[no-untyped-call]
    return (left | right) & not_both


def nearest(value: float) -> int:
    """Round to the nearest integer, and of two equally near ones to the even one."""
    return round(value)


def root(value: float) -> float:
    """Sqrt of a size."""
    result: float = torch.sym_sqrt(value)
    return result


def single(value: float) -> float:
    """Round a double to float32, in which ONNX computes.

    Graphs with dynamic sizes can hold sums and quotients, but no conversion to float32. Adding 2^29
    times the value, and subtracting it again, leaves 24 binary digits. The quotients by powers of
    two are exact; they keep symbolic arithmetic from cancelling the two sums.
    """
    large = value / 2.0**-29
    return ((large + value) / 0.5 - large / 0.5) / 2.0


def divide(left: Tensor, right: Tensor) -> Tensor:
    """Div: integers are rounded towards zero."""
    integral = not left.is_floating_point() and not right.is_floating_point()
    return torch.div(left, right, rounding_mode="trunc" if integral else None)


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """Pow: the result has the base's type."""
    return torch.pow(base, exponent).to(base.dtype)


def where(condition: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Where: the condition may have any type."""
    return torch.where(condition.bool(), left, right)


def softmax_2d(input: Tensor, axis: int, log: bool) -> Tensor:
    """Softmax before opset 13: over all dimensions from `axis` on, taken together."""
    flat = flatten(input, axis)
    result = flat.log_softmax(1) if log else flat.softmax(1)
    return result.reshape(input.shape)


def prelu(input: Tensor, slope: Tensor) -> Tensor:
    """PRelu, whose slope is broadcast to the input."""
    return torch.where(input < 0, input * slope, input)


def hard_sigmoid(input: Tensor, alpha: float, beta: float) -> Tensor:
    """HardSigmoid: alpha x + beta, clamped to 0 and 1."""
    return (input * alpha + beta).clamp(0, 1)


def selu(input: Tensor, alpha: float, gamma: float) -> Tensor:
    """Selu, with other constants than PyTorch's."""
    return gamma * torch.where(input > 0, input, alpha * torch.expm1(input))


def swish(input: Tensor, alpha: float) -> Tensor:
    """Swish: x sigmoid(alpha x)."""
    return input * torch.sigmoid(alpha * input)


def shrink(input: Tensor, bias: float, limit: float) -> Tensor:
    """Shrink: values up to the limit become 0, larger ones move towards 0 by the bias."""
    moved = input - bias * input.sign()
    return torch.where(input.abs() > limit, moved, torch.zeros_like(input)).to(input.dtype)


def hardmax(input: Tensor, axis: int) -> Tensor:
    """Hardmax: 1 at the first of the largest elements, 0 elsewhere."""
    return torch.zeros_like(input).scatter(axis, input.argmax(axis, keepdim=True), 1)


def last_extreme(input: Tensor, kind: str, axis: int, keep: bool) -> Tensor:
    """ArgMax and ArgMin with select_last_index: torch takes the first of equal elements."""
    result: Tensor = input.shape[axis] - 1 - getattr(torch, kind)(input.flip(axis), axis, keep)
    return result


def is_infinite(input: Tensor, negative: bool, positive: bool) -> Tensor:
    """IsInf: whether elements are infinite, of the signs asked for."""
    return (torch.isneginf(input) & negative) | (torch.isposinf(input) & positive)


def reduce(
    input: Tensor, kind: str, axes: Any, keep: bool, noop_without_axes: bool = False
) -> Tensor:
    """Reduce*: over `axes`, or over all axes if none are given and not `noop_without_axes`."""
    dims = [] if axes is None else integers(axes)
    if not dims and not noop_without_axes:
        dims = list(range(input.dim()))
    if not dims:
        return _PREPARED[kind](input).to(input.dtype) if kind in _PREPARED else input
    return _REDUCED[kind](input, dims, keep)  # type: ignore[no-any-return]


def _product(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for dim in sorted((d % x.dim() for d in dims), reverse=True):
        x = x.prod(dim, keepdim=keep, dtype=x.dtype)
    return x


def _mean(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    """Return the mean; that of integers is rounded towards zero, as in ONNX Runtime."""
    if x.is_floating_point():
        return x.mean(dims, keepdim=keep)
    total = x.sum(dims, keepdim=keep, dtype=x.dtype)
    count = math.prod(x.shape[dim] for dim in dims)
    return torch.div(total, count, rounding_mode="trunc")


def _extreme(x: Tensor, dims: list[int], keep: bool, function: Any, lowest: bool) -> Tensor:
    """Return the extreme value; that of no elements is the type's lowest or highest value."""
    if x.numel() > 0:
        return function(x, dims, keepdim=keep)  # type: ignore[no-any-return]
    if x.dtype == torch.bool:
        neutral: Any = not lowest
    elif x.is_floating_point():
        neutral = float("-inf" if lowest else "inf")
    else:
        neutral = torch.iinfo(x.dtype).min if lowest else torch.iinfo(x.dtype).max
    return torch.full_like(x.sum(dims, keepdim=keep), neutral, dtype=x.dtype)


def _in_floats(function: Any) -> Any:
    """Make a reduction that computes integers in float64 and returns the input's type."""

    def reduced(x: Tensor, dims: list[int], keep: bool) -> Tensor:
        exact = x if x.is_floating_point() else x.double()
        return function(exact, dims, keep).to(x.dtype)  # type: ignore[no-any-return]

    return reduced


_PREPARED: dict[str, Any] = {
    "L1": torch.abs,
    "L2": torch.abs,
    "LogSum": torch.log,
    "SumSquare": torch.square,
}


_REDUCED: dict[str, Any] = {
    "Sum": lambda x, d, k: x.sum(d, keepdim=k, dtype=x.dtype),
    "Mean": _mean,
    "Max": lambda x, d, k: _extreme(x, d, k, torch.amax, lowest=True),
    "Min": lambda x, d, k: _extreme(x, d, k, torch.amin, lowest=False),
    "Prod": _product,
    "L1": lambda x, d, k: x.abs().sum(d, keepdim=k, dtype=x.dtype),
    "L2": _in_floats(lambda x, d, k: x.square().sum(d, keepdim=k).sqrt()),
    "LogSum": _in_floats(lambda x, d, k: x.sum(d, keepdim=k).log()),
    "LogSumExp": _in_floats(lambda x, d, k: x.logsumexp(d, keepdim=k)),
    "SumSquare": lambda x, d, k: x.square().sum(d, keepdim=k, dtype=x.dtype),
}


def accumulate(input: Tensor, axis: Any, kind: str, exclusive: bool, reverse: bool) -> Tensor:
    """CumSum and CumProd, from either end, including or excluding the element itself."""
    dim = number(axis)
    result = input.flip(dim) if reverse else input
    result = getattr(torch, kind)(result, dim, dtype=input.dtype)
    if exclusive:
        first = torch.full_like(result.narrow(dim, 0, 1), 0 if kind == "cumsum" else 1)
        rest = result.narrow(dim, 0, result.shape[dim] - 1)
        result = torch.cat([first, rest], dim)
    return result.flip(dim) if reverse else result


def layer_norm(
    input: Tensor, scale: Tensor, bias: Tensor | None, axis: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNormalization from `axis` on: the output, mean and inverse standard deviation."""
    dims = tuple(range(axis % input.dim(), input.dim()))
    mean = input.mean(dims, keepdim=True)
    inverse = ((input - mean).square().mean(dims, keepdim=True) + epsilon).rsqrt()
    output = (input - mean) * inverse * scale
    return output if bias is None else output + bias, mean, inverse


def rms_norm(input: Tensor, scale: Tensor, axis: int, epsilon: float) -> Tensor:
    """RMSNormalization over all dimensions from `axis` on."""
    return F.rms_norm(input, input.shape[axis % input.dim() :], None, epsilon) * scale


def standardize(input: Tensor, axes: Any) -> Tensor:
    """MeanVarianceNormalization over `axes`."""
    centered = input - input.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True).sqrt() + 1e-9)


def global_pool(input: Tensor, method: str) -> Tensor:
    """GlobalAveragePool and GlobalMaxPool over all spatial dimensions."""
    return getattr(input, method)(tuple(range(2, input.dim())), keepdim=True)  # type: ignore[no-any-return]


def max_pool_with_indices(input: Tensor, kernel: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """MaxPool with ONNX's indices, which count over the batch and channels too."""
    dimensions = len(kernel)
    function = getattr(samepad.functional, f"max_pool{dimensions}d")
    values, indices = function(input, kernel, return_indices=True, **options)
    planes = input.shape[0] * input.shape[1]
    size = input[0, 0].numel()
    offsets = torch.arange(planes, device=input.device).mul(size)
    return values, indices + offsets.reshape(*input.shape[:2], *[1] * dimensions)


def lp_pool(input: Tensor, kernel: tuple[int, ...], p: float, **options: Any) -> Tensor:
    """LpPool: the p-norm of each window."""
    planes = input.abs().pow(p).flatten(0, 1).unsqueeze(1)
    function = getattr(samepad.functional, f"conv{len(kernel)}d")
    total = function(planes, planes.new_ones(1, 1, *kernel), **options)
    return total.reshape(*input.shape[:2], *total.shape[2:]).pow(1 / p)  # type: ignore[no-any-return]


def convolve(
    kind: str, input: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any
) -> Tensor:
    """Conv or ConvTranspose with a computed weight; `kind` is "conv" or "conv_transpose"."""
    function = getattr(samepad.functional, f"{kind}{weight.dim() - 2}d")
    return function(input, weight, bias, **options)  # type: ignore[no-any-return]


def conv_transpose_to(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[int, ...] | None,
    lower: bool,
    stride: Any,
    dilation: Any,
    output_padding: tuple[int, ...],
    groups: int,
) -> Tensor:
    """ConvTranspose with `output_shape`, from which the specification derives the pads.

    Without `sizes`, the output's sizes are those of auto_pad: the stride times the input's.
    """
    dimensions = weight.dim() - 2
    strides = stride if isinstance(stride, tuple) else (stride,) * dimensions
    dilations = dilation if isinstance(dilation, tuple) else (dilation,) * dimensions
    pairs, extra = [], []
    if sizes is None:
        sizes = tuple(n * s for n, s in zip(input.shape[2:], strides, strict=True))
    for i, m in enumerate(sizes):
        span = (weight.shape[2 + i] - 1) * dilations[i] + 1
        total = strides[i] * (input.shape[2 + i] - 1) + output_padding[i] + span - m
        half = max(total, 0) // 2
        rest = max(total, 0) - half
        pairs.append((rest, half) if lower else (half, rest))
        extra.append(output_padding[i] + max(-total, 0))
    function = getattr(samepad.functional, f"conv_transpose{dimensions}d")
    return function(  # type: ignore[no-any-return]
        input, weight, bias, strides, pairs, extra, groups, dilations
    )


def by_direction(input: Tensor, directions: int, batch_first: bool) -> Tensor:
    """Reshape a recurrent layer's outputs to ONNX's, with a dimension for the directions."""
    output = input.reshape(*input.shape[:-1], directions, -1)
    return output if batch_first else output.transpose(1, 2)


def grid_sample(input: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """GridSample: see torch.nn.functional.grid_sample."""
    return F.grid_sample(input, grid, mode, padding, align)


def affine_grid(theta: Tensor, sizes: Any, align: bool) -> Tensor:
    """AffineGrid: the sizes may be a tensor."""
    return F.affine_grid(theta, integers(sizes), align)
