"""Translates the layout of Keras's weights to PyTorch's; nothing else knows about layouts.

Each function takes a built layer of Keras and returns arrays by the names in the state_dict of its
PyTorch counterpart. docs/porting-from-keras.md has the same as a table.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn.parameter import is_lazy

from samepad._building import UnsupportedError
from samepad._names import Names
from samepad.gru import ResetBeforeGRU
from samepad.keras.errors import saved_model
from samepad.keras.structures import is_own, own_weights

Arrays = dict[str, NDArray[Any]]


def keras_array(variable: Any) -> NDArray[Any]:
    """Return the value of a variable or a tensor of Keras with any backend, in its type."""
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)


def array(variable: Any) -> NDArray[Any]:
    """Return the value of a variable of Keras with any backend, as float64 or float32."""
    value = keras_array(variable)
    return value if value.dtype == np.float64 else value.astype(np.float32)


def _with_bias(layer: Any, weights: Arrays, name: str = "bias") -> Arrays:
    if layer.use_bias:
        weights[name] = array(layer.bias)
    return weights


def _dense(layer: Any) -> Arrays:
    """Convert the kernel (in, out) to (out, in)."""
    return _with_bias(layer, {"weight": array(layer.kernel).T})


def _einsum_dense(layer: Any) -> Arrays:
    """Keep the layout, which the equation says."""
    weights = {"weight": array(layer.kernel)}
    return weights if layer.bias is None else {**weights, "bias": array(layer.bias)}


def _filters_first(kernel: NDArray[Any]) -> NDArray[Any]:
    """Convert (..., in, out) to (out, in, ...); transposed: (..., out, in) to (in, out, ...)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _conv(layer: Any) -> Arrays:
    return _with_bias(layer, {"weight": _filters_first(array(layer.kernel))})


def _depthwise_filters(kernel: NDArray[Any]) -> NDArray[Any]:
    """Convert (..., C, M) to (C M, 1, ...), with the filters of each channel in a row."""
    filters = np.moveaxis(kernel, (-2, -1), (0, 1))
    return filters.reshape(-1, 1, *filters.shape[2:])


def _depthwise(layer: Any) -> Arrays:
    return _with_bias(layer, {"weight": _depthwise_filters(array(layer.kernel))})


def _separable(layer: Any) -> Arrays:
    return _with_bias(
        layer,
        {
            "depthwise.weight": _depthwise_filters(array(layer.depthwise_kernel)),
            "pointwise.weight": _filters_first(array(layer.pointwise_kernel)),
        },
        "pointwise.bias",
    )


def _normalization(layer: Any, size: int) -> Arrays:
    """Return scale and offset, ones and zeros if Keras has none: PyTorch has both or neither."""
    return {
        "weight": array(layer.gamma).reshape(-1) if layer.scale else np.ones(size, np.float32),
        "bias": array(layer.beta).reshape(-1) if layer.center else np.zeros(size, np.float32),
    }


def _batch_normalization(layer: Any) -> Arrays:
    mean = array(layer.moving_mean)
    return {
        **_normalization(layer, mean.size),
        "running_mean": mean,
        "running_var": array(layer.moving_variance),
    }


def _layer_normalization(layer: Any) -> Arrays:
    if not layer.scale and not layer.center:
        return {}
    shape = array(layer.gamma if layer.scale else layer.beta).shape
    weights = _normalization(layer, int(np.prod(shape)))
    return {name: value.reshape(shape) for name, value in weights.items()}


def _group_normalization(layer: Any) -> Arrays:
    if not layer.scale and not layer.center:
        return {}
    return _normalization(layer, array(layer.gamma if layer.scale else layer.beta).size)


#: For each gate in PyTorch's order, its position in Keras's order:
#: LSTM i, f, c, o is PyTorch's i, f, g, o; GRU z, r, h becomes PyTorch's r, z, n.
_GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}


#: The activations that PyTorch's cells compute with: those of the state, and of the gates.
_ACTIVATIONS = {
    "LSTM": (("tanh",), ("sigmoid",)),
    "GRU": (("tanh",), ("sigmoid",)),
    "SimpleRNN": (("tanh", "relu"), ()),
}


def function_name(function: Any) -> str:
    """Return the name of an activation function, or of the class of an activation layer.

    If it is not Keras's own, its module precedes the name, because it may have the name of one of
    Keras's functions and compute something else.
    """
    name = str(getattr(function, "__name__", type(function).__name__))
    module = str(getattr(function, "__module__", ""))
    return name if module.startswith("keras.") else f"{module}.{name}"


def check_cell(layer: Any) -> None:
    """Refuse a cell whose activations PyTorch's cell does not have.

    Raises:
        UnsupportedError: The cell has other activations.
    """
    names = ("activation", "recurrent_activation")
    for name, known in zip(names, _ACTIVATIONS[type(layer).__name__], strict=True):
        found = function_name(getattr(layer, name, None))
        if known and found not in known:
            raise UnsupportedError(f"{name}={found!r}, where PyTorch computes with {known[0]!r}")


def _recurrent(layer: Any, suffix: str = "_l0") -> Arrays:
    """Convert the weights of a recurrent layer.

    Where Keras has one bias, the second of PyTorch's two is 0. A GRU may have two in Keras as well.
    """
    check_cell(layer)
    gates = _GATES[type(layer).__name__]

    def reordered(matrix: NDArray[Any]) -> NDArray[Any]:
        parts = np.split(matrix, len(gates), axis=-1)
        return np.concatenate([parts[gate] for gate in gates], axis=-1)

    cell = layer.cell
    weights = {
        "weight_ih" + suffix: reordered(array(cell.kernel)).T,
        "weight_hh" + suffix: reordered(array(cell.recurrent_kernel)).T,
    }
    if layer.use_bias:
        bias = reordered(array(cell.bias))
        two = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
        weights["bias_ih" + suffix], weights["bias_hh" + suffix] = two
    return weights


def directions(layer: Any) -> tuple[Any, Any]:
    """Return the forward and the backward layer of a Bidirectional.

    Raises:
        UnsupportedError: They differ so that one layer of PyTorch cannot compute both.
    """
    forward, backward = layer.forward_layer, layer.backward_layer
    kinds = {type(direction).__name__ for direction in (forward, backward)}
    if len(kinds) > 1 or not kinds <= set(_GATES):
        raise UnsupportedError("directions that are not two LSTM, GRU or SimpleRNN alike")
    if function_name(forward.activation) != function_name(backward.activation):
        raise UnsupportedError("directions of several activations")
    if getattr(forward, "reset_after", True) != getattr(backward, "reset_after", True):
        raise UnsupportedError("directions of which one has reset_after=False")
    return forward, backward


def _bidirectional(layer: Any) -> Arrays:
    forward, backward = directions(layer)
    return {**_recurrent(forward), **_recurrent(backward, "_l0_reverse")}


#: For each class of Keras, the function that makes a state_dict from a layer.
WEIGHTS: dict[str, Callable[[Any], Arrays]] = {
    "Dense": _dense,
    **{f"Conv{d}D": _conv for d in (1, 2, 3)},
    **{f"Conv{d}DTranspose": _conv for d in (1, 2, 3)},
    **{f"DepthwiseConv{d}D": _depthwise for d in (1, 2)},
    **{f"SeparableConv{d}D": _separable for d in (1, 2)},
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "GroupNormalization": _group_normalization,
    "EinsumDense": _einsum_dense,
    "Embedding": lambda layer: {"weight": array(layer.embeddings)},
    "PReLU": lambda layer: {"weight": array(layer.alpha)},
    "LayerScale": lambda layer: {"weight": array(layer.gamma)},
    **dict.fromkeys(_GATES, _recurrent),
    "Bidirectional": _bidirectional,
}


def own_names(variables: list[Any]) -> list[str]:
    """The names of the parameters for a custom layer's own variables, in their order."""
    name = Names()
    return [name(variable.name) for variable in variables]


def _own(layer: Any) -> Arrays:
    """Return the variables that a custom layer has beside those of its layers."""
    variables = own_weights(layer)
    return dict(zip(own_names(variables), map(array, variables), strict=True))


def state_of(layer: Any, module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state_dict for `module`, the counterpart of a built Keras layer with weights.

    Raises:
        UnsupportedError: No counterpart is known for the layer's class, or it is quantized.
    """
    kind = type(layer)
    known = kind.__module__.startswith("keras.") and kind.__name__ in WEIGHTS
    of_torch = type(module).__module__.startswith("torch.nn.")
    if not known and (of_torch or not is_own(layer) or not own_weights(layer)):
        raise UnsupportedError(saved_model(layer) or "no counterpart is known for its weights")
    if getattr(layer, "quantization_mode", None):
        raise UnsupportedError(f"quantized to {layer.quantization_mode}")
    if kind.__name__ in _GATES and not isinstance(module, nn.RNNBase):
        state = _own(layer.cell)  # of a cell whose code is followed
    else:
        state = WEIGHTS[kind.__name__](layer) if known else _own(layer)
    if isinstance(module, nn.PReLU):  # Keras's have a dimension for each one of the input
        state["weight"] = state["weight"].reshape(-1)
    # NumPy makes one dimension of none where it makes arrays contiguous.
    return {
        name: torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
        for name, value in state.items()
    }


def _settings(layer: Any) -> dict[str, Any]:
    """Return attributes that a layer's counterpart must share for its weights to fit."""
    kind = type(layer).__name__
    if kind in ("BatchNormalization", "LayerNormalization"):
        return {"eps": layer.epsilon}
    if kind == "GroupNormalization":
        every = {} if layer.groups == -1 else {"num_groups": layer.groups}
        return {"eps": layer.epsilon, **every}
    cell = layer.forward_layer if kind == "Bidirectional" else layer
    if type(cell).__name__ == "SimpleRNN":
        return {"nonlinearity": function_name(cell.activation)}
    if type(cell).__name__ == "GRU":
        return {"reset_after": cell.reset_after}
    return {}


def _found(module: nn.Module, name: str, value: Any) -> Any:
    """Return a module's attribute; `value` itself if the module has none of that name."""
    if name == "reset_after" and isinstance(module, nn.GRU):
        return not isinstance(module, ResetBeforeGRU)
    return getattr(module, name, value)


def mismatch(module: nn.Module, layer: Any, state: dict[str, torch.Tensor]) -> str | None:
    """Return why a layer's `state` does not fit a module, or None if it fits."""
    own = module.state_dict()
    own.pop("num_batches_tracked", None)
    if is_own(layer):  # what is in it are layers of their own
        own = dict(module.named_parameters(recurse=False))
    if set(own) != set(state):
        return f"has {', '.join(sorted(own)) or 'no weights'}; expected {', '.join(sorted(state))}"
    for name, tensor in state.items():
        if is_lazy(own[name]):
            return "is lazy and has not seen an input yet"
        if own[name].shape != tensor.shape:
            return f"has {name} of shape {tuple(own[name].shape)}; expected {tuple(tensor.shape)}"
    settings = {} if isinstance(module, fx.GraphModule) else _settings(layer)
    for name, value in settings.items():
        found = _found(module, name, value)
        if found != value:
            return f"has {name}={found!r}; expected {value!r}"
    return None


def load_state(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copy a `state` that fits into the module, whose types and devices stay the same."""
    own = module.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)
