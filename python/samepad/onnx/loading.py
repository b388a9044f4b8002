"""Loads an ONNX file or model as a torch.fx.GraphModule."""

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

#: Before this opset, operators broadcast according to an attribute `broadcast`, and much else was
#: different.
OLDEST_OPSET = 7
#: Most lines in an error message.
_MOST_LINES = 200


def read(model: Any) -> Any:
    """Read a model from a path, or take a model, and check it.

    Raises:
        TypeError: `model` is neither a path nor a model.
        ValueError: There is no such file, or ONNX's checker does not accept the model.
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
    """Run ONNX's checker, but let it accept inputs and outputs without a shape.

    Raises:
        ValueError: Weights are missing.
        onnx.checker.ValidationError: The checker refuses the model.
    """
    unread = [t.name for t in proto.graph.initializer if t.data_location == t.EXTERNAL]
    if unread:
        raise ValueError(
            f"its initializers {', '.join(unread)} are kept in files that were not read; pass the "
            "model's path, or call onnx.load_external_data_for_model first"
        )
    if proto.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:  # it checks large models only from a file
        return onnx.checker.check_model(path)
    # Exporters leave out shapes that they do not know, and ONNX Runtime accepts that too.
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
    """Return an attribute's value; for float32, the shortest decimal number equal to it."""
    value = onnx.helper.get_attribute_value(proto)
    if proto.type == onnx.AttributeProto.FLOAT:
        return float(str(np.float32(value)))
    if proto.type == onnx.AttributeProto.FLOATS:
        return [float(str(np.float32(each))) for each in value]
    return value


def _resolved(node: Any, attributes: dict[str, Any]) -> Any:
    """Replace references to a function's attributes in its node by the call's attributes."""
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
    """Return the version of ONNX's own operator set."""
    opsets = {entry.domain: entry.version for entry in imports}
    return int(opsets.get("", opsets.get("ai.onnx", OLDEST_OPSET)))


class Scope:
    """The values by name in a graph, or in one call of a function."""

    def __init__(self, nodes: Any, outputs: list[str], opset: int, declared: Any) -> None:
        """Note the declared types and count the uses of each name; there are no values yet."""
        self.nodes = nodes
        self.outputs = outputs
        self.opset = opset
        self.declared = inference.tensor_types(declared)
        self.uses = Counter([*(name for node in nodes for name in node.input), *outputs])
        self.values: dict[str, Value | None] = {"": None}
        #: The attributes that a call passes to a function.
        self.attributes: dict[str, Any] = {}
        #: Prefix of the names of layers.
        self.prefix = ""


class Loader:
    """Converts a model: holds its module so far, and the reasons why nodes were refused."""

    def __init__(self, proto: Any) -> None:
        """Begin with the constants and inputs of a model."""
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
        """Read a constant of the file; if it cannot be read, note why."""
        try:
            value = read(*arguments)
            self.b.names[id(value)] = name
        except (UnsupportedError, TypeError, ValueError, IndexError, RuntimeError) as error:
            # NumPy and PyTorch raise the other errors for data that does not fit its shape.
            self.unsupported.append(f"initializer {name}: {error}")
            value = torch.zeros(())
        self.scope.values[name] = value

    def keep(self, scope: Scope, name: str, value: Any, found: Any = None) -> None:
        """Store a value by its name; note its type, and whether it is used only once."""
        scope.values[name] = value
        if isinstance(value, fx.Node):
            value.meta["once"] = value.meta.get("once", True) and scope.uses[name] == 1
            inference.note(value, found, scope.declared.get(name))

    def run(self, scope: Scope) -> list[Any]:
        """Convert the nodes of a scope, and return its outputs."""
        for position, node in enumerate(scope.nodes):
            self.convert(_resolved(node, scope.attributes), position, scope)
        return [scope.values[name] for name in scope.outputs]

    def convert(self, node: Any, position: int, scope: Scope) -> None:
        """Convert a node; if it has no counterpart, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        # If a converter has fused operators, take the name of the first one.
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
        """Return the scope for one call of a function, with the given values and attributes."""
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
        """Convert an operator and return its outputs; if it has no counterpart, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        attributes = {a.name: _attribute(a) for a in node.attribute}
        domain = "" if node.domain == "ai.onnx" else node.domain
        rule = _no_counterpart if domain else OPERATORS.get(node.op_type, _no_counterpart)
        call = Call(self.b, name, node.op_type, given, attributes, opset, len(node.output), domain)
        results: Any = [torch.zeros(())] * len(node.output)  # used if the operator is refused
        try:
            as_sizes = sizes.computed(call)
            results = rule(call) if as_sizes is None else as_sizes
        except UnsupportedError as error:
            self.unsupported.append(f"{call.description}: {error}")
        except Exception as error:
            # After the first refusal, nodes may fail only because they get placeholder values.
            if not self.unsupported:
                reason = str(error) or repr(error)
                raise ValueError(f"cannot convert {call.description}: {reason}") from error
        return results if isinstance(results, list) else [results]

    def finish(self, outputs: list[Any]) -> fx.GraphModule:
        """Return the finished module, in evaluation mode."""
        found = [self.b.node(self.b.tensor(value)) for value in outputs]
        result = found[0] if len(found) == 1 else tuple(found)
        return self.b.finish(result, "OnnxModel").eval()


def _no_counterpart(_: Call) -> Any:
    raise UnsupportedError("no counterpart")


def load(model: Any) -> fx.GraphModule:
    """See samepad.onnx.load, which makes sure that the package onnx is installed."""
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
