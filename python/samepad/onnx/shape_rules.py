"""Rules for ONNX's operators that move elements or compute shapes, in a table by name."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from samepad._building import UnsupportedError
from samepad.onnx import indexing, shapes, tensors
from samepad.onnx.call import Call, Rule, Sizes


def _constant_of_shape(c: Call) -> Any:
    proto = c.get("value")
    value = torch.zeros(1) if proto is None else tensors.tensor(proto)
    return c.b.call(shapes.full, c.integers(0), value.item(), value.dtype)


def _range(c: Call) -> Any:
    bounds = [c.number(position) for position in range(3)]
    known = [value.dtype for value in c.given if isinstance(value, (Tensor, Sizes))]
    return c.b.call(shapes.range_, *bounds, known[0] if known else None)


def _slice(c: Call) -> Any:
    """Slice: Python's slices where axes are known and steps positive, else a function."""
    starts, ends = c.integers(1, "starts"), c.integers(2, "ends")
    axes, steps = c.integers(3, "axes"), c.integers(4)
    if isinstance(starts, list) and isinstance(ends, list):
        axes = list(range(len(starts))) if axes is None else axes
        steps = [1] * len(starts) if steps is None else steps
        if _forwards(axes, steps) and not isinstance(c.given[0], Sizes):
            index = [slice(None)] * (max(axes, default=-1) + 1)
            for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
                stop = None if isinstance(end, int) and end >= _FAR else end
                index[axis] = slice(start or None, stop, step if step > 1 else None)
            while index and index[-1] == slice(None):
                index.pop()
            return c.b.call(operator.getitem, c[0], tuple(index)) if index else c[0]
    return c.b.call(shapes.slice_, c[0], starts, ends, axes, steps)


#: Exporters write ends from here on for slices that have no end.
_FAR = 2**31 - 1


def _forwards(axes: Any, steps: Any) -> bool:
    numbers = [*axes, *steps] if isinstance(axes, list) and isinstance(steps, list) else [None]
    return all(isinstance(n, int) and n >= 0 for n in numbers) and 0 not in steps


def _pad(c: Call) -> Any:
    mode = c.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise UnsupportedError(f"mode={mode!r}, expected constant, reflect, edge or wrap")
    return c.b.call(
        shapes.pad, c[0], c.integers(1, "pads"), mode, c.number(2, "value"), c.integers(3)
    )


def _reshape(c: Call) -> Any:
    sizes, input, allow_zero = c.integers(1), c.given[0], bool(c.get("allowzero", 0))
    listed = sizes if isinstance(sizes, list) else [None] * (c.size(1, 0) or 0)
    # Note the output's dimensions: where the model computes the sizes, ONNX's own inference does
    # not even know their number.
    dims = [n if isinstance(n, int) and n > 0 else None for n in listed]
    if not allow_zero:
        dims = [c.size(0, dim) if n == 0 else dims[dim] for dim, n in enumerate(listed)]
    if isinstance(sizes, list) and isinstance(input, fx.Node):
        if not allow_zero:
            sizes = [c.b.size(input, dim) if n == 0 else n for dim, n in enumerate(sizes)]
        result = c.b.call(torch.reshape, input, sizes)
    else:
        result = c.b.call(shapes.reshape, c[0], sizes, allow_zero)
    if isinstance(result, fx.Node) and (isinstance(sizes, list) or dims):
        result.meta["dims"] = dims
    return result


def _gather(c: Call) -> Any:
    indices, axis = c[1], c.get("axis", 0)
    if isinstance(indices, Tensor) and indices.dim() == 0:
        return c.b.call(torch.select, c[0], axis, indices.item())
    return c.b.call(indexing.gather, c[0], indices, axis)


def _split(c: Call) -> Any:
    sizes, axis = c.integers(1, "split"), c.get("axis", 0)
    c.refuse(num_outputs=c.outputs)
    parts = c.b.call(shapes.split, c[0], sizes, axis, c.outputs)
    return [c.b.call(operator.getitem, parts, i) for i in range(c.outputs)]


def _transpose(c: Call) -> Any:
    order = c.get("perm")
    if order is None:
        return c.b.call(shapes.reverse_axes, c[0])
    return c.b.call(torch.permute, c[0], tuple(order))


def _top_k(c: Call) -> Any:
    both = c.b.call(
        indexing.top_k, c[0], c.number(1, "k"), c.get("axis", -1), bool(c.get("largest", 1))
    )
    return [c.b.call(operator.getitem, both, i) for i in range(2)]


def _flatten(c: Call) -> Any:
    axis, rank = c.get("axis", 1), c.rank(0)
    if axis == 1 and rank is not None and rank > 1:
        return c.b.module(c.name, nn.Flatten(), c[0])
    return c.b.call(shapes.flatten, c[0], axis)


def _squeeze(c: Call) -> Any:
    axes = c.integers(1, "axes")
    if isinstance(axes, list):
        return c.b.call(torch.squeeze, c[0], tuple(axes))
    return c.b.call(shapes.squeeze, c[0], axes)


def _unsqueeze(c: Call) -> Any:
    axes = c.integers(1, "axes")
    if isinstance(axes, list) and len(axes) == 1:
        return c.b.call(torch.unsqueeze, c[0], axes[0])
    return c.b.call(shapes.unsqueeze, c[0], axes)


def _integers(function: Callable[..., Any]) -> Rule:
    """Make a rule that calls a function of one input and of sizes or axes."""

    def rule(c: Call) -> Any:
        return c.b.call(function, c[0], c.integers(1, "axes"))

    return rule


def _unique(c: Call) -> Any:
    found = c.b.call(indexing.unique, c[0], c.get("axis"), bool(c.get("sorted", 1)))
    return [c.b.call(operator.getitem, found, i) for i in range(c.outputs)]


def _max_unpool(c: Call) -> Any:
    kernel = list(c.get("kernel_shape"))
    strides, pads = c.get("strides", [1] * len(kernel)), c.get("pads", [0] * 2 * len(kernel))
    return c.b.call(
        indexing.max_unpool, c[0], c[1], c.integers(2), kernel, list(strides), list(pads)
    )


def _col2im(c: Call) -> Any:
    settings = (c.get(name) for name in ("dilations", "pads", "strides"))
    return c.b.call(indexing.col2im, c[0], c.integers(1), c.integers(2), *settings)


def _eye_like(c: Call) -> Any:
    dtype = tensors.dtype(c.get("dtype")) if "dtype" in c.attributes else None
    return c.b.call(indexing.eye_like, c[0], c.get("k", 0), dtype)


def _scatter(function: Callable[..., Any], *names: str) -> Rule:
    """Make a rule for a Scatter operator; `names` are attributes passed before the reduction."""

    def rule(c: Call) -> Any:
        reduction = c.get("reduction", "none")
        attributes = [c.get(name, 0) for name in names]
        return c.b.call(function, *c.inputs, *attributes, reduction)

    return rule


RULES: dict[str, Rule] = {
    "ConstantOfShape": _constant_of_shape,
    "Shape": lambda c: c.b.call(shapes.shape, c[0], c.get("start", 0), c.get("end")),
    "Size": lambda c: c.b.call(torch.prod, c.b.call(shapes.shape, c[0], 0, None)),
    "Expand": _integers(shapes.expand),
    "Range": _range,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": lambda c: c.b.call(torch.cat, list(c.inputs), c.get("axis")),
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": lambda c: c.b.call(indexing.gather_elements, c[0], c[1], c.get("axis", 0)),
    "GatherND": lambda c: c.b.call(indexing.gather_nd, c[0], c[1], c.get("batch_dims", 0)),
    "ScatterND": _scatter(indexing.scatter_nd),
    "ScatterElements": _scatter(indexing.scatter_elements, "axis"),
    "Scatter": _scatter(indexing.scatter_elements, "axis"),
    "Tile": _integers(shapes.tile),
    "Pad": _pad,
    "DepthToSpace": lambda c: c.b.call(
        shapes.depth_to_space, c[0], c.get("blocksize"), c.get("mode", "DCR")
    ),
    "SpaceToDepth": lambda c: c.b.call(
        shapes.space_to_depth, c[0], c.get("blocksize"), c.get("mode", "DCR")
    ),
    "OneHot": lambda c: c.b.call(indexing.one_hot, c[0], c.number(1), c[2], c.get("axis", -1)),
    "TopK": _top_k,
    "Trilu": lambda c: c.b.call(indexing.triangle, c[0], bool(c.get("upper", 1)), c.number(1)),
    "EyeLike": _eye_like,
    "Unique": _unique,
    "Compress": lambda c: c.b.call(indexing.compress, c[0], c[1], c.get("axis")),
    "ReverseSequence": lambda c: c.b.call(
        indexing.reverse_sequence, c[0], c[1], c.get("time_axis", 0), c.get("batch_axis", 1)
    ),
    "MaxUnpool": _max_unpool,
    "Col2Im": _col2im,
    "NonZero": lambda c: c.b.call(indexing.non_zero, c[0]),
}
