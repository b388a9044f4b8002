"""Converts Keras's recurrent layers to torch.nn's, and to the GRU that torch.nn lacks."""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from samepad._building import UnsupportedError
from samepad.gru import ResetBeforeGRU
from samepad.keras import ops
from samepad.keras.builder import Builder, Value, with_weights
from samepad.keras.structures import flat, mapped
from samepad.keras.weights import check_cell, directions, function_name


def _is_torch(layer: Any) -> bool:
    """Whether torch.nn, or ResetBeforeGRU, has the layer; the cells of others are followed."""
    try:
        check_cell(layer)
    except UnsupportedError:
        return False
    return True


def _made(layer: Any, **options: Any) -> nn.Module:
    """Make torch.nn's layer for one of Keras's. It drops nothing out, not even in training.

    Raises:
        UnsupportedError: torch.nn's layer has no counterpart for an argument.
    """
    kind = type(layer).__name__
    if kind == "SimpleRNN" and function_name(layer.activation) == "relu":
        options["nonlinearity"] = "relu"
    made: Callable[..., nn.Module] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}[kind]
    if kind == "GRU" and not layer.reset_after:
        made = ResetBeforeGRU
    inputs = layer.cell.kernel.shape[0]
    return made(inputs, layer.units, bias=layer.use_bias, batch_first=True, **options)


def _check_state(layer: Any) -> None:
    if layer.stateful:
        raise UnsupportedError("stateful=True: PyTorch's layers take and return their state")


def _states(b: Builder, layer: Any, result: fx.Node) -> list[fx.Node]:
    """Return the last states, each (directions, N, units): hidden, and for LSTM also cell."""
    states = b.item(result, 1)
    if type(layer).__name__ != "LSTM":
        return [states]
    return [b.item(states, i) for i in (0, 1)]


def recurrent(
    b: Builder, layer: Any, name: str, value: Value, *initial: Value, mask: Value | None = None
) -> list[Value]:
    """Convert LSTM, GRU or SimpleRNN; `initial` are the initial states, if any are given."""
    _check_state(layer)
    if mask is not None or not _is_torch(layer):
        return steps(b, layer, name, value, *initial, mask=mask)
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


def _inputs_of_cell(layer: Any) -> tuple[Any, Any]:
    """Keras's tensors for a step, and for the structure of the states."""
    import keras

    _, _, *step = next(iter(layer._build_shapes_dict.values()))
    dtype = layer.cell.compute_dtype
    states = mapped(
        layer.get_initial_state(batch_size=1),
        lambda state: keras.Input(tuple(state.shape[1:]), dtype=dtype),
    )
    return keras.Input(tuple(step), dtype=dtype), states


def steps(
    b: Builder, layer: Any, name: str, value: Value, *initial: Value, mask: Value | None = None
) -> list[Value]:
    """Convert a recurrent layer step by step; the code of its cell is followed."""
    _check_state(layer)
    if layer.data_format == "channels_first" if hasattr(layer, "data_format") else False:
        raise UnsupportedError("data_format='channels_first'")
    step, states = _inputs_of_cell(layer)
    shapes = tuple(tuple(state.shape[1:]) for state in flat(states))
    cell = b.code(layer.cell, [step, states])
    b.layer = layer
    module = ops.Steps(
        cell,
        shapes,
        layer.return_sequences,
        layer.go_backwards,
        bool(layer.zero_output_for_mask),
    )
    given = [state.node for state in initial]
    arguments = [] if mask is None and not given else [None if mask is None else mask.node]
    result = b.module(name, module, value.node, *arguments, *given)
    rank = len(shapes[0]) + 1
    outputs = [value.made(b.item(result, 0), rank + 1 if layer.return_sequences else rank)]
    if layer.return_state:
        outputs += [
            value.made(b.item(result, i), len(shape) + 1) for i, shape in enumerate(shapes, 1)
        ]
    return outputs


def bidirectional(
    b: Builder, layer: Any, name: str, value: Value, *initial: Value, mask: Value | None = None
) -> list[Value]:
    """Convert Bidirectional: both directions, merged as `merge_mode` says."""
    forward, backward = layer.forward_layer, layer.backward_layer
    value = b.cast_for(value, forward)  # after the wrapper's own cast, as in Keras
    if _is_one(layer) and not initial and mask is None:
        return _bidirectional_of_torch(b, layer, name, value)
    half = len(initial) // 2
    ways = []
    for direction, given in ((forward, initial[:half]), (backward, initial[half:])):
        b.layer = direction
        convert = recurrent if type(direction).__name__ in _KINDS else steps
        ways.append(convert(b, direction, f"{name}_{direction.name}", value, *given, mask=mask))
    (first, *states), (second, *others) = ways
    if layer.return_sequences:
        second = replace(second, node=b.method("flip", second.node, (1,)))
    return [*_merged(b, layer, first, second), *states, *others]


_KINDS = ("LSTM", "GRU", "SimpleRNN")


def _is_one(layer: Any) -> bool:
    """Whether one layer of PyTorch computes both directions."""
    try:
        forward, _ = directions(layer)
    except UnsupportedError:
        return False
    ways = (forward, layer.backward_layer)
    return not forward.go_backwards and not layer.return_state and all(map(_is_torch, ways))


def _merged(b: Builder, layer: Any, first: Value, second: Value) -> list[Value]:
    """The outputs of two directions, merged."""
    if layer.merge_mode is None:
        return [first, second]
    if layer.merge_mode == "concat":
        return [replace(first, node=b.call(torch.cat, [first.node, second.node], dim=-1))]
    combine = operator.mul if layer.merge_mode == "mul" else operator.add
    merged = b.call(combine, first.node, second.node)
    if layer.merge_mode == "ave":
        merged = b.call(operator.truediv, merged, 2)
    return [replace(first, node=merged)]


def _bidirectional_of_torch(b: Builder, layer: Any, name: str, value: Value) -> list[Value]:
    """Convert Bidirectional to one layer of torch.nn."""
    forward = layer.forward_layer
    for direction in (forward, layer.backward_layer):
        _check_state(direction)
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
    first, second = (value.made(b.item(halves, i), rank) for i in (0, 1))
    return _merged(b, layer, first, second)
