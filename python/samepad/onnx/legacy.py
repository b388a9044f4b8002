"""Brings nodes of opsets 5 and 6 to the form that they have from opset 7 on."""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from onnx import TensorProto

from samepad._building import UnsupportedError
from samepad.onnx.call import Call

#: The first opset without these forms.
FIRST = 7


def _without(c: Call, *names: str, **more: Any) -> Call:
    kept = {name: value for name, value in c.attributes.items() if name not in names}
    return replace(c, attributes=kept | more)


def _binary(c: Call) -> Call:
    """Give the second input of an operator new dimensions at the end if `axis` asks for them."""
    if not c.get("broadcast", 0) or "axis" not in c.attributes:
        return _without(c, "broadcast", "axis")
    rank, second = c.rank(0), c.rank(1)
    if rank is None or second is None:
        raise UnsupportedError("broadcast=1 with inputs of unknown rank")
    missing = rank - c.get("axis") % rank - second
    return _longer(_without(c, "broadcast", "axis"), missing)


def _prelu(c: Call) -> Call:
    """Let a vector of slopes belong to the channels."""
    rank = c.rank(0)
    return c if rank is None or c.rank(1) != 1 else _longer(c, rank - 2)


def _longer(c: Call, missing: int) -> Call:
    """Give the second input so many new dimensions at the end."""
    if missing <= 0:
        return c
    index = (..., *[None] * missing)
    value = c.b.call(operator.getitem, c[1], index)
    return replace(c, given=[c.given[0], value, *c.given[2:]])


def _dropout(c: Call) -> Call:
    if not c.get("is_test", 0):
        c.b.note(f"{c.description}: computed as in inference, so that nothing is dropped")
    return _without(c, "is_test")


def _batch_normalization(c: Call) -> Call:
    return _without(c, "is_test", training_mode=int(not c.get("is_test", 0)))


def _upsample(c: Call) -> Call:
    if "scales" in c.attributes:
        return c
    return _without(c, scales=[1.0, 1.0, c.get("height_scale"), c.get("width_scale")])


def _cast(c: Call) -> Call:
    wanted = c.get("to")
    if not isinstance(wanted, str):
        return c
    if wanted not in dict(TensorProto.DataType.items()):
        raise UnsupportedError(f"to={wanted!r}, expected the name of a type")
    return _without(c, to=TensorProto.DataType.Value(wanted))


def _tile(c: Call) -> Call:
    """Before opset 6, Tile repeated along one axis."""
    if len(c.given) < 3:
        return c
    rank, tiles, axis = c.rank(0), c.number(1), c.number(2)
    if rank is None or not isinstance(tiles, int | float) or not isinstance(axis, int | float):
        raise UnsupportedError("tiles and axis that are not constant, or an input of unknown rank")
    repeats = torch.ones(rank, dtype=torch.int64)
    repeats[int(axis)] = int(tiles)
    return replace(c, given=[c.given[0], repeats])


_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")

_CHANGED: dict[str, Callable[[Call], Call]] = {
    **dict.fromkeys(_BINARY, _binary),
    "PRelu": _prelu,
    "Dropout": _dropout,
    "BatchNormalization": _batch_normalization,
    "Upsample": _upsample,
    "Cast": _cast,
    "Tile": _tile,
}


def updated(c: Call) -> Call:
    """Return a node as it would be written in opset 7.

    Raises:
        UnsupportedError: It depends on what is not known.
    """
    return _CHANGED[c.kind](c) if c.opset < FIRST and c.kind in _CHANGED else c
