"""What ONNX's operators compute and PyTorch has no one function for. Shapes, sizes and axes may be
lists, or tensors that a model has computed."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import samepad


def integers(values: Any) -> list[int]:
    """A list of them, from a tensor too."""
    return values.tolist() if isinstance(values, Tensor) else list(values)


def integer_tensor(values: Any, dtype: torch.dtype) -> Tensor:
    """A tensor of numbers that are sizes, or computed from some; or of one of them."""
    return torch.tensor(values, dtype=dtype)


def cast(input: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast."""
    return input.to(dtype)


def shape(input: Tensor, start: int, end: int | None) -> Tensor:
    """Shape: the sizes of dimensions start to end, int64."""
    return torch.tensor(list(input.shape)[start:end], dtype=torch.int64)


def reshape(input: Tensor, sizes: Any, allow_zero: bool = False) -> Tensor:
    """Reshape: 0 keeps a size, unless zeros are allowed; -1 is what is left."""
    wanted = integers(sizes)
    if not allow_zero:
        wanted = [input.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return input.reshape(wanted)


def flatten(input: Tensor, axis: int) -> Tensor:
    """Flatten: to a matrix, split before an axis."""
    rows = 1
    for size in input.shape[: axis if axis >= 0 else input.dim() + axis]:
        rows *= size
    return input.reshape(rows, -1)


def squeeze(input: Tensor, axes: Any) -> Tensor:
    """Squeeze: the axes, or all of size 1."""
    return input.squeeze() if axes is None else input.squeeze(tuple(integers(axes)))


def unsqueeze(input: Tensor, axes: Any) -> Tensor:
    """Unsqueeze: axes count in the output."""
    wanted = integers(axes)
    rank = input.dim() + len(wanted)
    for axis in sorted(axis % rank for axis in wanted):
        input = input.unsqueeze(axis)
    return input


def expand(input: Tensor, sizes: Any) -> Tensor:
    """Expand: both ways, as broadcasting does."""
    shape = torch.broadcast_shapes(input.shape, integers(sizes))  # type: ignore[no-untyped-call]
    return input.expand(shape)


def slice_(input: Tensor, starts: Any, ends: Any, axes: Any, steps: Any) -> Tensor:
    """Slice: clamped; negative steps go backwards."""
    begins, stops = integers(starts), integers(ends)
    dims = list(range(len(begins))) if axes is None else integers(axes)
    strides = [1] * len(begins) if steps is None else integers(steps)
    for begin, stop, dim, step in zip(begins, stops, dims, strides, strict=True):
        size = input.shape[dim]
        if step > 0:
            stop = stop if stop >= 0 else max(stop, -size)
            index = [slice(None)] * (dim % input.dim()) + [slice(begin, stop, step)]
            input = input[tuple(index)]
        else:
            chosen = range(size)[begin:stop:step]
            input = input.index_select(
                dim, torch.tensor(list(chosen), dtype=torch.int64, device=input.device)
            )
    return input


def gather(input: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Gather: whole slices; negative indices count from the end."""
    axis %= input.dim()
    indices = indices.long() % max(input.shape[axis], 1)
    taken = input.index_select(axis, indices.reshape(-1))
    return taken.reshape((*input.shape[:axis], *indices.shape, *input.shape[axis + 1 :]))


def gather_elements(input: Tensor, indices: Tensor, axis: int) -> Tensor:
    """GatherElements: negative indices count from the end."""
    return input.gather(axis, indices.long() % input.shape[axis])


def split(input: Tensor, sizes: Any, axis: int, parts: int) -> tuple[Tensor, ...]:
    """Split: into these sizes, or into so many alike, the last of which may be smaller."""
    if sizes is None:
        return torch.split(input, -(-input.shape[axis] // parts), axis)
    return torch.split(input, integers(sizes), axis)


def pad(input: Tensor, amounts: Any, mode: str, value: Any, axes: Any) -> Tensor:
    """Pad: before all axes, then after all; negative amounts crop."""
    flat = integers(amounts)
    half = len(flat) // 2
    dims = list(range(input.dim())) if axes is None else [a % input.dim() for a in integers(axes)]
    before, after = [0] * input.dim(), [0] * input.dim()
    for position, dim in enumerate(dims):
        before[dim], after[dim] = flat[position], flat[half + position]
    if mode == "constant":
        pads = [p for dim in reversed(range(input.dim())) for p in (before[dim], after[dim])]
        return F.pad(input, pads, value=0 if value is None else number(value))
    for dim in range(input.dim()):
        # Dimension by dimension, as torch.nn.functional.pad has modes for some of them alone.
        size = input.shape[dim]
        positions = torch.arange(-before[dim], size + after[dim], device=input.device)
        if mode == "edge":
            positions = positions.clamp(0, size - 1)
        elif mode == "wrap":
            positions = positions % size
        else:  # reflect
            period = max(2 * (size - 1), 1)
            positions = positions.remainder(period)
            positions = torch.minimum(positions, period - positions)
        input = input.index_select(dim, positions)
    return input


def tile(input: Tensor, repeats: Any) -> Tensor:
    """Tile."""
    return input.tile(integers(repeats))


def where(condition: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Where."""
    return torch.where(condition.bool(), left, right)


def number(value: Any) -> Any:
    """A number, from a tensor too."""
    return value.item() if isinstance(value, Tensor) else value


def range_(start: Any, limit: Any, delta: Any, dtype: torch.dtype | None) -> Tensor:
    """Range; without a type, of its tensors'."""
    bounds = [number(bound) for bound in (start, limit, delta)]
    return torch.arange(*bounds, dtype=start.dtype if dtype is None else dtype)


def full(sizes: Any, value: Any, dtype: torch.dtype) -> Tensor:
    """ConstantOfShape."""
    return torch.full(integers(sizes), value, dtype=dtype)


def quotient(left: int, right: int) -> int:
    """Div of sizes: towards zero."""
    return left // right if (left < 0) == (right < 0) else -(-left // right)


def divide(left: Tensor, right: Tensor) -> Tensor:
    """Div: of integers, towards zero."""
    integral = not left.is_floating_point() and not right.is_floating_point()
    return torch.div(left, right, rounding_mode="trunc" if integral else None)


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """Pow: of the base's type."""
    return torch.pow(base, exponent).to(base.dtype)


def reduce(
    input: Tensor, kind: str, axes: Any, keep: bool, noop_without_axes: bool = False
) -> Tensor:
    """Reduce*: over axes, or over all of them."""
    dims = [] if axes is None else integers(axes)
    if not dims:
        if noop_without_axes:
            return _PREPARED[kind](input) if kind in _PREPARED else input
        dims = list(range(input.dim()))
    if not dims:
        return _PREPARED[kind](input) if kind in _PREPARED else input
    return _REDUCED[kind](input, dims, keep)  # type: ignore[no-any-return]


def _product(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for dim in sorted((d % x.dim() for d in dims), reverse=True):
        x = x.prod(dim, keepdim=keep, dtype=x.dtype)
    return x


def _extreme(x: Tensor, dims: list[int], keep: bool, function: Any, lowest: bool) -> Tensor:
    """Of nothing, the type's lowest or highest value."""
    if x.numel() > 0:
        return function(x, dims, keepdim=keep)  # type: ignore[no-any-return]
    if x.dtype == torch.bool:
        neutral: Any = not lowest
    elif x.is_floating_point():
        neutral = float("-inf" if lowest else "inf")
    else:
        neutral = torch.iinfo(x.dtype).min if lowest else torch.iinfo(x.dtype).max
    return torch.full_like(x.sum(dims, keepdim=keep), neutral, dtype=x.dtype)


_PREPARED: dict[str, Any] = {
    "L1": torch.abs,
    "L2": torch.abs,
    "LogSum": torch.log,
    "SumSquare": torch.square,
}
_REDUCED: dict[str, Any] = {
    "Sum": lambda x, d, k: x.sum(d, keepdim=k, dtype=x.dtype),
    "Mean": lambda x, d, k: x.mean(d, keepdim=k),
    "Max": lambda x, d, k: _extreme(x, d, k, torch.amax, lowest=True),
    "Min": lambda x, d, k: _extreme(x, d, k, torch.amin, lowest=False),
    "Prod": _product,
    "L1": lambda x, d, k: x.abs().sum(d, keepdim=k, dtype=x.dtype),
    "L2": lambda x, d, k: x.square().sum(d, keepdim=k).sqrt(),
    "LogSum": lambda x, d, k: x.sum(d, keepdim=k).log(),
    "LogSumExp": lambda x, d, k: x.logsumexp(d, keepdim=k),
    "SumSquare": lambda x, d, k: x.square().sum(d, keepdim=k, dtype=x.dtype),
}


def max_pool_with_indices(input: Tensor, kernel: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """MaxPool with ONNX's indices, which count over batch and channels too."""
    dimensions = len(kernel)
    function = getattr(samepad.functional, f"max_pool{dimensions}d")
    values, indices = function(input, kernel, return_indices=True, **options)
    planes = input.shape[0] * input.shape[1]
    size = input[0, 0].numel()
    offsets = torch.arange(planes, device=input.device).mul(size)
    return values, indices + offsets.reshape(*input.shape[:2], *[1] * dimensions)


def convolve(
    kind: str, input: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any
) -> Tensor:
    """Conv or ConvTranspose whose weight the model computes; `kind` is conv or conv_transpose."""
    function = getattr(samepad.functional, f"{kind}{weight.dim() - 2}d")
    return function(input, weight, bias, **options)  # type: ignore[no-any-return]


def layer_norm(
    input: Tensor, scale: Tensor, bias: Tensor | None, axis: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNormalization from an axis on: output, mean and inverse deviation."""
    dims = tuple(range(axis % input.dim(), input.dim()))
    mean = input.mean(dims, keepdim=True)
    inverse = ((input - mean).square().mean(dims, keepdim=True) + epsilon).rsqrt()
    output = (input - mean) * inverse * scale
    return output if bias is None else output + bias, mean, inverse


def rms_norm(input: Tensor, scale: Tensor, axis: int, epsilon: float) -> Tensor:
    """RMSNormalization from an axis on."""
    return F.rms_norm(input, input.shape[axis % input.dim() :], None, epsilon) * scale


def standardize(input: Tensor, axes: Any) -> Tensor:
    """MeanVarianceNormalization."""
    centered = input - input.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True).sqrt() + 1e-9)


def by_direction(input: Tensor, directions: int, batch_first: bool) -> Tensor:
    """A recurrent layer's outputs as ONNX has them, with a dimension for the directions."""
    output = input.reshape(*input.shape[:-1], directions, -1)
    return output if batch_first else output.transpose(1, 2)


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
    """ConvTranspose with `output_shape`, from which its text derives the pads.

    Without sizes they are those of auto_pad: the stride times the input's.
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


def softmax_2d(input: Tensor, axis: int, log: bool) -> Tensor:
    """Softmax before opset 13: over all dimensions from `axis` on together."""
    flat = flatten(input, axis)
    result = flat.log_softmax(1) if log else flat.softmax(1)
    return result.reshape(input.shape)


def one_hot(indices: Tensor, depth: Any, values: Tensor, axis: int) -> Tensor:
    """OneHot: negative indices count from the end, others out of range give no hot one."""
    count = number(depth)
    indices = indices.long()
    indices = torch.where(indices < 0, indices + count, indices)
    hot = indices.unsqueeze(-1) == torch.arange(count, device=indices.device)
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)


def depth_to_space(input: Tensor, block: int, mode: str) -> Tensor:
    """DepthToSpace: of depth-column-row order as well as of PyTorch's."""
    if mode == "CRD":
        return F.pixel_shuffle(input, block)
    n, c, h, w = input.shape
    blocks = input.reshape(n, block, block, c // block**2, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * block, w * block)


def space_to_depth(input: Tensor, block: int, mode: str) -> Tensor:
    """SpaceToDepth, as DepthToSpace."""
    if mode == "CRD":
        return F.pixel_unshuffle(input, block)
    n, c, h, w = input.shape
    blocks = input.reshape(n, c, h // block, block, w // block, block)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // block, w // block)


def top_k(input: Tensor, k: Any, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """TopK; of equal ones the first."""
    order = input.sort(dim=axis, descending=largest, stable=True)
    count = number(k)
    return order.values.narrow(axis, 0, count), order.indices.narrow(axis, 0, count)


def reverse_axes(input: Tensor) -> Tensor:
    """Transpose without `perm`."""
    return input.permute(*reversed(range(input.dim())))


def prelu(input: Tensor, slope: Tensor) -> Tensor:
    """PRelu: the slope broadcasts."""
    return torch.where(input < 0, input * slope, input)


def hard_sigmoid(input: Tensor, alpha: float, beta: float) -> Tensor:
    """HardSigmoid."""
    return (input * alpha + beta).clamp(0, 1)


def global_pool(input: Tensor, method: str) -> Tensor:
    """GlobalAveragePool and GlobalMaxPool."""
    return getattr(input, method)(tuple(range(2, input.dim())), keepdim=True)  # type: ignore[no-any-return]


def selu(input: Tensor, alpha: float, gamma: float) -> Tensor:
    """Selu, of other constants than PyTorch's."""
    return gamma * torch.where(input > 0, input, alpha * torch.expm1(input))


def swish(input: Tensor, alpha: float) -> Tensor:
    """Swish."""
    return input * torch.sigmoid(alpha * input)


def shrink(input: Tensor, bias: float, limit: float) -> Tensor:
    """Shrink: zero up to the limit, beyond it nearer to zero by the bias."""
    moved = input - bias * input.sign()
    return torch.where(input.abs() > limit, moved, torch.zeros_like(input)).to(input.dtype)


def hardmax(input: Tensor, axis: int) -> Tensor:
    """Hardmax: one at the first of the largest, zero elsewhere."""
    return torch.zeros_like(input).scatter(axis, input.argmax(axis, keepdim=True), 1)


def is_infinite(input: Tensor, negative: bool, positive: bool) -> Tensor:
    """IsInf, of either sign."""
    return (torch.isneginf(input) & negative) | (torch.isposinf(input) & positive)


def accumulate(input: Tensor, axis: Any, kind: str, exclusive: bool, reverse: bool) -> Tensor:
    """CumSum and CumProd, from either end, with or without the element itself."""
    dim = number(axis)
    result = input.flip(dim) if reverse else input
    result = getattr(torch, kind)(result, dim, dtype=input.dtype)
    if exclusive:
        first = torch.full_like(result.narrow(dim, 0, 1), 0 if kind == "cumsum" else 1)
        rest = result.narrow(dim, 0, result.shape[dim] - 1)
        result = torch.cat([first, rest], dim)
    return result.flip(dim) if reverse else result


def triangle(input: Tensor, upper: bool, diagonal: Any) -> Tensor:
    """Trilu."""
    k = 0 if diagonal is None else number(diagonal)
    return input.triu(k) if upper else input.tril(k)


def eye_like(input: Tensor, diagonal: int, dtype: torch.dtype | None) -> Tensor:
    """EyeLike."""
    return torch.ones_like(input, dtype=dtype).triu(diagonal).tril(diagonal)


def cast_like(input: Tensor, target: Tensor) -> Tensor:
    """CastLike."""
    return input.to(target.dtype)


def non_zero(input: Tensor) -> Tensor:
    """NonZero: a row for each dimension."""
    return input.nonzero().T


def gather_nd(input: Tensor, indices: Tensor, batch_dims: int) -> Tensor:
    """GatherND: indices are rows of positions, in as many leading dimensions as there are."""
    batch = input.shape[:batch_dims]
    input = input.flatten(0, batch_dims - 1) if batch else input[None]
    indices = indices.flatten(0, batch_dims - 1) if batch else indices[None]
    columns = indices.unbind(-1)
    first = torch.arange(input.shape[0], device=input.device)
    first = first.reshape(-1, *[1] * (columns[0].dim() - 1))
    result = input[(first, *columns)]
    return result.reshape(*batch, *result.shape[1:])


def scatter_nd(input: Tensor, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """ScatterND: what is at rows of positions is replaced, or combined with updates."""
    count = indices.shape[-1]
    strides = [1]
    for size in reversed(input.shape[1:count]):
        strides.insert(0, strides[0] * size)
    sizes = torch.tensor(input.shape[:count], device=input.device)
    rows = (indices.remainder(sizes) * torch.tensor(strides, device=input.device)).sum(-1).flatten()
    flat = input.reshape(-1, *input.shape[count:])
    source = updates.reshape(-1, *input.shape[count:])
    rows = rows.reshape(-1, *[1] * (flat.dim() - 1)).expand_as(source)
    return _scattered(flat, 0, rows, source, reduction).reshape(input.shape)


def scatter_elements(
    input: Tensor, indices: Tensor, updates: Tensor, axis: int, reduction: str
) -> Tensor:
    """ScatterElements: negative indices count from the end."""
    positions = indices.long().remainder(input.shape[axis])
    return _scattered(input, axis, positions, updates, reduction)


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scattered(
    input: Tensor, dim: int, positions: Tensor, source: Tensor, reduction: str
) -> Tensor:
    if reduction == "none":
        return input.scatter(dim, positions, source)
    return input.scatter_reduce(dim, positions, source, _REDUCTIONS[reduction])


def grid_sample(input: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """GridSample."""
    return F.grid_sample(input, grid, mode, padding, align)


def affine_grid(theta: Tensor, sizes: Any, align: bool) -> Tensor:
    """AffineGrid."""
    return F.affine_grid(theta, integers(sizes), align)


def quantize(
    input: Tensor, scale: Tensor, zero: Tensor | None, axis: int, dtype: torch.dtype | None
) -> Tensor:
    """QuantizeLinear, by one scale or one for each position along an axis; of the zero point's
    type where no other is said, uint8 without one."""
    if dtype is None:
        dtype = torch.uint8 if zero is None else zero.dtype
    values = (input / _along(scale, axis, input)).round()
    if zero is not None:
        values = values + _along(zero, axis, input).to(values.dtype)
    limits = torch.iinfo(dtype)
    return values.clamp(limits.min, limits.max).to(dtype)


def dequantize(input: Tensor, scale: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """DequantizeLinear, as QuantizeLinear."""
    values = input.to(scale.dtype)
    if zero is not None:
        values = values - _along(zero, axis, input).to(scale.dtype)
    return values * _along(scale, axis, input)


def _along(values: Tensor, axis: int, input: Tensor) -> Tensor:
    """Values for the positions along an axis of the input, so that they broadcast."""
    if values.dim() == 0:
        return values
    return values.reshape([-1 if dim == axis % input.dim() else 1 for dim in range(input.dim())])
