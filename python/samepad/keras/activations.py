"""Keras's activation functions as layers of torch.nn, by the name of the function."""

from collections.abc import Callable
from typing import Any

from torch import nn

from samepad.keras.builder import Builder, UnsupportedError, Value, axis

#: Those that act on each element alone. Keras's defaults, where they differ from torch.nn's.
ELEMENTWISE: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "sigmoid": nn.Sigmoid,
    "log_sigmoid": nn.LogSigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish,
    "tanh": nn.Tanh,
    "hard_tanh": nn.Hardtanh,
    "tanh_shrink": nn.Tanhshrink,
    "soft_shrink": nn.Softshrink,
    "hard_shrink": nn.Hardshrink,
}

#: Those that act along an axis.
ALONG_AXIS: dict[str, Callable[[int], nn.Module]] = {
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
}


def activation_name(function: Any) -> str:
    """The name of one of Keras's activation functions.

    Raises:
        UnsupportedError: It is someone else's, or has no counterpart.
    """
    if function is None:
        return "linear"
    name = getattr(function, "__name__", type(function).__name__)
    keras_own = getattr(function, "__module__", "").startswith("keras.")
    if not keras_own or name not in {"linear", *ELEMENTWISE, *ALONG_AXIS}:
        raise UnsupportedError(f"activation {name} has no counterpart")
    return str(name)


def activate(b: Builder, activation: str, name: str, value: Value) -> Value:
    """The value after the activation of that name, by a submodule called `name`."""
    if activation == "linear":
        return value
    along = ALONG_AXIS.get(activation)
    layer = along(axis(value, -1)) if along else ELEMENTWISE[activation]()
    return Value(b.module(name, layer, value.node), value.rank, value.channels_first)
