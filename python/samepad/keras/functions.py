"""Operations of functional models that are no layers, such as `x + y`: of keras.ops."""

import numbers
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from samepad._building import UnsupportedError, one
from samepad.keras.activations import ALONG_AXIS, ELEMENTWISE, activate, relu
from samepad.keras.builder import Builder, Value, axis, computed_in
from samepad.keras.weights import array

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "TrueDivide": operator.truediv,
    "Power": torch.pow,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Negative": operator.neg,
    "Absolute": torch.abs,
    "Square": torch.square,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
}

#: Of those that take no numbers in PyTorch: which bound of torch.clamp a number is.
_BOUNDS = {"Maximum": "min", "Minimum": "max"}

#: Activations with settings.
_WITH_SETTINGS: dict[str, Callable[[Any], nn.Module]] = {
    "LeakyRelu": lambda operation: nn.LeakyReLU(float(operation.negative_slope)),
    "Elu": lambda operation: nn.ELU(float(operation.alpha)),
    "Celu": lambda operation: nn.CELU(float(operation.alpha)),
    "Gelu": lambda operation: nn.GELU("tanh" if operation.approximate else "none"),
    "SoftShrink": lambda operation: nn.Softshrink(float(operation.threshold)),
    "HardShrink": lambda operation: nn.Hardshrink(float(operation.threshold)),
}

#: Others have classes that are named after their functions.
_ACTIVATIONS = {name.replace("_", ""): name for name in (*ELEMENTWISE, *ALONG_AXIS)}


def _integers(value: Any) -> tuple[int, ...]:
    """One integer or several, which may be NumPy's, as Python's."""
    return (int(value),) if isinstance(value, numbers.Integral) else tuple(map(int, value))


def _reduce(method: str) -> Callable[..., fx.Node]:
    def build(b: Builder, operation: Any, _: int, node: fx.Node) -> fx.Node:
        if operation.axis is None or getattr(operation, "initial", None) is not None:
            raise UnsupportedError("axis=None or initial")
        return b.method(method, node, one(_integers(operation.axis)), operation.keepdims)

    return build


def _reshape(b: Builder, operation: Any, _: int, node: fx.Node) -> fx.Node:
    return b.method("reshape", node, *_integers(operation.newshape))


def _transpose(b: Builder, operation: Any, _: int, node: fx.Node) -> fx.Node:
    if operation.axes is None:
        raise UnsupportedError("axes=None")
    return b.permute(node, _integers(operation.axes))


def _matmul(b: Builder, _: Any, __: int, left: fx.Node, right: fx.Node) -> fx.Node:
    return b.call(torch.matmul, left, right)


def _join(function: Callable[..., Any]) -> Callable[..., fx.Node]:
    def build(b: Builder, operation: Any, rank: int, nodes: list[fx.Node]) -> fx.Node:
        if not all(isinstance(node, fx.Node) for node in nodes):
            raise UnsupportedError("called with a constant")
        return b.call(function, list(nodes), dim=operation.axis % rank)

    return build


def _expand_dims(b: Builder, operation: Any, rank: int, node: fx.Node) -> fx.Node:
    # Each counts in the output, as PyTorch's does where those before it are there.
    for position in sorted(each % rank for each in _integers(operation.axis)):
        node = b.method("unsqueeze", node, position)
    return node


def _get_item(b: Builder, _: Any, __: int, node: fx.Node, key: Any) -> fx.Node:
    if isinstance(key, list):  # Keras reads a tuple so from a file; lists of indices it has not
        key = tuple(key)
    for part in key if isinstance(key, tuple) else (key,):
        plain = isinstance(part, int) or part is None or part is ...
        if not plain and not (isinstance(part, slice) and (part.step or 1) > 0):
            raise UnsupportedError(f"called with {key!r}")
    return b.item(node, key)


#: What depends on where dimensions are: computed on tensors as Keras holds them, to one of a rank.
SHAPED: dict[str, Callable[..., fx.Node]] = {
    "Mean": _reduce("mean"),
    "Sum": _reduce("sum"),
    "Max": _reduce("amax"),
    "Min": _reduce("amin"),
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ExpandDims": _expand_dims,
    "Matmul": _matmul,
    "GetItem": _get_item,
    "Concatenate": _join(torch.cat),
    "Stack": _join(torch.stack),
}


def apply_function(b: Builder, operation: Any, items: list[Any], output: Any) -> Value:
    """The output of an operation.

    Args:
        b: The builder.
        operation: Of keras.ops or keras.activations.
        items: Its arguments: values, and what else it was called with.
        output: Keras's tensor.

    Raises:
        UnsupportedError: It has no counterpart, or none for an argument.
    """
    kind = type(operation).__name__
    if not type(operation).__module__.startswith("keras."):
        raise UnsupportedError("no counterpart")
    rank, dtype = len(output.shape), computed_in(output.dtype)
    items = [_constant(b, operation, item, dtype) if _is_array(item) else item for item in items]
    if len(items) == 1 and (kind in _WITH_SETTINGS or kind.lower() in _ACTIVATIONS):
        return _activation(b, operation, kind, items[0])
    if kind in SHAPED:
        held = fx.node.map_aggregate(
            items, lambda x: b.held(x, channels_first=False).node if isinstance(x, Value) else x
        )
        # PyTorch adds up integers of every type in 64 bits.
        made_in = torch.int64 if kind == "Sum" and not dtype.is_floating_point else dtype
        return b.cast(Value(SHAPED[kind](b, operation, rank, *held), rank, made_in), dtype)
    if kind not in _FUNCTIONS:
        raise UnsupportedError("no counterpart")
    return replace(_arithmetic(b, kind, items), dtype=dtype)


def _is_array(item: Any) -> bool:
    """Whether it is NumPy's array or a tensor of Keras's backend; not a number of NumPy's."""
    return hasattr(item, "shape") and not isinstance(item, numbers.Real)


def _constant(b: Builder, operation: Any, item: Any, dtype: torch.dtype) -> Value:
    """An array as a buffer, held as Keras has it."""
    tensor = torch.from_numpy(array(item)).to(dtype)
    return Value(b.constant(f"{operation.name}_constant", tensor), tensor.dim(), dtype)


def _activation(b: Builder, operation: Any, kind: str, value: Value) -> Value:
    name = operation.name
    if kind in _WITH_SETTINGS:
        node = b.module(name, _WITH_SETTINGS[kind](operation), value.node)
    elif kind == "ReLU":  # of keras.activations
        node = relu(b, operation, name, value)
    elif _ACTIVATIONS[kind.lower()] in ALONG_AXIS:
        if not isinstance(operation.axis, numbers.Integral):
            raise UnsupportedError(f"axis={operation.axis}")
        made = ALONG_AXIS[_ACTIVATIONS[kind.lower()]]
        node = b.module(name, made(axis(value, int(operation.axis))), value.node)
    else:
        return activate(b, _ACTIVATIONS[kind.lower()], name, value)
    return replace(value, node=node)


def _arithmetic(b: Builder, kind: str, items: list[Any]) -> Value:
    inputs = [item for item in items if isinstance(item, Value)]
    if len({value.rank for value in inputs}) > 1:
        # They meet at their last dimensions, as Keras has them.
        inputs = [b.held(value, channels_first=False) for value in inputs]
    inputs = b.alike(inputs)
    rest = iter(inputs)
    given: list[Any] = []
    for item in items:
        if isinstance(item, Value):
            given.append(next(rest).node)
        elif isinstance(item, numbers.Real):
            given.append(item if isinstance(item, int) else float(item))
        else:
            raise UnsupportedError(f"called with {item!r}")
    widest = max(inputs, key=lambda value: value.rank)
    number = next((item for item in given if isinstance(item, (int, float))), None)
    if kind in _BOUNDS and number is not None:
        node = b.call(torch.clamp, inputs[0].node, **{_BOUNDS[kind]: number})
    else:
        node = b.call(_FUNCTIONS[kind], *given)
    return replace(widest, node=node)
