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

from samepad.onnx import indexing, limits, ops, shapes, tensors
from samepad.onnx.call import Call, Sizes, Value

#: A rule's result, or None where the operator has to be computed with tensors.
Result = Value | list[Any] | None
_INTEGERS = (torch.int32, torch.int64)
_FLOATS = (torch.float32, torch.float64)
#: Functions whose result is one of the two numbers.
_PICKS = (torch.sym_max, torch.sym_min)
#: No size reaches this number, which exporters write for slices that have no end.
_FAR = 2**31 - 1
#: No integer that is computed from sizes reaches this number.
_HUGE = 2**63 - 1


class _Unknown(Exception):  # noqa: N818 (no error: the operator is computed with tensors instead)
    """The operator can't be computed with single numbers."""


def _made(items: Any, dtype: torch.dtype) -> Value:
    """Make Sizes from an array of items, or a tensor if no item depends on an input.

    Raises:
        _Unknown: There are more items than sizes can be.
    """
    array = np.asarray(items, object)
    _limit(array.size)
    if all(isinstance(item, (int, float)) for item in array.flat):
        return torch.tensor(array.tolist(), dtype=dtype)
    return Sizes(tuple(array.flat), array.shape, dtype)


def _limit(count: int) -> None:
    """Have an operator computed with tensors if it takes or makes too many numbers.

    Raises:
        _Unknown: There are too many.
    """
    if count > limits.MOST_NUMBERS:
        raise _Unknown


def _each(function: Callable[..., Any], *arrays: NDArray[Any]) -> NDArray[Any]:
    """Apply a function to the items of arrays, which are broadcast.

    Raises:
        _Unknown: The result has more items than sizes can be.
    """
    broadcast = np.broadcast_arrays(*arrays)
    _limit(broadcast[0].size)
    result = np.empty(broadcast[0].shape, object)
    for position in np.ndindex(result.shape):
        result[position] = function(*(array[position] for array in broadcast))
    return result


def _least(item: Any) -> int | None:
    """Return a lower bound for an integer or a node that computes one; None if none is known.

    Each node's bound is kept in its `meta`, as many nodes may use the same one. Those of a node's
    arguments are found first, without recursion, as thousands of nodes may follow each other.
    """
    waiting = [item] if isinstance(item, fx.Node) else []
    while waiting:
        node = waiting[-1]
        is_bounded = node.target in _BOUNDED and "least" not in node.meta
        arguments = [each for each in node.args[:2] if isinstance(each, fx.Node)]
        missing = [each for each in arguments if is_bounded and "least" not in each.meta]
        if missing:
            waiting += missing
            continue
        if "least" not in node.meta:
            bound = _bound(node)
            if bound is not None and abs(bound) >= _HUGE:
                bound = _HUGE if bound > 0 else None
            node.meta["least"] = bound
        waiting.pop()
    return _noted(item)


def _noted(item: Any) -> int | None:
    """Return the lower bound that `_least` has noted for a node, or an integer itself."""
    return item.meta["least"] if isinstance(item, fx.Node) else int(item)


def _bound(node: fx.Node) -> int | None:
    """Return a lower bound for what a node computes from its arguments' bounds."""
    if node.target == "size":
        return 0
    if node.target not in _BOUNDED or any(isinstance(each, float) for each in node.args):
        return None
    left, right = node.args[:2]
    low, other = _noted(left), _noted(right)
    if node.target is torch.sym_max:
        return max((least for least in (low, other) if least is not None), default=None)
    if low is None or other is None:
        return None
    if node.target is torch.sym_min:
        return min(low, other)
    if node.target is operator.add:
        return low + other
    if node.target is operator.sub:
        return None if isinstance(right, fx.Node) else low - other
    if node.target is operator.mod:
        return 0 if other >= 0 else None
    if low < 0 or other < 0:
        return None
    return low * other if node.target is operator.mul else 0


#: Functions for whose results `_least` may know a bound.
_BOUNDED = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, *_PICKS)


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
    """Make a rule that combines any number of inputs by a function of two numbers.

    The function may be another one for integers.
    """

    def rule(c: Call) -> Result:
        found = _all(c)
        dtype = found[0].dtype
        chosen = of_integers if of_integers is not None and dtype in _INTEGERS else function
        each = functools.partial(_combined, c, chosen, dtype)
        arrays = [sizes.array for sizes in found]
        _limit(len(found) * math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        return _made(functools.reduce(functools.partial(_each, each), arrays), dtype)

    return rule


def _all(c: Call) -> list[Sizes]:
    """Return all inputs as single numbers of one type.

    Raises:
        _Unknown: One of them is not known, the types differ, or there are too many numbers.
    """
    found: list[Sizes] = []
    count = 0
    for position in range(len(c.given)):
        found.append(_one(c, position))
        count += len(found[-1].items)
        _limit(count)
    if len({sizes.dtype for sizes in found}) > 1:
        raise _Unknown
    return found


def _one(c: Call, position: int) -> Sizes:
    """Return an input as single numbers, or as truth values.

    Raises:
        _Unknown: It is not known.
    """
    value = c.given[position]
    if (
        isinstance(value, Tensor)
        and value.dtype == torch.bool
        and value.numel() <= limits.MOST_NUMBERS
    ):
        return Sizes(tuple(value.reshape(-1).tolist()), tuple(value.shape), value.dtype)
    sizes = c.sizes(position)
    if sizes is None:
        raise _Unknown
    return sizes


def _combined(
    c: Call, function: Callable[[Any, Any], Any], dtype: torch.dtype, left: Any, right: Any
) -> Any:
    """Apply a function to two numbers of a type."""
    if dtype == torch.bool:
        raise _Unknown
    if function in _PICKS:
        return _picked(c, function, left, right)
    if dtype in _INTEGERS:
        return _of_integers(c, function, left, right)
    return _of_floats(c, function, dtype, left, right)


def _picked(c: Call, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Return the larger or the smaller number, neither of which has to be rounded."""
    left, right = _whole(left), _whole(right)
    for number, other in ((left, right), (right, left)):
        if isinstance(number, fx.Node):
            continue
        least = _least(other) if _is_integer(other) else None
        if number <= -_HUGE or (least is not None and number <= least):
            return other if function is torch.sym_max else number
        if number >= _HUGE:
            return number if function is torch.sym_max else other
    result = c.b.call(function, left, right)
    if isinstance(result, fx.Node) and not (_is_integer(left) and _is_integer(right)):
        result.meta["float"] = True
    return result


def _of_integers(c: Call, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if function in _DOWNWARDS and _is_count(left) and _is_count(right):
        function = _DOWNWARDS[function]
    result = c.b.call(function, left, right)
    if not isinstance(result, fx.Node) and abs(result) >= _HUGE:
        raise _Unknown  # ONNX's integers wrap around, and Python's would take more and more memory
    return result


#: Functions that round towards zero, with those that round down and compute the same from counts.
_DOWNWARDS: dict[Any, Callable[[Any, Any], Any]] = {
    ops.quotient: operator.floordiv,
    ops.remainder: operator.mod,
}


def _of_floats(
    c: Call, function: Callable[[Any, Any], Any], dtype: torch.dtype, left: Any, right: Any
) -> Any:
    """Compute with integers where the result is sure to be one, else with floats.

    Floats are Python's, rounded to `dtype`.
    """
    left, right = _whole(left), _whole(right)
    integers = _is_integer(left) and _is_integer(right)
    if function is ops.remainder:
        if not integers:
            raise _Unknown
        return _of_integers(c, function, left, right)
    if not isinstance(left, fx.Node) and not isinstance(right, fx.Node):
        return function(*(torch.tensor(item, dtype=dtype) for item in (left, right))).item()
    for item, factor in ((left, right), (right, left)):
        is_part = isinstance(factor, float) and factor > 0 and math.log2(factor).is_integer()
        if function is operator.mul and is_part:
            return _of_floats(c, operator.truediv, dtype, item, 1 / factor)
    if function is operator.truediv and right == 1:
        return left
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
    """Make a rule for Floor, Ceil or Round."""

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
    "round": ops.nearest,
}


def _rounded(c: Call, how: str, item: Any) -> Any:
    """Round a number, or what a node computes, down, up, towards zero or to the nearest one."""
    if _is_integer(item):
        return item
    if not isinstance(item, fx.Node):
        return _ROUNDED[how](item)
    quotient = item.args[0] if item.target is ops.single else item
    assert isinstance(quotient, fx.Node)
    divides = quotient.target is operator.truediv and all(map(_is_integer, quotient.args))
    if divides and how != "round":
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


def scaled(c: Call, size: Any, scale: Any) -> Any:
    """Return a size times a factor in float32, rounded down: a number, or a node."""
    return _rounded(c, "floor", _of_floats(c, operator.mul, torch.float32, scale, size))


def _cast(c: Call) -> Result:
    wanted = c.dtype(1) if c.kind == "CastLike" else tensors.dtype(c.get("to"))
    sizes = c.sizes(0)
    if sizes is None or wanted not in _INTEGERS + _FLOATS:
        return None
    array = sizes.array
    if sizes.dtype == torch.bool:
        array = _each(lambda truth: _chosen(c, truth, 1, 0), array)
    elif wanted in _INTEGERS:
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
    left, right = _declared(_whole(left)), _declared(_whole(right))
    if left is right:
        return function(0, 0)
    for number, node, apart in ((left, right, (-1, 0)), (right, left, (0, -1))):
        if not isinstance(number, int) or not isinstance(node, fx.Node):
            continue
        if number < 0 and _is_count(node):
            return function(*apart)
        if number >= _FAR and node.target == "size":
            return function(*reversed(apart))
    if not (_is_integer(left) and _is_integer(right)) and fx.Node in map(type, (left, right)):
        raise _Unknown  # floats may be rounded differently
    return c.b.call(function, left, right)


def _logic(function: Callable[..., Any]) -> Callable[[Call], Result]:
    """Make a rule for an operator on truth values."""

    def rule(c: Call) -> Result:
        arrays = [sizes.array for sizes in _all(c)]
        return _made(_each(functools.partial(_judged, c, function), *arrays), torch.bool)

    return rule


def _judged(c: Call, function: Callable[..., Any], *truths: Any) -> Any:
    """Apply a function to truth values; there is no node where a known one decides."""
    neutral = _NEUTRAL.get(function)
    if neutral is not None:
        open_truths = [truth for truth in truths if truth is not neutral]
        if len(open_truths) < 2:
            return open_truths[0] if open_truths else neutral
        if (not neutral) in truths:
            return not neutral
    return c.b.call(function, *truths)


#: For functions of two truth values, the one with which the result is the other one.
_NEUTRAL: dict[Any, bool] = {operator.and_: True, operator.or_: False}


def _where(c: Call) -> Result:
    condition, left, right = (_one(c, position) for position in range(3))
    if condition.dtype != torch.bool or left.dtype != right.dtype:
        return None
    choose = functools.partial(_chosen, c)
    return _made(_each(choose, condition.array, left.array, right.array), left.dtype)


def _chosen(c: Call, condition: Any, left: Any, right: Any) -> Any:
    """Return the left number if the condition is true, else the right one.

    Raises:
        _Unknown: The condition is not known and one of the numbers is no integer.
    """
    if not isinstance(condition, fx.Node):
        return left if condition else right
    left, right = _whole(left), _whole(right)
    if left is right or (not isinstance(left, fx.Node) and left == right):
        return left
    if not (_is_integer(left) and _is_integer(right)):
        raise _Unknown
    return c.b.call(ops.choose, condition, left, right)


def _clip(c: Call) -> Result:
    sizes = _one(c, 0)
    array = sizes.array
    for position, name, pick in ((1, "min", torch.sym_max), (2, "max", torch.sym_min)):
        limit = _number(c, position, name)
        if limit is not None:
            each = functools.partial(_combined, c, pick, sizes.dtype)
            array = _each(each, array, np.asarray(limit, object))
    return _made(array, sizes.dtype)


def _power(c: Call) -> Result:
    """Pow by known exponents: small integers, a half, and their negatives."""
    base, exponent = _one(c, 0), _one(c, 1)

    def each(item: Any, power: Any) -> Any:
        if isinstance(power, fx.Node):
            raise _Unknown
        if power < 0 and base.dtype in _FLOATS:
            return _of_floats(c, operator.truediv, base.dtype, 1, each(item, -power))
        if power == 0.5 and base.dtype in _FLOATS:
            return _root(c, base.dtype, item)
        if power not in range(_HIGHEST + 1):
            raise _Unknown
        times = functools.partial(_combined, c, operator.mul, base.dtype)
        return functools.reduce(times, [item] * int(power)) if power else 1

    return _made(_each(each, base.array, exponent.array), base.dtype)


#: The highest power that is a product in ONNX Runtime too.
_HIGHEST = 3


def _unary(function: Callable[[Call, torch.dtype, Any], Any]) -> Callable[[Call], Result]:
    """Make a rule for an operator of one number."""

    def rule(c: Call) -> Result:
        sizes = _one(c, 0)
        if sizes.dtype == torch.bool:
            return None
        return _made(_each(functools.partial(function, c, sizes.dtype), sizes.array), sizes.dtype)

    return rule


def _root(c: Call, dtype: torch.dtype, item: Any) -> Any:
    """Return the square root as a float.

    Rounding the root in float64 to float32 gives the float32 that is nearest to the exact one.
    """
    if not isinstance(item, fx.Node):
        return torch.tensor(item, dtype=dtype).sqrt().item()
    result = c.b.call(ops.root, item)
    if dtype == torch.float32:
        result = c.b.call(ops.single, result)
    result.meta["float"] = True
    return result


def _whole_only(function: Callable[[Call, Any], Any]) -> Callable[[Call, torch.dtype, Any], Any]:
    """Make a function for `_unary` from one of integers."""

    def each(c: Call, _: torch.dtype, item: Any) -> Any:
        item = _whole(item)
        if not _is_integer(item):
            raise _Unknown
        return function(c, item)

    return each


def _negative(c: Call, item: Any) -> Any:
    return c.b.call(operator.neg, item)


def _absolute(c: Call, item: Any) -> Any:
    return item if _is_count(item) else c.b.call(torch.sym_max, item, _negative(c, item))


def _sign(c: Call, item: Any) -> Any:
    return c.b.call(torch.sym_max, c.b.call(torch.sym_min, item, 1), -1)


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


def _number(c: Call, position: int, attribute: str = "") -> Any:
    """Return an input of one number, known or computed by a node; None if it is left out.

    Raises:
        _Unknown: It is computed as a tensor.
    """
    value = c.number(position, attribute)
    if isinstance(value, Tensor) or (isinstance(value, fx.Node) and c.sizes(position) is None):
        raise _Unknown
    return value


def _by_positions(function: Callable[..., Any], *attributes: tuple[str, Any]) -> Any:
    """Make a rule for an operator that moves items, from the function that moves a tensor's.

    The function moves the positions of the items. It takes the inputs, of which the second one has
    to be known, and attributes, which are given with their defaults. Items may come from the first
    and from the third input.
    """

    def rule(c: Call) -> Result:
        if isinstance(c.given[1], Tensor):
            _limit(c.given[1].numel())
        sources = [_one(c, position) for position in (0, 2)[: len(c.given) - 1]]
        if not isinstance(c.given[1], Tensor) or len({sizes.dtype for sizes in sources}) > 1:
            return None
        items: list[Any] = []
        inputs: list[Tensor] = []
        for sizes in sources:
            count = len(items)
            items += sizes.items
            inputs.append(torch.arange(count, len(items)).reshape(sizes.shape))
        inputs.insert(1, c.given[1])
        given = [c.get(name, default) for name, default in attributes]
        return _made(_taken(items, c.b.fold(function, *inputs, *given)), sources[0].dtype)

    return rule


def _taken(items: Sequence[Any], positions: Tensor) -> NDArray[Any]:
    """Return the items at positions, in an array of the shape of `positions`."""
    _small(1, positions.shape)
    return _each(items.__getitem__, positions.numpy().astype(object))


def _scattered(function: Callable[..., Any], *attributes: tuple[str, Any]) -> Any:
    """Make a rule for a Scatter operator that replaces items."""
    move = _by_positions(function, *attributes)
    return lambda c: move(c) if c.get("reduction", "none") == "none" else None


def _pad(c: Call, array: NDArray[Any]) -> Any:
    """Pad a vector by a constant."""
    if c.get("mode", "constant") != "constant" or array.ndim != 1:
        raise _Unknown
    amounts, axes, value = _numbers(c, 1, "pads"), _numbers(c, 3), _number(c, 2, "value")
    _small(array.size + sum(map(abs, amounts)), [1])
    moved = shapes.pad(torch.arange(array.size), amounts, "constant", -1, axes)
    return _taken([*array, 0 if value is None else value], moved)


def _slice(c: Call, array: NDArray[Any]) -> Any:
    starts, ends = _numbers(c, 1, "starts"), _numbers(c, 2, "ends")
    axes, steps = _numbers(c, 3, "axes") or range(len(starts)), _numbers(c, 4)
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        array = array[(*[slice(None)] * (axis % array.ndim), slice(start, end, step))]
    return array


def _concat(c: Call) -> Result:
    found = _all(c)
    arrays: Sequence[NDArray[Any]] = [sizes.array for sizes in found]
    return _made(np.concatenate(arrays, c.get("axis")), found[0].dtype)


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


def _reduced(function: Callable[[Any, Any], Any], mean: bool = False) -> Callable[[Call], Result]:
    """Make a rule for a Reduce* operator on a vector."""

    def rule(c: Call) -> Result:
        sizes = _one(c, 0)
        if len(sizes.shape) != 1 or not sizes.items or c.get("noop_with_empty_axes", 0):
            return None
        items = list(map(_whole, sizes.items))
        if not all(map(_is_integer, items)):
            return None  # the order of the sum would matter
        each = functools.partial(_combined, c, function, sizes.dtype)
        result = functools.reduce(each, items)
        if mean:
            divide = operator.truediv if sizes.dtype in _FLOATS else ops.quotient
            result = _combined(c, divide, sizes.dtype, result, len(items))
        return _made([result] if c.get("keepdims", 1) else result, sizes.dtype)

    return rule


def _modulo(c: Call) -> Result:
    return _arithmetic(ops.remainder if c.get("fmod", 0) else operator.mod)(c)


def _mean(c: Call) -> Result:
    total = _arithmetic(operator.add)(c)
    if isinstance(total, Tensor):
        return total / len(c.given)
    assert isinstance(total, Sizes)
    divide = functools.partial(_of_floats, c, operator.truediv, total.dtype)
    return _made(_each(divide, total.array, np.asarray(len(c.given), object)), total.dtype)


_RULES: dict[str, Callable[[Call], Result]] = {
    "Add": _arithmetic(operator.add),
    "Sub": _arithmetic(operator.sub),
    "Mul": _arithmetic(operator.mul),
    "Div": _arithmetic(operator.truediv, of_integers=ops.quotient),
    "Mod": _modulo,
    "Sum": _arithmetic(operator.add),
    "Mean": _mean,
    "Pow": _power,
    "Max": _arithmetic(torch.sym_max),
    "Min": _arithmetic(torch.sym_min),
    "Clip": _clip,
    "Floor": _rounding("floor"),
    "Ceil": _rounding("ceil"),
    "Round": _rounding("round"),
    "Neg": _unary(_whole_only(_negative)),
    "Abs": _unary(_whole_only(_absolute)),
    "Sign": _unary(_whole_only(_sign)),
    "Sqrt": _unary(_root),
    "Reciprocal": _unary(lambda c, dtype, item: _of_floats(c, operator.truediv, dtype, 1, item)),
    "Equal": _comparison(operator.eq),
    "Greater": _comparison(operator.gt),
    "GreaterOrEqual": _comparison(operator.ge),
    "Less": _comparison(operator.lt),
    "LessOrEqual": _comparison(operator.le),
    "And": _logic(operator.and_),
    "Or": _logic(operator.or_),
    "Xor": _logic(ops.differ),
    "Not": _logic(torch.sym_not),
    "Where": _where,
    "Gather": _by_positions(indexing.gather, ("axis", 0)),
    "GatherElements": _by_positions(indexing.gather_elements, ("axis", 0)),
    "GatherND": _by_positions(indexing.gather_nd, ("batch_dims", 0)),
    "ScatterElements": _scattered(indexing.scatter_elements, ("axis", 0), ("reduction", "none")),
    "Scatter": _scattered(indexing.scatter_elements, ("axis", 0), ("reduction", "none")),
    "ScatterND": _scattered(indexing.scatter_nd, ("reduction", "none")),
    "Slice": _moved(_slice),
    "Pad": _moved(_pad),
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
    "ReduceMax": _reduced(torch.sym_max),
    "ReduceMin": _reduced(torch.sym_min),
    "ReduceMean": _reduced(operator.add, mean=True),
    "Cast": _cast,
    "CastLike": _cast,
    "Shape": _shape,
    "Size": _size,
}


def computed(c: Call) -> Result:
    """Return the result of a node on sizes as single numbers; None if that is not possible."""
    sized = any(isinstance(value, Sizes) for value in c.given) or c.kind in ("Shape", "Size")
    if not sized or c.kind not in _RULES or c.b.fold.sizes_left < 0:
        return None
    try:
        result = _RULES[c.kind](c)
    except _Unknown:
        result = None
    found = result if isinstance(result, list) else [result]
    used = [len(value.items) for value in (*c.given, *found) if isinstance(value, Sizes)]
    c.b.fold.sizes_left -= max(used, default=0)
    return result
