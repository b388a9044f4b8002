"""ONNX's operators that read or write elements at indices.

Negative indices count from the end.
"""

from typing import Any

import torch
from torch import Tensor

from samepad.onnx.shapes import number


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
