"""ONNX's operators on sizes, computed with single numbers in place of tensors."""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from samepad.onnx import ops, tensors
from samepad.onnx.call import Call, Sizes, Value

#: A rule's result, or None where the operator has to be computed with tensors.
Result = Value | list[Any] | None
_INTEGERS = (torch.int32, torch.int64)
_FLOATS = (torch.float32, torch.float64)


class _Unknown(Exception):  # noqa: N818 (no error: the operator is computed with tensors instead)
    """The operator can't be computed with single numbers."""


def _made(items: Any, dtype: torch.dtype) -> Value:
    """Make Sizes from an array of items, or a tensor if no item depends on an input."""
    array = np.asarray(items, object)
    if all(isinstance(item, (int, float)) for item in array.flat):
        return torch.tensor(array.tolist(), dtype=dtype)
    return Sizes(tuple(array.flat), array.shape, dtype)


def _each(function: Callable[..., Any], *arrays: NDArray[Any]) -> NDArray[Any]:
    """Apply a function to the items of arrays, which are broadcast."""
    broadcast = np.broadcast_arrays(*arrays)
    result = np.empty(broadcast[0].shape, object)
    for position in np.ndindex(result.shape):
        result[position] = function(*(array[position] for array in broadcast))
    return result


def _least(item: Any) -> int | None:
    """Return a lower bound for an integer or a node that computes one; None if none is known."""
    if not isinstance(item, fx.Node):
        return int(item)
    if item.target == "size":
        return 0
    if item.target not in (operator.add, operator.sub, operator.mul, operator.floordiv):
        return None
    left, right = item.args[:2]
    low, other = _least(left), _least(right)
    if low is None or other is None:
        return None
    if item.target is operator.add:
        return low + other
    if item.target is operator.sub:
        return None if isinstance(right, fx.Node) else low - other
    if low < 0 or other < 0:
        return None
    return low * other if item.target is operator.mul else 0


def _is_count(item: Any) -> bool:
    """Whether an integer, or what a node computes, is known to be at least zero."""
    least = _least(item)
    return least is not None and least >= 0


def _shape(c: Call) -> Result:
    value, dims = c.given[0], c.dims(0)
    if dims is None or isinstance(value, Tensor):
        return None
    axes = range(len(dims))[c.get("start", 0) : c.get("end")]
    if isinstance(value, Sizes):
        return torch.tensor([dims[axis] for axis in axes], dtype=torch.int64)
    assert isinstance(value, fx.Node)
    return _made([c.b.size(value, axis) for axis in axes], torch.int64)


def _size(c: Call) -> Result:
    shape = _shape(c)
    if isinstance(shape, Tensor):
        return shape.prod()
    return _made(_product(c, shape.items), torch.int64) if isinstance(shape, Sizes) else None


def _product(c: Call, items: Iterable[Any]) -> Any:
    return functools.reduce(lambda a, b: c.b.call(operator.mul, a, b), items)


def _arithmetic(
    function: Callable[[Any, Any], Any], of_integers: Callable[[Any, Any], Any] | None = None
) -> Callable[[Call], Result]:
    """Make a rule for an operator of two numbers, which may be another one for integers."""

    def rule(c: Call) -> Result:
        left, right = c.sizes(0), c.sizes(1)
        if left is None or right is None or left.dtype != right.dtype:
            return None
        if left.dtype in _INTEGERS:
            each = functools.partial(_of_integers, c, of_integers or function)
        else:
            each = functools.partial(_of_floats, c, function, left.dtype)
        return _made(_each(each, left.array, right.array), left.dtype)

    return rule


def _of_integers(c: Call, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if function is ops.quotient and _is_count(left) and _is_count(right):
        function = operator.floordiv  # rounds down, which is towards zero here
    return c.b.call(function, left, right)


def _of_floats(
    c: Call, function: Callable[[Any, Any], Any], dtype: torch.dtype, left: Any, right: Any
) -> Any:
    """Compute with integers where the result is sure to be one, else with floats.

    Floats are Python's, rounded to `dtype`.
    """
    left, right = _whole(left), _whole(right)
    if not isinstance(left, fx.Node) and not isinstance(right, fx.Node):
        return function(*(torch.tensor(item, dtype=dtype) for item in (left, right))).item()
    for item, factor in ((left, right), (right, left)):
        is_part = isinstance(factor, float) and factor > 0 and math.log2(factor).is_integer()
        if function is operator.mul and is_part:
            return _of_floats(c, operator.truediv, dtype, item, 1 / factor)
    if function is operator.truediv and right == 1:
        return left
    integers = _is_integer(left) and _is_integer(right)
    if function is not operator.truediv and integers:
        return c.b.call(function, left, right)
    result = c.b.call(function, left, right)
    exact = function is operator.truediv and integers and _is_power(right)
    if dtype == torch.float32 and not exact:
        result = c.b.call(ops.single, result)
    result.meta["float"] = True
    return result


def _whole(item: Any) -> Any:
    """Convert a float that is a whole number to an integer; return others unchanged."""
    return int(item) if isinstance(item, float) and item.is_integer() else item


def _is_integer(item: Any) -> bool:
    """Whether an item is an integer, or a node that computes one."""
    return not item.meta.get("float") if isinstance(item, fx.Node) else isinstance(item, int)


def _is_power(item: Any) -> bool:
    """Whether an item is a power of two, by which float32 divides every size exactly."""
    return isinstance(item, int) and item > 0 and item & (item - 1) == 0


def _rounding(how: str) -> Callable[[Call], Result]:
    """Make a rule for Floor or Ceil."""

    def rule(c: Call) -> Result:
        sizes = c.sizes(0)
        if sizes is None or sizes.dtype not in _FLOATS:
            return None
        round_one = functools.partial(_rounded, c, how)
        return _made(_each(round_one, sizes.array), sizes.dtype)

    return rule


_ROUNDED: dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
}


def _rounded(c: Call, how: str, item: Any) -> Any:
    """Round a number, or what a node computes, down, up or towards zero."""
    if _is_integer(item):
        return item
    if not isinstance(item, fx.Node):
        return _ROUNDED[how](item)
    quotient = item.args[0] if item.target is ops.single else item
    assert isinstance(quotient, fx.Node)
    if quotient.target is operator.truediv and all(map(_is_integer, quotient.args)):
        # The float32 quotient of two sizes is an integer only if the exact quotient is, so integer
        # division gives the same as rounding it.
        left, right = quotient.args
        if how == "trunc":
            return _of_integers(c, ops.quotient, left, right)
        if how == "ceil" and not _is_count(right):
            downwards = c.b.call(operator.floordiv, c.b.call(operator.neg, left), right)
            return c.b.call(operator.neg, downwards)
        if how == "ceil":
            left = c.b.call(operator.add, left, c.b.call(operator.sub, right, 1))
        return c.b.call(operator.floordiv, left, right)
    return c.b.call(_ROUNDED[how], item)


def _cast(c: Call) -> Result:
    wanted, sizes = tensors.dtype(c.get("to")), c.sizes(0)
    if sizes is None or sizes.dtype == torch.bool or wanted not in _INTEGERS + _FLOATS:
        return None
    array = sizes.array
    if wanted in _INTEGERS:
        array = _each(functools.partial(_rounded, c, "trunc"), array)
    elif sizes.dtype != wanted and not all(map(_is_integer, sizes.items)):
        return None
    return _made(array, wanted)


def _comparison(function: Callable[[Any, Any], Any]) -> Callable[[Call], Result]:
    """Make a rule that compares numbers; exporters write, for example, size == -1."""

    def rule(c: Call) -> Result:
        left, right = c.sizes(0), c.sizes(1)
        if left is None or right is None or torch.bool in (left.dtype, right.dtype):
            return None
        each = functools.partial(_compared, c, function)
        return _made(_each(each, left.array, right.array), torch.bool)

    return rule


def _declared(item: Any) -> Any:
    """Return the number for a node that computes a size which the model declares."""
    if isinstance(item, fx.Node) and item.target == "size":
        tensor, dim = item.args
        size = tensor.meta.get("dims", {dim: None})[dim]  # type: ignore[union-attr]
        return item if size is None else size
    return item


def _compared(c: Call, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    left, right = _declared(left), _declared(right)
    if left is right:
        return function(0, 0)
    for number, node, apart in ((left, right, (-1, 0)), (right, left, (0, -1))):
        if isinstance(number, int) and number < 0 and isinstance(node, fx.Node) and _is_count(node):
            return function(*apart)
    if not (_is_integer(left) and _is_integer(right)) and fx.Node in map(type, (left, right)):
        raise _Unknown  # floats may be rounded differently
    return c.b.call(function, left, right)


def _where(c: Call) -> Result:
    condition, left, right = c.given[0], c.sizes(1), c.sizes(2)
    if not isinstance(condition, Tensor) or left is None or right is None:
        return None
    chosen = _each(lambda yes, a, b: a if yes else b, condition.numpy(), left.array, right.array)
    return _made(chosen, left.dtype)


def _larger(maximum: bool) -> Callable[[Call], Result]:
    """Make a rule for Max or Min of any number of integer inputs."""

    def rule(c: Call) -> Result:
        found = [c.sizes(position) for position in range(len(c.given))]
        present = [sizes for sizes in found if sizes is not None]
        if len(present) < len(found) or any(s.dtype not in _INTEGERS for s in present):
            return None
        function = torch.sym_max if maximum else torch.sym_min
        pick = functools.partial(c.b.call, function)
        arrays = [sizes.array for sizes in present]
        return _made(functools.reduce(functools.partial(_each, pick), arrays), present[0].dtype)

    return rule


def _negative(c: Call) -> Result:
    sizes = c.sizes(0)
    if sizes is None or not all(map(_is_integer, sizes.items)):
        return None
    return _made(_each(functools.partial(c.b.call, operator.neg), sizes.array), sizes.dtype)


def _moved(function: Callable[[Call, NDArray[Any]], Any]) -> Callable[[Call], Result]:
    """Make a rule for an operator that picks or moves items, from a function of NumPy arrays."""

    def rule(c: Call) -> Result:
        sizes = c.sizes(0)
        if sizes is None:
            return None
        return _made(function(c, sizes.array), sizes.dtype)

    return rule


def _numbers(c: Call, position: int, attribute: str = "") -> Any:
    """Return axes or other integers that have to be known; None if they are left out.

    Raises:
        _Unknown: One of them is not known.
    """
    found = c.integers(position, attribute)
    if found is not None and not (
        isinstance(found, list) and all(isinstance(item, int) for item in found)
    ):
        raise _Unknown
    return found


def _gather(c: Call, array: NDArray[Any]) -> Any:
    indices = c.given[1]
    if not isinstance(indices, Tensor):
        raise _Unknown
    index: list[Any] = [slice(None)] * (c.get("axis", 0) % array.ndim)
    return array[(*index, indices.long().numpy())]


def _slice(c: Call, array: NDArray[Any]) -> Any:
    starts, ends = _numbers(c, 1, "starts"), _numbers(c, 2, "ends")
    axes, steps = _numbers(c, 3, "axes") or range(len(starts)), _numbers(c, 4)
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        array = array[(*[slice(None)] * (axis % array.ndim), slice(start, end, step))]
    return array


def _concat(c: Call) -> Result:
    found = [c.sizes(position) for position in range(len(c.given))]
    present = [sizes for sizes in found if sizes is not None]
    dtypes = {sizes.dtype for sizes in present}
    if len(present) < len(found) or len(dtypes) > 1:
        return None
    arrays: Sequence[NDArray[Any]] = [sizes.array for sizes in present]
    return _made(np.concatenate(arrays, c.get("axis")), dtypes.pop())


def _split(c: Call) -> Result:
    sizes, lengths = c.sizes(0), _numbers(c, 1, "split")
    if sizes is None:
        return None
    axis = c.get("axis", 0)
    if lengths is None:
        step = -(-sizes.shape[axis] // c.outputs)
        ends = [step * (i + 1) for i in range(c.outputs - 1)]
    else:
        ends = np.cumsum(lengths)[:-1].tolist()
    return [_made(part, sizes.dtype) for part in np.split(sizes.array, ends, axis)]


def _reshape(c: Call, array: NDArray[Any]) -> Any:
    shape = _numbers(c, 1)
    if not c.get("allowzero", 0):
        shape = [array.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return array.reshape(shape)


def _squeeze(c: Call, array: NDArray[Any]) -> Any:
    axes = _numbers(c, 1, "axes")
    return array.squeeze(None if axes is None else tuple(axes))


def _flatten(c: Call, array: NDArray[Any]) -> Any:
    return array.reshape(int(np.prod(array.shape[: c.get("axis", 1)])), -1)


def _tile(c: Call, array: NDArray[Any]) -> Any:
    return np.tile(array, _small(array.size, _numbers(c, 1)))


def _expand(c: Call, array: NDArray[Any]) -> Any:
    shape = np.broadcast_shapes(array.shape, _numbers(c, 1))
    return np.broadcast_to(array, _small(1, shape))


def _small(count: int, factors: Sequence[int]) -> tuple[int, ...]:
    """Return the factors if the result has so few items that it may still be sizes.

    Raises:
        _Unknown: The result has more items.
    """
    if count * np.prod(np.asarray(factors, object)) > 1000:
        raise _Unknown
    return tuple(factors)


def _reduced(function: Callable[[Any, Any], Any]) -> Callable[[Call], Result]:
    """Make a rule for a Reduce* operator on a vector."""

    def rule(c: Call) -> Result:
        sizes = c.sizes(0)
        if sizes is None or len(sizes.shape) != 1 or not sizes.items:
            return None
        if not all(map(_is_integer, sizes.items)):
            return None
        result = functools.reduce(functools.partial(c.b.call, function), sizes.items)
        return _made([result] if c.get("keepdims", 1) else result, sizes.dtype)

    return rule


_RULES: dict[str, Callable[[Call], Result]] = {
    "Add": _arithmetic(operator.add),
    "Sub": _arithmetic(operator.sub),
    "Mul": _arithmetic(operator.mul),
    "Div": _arithmetic(operator.truediv, of_integers=ops.quotient),
    "Floor": _rounding("floor"),
    "Ceil": _rounding("ceil"),
    "Neg": _negative,
    "Max": _larger(maximum=True),
    "Min": _larger(maximum=False),
    "Equal": _comparison(operator.eq),
    "Greater": _comparison(operator.gt),
    "GreaterOrEqual": _comparison(operator.ge),
    "Less": _comparison(operator.lt),
    "LessOrEqual": _comparison(operator.le),
    "Where": _where,
    "Gather": _moved(_gather),
    "Slice": _moved(_slice),
    "Concat": _concat,
    "Split": _split,
    "Reshape": _moved(_reshape),
    "Flatten": _moved(_flatten),
    "Transpose": _moved(lambda c, array: array.transpose(c.get("perm"))),
    "Squeeze": _moved(_squeeze),
    "Unsqueeze": _moved(lambda c, array: np.expand_dims(array, tuple(_numbers(c, 1, "axes")))),
    "Expand": _moved(_expand),
    "Tile": _moved(_tile),
    "ReduceProd": _reduced(operator.mul),
    "ReduceSum": _reduced(operator.add),
    "Cast": _cast,
    "Shape": _shape,
    "Size": _size,
}


def computed(c: Call) -> Result:
    """Return the result of a node on sizes as single numbers; None if that is not possible."""
    sized = any(isinstance(value, Sizes) for value in c.given) or c.kind in ("Shape", "Size")
    if not sized or c.kind not in _RULES:
        return None
    try:
        return _RULES[c.kind](c)
    except _Unknown:
        return None
