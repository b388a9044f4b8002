"""Converts LSTM, GRU and RNN to torch.nn's layers, whose gates are in another order."""

import operator
from typing import Any

import torch
from torch import Tensor, nn

from samepad._building import UnsupportedError
from samepad.gru import ResetBeforeGRU
from samepad.onnx import ops
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


def _made(c: Call, inputs: int, hidden: int, **options: Any) -> nn.Module:
    """Make torch.nn's layer, without its weights.

    Raises:
        UnsupportedError: The layer computes something else than the node.
    """
    made, _, activations = _KINDS[c.kind]
    expected = activations * (2 if options.get("bidirectional") else 1)
    found = [activation.lower() for activation in c.get("activations", [])]
    if c.kind == "RNN" and found and set(found) == {"relu"}:
        options["nonlinearity"] = "relu"
    elif found and found != expected:
        raise UnsupportedError(f"activations={found}, expected {expected}")
    if "clip" in c.attributes:
        raise UnsupportedError(f"clip={c.get('clip')}, expected none")
    c.refuse(input_forget=0)
    lengths, steps = c[4], c.size(0, 1 if options["batch_first"] else 0)
    whole = isinstance(lengths, Tensor) and steps is not None and bool((lengths == steps).all())
    if lengths is not None and not whole:
        raise UnsupportedError("sequence_lens, expected none or, constant, the input's length")
    if c[7] is not None:
        raise UnsupportedError("peepholes, expected none")
    if c.kind == "GRU" and not c.get("linear_before_reset", 0):
        made = ResetBeforeGRU
    module: nn.Module = made(inputs, hidden, **options)
    return module


def _gates(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    return torch.cat([weight.chunk(len(order))[gate] for gate in order])


def _weights(c: Call) -> dict[str, Tensor]:
    """Return the weights by torch.nn's names.

    Raises:
        UnsupportedError: The model computes weights.
    """
    weights = c.weights(1, 2, 3)
    if weights is None:
        raise UnsupportedError("weights that depend on the model's input, expected constants")
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
    state = _weights(c)
    options: dict[str, Any] = {"bias": "bias_ih_l0" in state, "batch_first": batch_first}
    options["bidirectional"] = _DIRECTIONS[direction] == 2
    hidden = state["weight_hh_l0"].shape[1]
    c.refuse(hidden_size=hidden)
    module = loaded(_made(c, state["weight_ih_l0"].shape[1], hidden, **options), **state)

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
