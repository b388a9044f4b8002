"""Converts LSTM, GRU and RNN to torch.nn's layers, whose gates are in another order.

What torch.nn's layers lack, such as peepholes, becomes a function.
"""

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from samepad._building import UnsupportedError
from samepad.gru import ResetBeforeGRU
from samepad.onnx import cells, ops
from samepad.onnx.call import Call
from samepad.onnx.layers import loaded

#: For each operator: torch.nn's layer, for each of its gates the position of that gate in ONNX, and
#: its activations.
_KINDS: dict[str, tuple[Any, tuple[int, ...], list[str]]] = {
    "LSTM": (nn.LSTM, (0, 2, 3, 1), ["sigmoid", "tanh", "tanh"]),  # ONNX: i, o, f, c
    "GRU": (nn.GRU, (1, 0, 2), ["sigmoid", "tanh"]),  # ONNX: z, r, h
    "RNN": (nn.RNN, (0,), ["tanh"]),
}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def _activations(c: Call, directions: int) -> list[cells.Activation]:
    """Return the activations with their parameters, those of each direction in turn.

    Raises:
        UnsupportedError: An activation is not one of ONNX's, or there are too few or too many.
    """
    usual = _KINDS[c.kind][2] * directions
    found = [name.lower() for name in c.get("activations", [])] or usual
    if len(found) != len(usual) or not set(found) <= set(cells.FUNCTIONS):
        known = ", ".join(cells.FUNCTIONS)
        raise UnsupportedError(f"activations={found}, expected {len(usual)} of {known}")
    # Each list has numbers only for the activations that have such a parameter.
    alphas, betas = iter(c.get("activation_alpha", [])), iter(c.get("activation_beta", []))
    activations = []
    for name in found:
        alpha, beta = _PARAMETERS.get(name, (None, None))
        activations.append(
            (
                name,
                0.0 if alpha is None else next(alphas, alpha),
                0.0 if beta is None else next(betas, beta),
            )
        )
    return activations


#: The default parameters of the activations that have some.
_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "scaledtanh": (1.0, 1.0),
    "thresholdedrelu": (1.0, None),
}


def _is_plain(c: Call, activations: list[cells.Activation]) -> bool:
    """Whether torch.nn's layer computes the same as the node."""
    usual = _KINDS[c.kind][2]
    names = [name for name, _, _ in activations]
    whole = names == usual * (len(names) // len(usual))
    if c.kind == "RNN":
        whole = whole or set(names) == {"relu"}
    lengths, steps = c[4], c.size(0, 1 if c.get("layout", 0) else 0)
    to_the_end = lengths is None or (
        isinstance(lengths, Tensor) and steps is not None and bool((lengths == steps).all())
    )
    options = "clip" in c.attributes or c.get("input_forget", 0) or c[7] is not None
    return whole and to_the_end and not options and c.weights(1, 2, 3) is not None


def _made(c: Call, inputs: int, hidden: int, relu: bool, **options: Any) -> nn.Module:
    """Make torch.nn's layer, without its weights."""
    made = _KINDS[c.kind][0]
    if relu:
        options["nonlinearity"] = "relu"
    if c.kind == "GRU" and not c.get("linear_before_reset", 0):
        made = ResetBeforeGRU
    module: nn.Module = made(inputs, hidden, **options)
    return module


def _gates(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    return torch.cat([weight.chunk(len(order))[gate] for gate in order])


def _weights(c: Call) -> dict[str, Tensor]:
    """Return the weights, which are constant, by torch.nn's names."""
    weights = c.weights(1, 2, 3)
    assert weights is not None
    kernel, recurrent, bias = weights
    assert kernel is not None
    assert recurrent is not None
    order = _KINDS[c.kind][1]
    state = {}
    for direction, suffix in zip(range(kernel.shape[0]), ("", "_reverse"), strict=False):
        state[f"weight_ih_l0{suffix}"] = _gates(kernel[direction], order)
        state[f"weight_hh_l0{suffix}"] = _gates(recurrent[direction], order)
        if bias is not None:
            for kind, half in zip(("ih", "hh"), bias[direction].chunk(2), strict=True):
                state[f"bias_{kind}_l0{suffix}"] = _gates(half, order)
    return state


def _states(c: Call, swap: Any) -> list[Any]:
    """Return the arguments for the initial state: none, one state, or the pair of an LSTM."""
    given = [c[position] for position in ((5, 6) if c.kind == "LSTM" else (5,))]
    present = [state for state in given if state is not None]
    if not present:
        return []
    states = [c.b.call(torch.zeros_like, present[0]) if s is None else swap(s) for s in given]
    return [tuple(states)] if c.kind == "LSTM" else states


def _expect_sizes(c: Call) -> None:
    """Refuse weights whose sizes do not fit each other.

    Raises:
        UnsupportedError: They do not.
    """
    gates, hidden = len(_KINDS[c.kind][1]), c.size(2, 2)
    if hidden is None:
        return
    c.refuse(hidden_size=hidden)
    for position, factor in ((1, gates), (2, gates), (3, 2 * gates), (7, 3)):
        c.expect(position, 1, factor * hidden)


def _general(c: Call, activations: list[cells.Activation], *given: Any) -> Any:
    """Call the function that has all options, instead of a layer."""
    direction = c.get("direction", "forward")
    backwards = {"forward": [False], "reverse": [True]}.get(direction, [False, True])
    result = c.b.call(
        cells.recurrent,
        c.kind,
        *given,
        backwards,
        activations,
        bool(c.get("layout", 0)),
        c.get("clip"),
        bool(c.get("input_forget", 0)),
        bool(c.get("linear_before_reset", 0)),
    )
    return [c.b.call(operator.getitem, result, i) for i in range(c.outputs)]


def dynamic_quantize_lstm(c: Call) -> Any:
    """DynamicQuantizeLSTM of com.microsoft, whose weights are quantized and transposed."""
    c = replace(c, kind="LSTM")
    activations = _activations(c, c.size(1, 0) or 1)
    given = [c[i] for i in range(12)]
    return _general(c, activations, *given[:8], given[8:])


def recurrent(c: Call) -> Any:
    """LSTM, GRU and RNN: returns the outputs of all steps and the last states.

    The outputs are (T, directions, N, H), or (N, T, directions, H) with `layout` 1.
    """
    direction = c.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise UnsupportedError(f"direction={direction!r}, expected one of {list(_DIRECTIONS)}")
    for position in (1, 2, 3):
        c.expect(position, 0, _DIRECTIONS[direction])
    c.expect(0, 2, c.size(1, 2))
    batch_first = bool(c.get("layout", 0))
    activations = _activations(c, _DIRECTIONS[direction])
    if not _is_plain(c, activations):
        _expect_sizes(c)
        return _general(c, activations, *(c[i] for i in range(8)), None)
    state = _weights(c)
    options: dict[str, Any] = {"bias": "bias_ih_l0" in state, "batch_first": batch_first}
    options["bidirectional"] = _DIRECTIONS[direction] == 2
    hidden = state["weight_hh_l0"].shape[1]
    c.refuse(hidden_size=hidden)
    relu = activations[0][0] == "relu"
    made = _made(c, state["weight_ih_l0"].shape[1], hidden, relu, **options)
    module = loaded(made, **state)

    def flipped(value: Any) -> Any:
        time = 1 if batch_first else 0
        return c.b.call(torch.flip, value, [time]) if direction == "reverse" else value

    def swapped(value: Any) -> Any:
        return c.b.call(torch.transpose, value, 0, 1) if batch_first else value

    result = c.b.module(c.name, module, flipped(c[0]), *_states(c, swapped))
    sequence = flipped(c.b.call(operator.getitem, result, 0))
    outputs = [c.b.call(ops.by_direction, sequence, _DIRECTIONS[direction], batch_first)]
    last = c.b.call(operator.getitem, result, 1)
    parts = [c.b.call(operator.getitem, last, i) for i in (0, 1)] if c.kind == "LSTM" else [last]
    return (outputs + [swapped(part) for part in parts])[: c.outputs]
