"""Keras's recurrent layers as torch.nn's."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from samepad.keras.builder import Builder, UnsupportedError, Value, with_weights


def _made(layer: Any, inputs: int, **options: Any) -> nn.Module:
    """torch.nn's layer for one of Keras's.

    Raises:
        UnsupportedError: An argument is another than torch.nn's layer computes with.
    """
    kind = type(layer).__name__
    expected = {
        "LSTM": ("tanh", "sigmoid"),
        "GRU": ("tanh", "sigmoid"),
        "SimpleRNN": ("tanh", None),
    }
    activation, gate = expected[kind]
    found = layer.activation.__name__
    if kind == "SimpleRNN" and found == "relu":
        options["nonlinearity"] = "relu"
    elif found != activation:
        raise UnsupportedError(f"activation={found!r}, where PyTorch computes with {activation!r}")
    if gate and layer.recurrent_activation.__name__ != gate:
        raise UnsupportedError(
            f"recurrent_activation={layer.recurrent_activation.__name__!r}, where PyTorch computes "
            f"with {gate!r}"
        )
    if kind == "GRU" and not layer.reset_after:
        raise UnsupportedError("reset_after=False, where PyTorch resets after the product")
    if layer.stateful:
        raise UnsupportedError("stateful=True: PyTorch's layers take and return their state")
    if layer.dropout or layer.recurrent_dropout:
        raise UnsupportedError("dropout inside of a recurrent layer")
    made: Callable[..., nn.Module] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}[kind]
    return made(inputs, layer.units, bias=layer.use_bias, batch_first=True, **options)


def _states(b: Builder, layer: Any, result: fx.Node) -> list[fx.Node]:
    """The last states, each (layers and directions, N, units): hidden, and of an LSTM cell."""
    states = b.call(operator.getitem, result, 1)
    if type(layer).__name__ != "LSTM":
        return [states]
    return [b.call(operator.getitem, states, i) for i in (0, 1)]


def recurrent(b: Builder, layer: Any, name: str, value: Value) -> list[Value]:
    """LSTM, GRU and SimpleRNN."""
    module = with_weights(_made(layer, layer.cell.kernel.shape[0]), layer)
    node = b.method("flip", value.node, (1,)) if layer.go_backwards else value.node
    result = b.module(name, module, node)
    sequence = b.call(operator.getitem, result, 0)
    if layer.return_sequences:
        outputs = [Value(sequence, 3)]
    else:
        outputs = [Value(b.method("select", sequence, 1, -1), 2)]
    if layer.return_state:
        outputs += [
            Value(b.call(operator.getitem, state, 0), 2) for state in _states(b, layer, result)
        ]
    return outputs


def bidirectional(b: Builder, layer: Any, name: str, value: Value) -> list[Value]:
    """Both directions, merged."""
    forward, backward = layer.forward_layer, layer.backward_layer
    kind = type(forward).__name__
    same = type(backward).__name__ == kind and all(
        getattr(forward, key, None) == getattr(backward, key, None)
        for key in ("units", "activation", "recurrent_activation", "use_bias", "reset_after")
    )
    if kind not in ("LSTM", "GRU", "SimpleRNN") or not same:
        raise UnsupportedError("directions that are not two LSTM, GRU or SimpleRNN alike")
    if forward.go_backwards or layer.return_state:
        raise UnsupportedError("go_backwards or return_state inside of Bidirectional")
    module = _made(forward, forward.cell.kernel.shape[0], bidirectional=True)
    result = b.module(name, with_weights(module, layer), value.node)
    if layer.return_sequences:
        sequence = b.call(operator.getitem, result, 0)
        if layer.merge_mode == "concat":
            return [Value(sequence, 3)]
        halves = b.method("chunk", sequence, 2, -1)
        rank = 3
    else:
        halves = _states(b, forward, result)[0]
        rank = 2
    first, second = (b.call(operator.getitem, halves, i) for i in (0, 1))
    if layer.merge_mode is None:
        return [Value(first, rank), Value(second, rank)]
    if layer.merge_mode == "concat":
        return [Value(b.call(torch.cat, [first, second], dim=-1), rank)]
    combine = operator.mul if layer.merge_mode == "mul" else operator.add
    merged = b.call(combine, first, second)
    if layer.merge_mode == "ave":
        merged = b.call(operator.truediv, merged, 2)
    return [Value(merged, rank)]
