"""How Keras lays out weights, and how PyTorch does: the one place that knows.

Each function takes a built Keras layer and returns arrays by the names of the state_dict of its
PyTorch counterpart. docs/porting-from-keras.md has the same as a table.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Arrays = dict[str, NDArray[Any]]


def array(variable: Any) -> NDArray[Any]:
    """The value of a variable of Keras, whatever the backend."""
    value = variable.numpy() if hasattr(variable, "numpy") else variable
    value = np.asarray(value)
    return value if value.dtype == np.float64 else value.astype(np.float32)


def _with_bias(layer: Any, weights: Arrays, name: str = "bias") -> Arrays:
    if layer.use_bias:
        weights[name] = array(layer.bias)
    return weights


def _dense(layer: Any) -> Arrays:
    """(in, out) to (out, in)."""
    return _with_bias(layer, {"weight": array(layer.kernel).T})


def _filters_first(kernel: NDArray[Any]) -> NDArray[Any]:
    """(..., in, out) to (out, in, ...); transposed, (..., out, in) to (in, out, ...)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _conv(layer: Any) -> Arrays:
    return _with_bias(layer, {"weight": _filters_first(array(layer.kernel))})


def _depthwise_filters(kernel: NDArray[Any]) -> NDArray[Any]:
    """(..., C, M) to (C M, 1, ...): a channel's filters follow each other."""
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
    """Scale and offset; ones and zeros where Keras has none, as PyTorch has both or neither."""
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


#: The order of a cell's gates in Keras, as indices in PyTorch's order:
#: LSTM i, f, c, o is PyTorch's i, f, g, o; GRU z, r, h becomes PyTorch's r, z, n.
_GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}


def _recurrent(layer: Any, suffix: str = "_l0") -> Arrays:
    """Keras adds one bias; of PyTorch's two, the second is then 0. GRU has two, as PyTorch."""
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


def _bidirectional(layer: Any) -> Arrays:
    return {
        **_recurrent(layer.forward_layer),
        **_recurrent(layer.backward_layer, "_l0_reverse"),
    }


#: Keras's class to what makes a state_dict of a layer.
WEIGHTS: dict[str, Callable[[Any], Arrays]] = {
    "Dense": _dense,
    **{f"Conv{d}D": _conv for d in (1, 2, 3)},
    **{f"Conv{d}DTranspose": _conv for d in (1, 2, 3)},
    **{f"DepthwiseConv{d}D": _depthwise for d in (1, 2)},
    **{f"SeparableConv{d}D": _separable for d in (1, 2)},
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "GroupNormalization": _group_normalization,
    "Embedding": lambda layer: {"weight": array(layer.embeddings)},
    "PReLU": lambda layer: {"weight": array(layer.alpha)},
    "LayerScale": lambda layer: {"weight": array(layer.gamma)},
    **dict.fromkeys(_GATES, _recurrent),
    "Bidirectional": _bidirectional,
}


def state_of(layer: Any) -> dict[str, torch.Tensor]:
    """The state_dict for the PyTorch counterpart of a built Keras layer; empty without weights."""
    make = WEIGHTS.get(type(layer).__name__)
    if make is None:
        return {}
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in make(layer).items()}


def mismatch(module: nn.Module, state: dict[str, torch.Tensor]) -> str | None:
    """What keeps `state` from being the module's, in words; None where it fits."""
    own = module.state_dict()
    own.pop("num_batches_tracked", None)
    if set(own) != set(state):
        return f"has {', '.join(sorted(own)) or 'no weights'}; expected {', '.join(sorted(state))}"
    for name, tensor in state.items():
        if own[name].shape != tensor.shape:
            return f"has {name} of shape {tuple(own[name].shape)}; expected {tuple(tensor.shape)}"
    return None


def load_state(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copy a `state` that fits into the module; types and devices stay the module's."""
    own = module.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)
