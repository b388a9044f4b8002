"""Converts TensorFlow's functions in models of Keras 2 to operations of Keras 3."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from samepad._building import UnsupportedError

#: The classes of layers that represent a call of a function, and those that return their input.
CALLS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
THROUGH = ("AddLoss", "AddMetric")


def _slice(part: Any) -> Any:
    if isinstance(part, Mapping):
        return slice(part["start"], part["stop"], part["step"])
    return part


def _item(tensor: Any, slice_spec: Any) -> Any:
    parts = slice_spec if isinstance(slice_spec, (list, tuple)) else [slice_spec]
    return tensor[tuple(_slice(part) for part in parts)]


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, **_: None) -> Any:
    def turned(x: Any, swap: bool) -> Any:
        axes = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
        return ops.transpose(x, axes) if swap else x

    return ops.matmul(turned(a, transpose_a), turned(b, transpose_b))


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: function(x, y)


def _unary(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(x)


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda input_tensor, axis=None, keepdims=False: function(
        input_tensor, axis=axis, keepdims=keepdims
    )


def _silu(features: Any, beta: float = 1.0) -> Any:
    return ops.silu(features) if beta == 1 else features * ops.sigmoid(beta * features)


_ARITHMETIC = {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "divide": ops.true_divide,
    "truediv": ops.true_divide,
    "floordiv": ops.floor_divide,
    "pow": ops.power,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
}

_ELEMENTWISE = {
    "nn.relu": ops.relu,
    "nn.relu6": ops.relu6,
    "nn.elu": ops.elu,
    "nn.selu": ops.selu,
    "nn.softsign": ops.softsign,
    "nn.sigmoid": ops.sigmoid,
    "nn.tanh": ops.tanh,
    "nn.softplus": ops.softplus,
    "math.abs": ops.absolute,
    "math.negative": ops.negative,
    "math.square": ops.square,
    "math.sqrt": ops.sqrt,
    "math.exp": ops.exp,
    "math.log": ops.log,
    "math.sigmoid": ops.sigmoid,
    "math.tanh": ops.tanh,
    "math.softplus": ops.softplus,
    "math.softsign": ops.softsign,
}

#: Functions by the names under which TensorFlow publishes them. They take TensorFlow's arguments,
#: except `name`.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        f"{space}.{name}": _binary(f)
        for name, f in _ARITHMETIC.items()
        for space in ("math", "__operators__")
    },
    **{name: _unary(function) for name, function in _ELEMENTWISE.items()},
    "math.reduce_mean": _reduction(ops.mean),
    "math.reduce_sum": _reduction(ops.sum),
    "math.reduce_max": _reduction(ops.max),
    "math.reduce_min": _reduction(ops.min),
    "math.rsqrt": lambda x: 1.0 / ops.sqrt(x),
    "math.reciprocal": lambda x: 1.0 / x,
    "nn.leaky_relu": lambda features, alpha=0.2: ops.leaky_relu(features, alpha),
    "nn.gelu": lambda features, approximate=False: ops.gelu(features, approximate),
    "nn.silu": _silu,
    "nn.swish": _silu,
    "nn.softmax": lambda logits, axis=None: ops.softmax(logits, -1 if axis is None else axis),
    "nn.log_softmax": lambda logits, axis=None: ops.log_softmax(
        logits, -1 if axis is None else axis
    ),
    "linalg.matmul": _matmul,
    "reshape": lambda tensor, shape: ops.reshape(tensor, tuple(shape)),
    "transpose": lambda a, perm=None: ops.transpose(a, perm),
    "expand_dims": lambda input, axis: ops.expand_dims(input, axis),
    "squeeze": lambda input, axis=None: ops.squeeze(input, axis),
    "concat": lambda values, axis: ops.concatenate(values, axis),
    "stack": lambda values, axis=0: ops.stack(values, axis),
    "cast": lambda x, dtype: ops.cast(x, getattr(dtype, "name", dtype)),
    "clip_by_value": lambda t, clip_value_min, clip_value_max: ops.clip(
        t, clip_value_min, clip_value_max
    ),
    "identity": lambda input: input,
    "stop_gradient": lambda input: input,
    "__operators__.getitem": _item,
}

#: TensorFlow's internal names of operations, which files from before TensorFlow 2.4 contain.
_OPERATIONS = {
    "Add": "add",
    "AddV2": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "RealDiv": "truediv",
    "Pow": "pow",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Relu": "nn.relu",
    "Relu6": "nn.relu6",
    "Elu": "nn.elu",
    "Selu": "nn.selu",
    "Sigmoid": "math.sigmoid",
    "Tanh": "math.tanh",
    "Softplus": "math.softplus",
    "Softmax": "nn.softmax",
    "Neg": "math.negative",
    "Square": "math.square",
    "Sqrt": "math.sqrt",
    "Rsqrt": "math.rsqrt",
    "Exp": "math.exp",
    "Abs": "math.abs",
    "Identity": "identity",
    "StopGradient": "stop_gradient",
}


def _named(symbol: str) -> Callable[..., Any]:
    name = symbol.removeprefix("compat.v1.")
    if name not in _FUNCTIONS:
        raise UnsupportedError(f"TensorFlow's function tf.{symbol}")
    return _FUNCTIONS[name]


def _operation(settings: Mapping[str, Any]) -> Callable[..., Any]:
    """Convert a layer that holds one operation of a graph and the constants among its inputs."""
    definition = settings["node_def"]
    kind = (json.loads(definition) if isinstance(definition, str) else definition)["op"]
    if kind not in _OPERATIONS:
        raise UnsupportedError(f"TensorFlow's operation {kind}")
    name = _OPERATIONS[kind]
    function = _named(f"math.{name}" if name in _ARITHMETIC else name)
    constants = {int(index): value for index, value in (settings.get("constants") or {}).items()}

    def call(inputs: Any) -> Any:
        arguments = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        for index in sorted(constants):
            arguments.insert(index, constants[index])
        return function(*arguments)

    return call


def function_of(kind: str, settings: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function on tensors of Keras 3 for a layer that represents TensorFlow's.

    Args:
        kind: The layer's class.
        settings: Its configuration.

    Raises:
        UnsupportedError: The function is not known; or, when the result is called, an argument is
            not known.
    """
    if kind == "TensorFlowOpLayer":
        return _operation(settings)
    symbol = settings["function"]
    function = _named(symbol)

    def call(first: Any, **named: Any) -> Any:
        # None and False are the defaults of all these arguments.
        given = {
            key: value
            for key, value in named.items()
            if value is not None and value is not False and key != "name"
        }
        try:
            inspect.signature(function).bind(first, **given)
        except TypeError:
            raise UnsupportedError(f"tf.{symbol} with {', '.join(sorted(given))}") from None
        return function(first, **given)

    return call
