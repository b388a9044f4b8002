"""From an ONNX file or model to a torch.fx.GraphModule."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from google.protobuf.message import DecodeError
from torch import fx

from samepad._building import UnsupportedError
from samepad.onnx import sizes, tensors
from samepad.onnx.call import Builder, Call, Value
from samepad.onnx.operators import OPERATORS

#: Before it, operators broadcast by an attribute `broadcast`, and much else was otherwise.
OLDEST_OPSET = 7


def read(model: Any) -> Any:
    """The model that a path leads to, or a model, checked.

    Raises:
        TypeError: It is neither.
        ValueError: There is no such file, or it is no model that ONNX's checker accepts.
    """
    if isinstance(model, onnx.ModelProto):
        proto, name = model, "the model"
    elif isinstance(model, (str, Path)):
        if not Path(model).is_file():
            raise ValueError(f"there is no file {model}")
        proto, name = None, str(model)
    else:
        raise TypeError(f"model must be a path or an onnx.ModelProto, not {type(model).__name__}")
    try:
        proto = onnx.load(model) if proto is None else proto
        _check(proto, name)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"{name} is no ONNX model that can be read: {reason}") from error
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def _check(proto: Any, path: str) -> None:
    """Ask ONNX's checker, but for what it refuses without need.

    Raises:
        ValueError: Weights are missing.
        onnx.checker.ValidationError: It refuses the model.
    """
    unread = [t.name for t in proto.graph.initializer if t.data_location == t.EXTERNAL]
    if unread:
        raise ValueError(
            f"its initializers {', '.join(unread)} are kept in files that were not read; pass the "
            "model's path, or call onnx.load_external_data_for_model first"
        )
    if proto.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:  # it takes them from files alone
        return onnx.checker.check_model(path)
    shapeless = [i for i, output in enumerate(proto.graph.output) if _lacks_shape(output)]
    if shapeless:  # exporters leave out what they do not know; ONNX Runtime takes that too
        filled = onnx.ModelProto()
        filled.CopyFrom(proto)
        for position in shapeless:
            filled.graph.output[position].type.tensor_type.shape.SetInParent()
        proto = filled
    return onnx.checker.check_model(proto)


def _lacks_shape(value: Any) -> bool:
    kind = value.type
    return kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")


def sizes_of(kind: Any) -> list[int | None]:
    """The sizes that a tensor's type has; None for one that is open, which some write as -1."""
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in kind.shape.dim
    ]


def _types(proto: Any) -> dict[str, Any]:
    """The types of the graph's tensors as far as ONNX can tell."""
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except (ValueError, onnx.shape_inference.InferenceError):  # of more than 2 GB, say
        return {}
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name: value.type.tensor_type for value in values if value.type.HasField("tensor_type")
    }


def _attribute(proto: Any) -> Any:
    """An attribute's value; of float32, which files hold, the shortest number that is the same."""
    value = onnx.helper.get_attribute_value(proto)
    if proto.type == onnx.AttributeProto.FLOAT:
        return float(str(np.float32(value)))
    if proto.type == onnx.AttributeProto.FLOATS:
        return [float(str(np.float32(each))) for each in value]
    return value


class Loader:
    """One graph on its way: the values so far, and what could not be said."""

    def __init__(self, proto: Any) -> None:
        """The constants and inputs of a model."""
        self.graph = proto.graph
        opsets = {entry.domain: entry.version for entry in proto.opset_import}
        self.opset: int = opsets.get("", opsets.get("ai.onnx", OLDEST_OPSET))
        if self.opset < OLDEST_OPSET:
            raise ValueError(
                f"cannot convert the ONNX model {self.graph.name!r}: its opset is {self.opset}, "
                f"expected at least {OLDEST_OPSET}; onnx.version_converter may bring it there"
            )
        self.types = _types(proto)
        used = [input for node in self.graph.node for input in node.input]
        self.uses = Counter([*used, *(output.name for output in self.graph.output)])
        self.b = Builder()
        self.unsupported: list[str] = []
        self.values: dict[str, Value | None] = {"": None}
        for tensor in self.graph.initializer:
            self.constant(tensor.name, tensors.tensor, tensor)
        for sparse in self.graph.sparse_initializer:
            self.constant(sparse.values.name, tensors.dense, sparse)
        for given in self.graph.input:
            if given.name not in self.values:
                self.values[given.name] = self.b.placeholder(given.name)
                self.note(given.name)

    def constant(self, name: str, read: Any, proto: Any) -> None:
        """A value that the file holds; where it cannot be read, note why."""
        try:
            value = read(proto)
            self.b.names[id(value)] = name
        except (UnsupportedError, TypeError, ValueError) as error:  # NumPy's, of what does not fit
            self.unsupported.append(f"initializer {name}: {error}")
            value = torch.zeros(())
        self.values[name] = value

    def note(self, name: str) -> None:
        """Tell rules which sizes and type a value has, and whether it is used once."""
        value = self.values[name]
        if isinstance(value, fx.Node):
            value.meta["once"] = value.meta.get("once", True) and self.uses[name] == 1
            kind = self.types.get(name)
            if kind is not None and kind.HasField("shape"):
                value.meta["dims"] = sizes_of(kind)
            if kind is not None and kind.elem_type in tensors.TYPES:
                value.meta["dtype"] = tensors.TYPES[kind.elem_type]

    def convert(self, node: Any, position: int) -> None:
        """Compute a node's outputs; where that cannot be said, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        attributes = {a.name: _attribute(a) for a in node.attribute}
        # Of operators that a converter fused, the first one's name.
        name = node.name.partition(";")[0] or f"{node.op_type}_{position}"
        given = [self.values[input] for input in node.input]
        domain = "" if node.domain == "ai.onnx" else node.domain
        call = Call(
            *(self.b, name, node.op_type, given, attributes, self.opset, len(node.output), domain)
        )
        results: Any = [torch.zeros(())] * len(node.output)  # for what cannot be computed
        try:
            if domain or node.op_type not in OPERATORS:
                raise UnsupportedError("no counterpart")
            results = sizes.computed(call)
            if results is None:
                results = OPERATORS[node.op_type](call)
        except UnsupportedError as error:
            self.unsupported.append(f"{call.description}: {error}")
        except Exception as error:
            # After the first that is unsupported, others fail for want of values.
            if not self.unsupported:
                reason = str(error) or repr(error)
                raise ValueError(f"cannot convert {call.description}: {reason}") from error
        if not isinstance(results, list):
            results = [results]
        for output, value in zip(node.output, results, strict=False):
            if output:
                self.values[output] = value
                self.note(output)

    def finish(self) -> fx.GraphModule:
        """The module."""
        b = self.b
        found = [b.node(b.tensor(self.values[output.name])) for output in self.graph.output]
        return b.finish(found[0] if len(found) == 1 else tuple(found), "OnnxModel").eval()


def load(model: Any) -> fx.GraphModule:
    """samepad.onnx.load, where the package onnx is known to be there."""
    loader = Loader(read(model))
    for position, node in enumerate(loader.graph.node):
        loader.convert(node, position)
    if loader.unsupported:
        raise ValueError(
            f"cannot convert the ONNX model {loader.graph.name!r} (opset {loader.opset}):\n  "
            + "\n  ".join(loader.unsupported)
        )
    return loader.finish()
