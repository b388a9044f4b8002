"""Converts Keras's activation functions, by their names, to layers of torch.nn."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from samepad._building import UnsupportedError
from samepad.keras import ops
from samepad.keras.builder import Builder, Value, axis
from samepad.keras.weights import function_name

#: Activations of single elements, with Keras's defaults where these differ from torch.nn's.
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

#: Activations of single elements for which torch.nn has no layer.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exponential": torch.exp,
    # Keras 2's hard_sigmoid; in Keras 3 another function has this name.
    "samepad.keras.keras2.layers.hard_sigmoid": ops.hard_sigmoid,
}

#: Activations along an axis.
ALONG_AXIS: dict[str, Callable[[int], nn.Module]] = {
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
}


def activation_name(function: Any) -> str:
    """Return the name of one of Keras's activation functions.

    Raises:
        UnsupportedError: The function is not Keras's, or has no counterpart.
    """
    if function is None:
        return "linear"
    name = function_name(function)
    if name not in {"linear", *ELEMENTWISE, *FUNCTIONS, *ALONG_AXIS}:
        raise UnsupportedError(f"activation {name} has no counterpart")
    return name


def activate(b: Builder, activation: str, name: str, value: Value) -> Value:
    """Apply the activation of that name, by a submodule called `name`."""
    if activation == "linear":
        return value
    if activation in FUNCTIONS:
        return replace(value, node=b.call(FUNCTIONS[activation], value.node))
    along = ALONG_AXIS.get(activation)
    layer = along(axis(value, -1)) if along else ELEMENTWISE[activation]()
    return replace(value, node=b.module(name, layer, value.node))


def relu(b: Builder, operation: Any, name: str, value: Value) -> fx.Node:
    """Convert ReLU with all its options, of keras.layers or keras.activations."""
    slope, threshold = float(operation.negative_slope or 0), float(operation.threshold or 0)
    most = None if operation.max_value is None else float(operation.max_value)
    if threshold == 0 and most is None:
        return b.module(name, nn.LeakyReLU(slope) if slope else nn.ReLU(), value.node)
    if threshold == 0 and slope == 0 and most:
        return b.module(name, nn.ReLU6() if most == 6 else nn.Hardtanh(0.0, most), value.node)
    return b.call(ops.relu, value.node, most, slope, threshold)
