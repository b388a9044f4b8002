"""Converts Keras's recurrent layers to torch.nn's, and to the GRU that torch.nn lacks."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from samepad._building import UnsupportedError
from samepad.gru import ResetBeforeGRU
from samepad.keras.builder import Builder, Value, with_weights
from samepad.keras.weights import directions, function_name


def _made(layer: Any, **options: Any) -> nn.Module:
    """Make torch.nn's layer for one of Keras's; samepad.keras.weights checks the activations.

    Raises:
        UnsupportedError: torch.nn's layer has no counterpart for an argument.
    """
    if layer.stateful:
        raise UnsupportedError("stateful=True: PyTorch's layers take and return their state")
    if layer.dropout or layer.recurrent_dropout:
        raise UnsupportedError("dropout inside of a recurrent layer")
    kind = type(layer).__name__
    if kind == "SimpleRNN" and function_name(layer.activation) == "relu":
        options["nonlinearity"] = "relu"
    made: Callable[..., nn.Module] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}[kind]
    if kind == "GRU" and not layer.reset_after:
        made = ResetBeforeGRU
    inputs = layer.cell.kernel.shape[0]
    return made(inputs, layer.units, bias=layer.use_bias, batch_first=True, **options)


def _states(b: Builder, layer: Any, result: fx.Node) -> list[fx.Node]:
    """Return the last states, each (directions, N, units): hidden, and for LSTM also cell."""
    states = b.item(result, 1)
    if type(layer).__name__ != "LSTM":
        return [states]
    return [b.item(states, i) for i in (0, 1)]


def recurrent(b: Builder, layer: Any, name: str, value: Value, *initial: Value) -> list[Value]:
    """Convert LSTM, GRU or SimpleRNN; `initial` are the initial states, if any are given."""
    module = with_weights(_made(layer), layer, value.dtype)
    node = b.method("flip", value.node, (1,)) if layer.go_backwards else value.node
    states = [b.method("unsqueeze", state.node, 0) for state in initial]
    given = [tuple(states)] if type(layer).__name__ == "LSTM" and states else states
    result = b.module(name, module, node, *given)
    sequence = b.item(result, 0)
    if layer.return_sequences:
        outputs = [value.made(sequence, 3)]
    else:
        outputs = [value.made(b.method("select", sequence, 1, -1), 2)]
    if layer.return_state:
        outputs += [value.made(b.item(state, 0), 2) for state in _states(b, layer, result)]
    return outputs


def bidirectional(b: Builder, layer: Any, name: str, value: Value) -> list[Value]:
    """Convert Bidirectional: both directions, merged as `merge_mode` says."""
    forward, backward = directions(layer)
    if forward.go_backwards or layer.return_state:
        raise UnsupportedError("go_backwards or return_state inside of Bidirectional")
    _made(backward)  # only to refuse unsupported arguments
    value = b.cast_for(value, forward)  # after the wrapper's own cast, as in Keras
    module = with_weights(_made(forward, bidirectional=True), layer, value.dtype)
    result = b.module(name, module, value.node)
    if layer.return_sequences:
        sequence = b.item(result, 0)
        if layer.merge_mode == "concat":
            return [value.made(sequence, 3)]
        halves = b.method("chunk", sequence, 2, -1)
        rank = 3
    else:
        halves = _states(b, forward, result)[0]
        rank = 2
    first, second = (b.item(halves, i) for i in (0, 1))
    if layer.merge_mode is None:
        return [value.made(first, rank), value.made(second, rank)]
    if layer.merge_mode == "concat":
        return [value.made(b.call(torch.cat, [first, second], dim=-1), rank)]
    combine = operator.mul if layer.merge_mode == "mul" else operator.add
    merged = b.call(combine, first, second)
    if layer.merge_mode == "ave":
        merged = b.call(operator.truediv, merged, 2)
    return [value.made(merged, rank)]
