"""Infers types and sizes of tensors, node by node, before the model runs.

ONNX's inference for a whole graph loses the number of dimensions where the model computes a shape,
and everything after that. Inference node by node can use what samepad knows of each value.
"""

import functools
from typing import Any

import onnx
from onnx import helper, numpy_helper
from torch import Tensor, fx

from samepad.onnx import tensors
from samepad.onnx.call import Value

_NUMBERS = {dtype: number for number, dtype in tensors.TYPES.items()}
#: A constant with at most this many elements may hold sizes that an output's shape depends on.
_FEW = 1000


def sizes_of(kind: Any) -> list[int | None]:
    """Return the sizes in a tensor's type; None for an open one, which may be written as -1."""
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in kind.shape.dim
    ]


def tensor_types(values: Any) -> dict[str, Any]:
    """Return the types of the tensors that a graph declares, by name."""
    return {v.name: v.type.tensor_type for v in values if v.type.HasField("tensor_type")}


def note(node: fx.Node, *kinds: Any) -> None:
    """Store with a node the type and sizes in `kinds`; the first one that has a size decides."""
    for kind in kinds:
        if kind is None:
            continue
        if kind.elem_type in tensors.TYPES:
            node.meta.setdefault("dtype", tensors.TYPES[kind.elem_type])
        found = sizes_of(kind) if kind.HasField("shape") else None
        known = node.meta.get("dims")
        if known is None and found is not None:
            node.meta["dims"] = found
        elif known is not None and found is not None and len(known) == len(found):
            node.meta["dims"] = [
                new if old is None else old for old, new in zip(known, found, strict=True)
            ]


@functools.cache
def _schema(kind: str, opset: int) -> Any:
    return onnx.defs.get_schema(kind, opset, "")


def _type_of(value: Value) -> Any:
    """Return a value's type as ONNX's; None if the type of its numbers is not known."""
    if isinstance(value, fx.Node):
        dtype, shape = value.meta.get("dtype"), value.meta.get("dims")
    else:
        dtype, shape = value.dtype, list(value.shape)
    return helper.make_tensor_type_proto(_NUMBERS[dtype], shape) if dtype in _NUMBERS else None


def inferred(node: Any, given: list[Value | None], opset: int) -> dict[str, Any]:
    """Return the types of a node's outputs, by name, as far as ONNX can infer them."""
    types, data = {}, {}
    for name, value in zip(node.input, given, strict=True):
        if value is None:
            continue
        types[name] = _type_of(value)
        if types[name] is None:
            return {}
        if isinstance(value, Tensor) and value.numel() <= _FEW and not _is_odd(value):
            data[name] = numpy_helper.from_array(value.contiguous().numpy(), name)
    try:
        found = onnx.shape_inference.infer_node_outputs(
            _schema(node.op_type, opset),
            node,
            types,
            data,
            opset_imports=[helper.make_opsetid("", opset)],
        )
    except Exception:
        return {}  # any kind of error; if the node is wrong, its own rule will say so
    return {name: kind.tensor_type for name, kind in found.items() if kind.HasField("tensor_type")}


def _is_odd(value: Tensor) -> bool:
    """Whether the value is of a type that NumPy lacks or that is shorter than float32."""
    return value.dtype.is_floating_point and value.dtype.itemsize < 4


#: Operators whose output has as many dimensions as their first input.
_KEEPS_RANK = frozenset(
    (
        *(
            "Abs",
            "BatchNormalization",
            "Cast",
            "Ceil",
            "Clip",
            "Dropout",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
        ),
        *(
            "HardSigmoid",
            "HardSwish",
            "Identity",
            "InstanceNormalization",
            "LRN",
            "LeakyRelu",
            "Log",
        ),
        *("Neg", "Pad", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus"),
        *("Softmax", "Sqrt", "Tanh", "QuantizeLinear", "DequantizeLinear", "Gelu", "PRelu"),
    )
)
_BROADCASTS = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"))
_RANKS = {
    "DepthToSpace": 4,
    "SpaceToDepth": 4,
    "GRU": 3,
    "Gemm": 2,
    "LSTM": 3,
    "RNN": 3,
}


def with_ranks(model: Any) -> Any:
    """Give inputs that have no shape the number of dimensions that their use implies, if any.

    ONNX Runtime accepts inputs without a shape and finds out when it runs; a module of layers needs
    the number of dimensions earlier.
    """
    shapeless = [
        position
        for position, value in enumerate(model.graph.input)
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]
    if not shapeless:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for given in node.input:
            users.setdefault(given, []).append(node)
    for position in shapeless:
        value = result.graph.input[position]
        for _ in range(rank_by_use(value.name, users, ranks) or 0):
            value.type.tensor_type.shape.dim.add()
    return result


def rank_by_use(name: str, users: dict[str, list[Any]], ranks: dict[str, int]) -> int | None:
    """Return how many dimensions the use of an input implies, or None if it implies none.

    Args:
        name: Name of the input.
        users: For each value, the nodes that take it.
        ranks: The number of dimensions of each constant, by name.
    """
    waiting, seen = [(name, 0)], {name}
    while waiting:
        # `value` has as many dimensions as the input if that is more than `least`, the most
        # dimensions that it has been broadcast with.
        value, least = waiting.pop()
        for node in users.get(value, ()):
            rank = _rank(node, ranks) if node.input[0] == value else None
            if rank is not None and rank > least:
                return rank
            others = [ranks.get(each) for each in node.input if each != value]
            follows = node.op_type in _KEEPS_RANK and node.input[0] == value
            broadcast = node.op_type in _BROADCASTS and None not in others
            if (follows or broadcast) and node.output[0] not in seen:
                seen.add(node.output[0])
                more = max([least, *(rank for rank in others if rank)]) if broadcast else least
                waiting.append((node.output[0], more))
    return None


def _rank(node: Any, ranks: dict[str, int]) -> int | None:
    """Return the dimensions of a node's first input if the node or its constants imply them."""
    if node.op_type in _RANKS:
        return _RANKS[node.op_type]
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if "kernel_shape" in attributes:
        return len(attributes["kernel_shape"]) + 2
    if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in ranks:
        return ranks[node.input[1]]
    for name in ("perm", "scales"):
        if name in attributes:
            return len(attributes[name])
    return None
