"""ONNX's operators that read or write elements at indices.

Negative indices count from the end.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from samepad.onnx.shapes import integers, number


def gather(input: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Gather: whole slices along an axis."""
    axis %= input.dim()
    indices = indices.long() % max(input.shape[axis], 1)
    taken = input.index_select(axis, indices.reshape(-1))
    return taken.reshape((*input.shape[:axis], *indices.shape, *input.shape[axis + 1 :]))


def gather_elements(input: Tensor, indices: Tensor, axis: int) -> Tensor:
    """GatherElements: single elements along an axis."""
    return input.gather(axis, indices.long() % input.shape[axis])


def gather_nd(input: Tensor, indices: Tensor, batch_dims: int) -> Tensor:
    """GatherND: each row of indices is a position in the dimensions after the batch's."""
    batch = input.shape[:batch_dims]
    input = input.flatten(0, batch_dims - 1) if batch else input[None]
    indices = indices.flatten(0, batch_dims - 1) if batch else indices[None]
    if indices.shape[-1] >= input.dim():
        raise ValueError(
            f"rows of {indices.shape[-1]} positions, expected at most one for each of "
            f"{input.dim() - 1} dimensions"
        )
    columns = indices.unbind(-1)
    first = torch.arange(input.shape[0], device=input.device)
    first = first.reshape(-1, *[1] * (columns[0].dim() - 1))
    result = input[(first, *columns)]
    return result.reshape(*batch, *result.shape[1:])


def scatter_nd(input: Tensor, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """ScatterND: slices at the positions in the rows of indices are replaced or combined."""
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
    """ScatterElements: single elements along an axis are replaced or combined with updates."""
    positions = indices.long().remainder(input.shape[axis])
    return _scattered(input, axis, positions, updates, reduction)


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scattered(
    input: Tensor, dim: int, positions: Tensor, source: Tensor, reduction: str
) -> Tensor:
    if reduction == "none":
        return input.scatter(dim, positions, source)
    return input.scatter_reduce(dim, positions, source, _REDUCTIONS[reduction])


def one_hot(indices: Tensor, depth: Any, values: Tensor, axis: int) -> Tensor:
    """OneHot: an index that is out of range gives only off values."""
    count = number(depth)
    indices = indices.long()
    indices = torch.where(indices < 0, indices + count, indices)
    hot = indices.unsqueeze(-1) == torch.arange(count, device=indices.device)
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)


def top_k(input: Tensor, k: Any, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """TopK: of equal elements, the first ones are taken."""
    order = input.sort(dim=axis, descending=largest, stable=True)
    count = number(k)
    return order.values.narrow(axis, 0, count), order.indices.narrow(axis, 0, count)


def triangle(input: Tensor, upper: bool, diagonal: Any) -> Tensor:
    """Trilu: the upper or lower triangle of matrices."""
    k = 0 if diagonal is None else number(diagonal)
    return input.triu(k) if upper else input.tril(k)


def eye_like(input: Tensor, diagonal: int, dtype: torch.dtype | None) -> Tensor:
    """EyeLike: ones on a diagonal, zeros elsewhere."""
    return torch.ones_like(input, dtype=dtype).triu(diagonal).tril(diagonal)


def non_zero(input: Tensor) -> Tensor:
    """NonZero: positions of the non-zero elements, (dimensions, count)."""
    return input.nonzero().T


def unique(
    input: Tensor, axis: int | None, in_order: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unique: the different elements, or the different slices along an axis.

    Args:
        input: Any tensor; it is flattened if `axis` is None.
        axis: The dimension whose slices are compared.
        in_order: Whether the result is sorted; otherwise it is in the order of first occurrence.

    Returns:
        The different elements or slices; the position at which each one occurs first; for each
        element or slice of the input, the position of its equal in the result; and how often each
        one occurs.
    """
    values, inverse, counts = torch.unique(
        input, sorted=True, return_inverse=True, return_counts=True, dim=axis
    )
    inverse = inverse.reshape(-1)
    positions = torch.arange(inverse.numel(), device=input.device)
    first = positions.new_full(counts.shape, inverse.numel())
    first = first.scatter_reduce(0, inverse, positions, "amin")
    if not in_order:
        order = first.argsort()
        values, first, counts = values.index_select(axis or 0, order), first[order], counts[order]
        inverse = order.argsort()[inverse]
    return values, first, inverse, counts


def reverse_sequence(input: Tensor, lengths: Tensor, time: int, batch: int) -> Tensor:
    """ReverseSequence: reverses the first steps of each sequence, as many as its length says."""
    moved = input.movedim((time, batch), (0, 1))
    steps = torch.arange(moved.shape[0], device=input.device)[:, None]
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    columns = torch.arange(moved.shape[1], device=input.device)
    return moved[source, columns].movedim((0, 1), (time, batch))


def compress(input: Tensor, condition: Tensor, axis: int | None) -> Tensor:
    """Compress: the slices along an axis, or the elements, for which a condition holds."""
    if axis is None:
        input, axis = input.reshape(-1), 0
    return input.index_select(axis, condition.nonzero().reshape(-1))


def max_unpool(
    input: Tensor,
    indices: Tensor,
    sizes: Any,
    kernel: list[int],
    stride: list[int],
    pads: list[int],
) -> Tensor:
    """MaxUnpool: puts each element at its index in an otherwise empty tensor.

    Args:
        input: (N, C, ...), pooled.
        indices: Positions in the whole flattened result of the pool's input size.
        sizes: The output's shape, which may be larger than the pool's input; None for that size.
        kernel: The pool's kernel size in each spatial dimension.
        stride: The pool's stride in each spatial dimension.
        pads: The pool's padding: the amounts before all dimensions, then those after.

    Returns:
        The unpooled tensor.
    """
    spatial = [
        (n - 1) * s - pads[i] - pads[len(kernel) + i] + k
        for i, (n, s, k) in enumerate(zip(input.shape[2:], stride, kernel, strict=True))
    ]
    shape = [*input.shape[:2], *spatial]
    flat = input.new_zeros(math.prod(shape)).scatter(0, indices.reshape(-1), input.reshape(-1))
    result = flat.reshape(shape)
    if sizes is None:
        return result
    wanted = integers(sizes)
    after = [(0, m - n) for m, n in zip(reversed(wanted), reversed(shape), strict=True)]
    return F.pad(result, [amount for pair in after for amount in pair])


def col2im(
    input: Tensor,
    image: Any,
    block: Any,
    dilation: list[int] | None,
    pads: list[int] | None,
    stride: list[int] | None,
) -> Tensor:
    """Col2Im: adds blocks to an image, in any number of spatial dimensions.

    Args:
        input: (N, C * elements of a block, number of blocks).
        image: The image's spatial sizes.
        block: The block's sizes.
        dilation: The distance between a block's elements in each dimension; 1 if None.
        pads: The amounts before all dimensions, then those after; 0 if None.
        stride: The distance between blocks in each dimension; 1 if None.

    Returns:
        The image, (N, C, *image).
    """
    sizes, kernel = integers(image), integers(block)
    rank = len(sizes)
    steps, gaps, amounts = stride or [1] * rank, dilation or [1] * rank, pads or [0] * 2 * rank
    padded = [n + amounts[i] + amounts[rank + i] for i, n in enumerate(sizes)]
    # For each element of a block and each block, the position in the flattened padded image.
    positions = torch.zeros(1, 1, dtype=torch.int64, device=input.device)
    for i, (n, k) in enumerate(zip(padded, kernel, strict=True)):
        starts = torch.arange(0, n - gaps[i] * (k - 1), steps[i], device=input.device)
        own = torch.arange(k, device=input.device)[:, None] * gaps[i] + starts
        both = positions[:, None, :, None] * n + own[None, :, None, :]
        positions = both.reshape(positions.shape[0] * k, -1)
    columns = input.reshape(input.shape[0], -1, positions.numel())
    flat = columns.new_zeros(*columns.shape[:2], math.prod(padded))
    result = flat.index_add(2, positions.reshape(-1), columns)
    result = result.reshape(*columns.shape[:2], *padded)
    for i, n in enumerate(sizes):
        result = result.narrow(2 + i, amounts[i], n)
    return result
