"""From an ONNX file or model to a torch.fx.GraphModule."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import fx

from samepad._building import UnsupportedError
from samepad.onnx import inference, limits, sizes, tensors
from samepad.onnx.call import Builder, Call, Value
from samepad.onnx.inference import sizes_of
from samepad.onnx.operators import OPERATORS

__all__ = ["load", "read", "sizes_of"]

#: Before it, operators broadcast by an attribute `broadcast`, and much else was otherwise.
OLDEST_OPSET = 7
#: Of an error.
_MOST_LINES = 200


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
        limits.check_expansion(proto)
        _check(proto, name)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"{name} is no ONNX model that can be read: {reason}") from error
    return inference.with_ranks(proto)


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
    # Exporters leave out what they do not know, and ONNX Runtime takes that too.
    values = [*proto.graph.input, *proto.graph.output]
    shapeless = [position for position, value in enumerate(values) if _lacks_shape(value)]
    if shapeless:
        filled = onnx.ModelProto()
        filled.CopyFrom(proto)
        values = [*filled.graph.input, *filled.graph.output]
        for position in shapeless:
            values[position].type.tensor_type.shape.SetInParent()
        proto = filled
    return onnx.checker.check_model(proto)


def _lacks_shape(value: Any) -> bool:
    kind = value.type
    return kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")


def _attribute(proto: Any) -> Any:
    """An attribute's value; of float32, which files hold, the shortest number that is the same."""
    value = onnx.helper.get_attribute_value(proto)
    if proto.type == onnx.AttributeProto.FLOAT:
        return float(str(np.float32(value)))
    if proto.type == onnx.AttributeProto.FLOATS:
        return [float(str(np.float32(each))) for each in value]
    return value


def _resolved(node: Any, attributes: dict[str, Any]) -> Any:
    """A function's node with the attributes of a call in place of their names."""
    if not any(each.ref_attr_name for each in node.attribute):
        return node
    resolved = onnx.NodeProto()
    resolved.CopyFrom(node)
    del resolved.attribute[:]
    for each in node.attribute:
        if not each.ref_attr_name:
            resolved.attribute.append(each)
        elif each.ref_attr_name in attributes:
            resolved.attribute.append(attributes[each.ref_attr_name])
            resolved.attribute[-1].name = each.name
    return resolved


def _opset(imports: Any) -> int:
    """The version of ONNX's own operators."""
    opsets = {entry.domain: entry.version for entry in imports}
    return int(opsets.get("", opsets.get("ai.onnx", OLDEST_OPSET)))


class Scope:
    """The names in a graph, or in one call of a function."""

    def __init__(self, nodes: Any, outputs: list[str], opset: int, declared: Any) -> None:
        """What values are declared to be, and how often they are used; no values yet."""
        self.nodes = nodes
        self.outputs = outputs
        self.opset = opset
        self.declared = inference.tensor_types(declared)
        self.uses = Counter([*(name for node in nodes for name in node.input), *outputs])
        self.values: dict[str, Value | None] = {"": None}
        #: What a call gives a function.
        self.attributes: dict[str, Any] = {}
        #: Of the names of layers.
        self.prefix = ""


class Loader:
    """A model on its way: its module so far, and what could not be said."""

    def __init__(self, proto: Any) -> None:
        """The constants and inputs of a model."""
        graph = proto.graph
        self.name = graph.name
        self.functions = {limits.function_key(each): each for each in proto.functions}
        self.b = Builder()
        self.unsupported: list[str] = []
        declared = (*graph.input, *graph.value_info, *graph.output)
        outputs = [output.name for output in graph.output]
        self.scope = Scope(graph.node, outputs, _opset(proto.opset_import), declared)
        if self.scope.opset < OLDEST_OPSET:
            raise ValueError(
                f"cannot convert the ONNX model {self.name!r}: its opset is {self.scope.opset}, "
                f"expected at least {OLDEST_OPSET}; onnx.version_converter may bring it there"
            )
        for tensor in graph.initializer:
            self.constant(tensor.name, tensors.tensor, tensor)
        for sparse in graph.sparse_initializer:
            self.constant(sparse.values.name, self.b.fold, tensors.dense, sparse)
        for given in graph.input:
            if given.name not in self.scope.values:
                self.keep(self.scope, given.name, self.b.placeholder(given.name))

    def constant(self, name: str, read: Any, *arguments: Any) -> None:
        """A value that the file holds; where it cannot be read, note why."""
        try:
            value = read(*arguments)
            self.b.names[id(value)] = name
        except (UnsupportedError, TypeError, ValueError, IndexError, RuntimeError) as error:
            # NumPy's and PyTorch's, of what does not fit.
            self.unsupported.append(f"initializer {name}: {error}")
            value = torch.zeros(())
        self.scope.values[name] = value

    def keep(self, scope: Scope, name: str, value: Any, found: Any = None) -> None:
        """A value under a name, with what is known of its type and whether it is used once."""
        scope.values[name] = value
        if isinstance(value, fx.Node):
            value.meta["once"] = value.meta.get("once", True) and scope.uses[name] == 1
            inference.note(value, found, scope.declared.get(name))

    def run(self, scope: Scope) -> list[Any]:
        """Compute a scope's nodes, and return its outputs."""
        for position, node in enumerate(scope.nodes):
            self.convert(_resolved(node, scope.attributes), position, scope)
        return [scope.values[name] for name in scope.outputs]

    def convert(self, node: Any, position: int, scope: Scope) -> None:
        """Compute a node's outputs; where that cannot be said, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        # Of operators that a converter fused, the first one's name.
        name = scope.prefix + (node.name.partition(";")[0] or f"{node.op_type}_{position}")
        given = [scope.values[input] for input in node.input]
        function = self.functions.get(limits.function_key(node))
        if function is not None:
            results: Any = self.run(self.called(function, node, name, given))
        else:
            results = self.computed(node, name, given, scope.opset)
        kinds: dict[str, Any] = {}
        if function is None and any(isinstance(value, fx.Node) for value in results):
            kinds = inference.inferred(node, given, scope.opset)
        for output, value in zip(node.output, results, strict=False):
            if output:
                self.keep(scope, output, value, kinds.get(output))

    def called(self, function: Any, node: Any, name: str, given: list[Any]) -> Scope:
        """The scope of a call of a function: its body, with the values and attributes given."""
        body = Scope(
            function.node,
            list(function.output),
            _opset(function.opset_import),
            function.value_info,
        )
        body.prefix = name + "."
        body.attributes = {each.name: each for each in (*function.attribute_proto, *node.attribute)}
        for position, inner in enumerate(function.input):
            self.keep(body, inner, given[position] if position < len(given) else None)
        return body

    def computed(self, node: Any, name: str, given: list[Any], opset: int) -> list[Any]:
        """What an operator gives; where that cannot be said, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        attributes = {a.name: _attribute(a) for a in node.attribute}
        domain = "" if node.domain == "ai.onnx" else node.domain
        rule = _no_counterpart if domain else OPERATORS.get(node.op_type, _no_counterpart)
        call = Call(self.b, name, node.op_type, given, attributes, opset, len(node.output), domain)
        results: Any = [torch.zeros(())] * len(node.output)  # for what cannot be computed
        try:
            as_sizes = sizes.computed(call)
            results = rule(call) if as_sizes is None else as_sizes
        except UnsupportedError as error:
            self.unsupported.append(f"{call.description}: {error}")
        except Exception as error:
            # After the first that is unsupported, others fail for want of values.
            if not self.unsupported:
                reason = str(error) or repr(error)
                raise ValueError(f"cannot convert {call.description}: {reason}") from error
        return results if isinstance(results, list) else [results]

    def finish(self, outputs: list[Any]) -> fx.GraphModule:
        """The module."""
        found = [self.b.node(self.b.tensor(value)) for value in outputs]
        result = found[0] if len(found) == 1 else tuple(found)
        return self.b.finish(result, "OnnxModel").eval()


def _no_counterpart(_: Call) -> Any:
    raise UnsupportedError("no counterpart")


def load(model: Any) -> fx.GraphModule:
    """samepad.onnx.load, where the package onnx is known to be there."""
    loader = Loader(read(model))
    outputs = loader.run(loader.scope)
    if loader.unsupported:
        lines = loader.unsupported[:_MOST_LINES]
        if len(loader.unsupported) > len(lines):
            lines.append(f"and {len(loader.unsupported) - len(lines):,} more")
        raise ValueError(
            f"cannot convert the ONNX model {loader.name!r} (opset {loader.scope.opset}):\n  "
            + "\n  ".join(lines)
        )
    return loader.finish(outputs)
