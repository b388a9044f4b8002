"""Operations of functional models that are no layers, such as `x + y`: of keras.ops."""

import functools
import numbers
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn

import samepad.functional
from samepad._building import UnsupportedError, one
from samepad.keras import ops
from samepad.keras.activations import ALONG_AXIS, ELEMENTWISE, activate, relu
from samepad.keras.builder import BATCH, Builder, Value, axis, computed_in
from samepad.keras.structures import mapped
from samepad.keras.weights import keras_array

#: Functions of single elements, of one tensor or of several that are broadcast.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "TrueDivide": operator.truediv,
    "FloorDivide": torch.floor_divide,
    "Mod": torch.remainder,
    "Power": torch.pow,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Negative": operator.neg,
    "Absolute": torch.abs,
    "Abs": torch.abs,
    "Square": torch.square,
    "Sqrt": torch.sqrt,
    "Rsqrt": torch.rsqrt,
    "Reciprocal": torch.reciprocal,
    "Exp": torch.exp,
    "Expm1": torch.expm1,
    "Log": torch.log,
    "Log1p": torch.log1p,
    "Log2": torch.log2,
    "Log10": torch.log10,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Arcsin": torch.asin,
    "Arccos": torch.acos,
    "Arctan": torch.atan,
    "Arctan2": torch.atan2,
    "Erf": torch.erf,
    "Sign": torch.sign,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Trunc": torch.trunc,
    "Isnan": torch.isnan,
    "Isinf": torch.isinf,
    "Isfinite": torch.isfinite,
    "StopGradient": torch.detach,
    "ZerosLike": torch.zeros_like,
    "OnesLike": torch.ones_like,
}

#: Those whose results are booleans; Keras compares in the type to which both can be cast.
_COMPARISONS: dict[str, Callable[..., Any]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Less": operator.lt,
    "LessEqual": operator.le,
    "Greater": operator.gt,
    "GreaterEqual": operator.ge,
    "LogicalAnd": torch.logical_and,
    "LogicalOr": torch.logical_or,
    "LogicalXor": torch.logical_xor,
    "LogicalNot": torch.logical_not,
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


@dataclass(frozen=True)
class _Call:
    """A call of an operation that depends on where dimensions are."""

    b: Builder
    operation: Any
    #: Keras's tensors.
    outputs: list[Any]

    @property
    def rank(self) -> int:
        """The number of dimensions of the output."""
        return len(self.outputs[0].shape)

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes that the operation is told, or all, counted from the first."""
        given = self.operation.axis
        if given is None:
            return tuple(range(rank))
        return tuple(each % rank for each in _integers(given))

    def shape(self, output: Any = None) -> list[Any]:
        """The sizes of the output, of which at most one is -1: what remains."""
        sizes = list((output or self.outputs[0]).shape)
        open_ = [i for i, size in enumerate(sizes) if size is None or (size and size % BATCH == 0)]
        if len(open_) == 1:
            sizes[open_[0]] = -1
        return [-1 if size is None else self.b.size(size) for size in sizes]


def _rank(node: fx.Node) -> int:
    """The number of dimensions of what a node computes, which its value has noted."""
    return int(node.meta[_RANK])


#: The key in a node's `meta`, while the graph is built.
_RANK = "samepad_rank"


def _reduce(method: str) -> Callable[..., fx.Node]:
    def build(call: _Call, node: fx.Node) -> fx.Node:
        if getattr(call.operation, "initial", None) is not None:
            raise UnsupportedError("initial")
        axes = call.axes(_rank(node))
        if not axes:
            return node
        return call.b.method(method, node, one(axes), call.operation.keepdims)

    return build


def _spread(function: str) -> Callable[..., fx.Node]:
    """Variance or standard deviation, of the elements themselves."""

    def build(call: _Call, node: fx.Node) -> fx.Node:
        axes = call.axes(_rank(node))
        keep = call.operation.keepdims
        return call.b.call(getattr(torch, function), node, axes, correction=0, keepdim=keep)

    return build


def _index_of(method: str) -> Callable[..., fx.Node]:
    def build(call: _Call, node: fx.Node) -> fx.Node:
        if call.operation.axis is None:
            raise UnsupportedError("axis=None")
        return call.b.method(method, node, call.operation.axis, call.operation.keepdims)

    return build


def _logical(method: str) -> Callable[..., fx.Node]:
    """any or all, of booleans or of what is not 0."""

    def build(call: _Call, node: fx.Node) -> fx.Node:
        # Several dimensions at once, which some versions of PyTorch do not take.
        for position in sorted(call.axes(_rank(node)), reverse=True):
            node = call.b.method(method, node, position, call.operation.keepdims)
        return node

    return build


def _cumulative(method: str) -> Callable[..., fx.Node]:
    def build(call: _Call, node: fx.Node) -> fx.Node:
        if call.operation.axis is None:
            raise UnsupportedError("axis=None")
        return call.b.method(method, node, call.operation.axis)

    return build


def _reshape(call: _Call, node: fx.Node) -> fx.Node:
    new = _integers(call.operation.newshape)
    if None in call.outputs[0].shape:
        return call.b.method("reshape", node, *map(call.b.size, new))
    return call.b.method("reshape", node, *call.shape())


def _transpose(call: _Call, node: fx.Node) -> fx.Node:
    axes = call.operation.axes
    order = range(call.rank)[::-1] if axes is None else _integers(axes)
    return call.b.permute(node, [each % call.rank for each in order])


def _swapaxes(call: _Call, node: fx.Node) -> fx.Node:
    return call.b.method("transpose", node, call.operation.axis1, call.operation.axis2)


def _moveaxis(call: _Call, node: fx.Node) -> fx.Node:
    pair = call.operation.source, call.operation.destination
    return call.b.method("movedim", node, *(_integers(each) for each in pair))


def _matmul(call: _Call, left: fx.Node, right: fx.Node) -> fx.Node:
    return call.b.call(torch.matmul, left, right)


def _tensordot(call: _Call, left: fx.Node, right: fx.Node) -> fx.Node:
    axes = call.operation.axes
    dims = axes if isinstance(axes, int) else tuple(list(_integers(each)) for each in axes)
    return call.b.call(torch.tensordot, left, right, dims=dims)


def _einsum(call: _Call, *nodes: fx.Node) -> fx.Node:
    return call.b.call(torch.einsum, call.operation.subscripts, *nodes)


def _join(function: Callable[..., Any]) -> Callable[..., fx.Node]:
    def build(call: _Call, nodes: list[fx.Node]) -> fx.Node:
        return call.b.call(function, list(nodes), dim=call.operation.axis % call.rank)

    return build


def _append(call: _Call, left: fx.Node, right: fx.Node) -> fx.Node:
    if call.operation.axis is None:
        raise UnsupportedError("axis=None")
    return call.b.call(torch.cat, [left, right], dim=call.operation.axis)


def _split(call: _Call, node: fx.Node) -> list[fx.Node]:
    position = call.operation.axis % call.rank
    sizes = [output.shape[position] for output in call.outputs]
    if None in sizes:
        raise UnsupportedError("splits a dimension of open size")
    parts = call.b.method("split", node, [call.b.size(size) for size in sizes], position)
    return [call.b.item(parts, i) for i in range(len(sizes))]


def _unstack(call: _Call, node: fx.Node) -> list[fx.Node]:
    parts = call.b.method("unbind", node, call.operation.axis % _rank(node))
    return [call.b.item(parts, i) for i in range(len(call.outputs))]


def _expand_dims(call: _Call, node: fx.Node) -> fx.Node:
    # Each counts in the output, as PyTorch's does where those before it are there.
    for position in sorted(each % call.rank for each in _integers(call.operation.axis)):
        node = call.b.method("unsqueeze", node, position)
    return node


def _squeeze(call: _Call, node: fx.Node) -> fx.Node:
    if call.operation.axis is None:
        return call.b.method("reshape", node, *call.shape())
    return call.b.method("squeeze", node, one(call.axes(_rank(node))))


def _get_item(call: _Call, node: fx.Node, key: Any) -> fx.Node:
    if isinstance(key, list):  # Keras reads a tuple so from a file; lists of indices it has not
        key = tuple(key)
    for part in key if isinstance(key, tuple) else (key,):
        plain = isinstance(part, int) or part is None or part is ...
        if not plain and not (isinstance(part, slice) and (part.step or 1) > 0):
            raise UnsupportedError(f"called with {key!r}")
    return call.b.item(node, fx.node.map_aggregate(key, call.b.size))


def _slice(call: _Call, node: fx.Node, starts: Any) -> fx.Node:
    starts = _integers(starts)
    sizes = _integers(call.operation.shape)
    key = tuple(
        slice(start or None, None if size == -1 else call.b.size(start + size))
        for start, size in zip(starts, sizes, strict=True)
    )
    return call.b.item(node, key)


def _flip(call: _Call, node: fx.Node) -> fx.Node:
    return call.b.method("flip", node, call.axes(_rank(node)))


def _roll(call: _Call, node: fx.Node) -> fx.Node:
    if call.operation.axis is None:
        raise UnsupportedError("axis=None")
    return call.b.method(
        "roll", node, _integers(call.operation.shift), _integers(call.operation.axis)
    )


def _tile(call: _Call, node: fx.Node) -> fx.Node:
    return call.b.method("tile", node, tuple(map(call.b.size, _integers(call.operation.repeats))))


def _repeat(call: _Call, node: fx.Node) -> fx.Node:
    repeats = call.operation.repeats
    if call.operation.axis is None or not isinstance(repeats, numbers.Integral):
        raise UnsupportedError("axis=None, or several numbers of repeats")
    return call.b.method("repeat_interleave", node, call.b.size(repeats), call.operation.axis)


def _broadcast_to(call: _Call, node: fx.Node) -> fx.Node:
    sizes = [-1 if size is None else call.b.size(size) for size in call.outputs[0].shape]
    return call.b.method("expand", node, *sizes)


def _pad(call: _Call, node: fx.Node, value: Any = None) -> fx.Node:
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
    mode = call.operation.mode
    if mode != "constant":
        raise UnsupportedError(f"mode={mode!r}; known is 'constant'")
    amounts = [_integers(pair) for pair in call.operation.pad_width]
    if len(amounts) == 1:
        amounts *= call.rank
    flat = [amount for pair in reversed(amounts) for amount in pair]
    number = 0.0 if value is None else float(value)
    return call.b.call(nn.functional.pad, node, tuple(flat), modes[mode], number)


def _take(call: _Call, node: fx.Node, indices: Any) -> fx.Node:
    if call.operation.axis is None:
        raise UnsupportedError("axis=None")
    position = call.operation.axis % _rank(node)
    if isinstance(indices, numbers.Integral):
        return call.b.method("select", node, position, int(indices))
    if isinstance(indices, (list, tuple)):
        indices = call.b.constant(f"{call.operation.name}_indices", torch.tensor(indices))
    # Several dimensions of indices replace the one that they index.
    indices = call.b.method("long", indices)
    return call.b.item(node, (*[slice(None)] * position, indices))


def _take_along_axis(call: _Call, node: fx.Node, indices: fx.Node) -> fx.Node:
    if call.operation.axis is None:
        raise UnsupportedError("axis=None")
    long = call.b.method("long", indices)
    return call.b.call(torch.take_along_dim, node, long, dim=call.operation.axis)


def _where(call: _Call, condition: fx.Node, first: Any = None, second: Any = None) -> fx.Node:
    if first is None or second is None:
        raise UnsupportedError("called with a condition alone")
    return call.b.call(torch.where, call.b.method("bool", condition), first, second)


def _clip(call: _Call, node: fx.Node) -> fx.Node:
    bounds = call.operation.x_min, call.operation.x_max
    if not all(isinstance(bound, numbers.Real) for bound in bounds):
        raise UnsupportedError("bounds that are not numbers")
    low, high = (each if isinstance(each, int) else float(each) for each in bounds)
    return call.b.call(torch.clamp, node, min=low, max=high)


def _cast(call: _Call, node: fx.Node) -> fx.Node:
    return call.b.method("to", node, computed_in(call.outputs[0].dtype))


def _full_like(call: _Call, node: fx.Node, value: Any) -> fx.Node:
    return call.b.call(torch.full_like, node, value)


def _one_hot(call: _Call, node: fx.Node) -> fx.Node:
    if call.operation.axis not in (-1, call.rank - 1):
        raise UnsupportedError(f"axis={call.operation.axis}")
    classes = call.b.call(torch.arange, int(call.operation.num_classes))
    return call.b.call(operator.eq, call.b.method("unsqueeze", node, -1), classes)


def _triangle(method: str) -> Callable[..., fx.Node]:
    return lambda call, node: call.b.method(method, node, call.operation.k)


def _arange(_: _Call, *__: Any) -> fx.Node:
    raise UnsupportedError("its size depends on what it is called on")


def _normalize(call: _Call, node: fx.Node) -> fx.Node:
    return call.b.call(
        nn.functional.normalize,
        node,
        p=float(call.operation.order),
        dim=one(call.axes(call.rank)),
        eps=float(call.operation.epsilon or _EPSILON),
    )


def _logsumexp(call: _Call, node: fx.Node) -> fx.Node:
    return call.b.method("logsumexp", node, call.axes(_rank(node)), call.operation.keepdims)


def _rms_norm(call: _Call, node: fx.Node, scale: Any = None) -> fx.Node:
    axes = call.axes(call.rank)
    mean = call.b.method("mean", call.b.method("square", node), axes, True)
    deviation = call.b.call(operator.add, mean, float(call.operation.epsilon or _EPSILON))
    node = call.b.call(operator.mul, node, call.b.method("rsqrt", deviation))
    return node if scale is None else call.b.call(operator.mul, node, scale)


def _layer_norm(call: _Call, node: fx.Node, gamma: Any = None, beta: Any = None) -> fx.Node:
    axes = call.axes(call.rank)
    if not call.operation.rms_scaling:
        mean = call.b.method("mean", node, axes, True)
        centered = call.b.call(operator.sub, node, mean)
        variance = call.b.method("mean", call.b.method("square", centered), axes, True)
    else:  # Keras has no offset then
        centered, beta = node, None
        variance = call.b.call(torch.var, node, axes, correction=0, keepdim=True)
    deviation = call.b.call(operator.add, variance, float(call.operation.epsilon or _EPSILON))
    node = call.b.call(operator.mul, centered, call.b.method("rsqrt", deviation))
    if gamma is not None:
        node = call.b.call(operator.mul, node, _along(call, gamma, axes))
    return node if beta is None else call.b.call(operator.add, node, _along(call, beta, axes))


def _along(call: _Call, weight: fx.Node, axes: tuple[int, ...]) -> fx.Node:
    """A weight whose dimensions are these axes, with ones for the others, to be broadcast."""
    for position in range(call.rank):
        if position not in axes:
            weight = call.b.method("unsqueeze", weight, position)
    return weight


def _conv(call: _Call, node: fx.Node, kernel: fx.Node) -> fx.Node:
    operation, b = call.operation, call.b
    dimensions = call.rank - 2
    last = operation.data_format != "channels_first"
    kernel = b.permute(kernel, (dimensions + 1, dimensions, *range(dimensions)))
    node = b.method("movedim", node, -1, 1) if last else node
    sizes = {"stride": operation.strides, "dilation": operation.dilation_rate}
    options = {name: one(_integers(size)) for name, size in sizes.items()}
    padding = 0 if operation.padding == "valid" else operation.padding
    function = getattr(samepad.functional, f"conv{dimensions}d")
    groups = _groups(call)
    node = b.call(function, node, kernel, None, padding=padding, groups=groups, **options)
    return b.method("movedim", node, 1, -1) if last else node


def _groups(call: _Call) -> int:
    """The number of groups of a convolution, by the channels of its input and its kernel."""
    arguments = call.operation._inbound_nodes[0].arguments
    given, kernel = (*arguments.args, *arguments.kwargs.values())[:2]
    channels = given.shape[1 if call.operation.data_format == "channels_first" else -1]
    return int(channels // kernel.shape[-2])


def _resize(call: _Call, node: fx.Node) -> fx.Node:
    operation = call.operation
    plain = (operation.antialias, operation.crop_to_aspect_ratio, operation.pad_to_aspect_ratio)
    if any(plain) or call.rank != 4:
        raise UnsupportedError("antialias, crop_to_aspect_ratio, pad_to_aspect_ratio or one image")
    last = operation.data_format != "channels_first"
    node = call.b.method("movedim", node, -1, 1) if last else node
    size = tuple(map(int, operation.size))
    node = call.b.call(ops.resize, node, size, ops.known_interpolation(operation.interpolation))
    return call.b.method("movedim", node, 1, -1) if last else node


#: What Keras adds to variances where an operation is told nothing.
_EPSILON = 1e-7


def _dot_product_attention(
    call: _Call,
    query: fx.Node,
    key: fx.Node,
    value: fx.Node,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
) -> fx.Node:
    if call.operation.attn_logits_soft_cap is not None:
        raise UnsupportedError(f"attn_logits_soft_cap={call.operation.attn_logits_soft_cap}")
    options = {
        "mask": mask,
        "bias": bias,
        "scale": None if scale is None else float(scale),
        "is_causal": bool(call.operation.is_causal),
    }
    given = {name: option for name, option in options.items() if option not in (None, False)}
    return call.b.call(ops.dot_product_attention, query, key, value, **given)


#: What depends on where dimensions are: computed on tensors as Keras holds them.
SHAPED: dict[str, Callable[..., Any]] = {
    "Mean": _reduce("mean"),
    "Sum": _reduce("sum"),
    "Max": _reduce("amax"),
    "Min": _reduce("amin"),
    "Amax": _reduce("amax"),
    "Amin": _reduce("amin"),
    "Var": _spread("var"),
    "Std": _spread("std"),
    "Any": _logical("any"),
    "All": _logical("all"),
    "Argmax": _index_of("argmax"),
    "Argmin": _index_of("argmin"),
    "Cumsum": _cumulative("cumsum"),
    "Cumprod": _cumulative("cumprod"),
    "Logsumexp": _logsumexp,
    "Normalize": _normalize,
    "RMSNorm": _rms_norm,
    "LayerNorm": _layer_norm,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Swapaxes": _swapaxes,
    "Moveaxis": _moveaxis,
    "ExpandDims": _expand_dims,
    "Squeeze": _squeeze,
    "Matmul": _matmul,
    "Tensordot": _tensordot,
    "Einsum": _einsum,
    "GetItem": _get_item,
    "Slice": _slice,
    "Concatenate": _join(torch.cat),
    "Stack": _join(torch.stack),
    "Append": _append,
    "Split": _split,
    "Unstack": _unstack,
    "Flip": _flip,
    "Roll": _roll,
    "Tile": _tile,
    "Repeat": _repeat,
    "BroadcastTo": _broadcast_to,
    "Pad": _pad,
    "Take": _take,
    "TakeAlongAxis": _take_along_axis,
    "Where": _where,
    "Clip": _clip,
    "Cast": _cast,
    "ConvertToTensor": _cast,
    "FullLike": _full_like,
    "OneHot": _one_hot,
    "Tril": _triangle("tril"),
    "Triu": _triangle("triu"),
    "Arange": _arange,
    "DotProductAttention": _dot_product_attention,
    "Conv": _conv,
    "Resize": _resize,
}

#: The arguments, by their position, that stay in their types where Keras casts the others to the
#: type of the output: conditions, indices, masks, and what is cast or compared itself.
_AS_THEY_ARE: dict[str, tuple[int, ...]] = {
    "Cast": (0,),
    "ConvertToTensor": (0,),
    "Any": (0,),
    "All": (0,),
    "Argmax": (0,),
    "Argmin": (0,),
    "OneHot": (0,),
    "Where": (0,),
    "Take": (1,),
    "TakeAlongAxis": (1,),
    "DotProductAttention": (4,),
}


def apply_function(b: Builder, operation: Any, items: list[Any], outputs: list[Any]) -> list[Value]:
    """The outputs of an operation.

    Args:
        b: The builder.
        operation: Of keras.ops or keras.activations.
        items: Its arguments: values, and what else it was called with.
        outputs: Keras's tensors.

    Raises:
        UnsupportedError: It has no counterpart, or none for an argument.
    """
    kind = type(operation).__name__
    if not type(operation).__module__.startswith("keras."):
        raise UnsupportedError("no counterpart")
    dtype = computed_in(outputs[0].dtype)
    if kind in _COMPARISONS:
        dtypes = [item.dtype for item in items if isinstance(item, Value)]
        promoted = functools.reduce(torch.promote_types, dtypes)
        items = [constant(b, operation, x, promoted) if _is_array(x) else x for x in items]
        return [replace(_arithmetic(b, _COMPARISONS[kind], items), dtype=dtype)]
    stay = _AS_THEY_ARE.get(kind, ())

    def taken(item: Any, as_it_is: bool) -> Any:
        return mapped(item, lambda x: _taken(b, operation, x, dtype, as_it_is))

    items = [taken(item, position in stay) for position, item in enumerate(items)]
    if len(items) == 1 and (kind in _WITH_SETTINGS or kind.lower() in _ACTIVATIONS):
        return [_activation(b, operation, kind, items[0])]
    if kind in SHAPED:
        held = fx.node.map_aggregate(items, lambda x: _held(b, x))
        made = SHAPED[kind](_Call(b, operation, outputs), *held)
        # PyTorch adds up integers of every type in 64 bits, and counts in them.
        whole = not dtype.is_floating_point and dtype != torch.bool
        made_in = torch.int64 if kind in _IN_64_BITS and whole else dtype
        if kind == "OneHot":
            made_in = torch.bool
        nodes = made if isinstance(made, list) else [made]
        return [
            b.cast(Value(node, len(output.shape), made_in), dtype)
            for node, output in zip(nodes, outputs, strict=True)
        ]
    if kind not in _FUNCTIONS:
        raise UnsupportedError("no counterpart")
    bound = _BOUNDS.get(kind)
    return [replace(_arithmetic(b, _FUNCTIONS[kind], items, bound), dtype=dtype)]


#: Functions whose results are of 64 bits in PyTorch, if they are integers.
_IN_64_BITS = ("Sum", "Cumsum", "Cumprod", "Argmax", "Argmin")


def _held(b: Builder, item: Any) -> Any:
    if not isinstance(item, Value):
        return item
    node = b.held(item, channels_first=False).node
    node.meta[_RANK] = item.rank
    return node


def _taken(b: Builder, operation: Any, item: Any, dtype: torch.dtype, stays: bool) -> Any:
    """An argument: in the type of the output, if it does not stay; arrays as constants."""
    if isinstance(item, Value):
        floats = dtype.is_floating_point and not stays
        return b.cast(item, dtype) if floats else item
    if _is_array(item):
        return constant(b, operation, item, None if stays else dtype)
    return item


def _is_array(item: Any) -> bool:
    """Whether it is NumPy's array or a tensor of Keras's backend; not a number of NumPy's."""
    return hasattr(item, "shape") and not isinstance(item, numbers.Real)


def constant(b: Builder, operation: Any, item: Any, dtype: torch.dtype | None) -> Value:
    """An array as a buffer, held as Keras has it; by default in its own type.

    Raises:
        UnsupportedError: It has a row for each sample of the batch, and they differ.
    """
    values = keras_array(item)
    expanded = [-1] * values.ndim
    for position, size in enumerate(values.shape):
        if size and size % BATCH == 0:
            expanded[position] = b.size(size)
            row = np.take(values, [0], position)
            if not (values == row).all():
                raise UnsupportedError("a constant that depends on the batch size")
            values = row
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    tensor = tensor.to(
        computed_in(str(tensor.dtype).removeprefix("torch.")) if dtype is None else dtype
    )
    node = b.constant(f"{operation.name}_constant", tensor)
    if any(size != -1 for size in expanded):
        node = b.method("expand", node, *expanded)
    return Value(node, tensor.dim(), tensor.dtype)


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


def _arithmetic(
    b: Builder, function: Callable[..., Any], items: list[Any], bound: str | None = None
) -> Value:
    """A function of single elements, of tensors that are broadcast and numbers.

    `bound` is the name of the bound of torch.clamp that a number is, if `function` takes none.
    """
    inputs = [item for item in items if isinstance(item, Value)]
    if len({value.rank for value in inputs if value.rank}) > 1:
        # They meet at their last dimensions, as Keras has them.
        inputs = [b.held(value, channels_first=False) for value in inputs]
    inputs = b.alike(inputs)
    rest = iter(inputs)
    given: list[Any] = []
    for item in items:
        if isinstance(item, Value):
            given.append(next(rest).node)
        elif isinstance(item, numbers.Real):
            number = b.size(item)
            given.append(number if isinstance(number, (int, fx.Node)) else float(number))
        else:
            raise UnsupportedError(f"called with {item!r}")
    widest = max(inputs, key=lambda value: value.rank)
    number = next((item for item in given if isinstance(item, (int, float))), None)
    if bound and number is not None:
        node = b.call(torch.clamp, inputs[0].node, **{bound: number})
    else:
        node = b.call(function, *given)
    return replace(widest, node=node)
