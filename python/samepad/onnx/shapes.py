"""What ONNX's operators do to shapes and PyTorch has no one function for. Shapes, sizes and
axes may be lists, or tensors that a model has computed."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def integers(values: Any) -> list[int]:
    """A list of them, from a tensor too."""
    return values.tolist() if isinstance(values, Tensor) else list(values)


def tensor_of(values: Any, dtype: torch.dtype) -> Tensor:
    """A tensor of sizes, or of numbers computed from some: one, or a list, or a list of lists."""
    return torch.tensor(values, dtype=dtype)


def number(value: Any) -> Any:
    """A number, from a tensor too."""
    return value.item() if isinstance(value, Tensor) else value


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
    axis = axis + input.dim() if axis < 0 else axis
    return input.reshape(math.prod(input.shape[:axis]), math.prod(input.shape[axis:]))


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


def tile(input: Tensor, repeats: Any) -> Tensor:
    """Tile."""
    return input.tile(integers(repeats))


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
            positions = torch.arange(chosen.start, chosen.stop, chosen.step, device=input.device)
            input = input.index_select(dim, positions)
    return input


def split(input: Tensor, sizes: Any, axis: int, parts: int) -> tuple[Tensor, ...]:
    """Split: into these sizes, or into so many alike, the last of which may be smaller or empty."""
    if sizes is None:
        size = input.shape[axis]
        most = -(-size // parts)
        if isinstance(size, int):
            sizes = [min(most, max(size - i * most, 0)) for i in range(parts)]
            return torch.split(input, sizes, axis)
        return torch.split(input, most, axis)
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


def range_(start: Any, limit: Any, delta: Any, dtype: torch.dtype | None) -> Tensor:
    """Range; without a type, of its tensors'."""
    bounds = [number(bound) for bound in (start, limit, delta)]
    return torch.arange(*bounds, dtype=start.dtype if dtype is None else dtype)


def full(sizes: Any, value: Any, dtype: torch.dtype) -> Tensor:
    """ConstantOfShape."""
    return torch.full(integers(sizes), value, dtype=dtype)


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


def reverse_axes(input: Tensor) -> Tensor:
    """Transpose without `perm`."""
    return input.permute(tuple(reversed(range(input.dim()))))
