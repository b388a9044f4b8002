"""The activations that can be fused, and how they are recognized by what they compute."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Computes an activation's value from a tensor.
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """An activation of single elements that samepad's fused convolution can end with."""

    #: Computes it from a tensor and its parameters.
    function: Callable[..., Tensor]
    #: The names of its parameters.
    parameters: tuple[str, ...] = ()
    #: Finds the parameters that a function must have, if it is this activation.
    fit: Callable[[Function], tuple[float, ...]] = lambda _: ()


def _at(function: Function, value: float) -> float:
    return float(function(torch.tensor([value], dtype=torch.float64)))


#: An input larger than any bound that a clamp may have.
_HUGE = 1e30


def _bounds(function: Function) -> tuple[float, float]:
    low, high = _at(function, -_HUGE), _at(function, _HUGE)
    return -torch.inf if low == -_HUGE else low, torch.inf if high == _HUGE else high


#: By the name that the operator takes; the first that fits a function is chosen.
ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda x: x),
    "relu": Activation(torch.relu),
    "clamp": Activation(torch.clamp, ("low", "high"), _bounds),
    "leaky_relu": Activation(F.leaky_relu, ("slope",), lambda f: (-_at(f, -1.0),)),
    "hardswish": Activation(F.hardswish),
    "hardsigmoid": Activation(F.hardsigmoid),
    "silu": Activation(F.silu),
    "sigmoid": Activation(torch.sigmoid),
    "tanh": Activation(torch.tanh),
    "gelu": Activation(F.gelu),
    "gelu_tanh": Activation(lambda x: F.gelu(x, approximate="tanh")),
    "elu": Activation(F.elu, ("alpha",), lambda f: (-_at(f, -_HUGE),)),
}


def checked(name: object, parameters: Any) -> tuple[float, ...]:
    """Return an activation's parameters as floats.

    Raises:
        TypeError: A parameter is not a number.
        ValueError: The name is not that of an activation, or it has another number of parameters.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    names = ACTIVATIONS[name].parameters
    try:
        values = tuple(float(value) for value in parameters)
    except (TypeError, ValueError):
        raise TypeError(
            f"activation_parameters must be a tuple of numbers, not {parameters!r}"
        ) from None
    if len(values) != len(names):
        expected = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
        raise ValueError(f"activation_parameters of {name!r} must be {expected}, but got {values}")
    return values


def _probe() -> Tensor:
    """Inputs at which no two activations agree: dense near zero, and far out in both directions."""
    near = torch.linspace(-12, 12, 1198, dtype=torch.float64)
    far = torch.logspace(1, 30, 29, dtype=torch.float64)
    values = torch.cat([near, far, -far])
    # The order is random, and there are several dimensions, so that a function which mixes elements
    # agrees with no activation.
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    return values[order].reshape(2, 4, 157)


def recognize(function: Function) -> tuple[str, tuple[float, ...]] | None:
    """Return the name and parameters of the activation that a function computes.

    The function is called with tensors in float64. It is recognized by its values alone, so that
    modules, functions and expressions of any package are.

    Args:
        function: Takes a tensor and returns one of the same shape, element by element.

    Returns:
        The activation, or None if the function computes none of them or can't be called.
    """
    probe = _probe()
    try:
        with torch.no_grad():
            found = function(probe.clone())
            if not isinstance(found, Tensor) or found.shape != probe.shape:
                return None
            for name, activation in ACTIVATIONS.items():
                parameters = activation.fit(function)
                expected = activation.function(probe, *parameters)
                if torch.allclose(found.double(), expected, rtol=1e-7, atol=1e-7):
                    return name, parameters
    except Exception:  # the function may be any code
        pass
    return None
