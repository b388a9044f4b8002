"""ONNX's operators on sizes that are known one by one, as numbers in place of tensors."""

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, fx

from samepad.onnx import ops, tensors
from samepad.onnx.call import Call, Sizes, Value

#: A rule's result, or None where the operator has to be computed with tensors.
Result = Value | None


def _made(items: Iterable[Any], scalar: bool = False, dtype: torch.dtype = torch.int64) -> Value:
    """Sizes; a tensor where nothing in them depends on an input."""
    known = tuple(items)
    if all(isinstance(item, int) for item in known):
        return torch.tensor(known[0] if scalar else known, dtype=dtype)
    return Sizes(known, scalar, dtype)


def _shape(c: Call) -> Result:
    value, rank = c.given[0], c.rank(0)
    if isinstance(value, Sizes):
        return torch.tensor([] if value.scalar else [len(value.items)], dtype=torch.int64)
    if rank is None or not isinstance(value, fx.Node):
        return None
    dims = range(rank)[c.get("start", 0) : c.get("end")]
    return _made(c.b.size(value, dim) for dim in dims)


def _size(c: Call) -> Result:
    shape = _shape(c)
    return _made([_product(c, shape.items)], scalar=True) if isinstance(shape, Sizes) else None


def _product(c: Call, items: Iterable[Any]) -> Any:
    return functools.reduce(lambda a, b: c.b.call(operator.mul, a, b), items)


def _pairs(c: Call) -> list[tuple[Any, Any]] | None:
    """The elements of two inputs, broadcast."""
    left, right = c.sizes(0), c.sizes(1)
    if left is None or right is None or left.dtype != right.dtype:
        return None
    counts = {len(left.items), len(right.items)}
    if len(counts - {1}) > 1:
        return None
    count = max(counts)
    both = (s.items * count if len(s.items) == 1 else s.items for s in (left, right))
    return list(zip(*both, strict=True))


def _is_count(item: Any) -> bool:
    """Whether it is sure to be no less than zero."""
    if not isinstance(item, fx.Node):
        return bool(item >= 0)
    positive = (operator.add, operator.mul, operator.floordiv)
    return item.target == "size" or (item.target in positive and all(map(_is_count, item.args)))


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[[Call], Result]:
    def rule(c: Call) -> Result:
        pairs = _pairs(c)
        if pairs is None:
            return None
        left, right = c.sizes(0), c.sizes(1)
        assert left is not None
        assert right is not None
        scalar = left.scalar and right.scalar
        return _made((c.b.call(function, a, b) for a, b in pairs), scalar, left.dtype)

    return rule


def _divide(c: Call) -> Result:
    """Of integers, which ONNX divides towards zero and Python downwards."""
    left, right = c.sizes(0), c.sizes(1)
    if left is None or right is None or left.dtype.is_floating_point:
        return None
    counts = all(map(_is_count, left.items + right.items))
    return _arithmetic(operator.floordiv if counts else ops.quotient)(c)


def _equal(c: Call) -> Result:
    """Of a size with -1, say, which exporters compare it with."""
    pairs = _pairs(c)
    if pairs is None or 0 in (c.rank(0), c.rank(1)):
        return None
    results = []
    for a, b in pairs:
        if isinstance(a, int) and isinstance(b, int):
            results.append(a == b)
        elif any(isinstance(i, int) and i < 0 and _is_count(j) for i, j in ((a, b), (b, a))):
            results.append(False)
        else:
            return None
    return torch.tensor(results)


def _where(c: Call) -> Result:
    condition, left, right = c.given[0], c.sizes(1), c.sizes(2)
    if not isinstance(condition, Tensor) or left is None or right is None:
        return None
    columns = [tuple(condition.reshape(-1).tolist()), left.items, right.items]
    count = max(map(len, columns))
    if not all(len(column) in (1, count) for column in columns) or condition.dim() > 1:
        return None
    rows = zip(*(column * (count // len(column)) for column in columns), strict=True)
    return _made((a if yes else b for yes, a, b in rows), dtype=left.dtype)


def _vector(c: Call, position: int = 0) -> Sizes | None:
    sizes = c.sizes(position)
    return None if sizes is None or sizes.scalar else sizes


def _gather(c: Call) -> Result:
    vector, indices = _vector(c), c.given[1]
    if vector is None or not isinstance(indices, Tensor) or indices.dim() > 1:
        return None
    items = (vector.items[i] for i in indices.reshape(-1).tolist())
    return _made(items, indices.dim() == 0, vector.dtype)


def _slice(c: Call) -> Result:
    vector = _vector(c)
    bounds = [c.integers(i, name) for i, name in ((1, "starts"), (2, "ends"), (4, "steps"))]
    known = all(
        b is None or (isinstance(b, list) and len(b) == 1 and isinstance(b[0], int)) for b in bounds
    )
    if vector is None or not known:
        return None
    return _made(vector.items[slice(*(b and b[0] for b in bounds))], dtype=vector.dtype)


def _concat(c: Call) -> Result:
    vectors = [vector for vector in (_vector(c, i) for i in range(len(c.given))) if vector]
    dtypes = {vector.dtype for vector in vectors}
    if len(vectors) < len(c.given) or len(dtypes) > 1:
        return None
    return _made((item for vector in vectors for item in vector.items), dtype=dtypes.pop())


def _reshaped(c: Call) -> Result:
    """Reshape, Squeeze and Unsqueeze: one number is a scalar or a vector; vectors stay."""
    sizes, name = c.sizes(0), c.kind
    if sizes is None:
        return None
    if name == "Reshape":
        shape = c.integers(1)
        if not isinstance(shape, list) or len(shape) > 1:
            return None
        return _made(sizes.items, not shape, sizes.dtype)
    if len(sizes.items) != 1 or sizes.scalar != (name == "Unsqueeze"):
        return None
    return _made(sizes.items, name == "Squeeze", sizes.dtype)


def _reduce_prod(c: Call) -> Result:
    vector = _vector(c)
    if vector is None:
        return None
    return _made([_product(c, vector.items)], not c.get("keepdims", 1), vector.dtype)


def _cast(c: Call) -> Result:
    """To floats too, which are whole numbers then."""
    wanted, sizes = tensors.dtype(c.get("to")), c.sizes(0)
    if sizes is None or wanted not in (torch.int32, torch.int64, torch.float32, torch.float64):
        return None
    return _made(sizes.items, sizes.scalar, wanted)


_RULES: dict[str, Callable[[Call], Result]] = {
    "Add": _arithmetic(operator.add),
    "Sub": _arithmetic(operator.sub),
    "Mul": _arithmetic(operator.mul),
    "Div": _divide,
    "Equal": _equal,
    "Where": _where,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Reshape": _reshaped,
    "Squeeze": _reshaped,
    "Unsqueeze": _reshaped,
    "ReduceProd": _reduce_prod,
    "Cast": _cast,
    "Shape": _shape,
    "Size": _size,
}


def computed(c: Call) -> Result:
    """The node's result where it is sizes of which each is known; None elsewhere."""
    sized = any(isinstance(value, Sizes) for value in c.given) or c.kind in ("Shape", "Size")
    return _RULES[c.kind](c) if sized and c.kind in _RULES else None
