"""Functions for ONNX's operators on shapes for which PyTorch has no single function.

Shapes, sizes and axes may be lists, or tensors that a model has computed.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def integers(values: Any) -> list[int]:
    """Return integers, which may be in a tensor, as a list."""
    return values.tolist() if isinstance(values, Tensor) else list(values)


def tensor_of(values: Any, dtype: torch.dtype) -> Tensor:
    """Make a tensor of a number, a list or nested lists, which come from sizes."""
    return torch.tensor(values, dtype=dtype)


def number(value: Any) -> Any:
    """Return a number, which may be in a tensor of one element."""
    return value.item() if isinstance(value, Tensor) else value


def shape(input: Tensor, start: int, end: int | None) -> Tensor:
    """Shape: the sizes of the dimensions from `start` to `end`, as int64."""
    return torch.tensor(list(input.shape)[start:end], dtype=torch.int64)


def reshape(input: Tensor, sizes: Any, allow_zero: bool = False) -> Tensor:
    """Reshape: 0 keeps the input's size, unless `allow_zero`; -1 is inferred."""
    wanted = integers(sizes)
    if not allow_zero:
        wanted = [input.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return input.reshape(wanted)


def flatten(input: Tensor, axis: int) -> Tensor:
    """Flatten: to a matrix; the dimensions before `axis` become its rows."""
    axis = axis + input.dim() if axis < 0 else axis
    return input.reshape(math.prod(input.shape[:axis]), math.prod(input.shape[axis:]))


def squeeze(input: Tensor, axes: Any) -> Tensor:
    """Squeeze: removes the axes, or all axes of size 1."""
    return input.squeeze() if axes is None else input.squeeze(tuple(integers(axes)))


def unsqueeze(input: Tensor, axes: Any) -> Tensor:
    """Unsqueeze: the axes are those of the output."""
    wanted = integers(axes)
    rank = input.dim() + len(wanted)
    for axis in sorted(axis % rank for axis in wanted):
        input = input.unsqueeze(axis)
    return input


def expand(input: Tensor, sizes: Any) -> Tensor:
    """Expand: the input and `sizes` are broadcast with each other."""
    shape = torch.broadcast_shapes(input.shape, integers(sizes))  # type: ignore[no-untyped-call]
    return input.expand(shape)


def tile(input: Tensor, repeats: Any) -> Tensor:
    """Tile: repeats the input along each dimension."""
    return input.tile(integers(repeats))


def slice_(input: Tensor, starts: Any, ends: Any, axes: Any, steps: Any) -> Tensor:
    """Slice: bounds are clamped, and negative steps go backwards."""
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
    """Split into `sizes`, or into equal parts, of which the last may be smaller or empty."""
    if sizes is None:
        size = input.shape[axis]
        most = -(-size // parts)
        if isinstance(size, int):
            sizes = [min(most, max(size - i * most, 0)) for i in range(parts)]
            return torch.split(input, sizes, axis)
        return torch.split(input, most, axis)
    return torch.split(input, integers(sizes), axis)


def pad(input: Tensor, amounts: Any, mode: str, value: Any, axes: Any) -> Tensor:
    """Pad by amounts before all axes, then those after all axes; negative ones crop."""
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
        # Pad one dimension at a time: torch.nn.functional.pad has these modes only for some
        # dimensions.
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
    """Range, of `dtype` or, if that is None, of the type of `start`."""
    bounds = [number(bound) for bound in (start, limit, delta)]
    return torch.arange(*bounds, dtype=start.dtype if dtype is None else dtype)


def full(sizes: Any, value: Any, dtype: torch.dtype) -> Tensor:
    """ConstantOfShape: a tensor filled with one value."""
    return torch.full(integers(sizes), value, dtype=dtype)


def depth_to_space(input: Tensor, block: int, mode: str) -> Tensor:
    """DepthToSpace, (N, C, H, W); mode "CRD" is PyTorch's order, "DCR" is the other one."""
    if mode == "CRD":
        return F.pixel_shuffle(input, block)
    n, c, h, w = input.shape
    blocks = input.reshape(n, block, block, c // block**2, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * block, w * block)


def space_to_depth(input: Tensor, block: int, mode: str) -> Tensor:
    """SpaceToDepth, the inverse of DepthToSpace."""
    if mode == "CRD":
        return F.pixel_unshuffle(input, block)
    n, c, h, w = input.shape
    blocks = input.reshape(n, c, h // block, block, w // block, block)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // block, w // block)


def reverse_axes(input: Tensor) -> Tensor:
    """Transpose without `perm`: reverses the axes."""
    return input.permute(tuple(reversed(range(input.dim()))))
